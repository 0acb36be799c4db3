"""Report and training curves -> figures, as PNG and PDF; needs no model and no embeddings.

The colours are those of Okabe and Ito, which colour-blind readers tell apart; line styles and
markers differ as well, so that a grey print stays readable.
"""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

CHANCE = {"color": "0.45", "linestyle": ":", "linewidth": 1.2}
STRATA = {  # colour, line style, marker
    "U": ("#0072B2", "-", "o"),
    "G": ("#D55E00", "--", "s"),
    "N": ("#009E73", "-.", "^"),
    "A": ("#CC79A7", (0, (3, 1, 1, 1)), "v"),
    "GN": ("#E69F00", (0, (5, 1)), "D"),
    "GNA": ("#56B4E9", (0, (1, 1)), "P"),
}
CONSTRAINTS = {
    "U": "any other person",
    "G": "same gender",
    "N": "same nationality",
    "A": "same age group",
    "GN": "same gender, nationality",
    "GNA": "same gender, nationality, age",
}
LINES = tuple((colour, style) for colour, style, _ in STRATA.values())
PANELS = (  # prefix of the names in the curves, title, vertical axis, scale
    ("L_", "Training losses, unweighted", "loss", 1),
    ("agreement_", "Face and voice pseudo-labels agree", "pairs [%]", 100),
    ("valid_auc_", "Validation, verification", "AUC [%]", 100),
)
POINTS_SHOWN = 60  # a training curve is averaged to about this many points


def matching_figure(report):
    """Returns the 1:N curves, one panel per direction (Bi-Pcm, Fig. 3).

    Arguments
    ---------
    report : dict
        With the entry "matching" of `evaluation.evaluate`. Undefined strata are left out.

    Returns
    -------
    matplotlib.figure.Figure

    Example
    -------
    >>> values = {"2": {"accuracy": 0.8, "num_probes": 9}, "3": {"accuracy": 0.7, "num_probes": 9}}
    >>> figure = matching_figure({"matching": {"F-V": {"U": values}, "V-F": {"U": values}}})
    >>> [axes.get_title() for axes in figure.axes]
    ['Face to voice', 'Voice to face']
    """
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    titles = {"F-V": "Face to voice", "V-F": "Voice to face"}
    for axes, (direction, strata) in zip(panels, report["matching"].items(), strict=True):
        candidates = [int(name) for name in strata["U"]]
        for stratum, values in strata.items():
            if values is None:
                continue
            colour, style, marker = STRATA[stratum]
            accuracy = [_percent(value["accuracy"]) for value in values.values()]
            axes.plot(
                candidates,
                accuracy,
                color=colour,
                linestyle=style,
                marker=marker,
                markersize=4,
                label=f"{stratum}: {CONSTRAINTS[stratum]}",
            )
        axes.plot(candidates, [100 / n for n in candidates], label="chance", **CHANCE)
        axes.set(title=titles[direction], xlabel="candidates N")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("1:N accuracy [%]")
    panels[0].set_ylim(bottom=0)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return _finished(figure)


def verification_figure(report):
    """Returns bars of the AUC per stratum, drawn from chance (50 %) upwards.

    Arguments
    ---------
    report : dict
        With the entry "verification" of `evaluation.evaluate`. An undefined value has no bar.

    Returns
    -------
    matplotlib.figure.Figure

    Example
    -------
    >>> figure = verification_figure({"verification": {"U": {"auc": 0.85}, "G": None}})
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['85.0', 'undefined', 'chance']
    """
    figure = Figure(figsize=(5.4, 3.2), layout="constrained")
    axes = figure.subplots()
    strata = report["verification"]
    for place, (stratum, values) in enumerate(strata.items()):
        auc = _percent(values and values["auc"])
        known = pd.notna(auc)
        top = auc if known else 50
        axes.bar(place, top - 50, bottom=50, width=0.65, color=STRATA[stratum][0])
        axes.annotate(
            f"{auc:.1f}" if known else "undefined",
            (place, top),
            xytext=(0, 2 if top >= 50 else -2),
            textcoords="offset points",
            ha="center",
            va="bottom" if top >= 50 else "top",
            fontsize=9 if known else 7,
        )
    axes.axhline(50, **CHANCE)
    axes.annotate(
        "chance", (1, 50), xycoords=("axes fraction", "data"), xytext=(3, 0),
        textcoords="offset points", va="center", fontsize=8, color=CHANCE["color"],
    )  # fmt: skip
    axes.set_xticks(range(len(strata)), list(strata))
    axes.set(title="Verification", ylabel="AUC [%]")
    axes.set_xlabel("negatives: any (U), of the same gender (G), nationality (N), age group (A)")
    axes.use_sticky_edges = False  # leaves room below chance too
    axes.margins(y=0.15)
    return _finished(figure)


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
        for name, (colour, style) in zip(names, LINES, strict=False):
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
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    rows[-1].set_xlabel("optimiser step")
    return _finished(figure)


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
        for (label, curves), (colour, style, marker) in zip(
            runs.items(), STRATA.values(), strict=False
        ):
            points = curves[curves.name == f"valid_auc_{stratum}"]
            look = {"color": colour, "linestyle": style, "marker": marker, "markersize": 4}
            axes.plot(points.step, points.value * 100, label=label, **look)
        axes.axhline(50, label="chance", **CHANCE)
        axes.set(title=f"{stratum}: {CONSTRAINTS[stratum]}", xlabel="optimiser step")
    panels[0].set_ylabel("validation AUC [%]")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return _finished(figure)


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
    return _save(comparison_figure(runs), Path(stem))


def plot_report(report, folder):
    """Draws the report's figures, matching and verification, as PNG and PDF into a folder.

    Arguments
    ---------
    report : dict
        From `evaluation.evaluate`; an absent task has no figure.
    folder : str or Path
        Made if missing.

    Returns
    -------
    list of Path
        The files written.
    """
    figures = {"matching": matching_figure, "verification": verification_figure}
    paths = []
    for task, draw in figures.items():
        if task in report:
            paths += _save(draw(report), Path(folder) / task)
    return paths


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
    return _save(training_figure(pd.read_csv(curves_csv)), Path(folder) / "training")


def _percent(value):
    """Returns a fraction in percent, NaN for an undefined one (matplotlib leaves a gap)."""
    return float("nan") if value is None else 100 * value


def _averaged(points, last_step):
    """Returns the mean step and value of each of about `POINTS_SHOWN` stretches of training."""
    stretch = (points.step - 1) // max(last_step / POINTS_SHOWN, 1)
    return points.groupby(stretch.rename("stretch"))[["step", "value"]].mean()


def _finished(figure):
    """Returns the figure with a light grid and open frames."""
    for axes in figure.axes:
        axes.grid(axis="y", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _save(figure, stem):
    """Writes <stem>.png and <stem>.pdf and returns their paths."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_suffix(suffix) for suffix in (".png", ".pdf")]
    for path in paths:
        figure.savefig(path, dpi=200)
    return paths
