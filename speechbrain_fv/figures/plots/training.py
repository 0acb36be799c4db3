"""Figures of the training: loss terms, label agreement, validation; several runs compared."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from speechbrain_fv.figures.plots.style import (
    CHANCE,
    CONSTRAINTS,
    LINES,
    STRATA,
    finished,
    legend_below,
    line_look,
    save,
)

FLOOR = {**CHANCE, "color": "0.15", "marker": "x", "markersize": 4}
POINTS_SHOWN = 60  # a training curve is averaged to about this many points
COLUMNS = 3  # panels of label agreement beside each other, at most


def training_figure(curves, bounds=None):
    """Returns each loss term and the validation AUC over the steps, a panel each.

    Arguments
    ---------
    curves : pandas.DataFrame
        Columns ``step``, ``name``, ``value``; names ``L_*`` and ``valid_auc_*`` are drawn.
    bounds : dict of str to dict of str to float, optional
        Name of a term -> lines to draw beside it, by what they are.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If no name is one that is drawn.

    Example
    -------
    >>> curves = pd.DataFrame({"step": [1, 2], "name": "L_id", "value": [2.0, 1.5]})
    >>> training_figure(curves).axes[0].get_title()
    'L_id'
    """
    names = {*curves.name}
    terms = [name for name in curves.name.unique() if name.startswith("L_")]
    strata = [name for name in STRATA if f"valid_auc_{name}" in names]
    if not terms and not strata:
        raise ValueError(
            f"curves: expected names starting with 'L_' or 'valid_auc_', found {sorted(names)}; "
            "draw the figure once a step is logged."
        )
    num_rows = -(-len(terms) // 2)
    height = 1.9 * num_rows + 2.6 * bool(strata)
    figure = Figure(figsize=(7.2, height), layout="constrained")
    grid = figure.add_gridspec(
        num_rows + bool(strata), 2, height_ratios=[1.9] * num_rows + [2.6] * bool(strata)
    )
    for place, name in enumerate(terms):
        row, column = divmod(place, 2)
        alone = place == len(terms) - 1 and not column  # in its row
        axes = figure.add_subplot(grid[row, :] if alone else grid[row, column])
        _term(axes, curves, name, (bounds or {}).get(name, {}))
    if strata:
        axes = figure.add_subplot(grid[-1, :])
        for stratum in strata:
            points = curves[curves.name == f"valid_auc_{stratum}"]
            axes.plot(points.step, points.value * 100, label=stratum, **line_look(*STRATA[stratum]))
        axes.axhline(50, label="chance", **CHANCE)
        axes.set(title="Validation, verification", ylabel="AUC [%]")
        legend_below(figure, ncols=7, fontsize=8, columnspacing=1.2)
    for axes in figure.axes:
        axes.set_xlim(0, 1.03 * curves.step.max())
        axes.title.set_fontsize(10)
    figure.axes[-1].set_xlabel("optimiser step")
    return finished(figure)


def _term(axes, curves, name, bounds):
    points = _averaged(curves[curves.name == name], curves.step.max())
    few = len(points) < POINTS_SHOWN / 2
    axes.plot(points.step, points.value, color=LINES[0][0], marker="." if few else None)
    for label, value in bounds.items():
        axes.axhline(value, **CHANCE)
        axes.annotate(
            label, (1, value), xycoords=("axes fraction", "data"), xytext=(-2, 2),
            textcoords="offset points", ha="right", fontsize=7.5, color=CHANCE["color"],
        )  # fmt: skip
    if points.value.min() >= 0:
        axes.set_ylim(0, 1.12 * max(points.value.max(), *bounds.values(), 0))
    axes.set_title(name)


def agreement_figure(curves):
    """Returns the hard label agreement (Eq. 5) over training, a panel per q (Bi-Pcm, Fig. 7).

    Held-out pairs stand beside the same pairs shuffled, which is their floor; it is not 1/q, since
    clusters differ in size, and pairs may seed them. Training logged both per epoch; without them
    the training batches are drawn alone.

    Arguments
    ---------
    curves : pandas.DataFrame
        Columns ``step``, ``name``, ``value``; names ``agreement_q<q>``, ``valid_agreement_q<q>``
        and ``valid_agreement_q<q>_shuffled`` are drawn.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no such name.

    Example
    -------
    >>> curves = pd.DataFrame({"step": [1, 2], "name": "agreement_q8", "value": [0.1, 0.3]})
    >>> [axes.get_title() for axes in agreement_figure(curves).axes]
    ['q = 8']
    """
    names = curves.name[curves.name.str.fullmatch(r"agreement_q\d+")].unique()
    counts = sorted(int(name.removeprefix("agreement_q")) for name in names)
    if not counts:
        raise ValueError(
            f"curves: expected names agreement_q<q>, found {sorted(curves.name.unique())}; only "
            "training with pseudo-labels logs them."
        )
    num_rows, num_columns = -(-len(counts) // COLUMNS), min(len(counts), COLUMNS)
    figure = Figure(
        figsize=(max(2.5 * num_columns, 4.5), 2.3 * num_rows + 0.6), layout="constrained"
    )
    panels = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes in panels.flat[len(counts) :]:
        axes.remove()
    for axes, q in zip(panels.flat, counts, strict=False):
        batches = _averaged(curves[curves.name == f"agreement_q{q}"], curves.step.max())
        light = {"color": "0.75", "linewidth": 1}
        axes.plot(batches.step, batches.value * 100, label="training batches", **light)
        for name, label, look in (
            (f"valid_agreement_q{q}", "held-out pairs", line_look(*STRATA["U"])),
            (f"valid_agreement_q{q}_shuffled", "the same, shuffled: the floor", FLOOR),
        ):
            points = curves[curves.name == name]
            if len(points):
                axes.plot(points.step, points.value * 100, label=label, **look)
        axes.set(title=f"q = {q}", ylim=(0, None), xlabel="optimiser step")
        axes.set_xlim(0, 1.03 * curves.step.max())
    for axes in panels[:, 0]:
        axes.set_ylabel("pairs of equal label [%]")
    legend_below(figure, ncols=3, fontsize=8)
    return finished(figure)


def comparison_figure(runs):
    """Returns the validation AUC of several runs over their steps, one panel per stratum U and G.

    Arguments
    ---------
    runs : dict of str to pandas.DataFrame
        Label -> training curves, with the columns ``step``, ``name``, ``value``.

    Returns
    -------
    matplotlib.figure.Figure

    Example
    -------
    >>> curves = pd.DataFrame({"step": [10, 20], "name": "valid_auc_U", "value": [0.5, 0.7]})
    >>> [axes.get_title() for axes in comparison_figure({"mine": curves}).axes]
    ['U: any other person', 'G: same gender']
    """
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, stratum in zip(panels, "UG", strict=True):
        for (label, curves), look in zip(runs.items(), STRATA.values(), strict=False):
            points = curves[curves.name == f"valid_auc_{stratum}"]
            axes.plot(points.step, points.value * 100, label=label, **line_look(*look))
        axes.axhline(50, label="chance", **CHANCE)
        axes.set(title=f"{stratum}: {CONSTRAINTS[stratum]}", xlabel="optimiser step")
    panels[0].set_ylabel("validation AUC [%]")
    legend_below(figure, ncols=2)
    return finished(figure)


def plot_comparison(folders, stem):
    """Draws the validation AUC of several runs as PNG and PDF.

    Arguments
    ---------
    folders : dict of str to (str or Path)
        Label -> output folder of a run; at most six.
    stem : str or Path
        Path of the figure without its ending.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ValueError
        If a folder has no training curves.
    """
    runs = {}
    for label, folder in folders.items():
        path = Path(folder) / "train_curves.csv"
        if not path.is_file():
            raise ValueError(f"{path}: not found; expected the output folder of a training run")
        runs[label] = pd.read_csv(path)
    return save(comparison_figure(runs), Path(stem))


def plot_training(curves_csv, folder):
    """Draws the training curves of a run as PNG and PDF into a folder.

    Arguments
    ---------
    curves_csv : str or Path
        Columns ``step``, ``epoch``, ``name``, ``value``; see `training_figure`.
    folder : str or Path
        Made if missing.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ValueError
        If the file has none of the names drawn.
    """
    return save(training_figure(pd.read_csv(curves_csv)), Path(folder) / "training")


def _averaged(points, last_step):
    """Returns the mean step and value of each of about `POINTS_SHOWN` stretches of training."""
    stretch = (points.step - 1) // max(last_step / POINTS_SHOWN, 1)
    return points.groupby(stretch.rename("stretch"))[["step", "value"]].mean()
