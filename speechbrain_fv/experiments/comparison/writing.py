"""Runs that are done -> the files of a comparison."""

from pathlib import Path

from speechbrain_fv.evaluation.sheets import write_sheets
from speechbrain_fv.experiments.ablations.schedule import CONSOLE_FILE, last_line
from speechbrain_fv.experiments.comparison import figures, tables, values
from speechbrain_fv.experiments.comparison.published import PUBLISHED
from speechbrain_fv.figures.plots.style import save
from speechbrain_fv.files import write_table

INTRODUCTION = """# Comparison of methods

Percent: mean over seeds ± standard deviation over seeds (n - 1) [95 % interval of the mean from a
bootstrap over the test identities]. *: the 95 % interval of the paired difference to {reference}
does not hold 0; no correction for the number of comparisons. Published figures come from other
encoders, clips and trials, as their notes say.
"""
OWN_SPLIT = "The people are those of the corpus's own split."
FOLDS = (
    "Cross-validation over people: {number} folds, each person tested in one of them. A value is "
    "the mean of its folds; deviations are those of this mean over seeds, intervals and "
    "differences draw the test people of every fold."
)
OTHER_FILES = (
    "Not comparable: the files of the corpus changed under their names, and {runs} had others than "
    "the runs before; delete the folders of the older runs and run again.\n"
)
CHOICE = (
    "The candidate with the best monitor on validation people at seed {seed}{fold}, marked *, is "
    "what the tables report, test people unseen."
)


def write_all(hparams, methods, reference, runs, plan, tuning):
    """Writes the tables and the figure of what is done; nothing if no run is.

    Arguments
    ---------
    hparams : dict
        ``output_folder``, ``num_folds`` and ``seeds`` of the comparison.
    methods : list of Method
    reference : str
    runs : dict of (str, str, int) to Run
        From `values.chosen_runs`.
    plan : dict of (str, str, int) to Run
        Of all candidates, for what failed.
    tuning : pandas.DataFrame
        From `tuning.choose`.
    """
    folder, num_folds = Path(hparams["output_folder"]), hparams["num_folds"]
    table = values.collect(runs, reference, num_folds)
    if table.empty:
        return
    costs = values.costs(runs)
    failures = failures_of(methods, runs, plan)
    sheets = tables.build(table, methods, reference, values.reasons(runs), failures)
    if num_folds is not None:
        sheets += tables.fold_sheets(table, methods, reference, num_folds)
    sheets.append(tables.cost_sheet(costs, methods))
    seeds = hparams["seeds"]
    first = seeds if isinstance(seeds, int) else seeds[0]
    note = CHOICE.format(
        seed=first,
        fold="" if num_folds is None else ", in each fold for itself",
    )
    sheets.append(tables.tuning_sheet(tuning, methods, [note, *_failed_candidates(plan, first)]))
    _write_tables(folder, table, methods, costs, tuning)
    labels = {method.name: method.label for method in methods}
    people = OWN_SPLIT if num_folds is None else FOLDS.format(number=num_folds)
    missing = [run.name for run in runs.values() if not run.is_done]
    parts = [INTRODUCTION.format(reference=labels[reference]), people + "\n"]
    parts += ["Not done: " + ", ".join(missing) + "\n"] if missing else []
    if strangers := values.of_other_files(runs):
        parts.append(OTHER_FILES.format(runs=", ".join(strangers)))
        print(parts[-1].strip())
    write_sheets(folder, sheets, "\n".join(parts))
    shown = {name: label for name, label in labels.items() if name in set(table.variant)}
    save(figures.matching_figure(table, shown, reference), folder / "figures" / "fig3_matching")
    print(f"Tables and figure: {folder}")


def _failed_candidates(plan, first):
    """Returns a line per candidate that was started at the first seed and has no report."""
    return [
        f"-: {run.name}: {said(run)}"
        for (_, _, seed), run in plan.items()
        if seed == first and not run.is_done and said(run)
    ]


def said(run):
    """Returns the last line that a run printed, without "error: "; "" if it was not started."""
    path = run.folder / CONSOLE_FILE
    return last_line(path).removeprefix("error: ") if path.is_file() else ""


def _write_tables(folder, table, methods, costs, tuning):
    """Writes the CSVs; published values are in the rows of the means."""
    papers = {method.name: PUBLISHED.get(method.published) for method in methods}
    is_mean = table.seed.isna() & (table.grid == values.POOLED)
    found = [
        (papers[method].values.get(metric), papers[method].source)
        if mean and papers[method] and metric in papers[method].values
        else (None, "")
        for method, metric, mean in zip(table.variant, table.metric, is_mean, strict=True)
    ]
    table = table.drop(columns="epoch").rename(columns={"grid": "fold", "variant": "method"})
    table["published_percent"], table["published_on"] = zip(*found, strict=True)
    write_table(table, folder / "comparison.csv")
    write_table(costs.reset_index(), folder / "costs.csv")
    write_table(tuning, folder / "tuning.csv")


def failures_of(methods, runs, plan):
    """Returns why methods lack a finished run in some fold: their reason, or what a run said."""
    done = {(fold, method) for (fold, method, _), run in runs.items() if run.is_done}
    failures = {}
    for method in methods:
        own = {cell: run for cell, run in plan.items() if cell[0].split("/")[0] == method.name}
        num_grids = len({grid for grid, *_ in own})
        num_done = sum(name == method.name for _, name in done)
        if method.reason:
            failures[method.name] = method.reason
        elif num_done < num_grids:
            texts = [said(run) for run in own.values() if not run.is_done]
            failures[method.name] = next(filter(None, texts), "not run yet")
    return failures
