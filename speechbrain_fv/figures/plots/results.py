"""Figures of a report: 1:N curves, AUC per stratum, ROC curves."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from speechbrain_fv.figures.plots.style import (
    BAND_OPACITY,
    CHANCE,
    CONSTRAINTS,
    INTERVAL,
    STRATA,
    finished,
    interval_percent,
    legend_below,
    line_look,
    percent,
    save,
)

LEAST_ACCEPTED = 20
"""Pairs of one person, and of two, that a point of a ROC curve on logarithmic axes accepts."""
TITLES = {"F-V": "Face to voice", "V-F": "Voice to face"}


def matching_figure(report):
    """Returns the 1:N curves with bands of their intervals, one panel per direction (Fig. 3).

    Arguments
    ---------
    report : dict
        With the entry "matching" of `evaluation.evaluate`. What is undefined is left out; without
        intervals there are no bands.

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
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (direction, strata) in zip(panels, report["matching"].items(), strict=True):
        known = {
            stratum: {name: value for name, value in values.items() if value}
            for stratum, values in strata.items()
            if values is not None
        }
        for stratum, values in known.items():
            _matching_curve(axes, stratum, values)
        candidates = sorted({int(name) for values in known.values() for name in values})
        axes.plot(candidates, [100 / n for n in candidates], label="chance", **CHANCE)
        axes.set(title=TITLES[direction], xlabel="candidates N")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("1:N accuracy [%]")
    panels[0].set_ylim(bottom=0)
    legend_below(figure, ncols=3)
    return finished(figure)


def _matching_curve(axes, stratum, values):
    look = line_look(*STRATA[stratum])
    candidates = [int(name) for name in values]
    accuracies = [percent(value["accuracy"]) for value in values.values()]
    axes.plot(candidates, accuracies, label=f"{stratum}: {CONSTRAINTS[stratum]}", **look)
    ends = np.array([interval_percent(value, "accuracy") for value in values.values()])
    if np.isfinite(ends).any():
        band = {"color": look["color"], "alpha": BAND_OPACITY, "linewidth": 0}
        axes.fill_between(candidates, *ends.T, **band)


def verification_figure(report):
    """Returns bars of the AUC per stratum, drawn from chance (50 %) upwards, with intervals.

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
        _auc_bar(axes, place, STRATA[stratum][0], values or {"auc": None})
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
    return finished(figure)


def has_values(node):
    """Whether a task of a report, or a part of it, holds any value."""
    return any(map(has_values, node.values())) if isinstance(node, dict) else node is not None


def _auc_bar(axes, place, colour, values):
    """Draws a bar with its value beyond its end, or beyond the end of its interval."""
    auc = percent(values["auc"])
    known = pd.notna(auc)
    top = auc if known else 50
    axes.bar(place, top - 50, bottom=50, width=0.65, color=colour)
    low, high = interval_percent(values, "auc")
    if pd.notna(low):
        axes.vlines(place, low, high, **INTERVAL)
        axes.hlines([low, high], place - 0.08, place + 0.08, **INTERVAL)
    above = top >= 50
    axes.annotate(
        f"{auc:.1f}" if known else "undefined",
        (place, np.nanmax([top, high]) if above else np.nanmin([top, low])),
        xytext=(0, 2 if above else -2),
        textcoords="offset points",
        ha="center",
        va="bottom" if above else "top",
        fontsize=9 if known else 7,
    )


def roc_figure(report):
    """Returns the ROC curve of each stratum with its band, on linear and on logarithmic axes.

    On the logarithmic axes a curve begins where `LEAST_ACCEPTED` pairs of one person and as many
    of two are accepted: below, it is the accident of a few pairs.

    Arguments
    ---------
    report : dict
        With ``roc`` in the strata of its entry "verification": ``false_accept`` and
        ``true_accept``, fractions of equal length, and if there are bands
        ``true_accept_interval``, their lower and their upper ends. Strata without it are left out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If no stratum has one.

    Example
    -------
    >>> roc = {"false_accept": [0, 0.1, 1], "true_accept": [0, 0.6, 1]}
    >>> figure = roc_figure({"verification": {"U": {"auc": 0.75, "roc": roc}, "G": None}})
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['U: any other person', 'chance']
    """
    curves = {
        stratum: values
        for stratum, values in report["verification"].items()
        if values and values.get("roc")
    }
    if not curves:
        raise ValueError("report: no stratum of its verification holds a ROC curve; evaluate anew")
    figure = Figure(figsize=(7.2, 3.9), layout="constrained")
    panels = figure.subplots(1, 2)
    whole = {stratum: _roc_points(values, 0) for stratum, values in curves.items()}
    sure = {stratum: _roc_points(values, LEAST_ACCEPTED) for stratum, values in curves.items()}
    for axes, points in zip(panels, (whole, sure), strict=True):
        for stratum, (false_accept, true_accept, ends) in points.items():
            colour, style, _ = STRATA[stratum]
            label = f"{stratum}: {CONSTRAINTS[stratum]}"
            axes.plot(false_accept, true_accept, color=colour, linestyle=style, label=label)
            if ends is not None:
                band = {"color": colour, "alpha": BAND_OPACITY, "linewidth": 0}
                axes.fill_between(false_accept, *ends, **band)
        axes.set_xlabel("false accept rate [%]")
    rates = [rate for x, y, _ in sure.values() for rate in (*x[:1], *y[:1])]
    diagonal = np.geomspace(np.clip(min(rates, default=1), 0.01, 10), 100, 100)
    for axes in panels:
        axes.plot(diagonal, diagonal, label="chance", **CHANCE)
    limits = (diagonal[0], 100)
    panels[1].set(xscale="log", yscale="log", xlim=limits, ylim=limits)
    for axis in (panels[1].xaxis, panels[1].yaxis):
        axis.set_major_formatter(lambda rate, _: f"{rate:g}")
    panels[0].set(ylabel="true accept rate [%]", title="Verification")
    panels[1].set_title("the same, logarithmic")
    legend_below(figure, ncols=3, fontsize=8)
    return finished(figure, grid="both")


def _roc_points(values, least):
    """Returns false and true accepts in percent and the ends of the band (2, num_points) or None.

    Of the points at which at least so many pairs of either kind are accepted.
    """
    roc = values["roc"]
    rates = [np.asarray(roc[name], dtype=float) for name in ("false_accept", "true_accept")]
    kept = np.full(len(rates[0]), True)
    for rate, name in zip(rates, ("num_negatives", "num_positives"), strict=True):
        if values.get(name):
            kept &= rate * values[name] >= least
    if least:  # not the corner at 0, of which a logarithm knows nothing
        kept &= (rates[0] > 0) & (rates[1] > 0)
    ends = roc.get("true_accept_interval")
    ends = None if ends is None else 100 * np.asarray(ends)[:, kept]
    return 100 * rates[0][kept], 100 * rates[1][kept], ends


def plot_report(report, folder):
    """Draws the report's figures, matching, verification and ROC, as PNG and PDF into a folder.

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
        if has_values(report.get(task)):
            paths += save(draw(report), Path(folder) / task)
    if any(values and values.get("roc") for values in report.get("verification", {}).values()):
        paths += save(roc_figure(report), Path(folder) / "roc")
    return paths
