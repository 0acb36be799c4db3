"""Which settings of each method do best on the validation people."""

import json

import pandas as pd

from speechbrain_fv.evaluation.report import higher_is_better
from speechbrain_fv.experiments.comparison.methods import folds_of, grid_name

COLUMNS = ("method", "fold", "candidate", "arguments", "monitor", "validation", "chosen")


def validation_of(run):
    """Returns the monitor of a run that is done, and its best value on the validation people."""
    report = json.loads((run.folder / "report.json").read_text(encoding="utf-8"))
    training = report["training"]
    if "monitor" in training:
        return training["monitor"], training["best_valid"]
    return "verification/U/auc", training["best_valid_auc"]


def choose(methods, plan, seed, num_folds=None):
    """Returns the best candidate of each method in each fold, and the table of all.

    Each fold chooses by itself, by the monitor on its own validation people: no person is tested
    by a model that was tuned on them. Of equal candidates the first is taken.

    Arguments
    ---------
    methods : list of Method
    plan : dict of (str, str, int) to Run
        From `grids.plan_runs`, of all candidates.
    seed : int
        Of the runs that are compared.
    num_folds : int, optional

    Returns
    -------
    chosen : dict of (str, int or None) to str
        (method, fold) -> candidate; without those of which no run is done.
    table : pandas.DataFrame
        Columns `COLUMNS`; arguments are those of the candidate alone.
    """
    chosen, rows = {}, []
    for method in methods:
        for fold in folds_of(num_folds):
            values = {}
            for name, own in method.candidates.items():
                run = plan[grid_name(method.name, fold), name, seed]
                monitor, value = validation_of(run) if run.is_done else (None, None)
                if value is not None:
                    values[name] = value if higher_is_better(monitor) else -value
                rows.append([method.name, fold, name, " ".join(own), monitor, value])
            if values:
                chosen[method.name, fold] = max(values, key=values.get)
    for row in rows:
        row.append(chosen.get((row[0], row[1])) == row[2])
    return chosen, pd.DataFrame(rows, columns=COLUMNS)
