"""Finished runs -> one tidy table."""

import json

import numpy as np
import pandas as pd

from speechbrain_fv.arrays import read_arrays
from speechbrain_fv.evaluation.report import higher_is_better
from speechbrain_fv.metrics import interval

COLUMNS = (
    "grid", "variant", "seed", "metric", "epoch", "value", "low", "high", "std", "num_seeds",
    "difference", "difference_low", "difference_high", "best",
)  # fmt: skip
CELL = ["grid", "variant", "metric", "epoch"]
RANKED = ("verification/", "matching/", "retrieval/")  # of these a variant can be the best,
RATES = ("/auc", "/eer", "/accuracy", "/map", "/map_per_identity")  # by these values
_COUNTS = ("gallery_size", "reasons")  # and what starts with num_: no measurements


def collect(plan, references):
    """Returns the table of all runs that are done: one row per measurement, long form.

    Arguments
    ---------
    plan : dict of (str, str, int) to Run
        From `grids.plan_runs`.
    references : dict of str to str
        Grid -> the variant to which differences are taken.

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`. A row with a ``seed`` is one run: ``value``, and the identity-bootstrap
        interval of it. A row without is the mean over ``num_seeds`` runs, with their standard
        deviation ``std`` (n - 1), the interval of the mean, and its difference to the reference
        with the paired interval; ``best`` is true of the best variant of a grid, of its
        equals, and of those whose paired interval to it holds 0. ``metric`` is the path in the
        report, "verification/U/auc", or ``agreement/train/<q>`` and ``agreement/valid/<q>``, which
        alone have an ``epoch``. Values are fractions. An interval is empty where a run has no
        replicates.
    """
    return tabulate(*read_runs(plan), references)


def read_runs(plan):
    """Returns what the runs of a plan that are done have measured.

    Arguments
    ---------
    plan : dict of (str, str, int) to Run
        (grid, variant, seed) -> run.

    Returns
    -------
    runs : pandas.DataFrame
        Columns grid, variant, seed, metric, epoch (0 without one), value, low and high.
    replicates : dict of (str, str, int) to dict
        What `load_replicates` finds in the folder of each run.
    """
    rows, replicates = [], {}
    for cell, run in plan.items():
        if not run.is_done:
            continue
        draws = replicates[cell] = load_replicates(run.folder)
        report = json.loads((run.folder / "report.json").read_text(encoding="utf-8"))
        curves = pd.read_csv(run.folder / "train_curves.csv")
        measured = [(name, 0, value) for name, value in flatten(report)]
        for name, epoch, value in measured + agreement_by_epoch(curves):
            low, high = ends(draws[name], value) if name in draws else (np.nan, np.nan)
            rows.append((*cell, name, epoch, value, low, high))
    return pd.DataFrame(rows, columns=COLUMNS[:8]), replicates


def tabulate(runs, replicates, references):
    """Returns the table of `collect` from what `read_runs` returns."""
    if runs.empty:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.concat([runs, _over_seeds(runs, replicates, references)], ignore_index=True)
    counts = dict.fromkeys(("seed", "epoch", "num_seeds"), "Int64")
    table = table.astype({**counts, "best": "boolean"})
    return table.assign(epoch=table.epoch.mask(table.epoch == 0))[list(COLUMNS)]


def flatten(report, path=""):
    """Yields (path, value) of every measurement in a report; counts are left out.

    Example
    -------
    >>> list(flatten({"verification": {"U": {"auc": 0.8, "num_negatives": 9}, "G": None}}))
    [('verification/U/auc', 0.8)]
    """
    for name, value in report.items():
        if isinstance(value, dict) and name not in _COUNTS:
            yield from flatten(value, f"{path}{name}/")
        elif isinstance(value, float):
            yield f"{path}{name}", value


def agreement_by_epoch(curves):
    """Returns (metric, epoch, value) of the label agreement, per q: train, valid and shuffled."""
    parts = curves.name.str.extract(r"^(valid_)?agreement_q(\d+)(_shuffled)?$")
    part = parts[0].map({"valid_": "valid"}).fillna("train")
    curves = curves.assign(q=parts[1], part=part.where(parts[2].isna(), "shuffled"))
    means = curves.dropna(subset="q").groupby(["part", "q", "epoch"]).value.mean()
    return [(f"agreement/{part}/{q}", epoch, value) for (part, q, epoch), value in means.items()]


def load_replicates(folder):
    """Returns the bootstrap replicates beside a report, by the path of the measurement.

    Arguments
    ---------
    folder : Path
        Of a run. Its ``replicates.npz`` holds arrays of shape (num_replicates,), such as
        "verification/U/auc"; with equal ``identities`` and ``seed``, also in the file, the same
        resamples of the test identities.

    Returns
    -------
    dict of str to numpy.ndarray
        Empty without the file.
    """
    path = folder / "replicates.npz"
    if not path.is_file():
        return {}
    return read_arrays(path)[0]


def ends(replicates, value):
    """Returns the ends of `metrics.interval`, NaN where it is undefined."""
    return interval(replicates, value) or (np.nan, np.nan)


def _over_seeds(runs, replicates, references):
    """Returns the rows of the means over seeds."""
    values = {cell: part.set_index("seed").value for cell, part in runs.groupby(CELL, sort=False)}
    rows = {}
    for cell, own in values.items():
        grid, variant, metric, epoch = cell
        row = {**dict(zip(CELL, cell, strict=True)), "value": own.mean(), "std": own.std()}
        row["num_seeds"] = len(own)
        draws = [replicates[grid, variant, seed] for seed in own.index]
        if _same_resamples(draws, metric):
            row["low"], row["high"] = ends(_mean(draws, metric), row["value"])
        reference = (grid, references[grid], metric, epoch)
        if reference in values and reference != cell:
            difference = _difference(values, replicates, cell, reference)
            row["difference"], row["difference_low"], row["difference_high"] = difference
        rows[cell] = row
    _mark_best(rows, values, replicates)
    columns = [name for name in COLUMNS if name != "seed"]
    return pd.DataFrame(rows.values()).reindex(columns=columns)


def _mark_best(rows, values, replicates):
    """Adds to the rows of a grid which are best by a value, and which are tied with the best."""
    rivals = {}
    for cell in rows:
        grid, _, metric, _ = cell
        if metric.startswith(RANKED) and metric.endswith(RATES):
            rivals.setdefault((grid, metric), []).append(cell)
    for (_, metric), cells in rivals.items():
        choose = max if higher_is_better(metric) else min
        best = choose(cells, key=lambda cell: rows[cell]["value"])
        for cell in cells:
            _, low, high = _difference(values, replicates, cell, best)
            is_equal = rows[cell]["value"] == rows[best]["value"]
            rows[cell]["best"] = is_equal or low <= 0 <= high


def _difference(values, replicates, cell, other):
    """Returns (difference, low, high) of a cell's mean to another's, over the seeds of both."""
    seeds = values[cell].index.intersection(values[other].index)
    difference = (values[cell][seeds] - values[other][seeds]).mean()
    draws, others = (
        [replicates[grid, variant, seed] for seed in seeds] for grid, variant, *_ in (cell, other)
    )
    metric = cell[2]
    if not _same_resamples(draws + others, metric):
        return difference, np.nan, np.nan
    return difference, *ends(_mean(draws, metric) - _mean(others, metric), difference)


def _mean(draws, metric):
    """Returns the mean over runs, resample by resample: it keeps what the runs share."""
    return np.mean([draw[metric] for draw in draws], axis=0)


def _same_resamples(draws, metric):
    """Whether all runs have replicates, from the same identities and seed; False without a run."""
    if not draws or any(metric not in draw for draw in draws):
        return False
    kinds = {
        (len(draw[metric]), *(str(draw[name].tolist()) for name in ("identities", "seed")))
        for draw in draws
    }
    return len(kinds) == 1
