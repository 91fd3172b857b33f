"""From a study's table of images to conclusions with their uncertainty. Pure functions.

table      the table of images, read and checked      facts    what the study adds to it
grid       scores as recipes x blocks                  interval paired, clustered by prompt
ranking    who is best, who is not told apart          luck     what one image would have picked
effects    what each parameter does                    pareto   quality against seconds
summary    the numbers, as JSON                        sheet    the contact sheet
charts     the drawings of the report                  report   one self-contained HTML page
"""
