"""The 1:N curves of the methods (Fig. 3)."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from speechbrain_fv.experiments.comparison.values import POOLED
from speechbrain_fv.figures.plots.results import TITLES
from speechbrain_fv.figures.plots.style import (
    BAND_OPACITY,
    CHANCE,
    STRATA,
    finished,
    legend_below,
    line_look,
)


def matching_figure(table, labels, reference):
    """Returns the 1:N accuracy against any other people, a line per method, a panel per direction.

    Arguments
    ---------
    table : pandas.DataFrame
        From `values.collect`; means over seeds are drawn.
    labels : dict of str to str
        Method -> how the legend calls it, in order.
    reference : str
        The method whose 95 % interval is shown as a band.

    Returns
    -------
    matplotlib.figure.Figure
    """
    parts = table.metric.str.extract(r"^matching/([^/]+)/U/(\d+)/accuracy$")
    rows = table.assign(direction=parts[0], n=parts[1])
    rows = rows[rows.seed.isna() & (rows.grid == POOLED)].dropna(subset="n")
    rows = rows.assign(n=rows.n.astype(int)).sort_values("n")
    figure = Figure(figsize=(7.6, 5.2), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (direction, title) in zip(panels, TITLES.items(), strict=True):
        for number, (method, label) in enumerate(labels.items()):
            own = rows[(rows.variant == method) & (rows.direction == direction)]
            look = _look(number)
            axes.plot(own.n, 100 * own.value, label=label, **look)
            if method == reference and own.low.notna().any():
                ends = (100 * own[end].astype(float) for end in ("low", "high"))
                band = {"color": look["color"], "alpha": BAND_OPACITY, "linewidth": 0}
                axes.fill_between(own.n, *ends, **band)
        candidates = sorted(rows.n.unique())
        axes.plot(candidates, [100 / n for n in candidates], label="chance", **CHANCE)
        axes.set(title=title, xlabel="candidates N")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("1:N accuracy [%]")
    panels[0].set_ylim(bottom=0)
    legend_below(figure, ncols=4, fontsize=8)
    return finished(figure)


def _look(number):
    """Returns the look of a line: 36 differ in colour or in line style."""
    looks = list(STRATA.values())
    colour, _, _ = looks[number % len(looks)]
    _, style, marker = looks[(number + number // len(looks)) % len(looks)]
    return line_look(colour, style, marker)
