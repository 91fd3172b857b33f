"""From a study's table of images to conclusions with their uncertainty. Pure functions.

analysis: all of them, each drawn once. What they start from:
  table, facts      a study's images and what it adds to them
  foreign, roles, table_file                           anybody's table, its columns told apart
  grid, coverage    scores as recipes x blocks; which cells are there, and why others are not
  votes             people's choices between two images
Conclusions:
  ranking           who is best, who is not told apart; interval: paired, clustered by prompt
  compare           one recipe against another         luck       what one image would have picked
  mixed, restricted, posterior                         one model of all cells, by REML
  variance, standing                                   shares of luck; P(best), worst tenth, passes
  importance        shares and null bands; searched, terms, anova, crossed, permutation, confounding
  effects           a parameter's curve; levels, shape in words            kinds     by prompt tag
  pareto            quality against time               agreement  of scorers
  people, bradley_terry, eyes                          votes as a ranking, and who agrees with it
  confirmed         held-out images                    power      what a design could tell
  advice            what to do next
Words and pictures:
  answer, verdict, brief, remarks, numbers, lettering, reproduce           text
  report, shown, findings, gallery, views, charts, templates               one self-contained page
  markdown, sheet, summary                             comment, contact sheet, numbers as JSON
"""
