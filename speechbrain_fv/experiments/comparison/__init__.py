"""Methods x seeds x folds on one corpus -> the tables and the figure of the paper.

`methods` says which runs there are, `tuning` chooses the settings of each method, `values` reads
what the runs left and pools the folds, `tables` lays it out beside the figures of `published`,
`rendering` writes Markdown and LaTeX, `figures` draws.
"""
