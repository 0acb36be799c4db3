"""The look that all figures share, and how they are written.

The colours are those of Okabe and Ito, which colour-blind readers tell apart; line styles, markers
and hatches differ as well, so that a grey print stays readable.
"""

from pathlib import Path

from speechbrain_fv.files import replacing

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
POSITIVE, NEGATIVE = "#0072B2", "#D55E00"
UNDATED = {".png": {}, ".pdf": {"CreationDate": None}}
"""Metadata of matplotlib's formats, without the time."""
BAND_OPACITY = 0.15
INTERVAL = {"color": "0.15", "linewidth": 1.1}


def percent(value):
    """Returns a fraction in percent, NaN for an undefined one (matplotlib leaves a gap).

    Example
    -------
    >>> percent(0.25), percent(None)
    (25.0, nan)
    """
    return float("nan") if value is None else 100 * value


def interval_percent(node, name):
    """Returns the ends of a value's interval in percent; NaN where there is none.

    Arguments
    ---------
    node : dict
        Part of a report that holds ``<name>_interval``, [low, high] or None, or no such key.
    name : str

    Example
    -------
    >>> interval_percent({"auc": 0.5, "auc_interval": [0.25, 0.75]}, "auc")
    (25.0, 75.0)
    """
    low, high = node.get(f"{name}_interval") or (None, None)
    return percent(low), percent(high)


def shortened(name, length=18):
    """Returns a printable name of at most `length` characters, its middle left out if need be.

    Example
    -------
    >>> shortened("id10270/5r0dWxy17C8/00001.wav")
    'id10270/…00001.wav'
    """
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    if len(name) <= length:
        return name
    tail = length // 2
    return f"{name[: length - tail - 1]}…{name[-tail:]}"


def line_look(colour, style, marker):
    """Returns the keywords with which `plot` and `errorbar` draw a line with small markers.

    Example
    -------
    >>> line_look(*STRATA["U"])
    {'color': '#0072B2', 'linestyle': '-', 'marker': 'o', 'markersize': 4}
    """
    return {"color": colour, "linestyle": style, "marker": marker, "markersize": 4}


def legend_below(figure, **options):
    """Puts one legend, that of the panel with the most entries, below all panels of a figure."""
    panels = [axes.get_legend_handles_labels() for axes in figure.axes]
    entries = max(panels, key=lambda panel: len(panel[1]))
    figure.legend(*entries, loc="outside lower center", **options)


def finished(figure, grid="y"):
    """Returns the figure with a light grid along an axis ("x", "y" or "both") and open frames."""
    for axes in figure.axes:
        axes.grid(axis=grid, color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def save(figure, stem):
    """Writes <stem>.png and <stem>.pdf, each whole or not at all; equal figures are equal files.

    Arguments
    ---------
    figure : matplotlib.figure.Figure
    stem : str or Path
        Path without its ending; the folder is made if missing.

    Returns
    -------
    list of Path
        The files written.
    """
    stem = Path(stem)
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("png", "pdf")]
    for path in paths:
        with replacing(path) as file:
            figure.savefig(file, dpi=200, format=path.suffix[1:], metadata=UNDATED[path.suffix])
    return paths
