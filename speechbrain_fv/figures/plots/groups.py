"""Bars per gender, nationality and age group."""

import numpy as np
from matplotlib.figure import Figure

from speechbrain_fv.figures.plots.style import (
    CHANCE,
    INTERVAL,
    STRATA,
    finished,
    interval_percent,
    percent,
    shortened,
)

LETTERS = {"gender": "G", "nationality": "N", "age": "A"}
MAX_GROUPS = 24  # of an attribute


def group_figure(groups):
    """Returns bars of the AUC within each group with the numbers of people, from chance (50 %).

    Arguments
    ---------
    groups : dict of str to list of dict
        From `group_evaluation.evaluate_groups`. A group without a value has no bar and a "-". Of
        an attribute with many groups the largest `MAX_GROUPS` are drawn, and the rest counted.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no attribute.

    Example
    -------
    >>> entries = [{"group": "f", "auc": 0.75, "num_identities": 9}]
    >>> [text.get_text() for text in group_figure({"gender": entries}).axes[0].texts]
    ['75.0  (n = 9)']
    """
    if not groups:
        raise ValueError("groups: expected at least one attribute, got none; give metadata.")
    heights = [min(len(entries), MAX_GROUPS) + 1.2 for entries in groups.values()]
    figure = Figure(figsize=(5.6, 0.27 * sum(heights) + 0.8), layout="constrained")
    panels = figure.subplots(len(groups), 1, sharex=True, height_ratios=heights, squeeze=False)
    for axes, (attribute, entries) in zip(panels[:, 0], groups.items(), strict=True):
        left_out = max(len(entries) - MAX_GROUPS, 0)
        more = f" ({left_out} more groups not drawn)" if left_out else ""
        axes.set_title(f"{attribute}{more}", loc="left", fontsize=10)
        _bars(axes, STRATA[LETTERS[attribute]][0], entries[:MAX_GROUPS])
    panels[0, 0].margins(x=0.05)
    panels[0, 0].use_sticky_edges = False  # leaves room below chance too
    panels[-1, 0].set_xlabel("AUC within the group [%]; dotted: chance")
    return finished(figure, grid="x")


def _bars(axes, colour, entries):
    for place, entry in enumerate(entries):
        auc = percent(entry["auc"])
        ends = np.array([auc, *interval_percent(entry, "auc")])
        axes.barh(place, np.nan_to_num(auc - 50), left=50, height=0.7, color=colour)
        axes.hlines(place, *ends[1:], **INTERVAL)
        axes.vlines(ends[1:], place - 0.15, place + 0.15, **INTERVAL)
        axes.annotate(
            f"{'-' if entry['auc'] is None else f'{auc:.1f}'}  (n = {entry['num_identities']})",
            (1.0, place), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    axes.axvline(50, **CHANCE)
    axes.set_yticks(range(len(entries)), [shortened(entry["group"]) for entry in entries])
    for label in axes.get_yticklabels():
        label.set(parse_math=False, fontsize=8)
    axes.set_ylim(len(entries) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
