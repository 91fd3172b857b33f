"""The geometry of the report's drawings: where each mark stands. The templates write the SVG.

scale   values to pixels, ticks, marks
bars    intervals of the tables, shares of variance, importance
curves  what each parameter does; two parameters together
front   quality against time

Nothing is told by colour alone: shapes, dashes, shades and words say it too.
"""
