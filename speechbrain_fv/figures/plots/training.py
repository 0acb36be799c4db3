"""Figures of the training: loss terms, label agreement, validation; several runs compared."""

from itertools import cycle
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
    legend_beside,
    line_look,
    save,
)

PANELS = (  # prefix of the names in the curves, title, vertical axis, scale
    ("L_", "Training losses, unweighted", "loss", 1),
    ("agreement_", "Face and voice pseudo-labels agree", "pairs [%]", 100),
    ("valid_auc_", "Validation, verification", "AUC [%]", 100),
)
POINTS_SHOWN = 60  # a training curve is averaged to about this many points


def training_figure(curves):
    """Returns loss terms, label agreement (Bi-Pcm, Fig. 7) and validation AUC over the steps.

    Arguments
    ---------
    curves : pandas.DataFrame
        Columns ``step``, ``name``, ``value``; names ``L_*``, ``agreement_*`` and ``valid_auc_*``
        are drawn, each kind in a panel of its own if there is any.

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
    'Training losses, unweighted'
    """
    panels = [panel for panel in PANELS if curves.name.str.startswith(panel[0]).any()]
    if not panels:
        raise ValueError(
            f"curves: expected names starting with {[panel[0] for panel in PANELS]}, found "
            f"{sorted(curves.name.unique())}; draw the figure once a step is logged."
        )
    figure = Figure(figsize=(7.2, 2.3 * len(panels)), layout="constrained")
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (prefix, title, label, scale) in zip(rows, panels, strict=True):
        names = curves.name[curves.name.str.startswith(prefix)].unique()
        for name, (colour, style) in zip(names, cycle(LINES), strict=False):
            points = _averaged(curves[curves.name == name], curves.step.max())
            axes.plot(
                points.step,
                points.value * scale,
                color=colour,
                linestyle=style,
                marker="." if len(points) < POINTS_SHOWN / 2 else None,
                label=name.removeprefix("agreement_").removeprefix("valid_auc_"),
            )
        if prefix == "valid_auc_":
            axes.axhline(50, label="chance", **CHANCE)
        axes.set(title=title, ylabel=label)
        legend_beside(axes)
    rows[-1].set_xlabel("optimiser step")
    return finished(figure)


def agreement_figure(curves):
    """Returns the hard label agreement (Eq. 5) per q over training, beside its floor (Fig. 7).

    The floor is the agreement of shuffled held-out pairs; it is not 1/q, since clusters differ in
    size, and pairs may seed them. Training logged it per epoch; without it none is drawn.

    Arguments
    ---------
    curves : pandas.DataFrame
        Columns ``step``, ``name``, ``value``; names ``agreement_q<q>`` and
        ``valid_agreement_q<q>_shuffled`` are drawn.

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
    >>> [text.get_text() for text in agreement_figure(curves).axes[0].get_legend().texts]
    ['q = 8']
    """
    names = curves.name[curves.name.str.fullmatch(r"agreement_q\d+")].unique()
    counts = sorted(int(name.removeprefix("agreement_q")) for name in names)
    if not counts:
        raise ValueError(
            f"curves: expected names agreement_q<q>, found {sorted(curves.name.unique())}; only "
            "training with pseudo-labels logs them."
        )
    figure = Figure(figsize=(5.4, 3.2), layout="constrained")
    axes, has_floor = figure.subplots(), False
    for look, q in zip(cycle(STRATA.values()), counts, strict=False):
        points = _averaged(curves[curves.name == f"agreement_q{q}"], curves.step.max())
        line = {**line_look(*look), "label": f"q = {q}", "markevery": 0.08}
        axes.plot(points.step, points.value * 100, **line)
        floor = curves[curves.name == f"valid_agreement_q{q}_shuffled"]
        has_floor |= len(floor) > 0
        axes.plot(floor.step, floor.value * 100, **CHANCE | {"color": look[0]})
    if has_floor:
        axes.plot([], [], label="shuffled pairs, held out", **CHANCE)
    axes.set(xlabel="optimiser step", ylabel="pairs of equal label [%]", ylim=(0, None))
    axes.set_title("Face and voice pseudo-labels agree")
    legend_beside(axes)
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
