"""What the chosen runs measured: per fold, and over the test people of all folds."""

import json

import numpy as np
import pandas as pd

from speechbrain_fv.experiments.ablations import results
from speechbrain_fv.experiments.comparison.methods import grid_name
from speechbrain_fv.training.record import RECORD_FILE

POOLED = "all"  # the grid of the values over all folds, and of those of a corpus without folds


def chosen_runs(plan, chosen, seeds):
    """Returns the runs behind the tables: (fold or `POOLED`, method, seed) -> run.

    Arguments
    ---------
    plan : dict of (str, str, int) to Run
        Of all candidates.
    chosen : dict of (str, int or None) to str
        (method, fold) -> candidate.
    seeds : sequence of int

    Returns
    -------
    dict of (str, str, int) to Run
    """
    return {
        (POOLED if fold is None else f"fold_{fold}", name, seed): plan[
            grid_name(name, fold), candidate, seed
        ]
        for (name, fold), candidate in chosen.items()
        for seed in seeds
    }


def collect(runs, reference, num_folds=None):
    """Returns the table of all runs that are done, as `ablations.results.collect` lays it out.

    ``grid`` is the fold, or `POOLED`, and ``variant`` the method. The value of a method over all
    folds is, seed by seed, the mean of its folds; a replicate of it is the mean of the folds'
    replicates, which draw their own test people. So differences are paired over all test people.
    A seed of which a fold is missing, or without the value, is left out.

    Arguments
    ---------
    runs : dict of (str, str, int) to Run
        From `chosen_runs`.
    reference : str
        The method to which differences are taken.
    num_folds : int, optional

    Returns
    -------
    pandas.DataFrame
    """
    table, replicates = results.read_runs(runs)
    table = table[table.epoch == 0]
    if num_folds is not None and len(table):
        pooled, draws = _pool(table, replicates, num_folds)
        table, replicates = pd.concat([table, pooled], ignore_index=True), replicates | draws
    references = dict.fromkeys(table.grid.unique(), reference)
    return results.tabulate(table, replicates, references)


def _pool(table, replicates, num_folds):
    """Returns the rows and the replicates of the means over folds."""
    rows, pooled = [], {}
    for (method, seed), own in table.groupby(["variant", "seed"], sort=False):
        cells = [(f"fold_{fold}", method, seed) for fold in range(num_folds)]
        if not all(cell in replicates for cell in cells):
            continue
        draws = pooled[POOLED, method, seed] = _pool_draws([replicates[cell] for cell in cells])
        for metric, values in own.groupby("metric", sort=False).value:
            if len(values) == num_folds:
                value, ends = values.mean(), (np.nan, np.nan)
                if metric in draws:
                    ends = results.ends(draws[metric], value)
                rows.append((POOLED, method, seed, metric, 0, value, *ends))
    return pd.DataFrame(rows, columns=results.COLUMNS[:8]), pooled


def _pool_draws(folds):
    """Returns the replicates of a mean over folds, with all their people as identities.

    Folds are drawn from with one seed, so each is shuffled in its own way: the places that a
    replicate draws in one fold must say nothing of those in another.
    """
    labels = ("identities", "seed")
    shared = set.intersection(*map(set, folds)) - set(labels)
    if not all(set(labels) <= set(draws) for draws in folds):
        return {}
    pooled = {}
    for name in shared:
        parts = [
            np.random.default_rng(fold).permutation(draws[name]) for fold, draws in enumerate(folds)
        ]
        if len({len(part) for part in parts}) == 1:
            pooled[name] = np.mean(parts, axis=0)
    for label in labels:
        pooled[label] = np.concatenate([np.atleast_1d(draws[label]) for draws in folds])
    return pooled


def reasons(runs):
    """Returns why values are missing: (method, path of the report) -> reason, of runs done.

    Arguments
    ---------
    runs : dict of (str, str, int) to Run

    Returns
    -------
    dict of (str, str) to str
    """
    found = {}
    for (_, method, _), run in runs.items():
        if run.is_done:
            report = json.loads((run.folder / "report.json").read_text(encoding="utf-8"))
            for path, reason in report.get("reasons", {}).items():
                found.setdefault((method, path), reason)
    return found


def of_other_files(runs):
    """Returns the names of runs whose clips are not those of the first run of the same corpus.

    Files that changed under their names between two starts of a comparison make them so.

    Arguments
    ---------
    runs : dict of (str, str, int) to Run

    Returns
    -------
    list of str
    """
    first, names = {}, []
    for run in runs.values():
        path = run.folder / "save" / RECORD_FILE
        if not (run.is_done and path.is_file()):
            continue
        record = json.loads(path.read_text(encoding="utf-8"))
        asked = [text for text in run.arguments if text.startswith("--corpus=")]
        settings = {
            key: text for key, text in record["settings"].items() if key.startswith("corpus.")
        }
        corpus = json.dumps([asked, settings], sort_keys=True)
        if first.setdefault(corpus, record["clips"]) != record["clips"]:
            names.append(run.name)
    return names


def costs(runs):
    """Returns the parameters and the training time of each method, mean over runs.

    Arguments
    ---------
    runs : dict of (str, str, int) to Run

    Returns
    -------
    pandas.DataFrame
        Index ``method``; columns ``model_parameters`` and ``loss_parameters`` (trained ones),
        ``seconds`` and ``device``, of the runs that have a ``cost.json``.
    """
    rows = []
    for (_, method, _), run in runs.items():
        path = run.folder / "cost.json"
        if run.is_done and path.is_file():
            rows.append({"method": method, **json.loads(path.read_text(encoding="utf-8"))})
    columns = ["model_parameters", "loss_parameters", "seconds", "device"]
    table = pd.DataFrame(rows, columns=["method", *columns])
    how = dict.fromkeys(columns[:3], "mean") | {"device": lambda names: ", ".join(sorted({*names}))}
    return table.groupby("method", sort=False).agg(how)


def first_of_each(plan, seeds):
    """Returns the runs of the first candidate of each grid at some seeds."""
    first = {}
    for grid, candidate, _ in plan:
        first.setdefault(grid, candidate)
    return [
        run for (grid, name, seed), run in plan.items() if seed in seeds and first[grid] == name
    ]
