"""Ablations: named grids of overrides x seeds -> runs -> one table, a text with it, and figures.

`grids` says which runs there are, `schedule` runs them, `results` reads what they left.
"""
