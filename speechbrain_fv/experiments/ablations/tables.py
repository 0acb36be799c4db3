"""The tidy table of runs -> tables for papers."""

import pandas as pd

from speechbrain_fv.evaluation.sheets import Measured, Sheet
from speechbrain_fv.experiments.ablations.figures import METRICS
from speechbrain_fv.messages import metric_label

MEANS = (
    "In %: mean over seeds, its standard deviation over seeds (n - 1), and in brackets the 95 % "
    "interval of the mean from a bootstrap over the test identities."
)
BEST = (
    "Bold: the best of a column, and what is no worse by the paired test: the 95 % interval of the "
    "difference to the best holds 0."
)
NO_REPLICATES = "No run has a replicates.npz beside its report: the intervals are left out.\n"


def introduction(table, missing=()):
    """Returns what stands above the tables.

    Arguments
    ---------
    table : pandas.DataFrame
        From `results.collect`.
    missing : sequence of str
        Runs that are not done, to be named.
    """
    means = table[table.seed.isna() & table.epoch.isna()]
    parts = ["# Ablations\n", *([NO_REPLICATES] if means.low.isna().all() else [])]
    return "\n".join(parts + (["Not done: " + ", ".join(missing) + "\n"] if missing else []))


def build(table, grids, references):
    """Returns the tables of all grids: a row per variant, then the differences to its reference.

    Arguments
    ---------
    table : pandas.DataFrame
        From `results.collect`.
    grids : dict of str to dict
        The grids to show; "title" and "metrics" are used.
    references : dict of str to str
        Grid -> the variant to which differences are taken.

    Returns
    -------
    list of Sheet
        Of the grids of which a run is done.
    """
    sheets = []
    for name, grid in grids.items():
        rows = table[table.seed.isna() & table.epoch.isna() & (table.grid == name)]
        if rows.empty:
            continue
        title = str(grid.get("title", name))
        title = title[:1].upper() + title[1:]
        means = {(row.variant, row.metric): row for row in rows.itertuples()}
        metrics = [m for m in grid.get("metrics", METRICS) if m in set(rows.metric)]
        reference = readable(references[name])
        star = f"*: the paired 95 % interval of the difference to {reference} does not hold 0."
        values, differences = [], []
        for variant in rows.variant.unique():
            seeds = str(rows[rows.variant == variant].num_seeds.max())
            cells = [means.get((variant, metric)) for metric in metrics]
            values.append([readable(variant), seeds, *map(mean_cell, cells)])
            if any(of := list(map(difference_cell, cells))):
                differences.append([readable(variant), seeds, *of])
        head = ["variant", "seeds", *map(metric_label, metrics)]
        sheets.append(Sheet(name, title, head, values, [MEANS, BEST, star]))
        if differences:
            title += f": differences to {reference}"
            sheets.append(Sheet(f"{name}_differences", title, head, differences, [star]))
    return sheets


def readable(name):
    """Returns the name of a variant as text.

    Example
    -------
    >>> readable("id_self-learn")
    'id self-learn'
    """
    return str(name).replace("_", " ")


def mean_cell(row):
    """Returns the cell of a mean over seeds; None without one."""
    if row is None:
        return None
    known = {name: _percent(getattr(row, name)) for name in ("std", "low", "high")}
    best = pd.notna(row.best) and bool(row.best)
    return Measured(_percent(row.value), **known, marked=_is_significant(row), best=best)


def difference_cell(row):
    """Returns the cell of a difference to the reference; None where there is none."""
    if row is None or pd.isna(row.difference):
        return None
    ends = {end: _percent(getattr(row, f"difference_{end}")) for end in ("low", "high")}
    return Measured(_percent(row.difference), **ends, signed=True, marked=_is_significant(row))


def _is_significant(row):
    return bool(row.difference_low > 0 or row.difference_high < 0)


def _percent(value):
    return None if pd.isna(value) else 100 * float(value)
