"""The measured and the published values, laid out as the paper's tables."""

import pandas as pd

from speechbrain_fv.evaluation.sheets import Measured, Printed, Sheet
from speechbrain_fv.experiments.ablations.tables import BEST, MEANS, difference_cell, mean_cell
from speechbrain_fv.experiments.comparison.published import (
    FOOTNOTES,
    MATCHING_STRATA,
    PUBLISHED,
    STRATA,
    SUSPECT,
)
from speechbrain_fv.experiments.comparison.values import POOLED

STAR = "*: the 95 % interval of the paired difference to {reference} does not hold 0."

FOLD_METRICS = {"AUC U": "verification/U/auc", "AUC G": "verification/G/auc"}


LAYOUT = {  # name -> title, columns measured, columns published
    "table1": (
        "Verification, AUC (Table 1)",
        {stratum: f"verification/{stratum}/auc" for stratum in STRATA},
        {stratum: f"verification/{stratum}/auc" for stratum in STRATA},
    ),
    "table2": (
        "Retrieval, mAP (Table 2)",
        {
            "F-V": "retrieval/F-V/map",
            "V-F": "retrieval/V-F/map",
            "chance F-V": "retrieval/F-V/chance_map",
            "chance V-F": "retrieval/V-F/chance_map",
        },
        {
            "F-V": "retrieval/F-V/map",
            "V-F": "retrieval/V-F/map",
            "chance": "retrieval/F-V/chance_map",
        },
    ),
    **{
        f"table3_{direction}": (
            f"1:2 matching, accuracy, {direction} (Table 3)",
            {name: f"matching/{direction}/{name}/2/accuracy" for name in MATCHING_STRATA},
            {name: f"matching/{direction}/{name}/2/accuracy" for name in MATCHING_STRATA},
        )
        for direction in ("F-V", "V-F")
    },
}


def build(table, methods, reference, reasons, failures):
    """Returns the paper's tables, each with that of the differences to the reference.

    Arguments
    ---------
    table : pandas.DataFrame
        From `values.collect`.
    methods : list of Method
    reference : str
    reasons : dict of (str, str) to str
        From `values.reasons`.
    failures : dict of str to str
        Method -> why it has no run.

    Returns
    -------
    list of Sheet
    """
    means, label = _means(table, POOLED), _label(methods, reference)
    sheets = []
    for name, (title, measured, printed) in LAYOUT.items():
        sheets.append(_value_sheet(name, title, measured, printed, means, methods, label))
        sheets[-1].notes += _missing(measured, means, methods, reasons, failures)
        differences = _difference_sheet(name, title, measured, means, methods, label)
        if differences is not None:
            sheets.append(differences)
    return sheets


def _means(table, grid):
    """Returns (method, path) -> row of the mean over seeds."""
    rows = table[table.seed.isna() & (table.grid == grid)]
    return {(row.variant, row.metric): row for row in rows.itertuples()}


def _label(methods, reference):
    return next(method.label for method in methods if method.name == reference)


def _value_sheet(name, title, measured, printed, means, methods, reference):
    numbers = {}
    head = ["method", "seeds", *measured, *(f"published {column}" for column in printed)]
    head += ["published on"]
    rows = []
    for method in methods:
        cells = [mean_cell(means.get((method.name, path))) for path in measured.values()]
        seeds = [means[key].num_seeds for key in means if key[0] == method.name]
        row = [method.label, str(max(seeds, default=0)), *cells]
        paper = PUBLISHED.get(method.published)
        texts = [_printed(method.published, path, numbers) for path in printed.values()]
        if paper and any(texts):
            source = numbers.setdefault(paper.source, len(numbers) + 1)
            rows.append([*row, *texts, f"({source})"])
        else:
            rows.append([*row, *texts, None])
    notes = [MEANS, BEST, STAR.format(reference=reference)]
    notes += [f"({number}) {text}" for text, number in numbers.items()]
    return Sheet(name, title, head, rows, notes)


def _printed(name, path, numbers):
    """Returns a published cell; its footnote is numbered when it is first used."""
    value = PUBLISHED[name].values.get(path) if name in PUBLISHED else None
    if value is None:
        return None
    suspect = SUSPECT.get((name, path))
    note = numbers.setdefault(FOOTNOTES[suspect], len(numbers) + 1) if suspect else None
    return Printed(value, note)


def _difference_sheet(name, title, measured, means, methods, reference):
    """Returns the differences to the reference; None if there are none."""
    measured = {name: path for name, path in measured.items() if "chance" not in name}
    rows = []
    for method in methods:
        cells = [difference_cell(means.get((method.name, path))) for path in measured.values()]
        if any(cells):
            rows.append([method.label, *cells])
    if not rows:
        return None
    title = f"{title}: differences to {reference}"
    notes = [STAR.format(reference=reference)]
    return Sheet(f"{name}_differences", title, ["method", *measured], rows, notes)


def _missing(measured, means, methods, reasons, failures):
    """Returns a line per reason for which cells are a dash."""
    found = {}
    for method in methods:
        for column, path in measured.items():
            if (method.name, path) not in means:
                reason = _reason(method.name, path, reasons, failures)
                found.setdefault(reason, {}).setdefault(method.label, []).append(column)
    lines = []
    for reason, columns in found.items():
        groups = {}
        for label, names in columns.items():
            groups.setdefault(", ".join(names), []).append(label)
        texts = []
        for names, labels in groups.items():
            everyone = len(labels) == len(methods) and len(methods) > 1
            everything = names == ", ".join(measured)
            who = "all methods" if everyone else ", ".join(labels)
            texts.append(who if everything else f"{who} ({names})")
        lines.append(f"-: {'; '.join(texts)}: {reason}")
    return lines


def _reason(method, path, reasons, failures):
    """Returns the reason of the nearest entry at or above a path of the report."""
    parts = path.split("/")
    for end in range(len(parts), 0, -1):
        if (method, "/".join(parts[:end])) in reasons:
            return reasons[method, "/".join(parts[:end])]
    return failures.get(method, "undefined in some fold or run")


def fold_sheets(table, methods, reference, num_folds):
    """Returns a table per value of `FOLD_METRICS`: each fold, their mean, the paired difference.

    Arguments
    ---------
    table, methods, reference
        As in `build`.
    num_folds : int

    Returns
    -------
    list of Sheet
        Without the values that no method has.
    """
    pooled = _means(table, POOLED)
    folds = [_means(table, f"fold_{fold}") for fold in range(num_folds)]
    label = _label(methods, reference)
    head = ["method", *(f"fold {fold}" for fold in range(num_folds)), "mean", f"- {label}"]
    sheets = []
    for name, path in FOLD_METRICS.items():
        rows = []
        for method in methods:
            cells = [means.get((method.name, path)) for means in folds]
            cells = [None if cell is None else Measured(100 * cell.value) for cell in cells]
            mean = pooled.get((method.name, path))
            rows.append([method.label, *cells, mean_cell(mean), difference_cell(mean)])
        if any(any(row[1:]) for row in rows):
            slug = name.lower().replace(" ", "_")
            notes = [STAR.format(reference=label)]
            sheets.append(Sheet(f"folds_{slug}", f"{name} by fold", head, rows, notes))
    return sheets


def cost_sheet(costs, methods):
    """Returns the trained parameters and the training time of each method."""
    head = ["method", "parameters of the model", "of the losses", "seconds of training", "device"]
    rows = []
    for method in methods:
        if method.name not in costs.index:
            rows.append([method.label, *[None] * 4])
            continue
        row = costs.loc[method.name]
        numbers = [f"{round(row[name]):,}" for name in ("model_parameters", "loss_parameters")]
        rows.append([method.label, *numbers, f"{row.seconds:.1f}", row.device])
    notes = [
        "Trained parameters, at work and in training alone; seconds are those of the training with "
        "its validations, mean over runs, and compare only where the machine was equally busy."
    ]
    return Sheet("costs", "Parameters and training time", head, rows, notes)


def tuning_sheet(tuning, methods, notes):
    """Returns the validation value of every candidate, a column per fold, the chosen ones marked.

    Arguments
    ---------
    tuning : pandas.DataFrame
        From `tuning.choose`.
    methods : list of Method
    notes : list of str
        How it was chosen, and which candidates failed.
    """
    folds = list(dict.fromkeys(tuning.fold))
    columns = ["validation" if fold is None else f"fold {fold}" for fold in folds]
    labels = {method.name: method.label for method in methods}
    rows = []
    for (name, candidate), own in tuning.groupby(["method", "candidate"], sort=False):
        cells = [
            None if pd.isna(row.validation) else Measured(100 * row.validation, marked=row.chosen)
            for row in own.itertuples()
        ]
        monitor = next((text for text in own.monitor if isinstance(text, str)), "")
        rows.append([labels[name], candidate, own.arguments.iloc[0] or "-", monitor, *cells])
    head = ["method", "candidate", "arguments", "monitor", *columns]
    return Sheet("tuning", "Settings chosen on validation people", head, rows, notes)
