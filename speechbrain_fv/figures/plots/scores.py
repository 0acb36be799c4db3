"""Histograms of the scores of pairs of one person and of two."""

import numpy as np
from matplotlib.figure import Figure

from speechbrain_fv.figures.plots.style import (
    CONSTRAINTS,
    NEGATIVE,
    POSITIVE,
    finished,
    legend_below,
)

BARS = 60  # over the scores that occur
TAIL = 1e-5  # share of the pairs beyond either end that the axis leaves out


def histogram_figure(histograms, threshold=None):
    """Returns the densities of positives and negatives, one panel per stratum.

    Arguments
    ---------
    histograms : dict
        From `analysis.score_histograms`; its bins are merged to about `BARS` over the scores that
        occur.
    threshold : float, optional
        The score from which on a pair is taken for one person.

    Returns
    -------
    matplotlib.figure.Figure

    Example
    -------
    >>> counts = {"edges": np.array([-1, 0, 1]), "positives": np.array([0, 2])}
    >>> figure = histogram_figure(counts | {"negatives": {"U": np.array([1, 1])}})
    >>> [text.get_text() for text in figure.legends[0].texts]
    ['same person', 'two people']
    """
    strata = histograms["negatives"]
    name = histograms.get("score", "Cosine").replace("Cosine", "cosine")
    positives, edges = histograms["positives"], histograms["edges"]
    first, last = _support(positives + sum(strata.values()))
    width = max(-(-(last - first) // BARS), 1)
    starts = np.arange(first, last, width)
    edges = np.append(edges[starts], edges[min(starts[-1] + width, len(edges) - 1)])
    figure = Figure(figsize=(3.6 * len(strata), 3.4), layout="constrained")
    panels = figure.subplots(1, len(strata), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (stratum, negatives) in zip(panels, strata.items(), strict=True):
        for counts, label, look in (
            (positives, "same person", {"color": POSITIVE, "fill": True, "alpha": 0.35}),
            (positives, None, {"color": POSITIVE}),
            (negatives, "two people", {"color": NEGATIVE, "linestyle": "--"}),
        ):
            merged = np.add.reduceat(counts[:last], starts)
            density = merged / np.diff(edges) / max(counts.sum(), 1)
            axes.stairs(density, edges, label=label, linewidth=1.4, **look)
        if threshold is not None:
            axes.axvline(threshold, color="0.15", linewidth=1.1, label=f"threshold {threshold:.2f}")
        axes.set_title(
            f"{stratum}: {CONSTRAINTS[stratum]}\n{negatives.sum():,} pairs of two people"
        )
        axes.title.set_fontsize(10)
        axes.set_xlabel(f"score ({name})")
    panels[0].set_ylabel("density")
    title = f"{positives.sum():,} pairs of the same person"
    legend_below(figure, ncols=3, title=title, title_fontsize=9)
    return finished(figure)


def _support(counts):
    """Returns the first bin that is drawn and the one after the last."""
    share = np.cumsum(counts) / counts.sum()
    first = np.searchsorted(share, TAIL, side="right")
    return int(first), int(np.searchsorted(share, 1 - TAIL)) + 1
