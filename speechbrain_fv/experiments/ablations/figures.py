"""The table of an ablation -> figures, as PNG and PDF; needs no run, no model.

Colours are those of Okabe and Ito; hatches, line styles and markers differ too, for a grey print.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from speechbrain_fv.figures.plots.style import (
    CHANCE,
    STRATA,
    finished,
    legend_below,
    line_look,
    save,
)
from speechbrain_fv.messages import metric_label

METRICS = (  # of figures and tables, unless a grid names its own
    *(f"verification/{stratum}/auc" for stratum in ("U", "G", "N", "A", "GNA")),
    *(f"matching/{direction}/U/2/accuracy" for direction in ("F-V", "V-F")),
    *(f"retrieval/{direction}/map" for direction in ("F-V", "V-F")),
)
LOOKS = (*STRATA.values(), ("#000000", (0, (4, 1, 1, 1)), "X"))  # colour, line style, marker
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo", "+++")
CHANCE_IS_HALF = ("AUC", "1:2")  # how the labels of measurements start whose chance is 50 %


def bars_figure(table, grid):
    """Returns bars from chance (50 %) upwards, a group per measurement, a bar per variant.

    Arguments
    ---------
    table : pandas.DataFrame
        From `results.collect`, of one grid; means over seeds are drawn, with their intervals, or
        where there are none with the standard deviation over seeds.
    grid : dict
        "title" and "metrics" are used; only AUC and 1:2 accuracy are drawn. At most 7 variants.

    Returns
    -------
    matplotlib.figure.Figure

    Example
    -------
    >>> row = {"variant": "all", "metric": "verification/U/auc", "value": 0.8}
    >>> table = pd.DataFrame([row], columns=["seed", "epoch", "low", "high", "std", *row])
    >>> [text.get_text() for text in bars_figure(table, {}).axes[0].get_xticklabels()]
    ['AUC U']
    """
    means = _means(table, grid)
    means = means[means.metric.map(metric_label).str.startswith(CHANCE_IS_HALF)]
    metrics, variants = list(means.metric.unique()), list(means.variant.unique())
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(variants)
    for number, (variant, (colour, *_), hatch) in enumerate(
        zip(variants, LOOKS, HATCHES, strict=False)
    ):
        rows = means[means.variant == variant].set_index("metric").reindex(metrics)
        places = np.arange(len(metrics)) + (number - (len(variants) - 1) / 2) * width
        axes.bar(
            places, 100 * rows.value - 50, width, 50, color=colour, hatch=hatch,
            edgecolor="white", linewidth=0.4, label=variant.replace("_", " "),
        )  # fmt: skip
        axes.errorbar(
            places, 100 * rows.value, _errors(rows), fmt="none", color="0.15",
            capsize=2, linewidth=0.9,
        )  # fmt: skip
    axes.axhline(50, label="chance", **CHANCE)
    axes.set_xticks(range(len(metrics)), [metric_label(metric) for metric in metrics])
    axes.set(title=grid.get("title"), ylabel=f"AUC, accuracy [%]\n{_meaning(means)}")
    axes.use_sticky_edges = False  # leaves room below chance too
    axes.margins(y=0.08)
    figure.legend(loc="outside lower center", ncols=min(len(variants) + 1, 4))
    return finished(figure)


def line_figure(table, grid):
    """Returns a line per series over the numbers that the variants' names end in, by measurement.

    Arguments
    ---------
    table : pandas.DataFrame
        From `results.collect`, of one grid, drawn as in `bars_figure`. A variant "0.1" is a point
        at 0.1, "no_BiP_100" a point at 100 of the series "no BiP".
    grid : dict
        "title", "metrics" (a panel each for the first four) and "xlabel" are used.

    Returns
    -------
    matplotlib.figure.Figure

    Example
    -------
    >>> rows = [("0.1", "verification/U/auc", 0.8), ("0.2", "verification/U/auc", 0.7)]
    >>> table = pd.DataFrame(rows, columns=["variant", "metric", "value"])
    >>> table[["seed", "epoch", "low", "high", "std"]] = np.nan
    >>> line_figure(table, {"xlabel": "tau"}).axes[0].lines[0].get_xdata()
    array([0.1, 0.2])
    """
    means = _means(table, grid)
    parts = means.variant.str.extract(r"^(?:(.*)_)?([^_]+)$")
    means = means.assign(series=parts[0].fillna(""), x=pd.to_numeric(parts[1]))
    metrics = list(means.metric.unique())[:4]
    figure = Figure(figsize=(3.6 * len(metrics), 3.2), layout="constrained")
    panels = figure.subplots(1, len(metrics), sharex=True, squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        groups = means[means.metric == metric].groupby("series", sort=False)
        for (series, rows), look in zip(groups, LOOKS, strict=False):
            rows = rows.sort_values("x")
            axes.errorbar(
                rows.x.to_numpy(), 100 * rows.value.to_numpy(), _errors(rows), capsize=2,
                label=series.replace("_", " "), **line_look(*look),
            )  # fmt: skip
        if means.x.min() > 0 and means.x.max() >= 10 * means.x.min():
            axes.set_xscale("log")
            axes.set_xticks(sorted(means.x.unique()), [f"{x:g}" for x in sorted(means.x.unique())])
            axes.minorticks_off()
        axes.set(title=metric_label(metric), xlabel=grid.get("xlabel"))
    panels[0].set_ylabel(f"[%], {_meaning(means)}")
    if means.series.any():
        legend_below(figure, ncols=4)
    figure.suptitle(grid.get("title"))
    return finished(figure)


def agreement_figure(table, grid):
    """Returns the label agreement over the epochs, in training and held out (Bi-Pcm, Fig. 7).

    Arguments
    ---------
    table : pandas.DataFrame
        From `results.collect`, of one grid: the metrics ``agreement/train/<q>`` and
        ``agreement/valid/<q>``, means over seeds, standard deviation shaded. A panel per variant.
    grid : dict
        "title" is used.

    Returns
    -------
    matplotlib.figure.Figure

    Example
    -------
    >>> table = pd.DataFrame({"epoch": [1, 2], "value": [0.2, 0.3], "seed": np.nan, "std": np.nan})
    >>> table[["variant", "metric"]] = ["F", "agreement/train/8"]
    >>> [line.get_label() for line in agreement_figure(table, {}).axes[0].lines]
    ['q = 8, training']
    """
    means = table[table.seed.isna() & table.metric.str.startswith("agreement/")]
    parts = means.metric.str.split("/", expand=True)
    means = means.assign(part=parts[1], q=parts[2].astype(int))
    clusters, variants = sorted(means.q.unique()), list(means.variant.unique())
    num_columns = min(4, len(variants))
    num_rows = -(-len(variants) // num_columns)
    size = (max(1.9 * num_columns, 5.2), 2.1 * num_rows + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False)
    handles = {}
    for axes, variant in zip(panels.flat, variants, strict=False):
        for q, rows in means[means.variant == variant].groupby("q"):
            for line in _agreement_lines(axes, rows, q, LOOKS[clusters.index(q) % len(LOOKS)]):
                handles.setdefault(line.get_label(), line)
        axes.set_title(variant.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        axes.tick_params(labelbottom=True)  # the place below may be empty
    for axes in panels.flat[len(variants) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("pairs that agree [%]")
    for axes in panels[-1]:
        axes.set_xlabel("epoch")
    figure.suptitle(grid.get("title"))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=3, fontsize=8)
    return finished(figure)


def _agreement_lines(axes, rows, q, look):
    """Draws both curves of one q and their floor; returns the lines."""
    colour, _, marker = look
    lines = []
    for part, name, style, face in (
        ("train", "training", "-", colour),
        ("valid", "held out", "--", "white"),
    ):
        part_rows = rows[rows.part == part].sort_values("epoch")
        if part_rows.empty:
            continue
        epochs, values = part_rows.epoch.astype(int), 100 * part_rows.value
        line = line_look(colour, style, marker) | {"markerfacecolor": face}
        lines += axes.plot(epochs, values, label=f"q = {q}, {name}", **line)
        spread = 100 * part_rows["std"].astype(float)
        axes.fill_between(epochs, values - spread, values + spread, color=colour, alpha=0.15)
    floor = rows[rows.part == "shuffled"].sort_values("epoch")
    if len(floor):
        look = {**CHANCE, "color": colour, "linewidth": 0.9}
        epochs = floor.epoch.astype(int)
        lines += axes.plot(epochs, 100 * floor.value, label=f"q = {q}, shuffled pairs", **look)
    return lines


FIGURES = {"bars": bars_figure, "lines": line_figure, "agreement": agreement_figure}


def plot_ablations(csv, grids, folder):
    """Draws the figures that the grids ask for, as PNG and PDF into a folder.

    Arguments
    ---------
    csv : path
        The table of `results.collect`.
    grids : dict of str to dict
        Name -> grid; "figures" lists some of `FIGURES`.
    folder : path
        Made if missing.

    Returns
    -------
    list of Path
        The files written, ``<grid>_<kind>``; a grid without finished runs has none.
    """
    table = pd.read_csv(csv, dtype={"variant": str})
    paths = []
    for name, grid in grids.items():
        rows = table[table.grid == name]
        for kind in grid.get("figures", ()) if len(rows) else ():
            paths += save(FIGURES[kind](rows, grid), Path(folder) / f"{name}_{kind}")
    return paths


def _means(table, grid):
    """Returns the rows of means over seeds, of the grid's measurements, in its order."""
    order = list(grid.get("metrics", METRICS))
    means = table[table.seed.isna() & table.epoch.isna() & table.metric.isin(order)]
    return means.sort_values("metric", key=lambda names: names.map(order.index), kind="stable")


def _errors(rows):
    """Returns lengths below and above in percent, shape (2, n): interval, or standard deviation."""
    spread = rows["std"].astype(float)
    low = (rows.value - rows.low.astype(float)).fillna(spread)
    high = (rows.high.astype(float) - rows.value).fillna(spread)
    # An interval of an earlier version may miss its value; matplotlib takes no negative length.
    return 100 * np.clip([low, high], 0, None)


def _meaning(means):
    if means.low.notna().any():
        return "95 % interval over identities"
    return "± standard deviation over seeds" if means["std"].notna().any() else "one seed"
