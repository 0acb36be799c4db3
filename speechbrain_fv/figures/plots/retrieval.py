"""Retrieval sheets: queries and the clips that score highest, those of the same person framed."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from speechbrain_fv.figures.plots.media import SOUND
from speechbrain_fv.figures.plots.style import POSITIVE, shortened

QUERIES = {"F-V": "query: a face", "V-F": "query: a voice"}


class Tile(NamedTuple):
    """A clip on a sheet.

    name : str, of the clip
    identity : str
    picture : numpy.ndarray, an image or a spectrogram (see `media.read_picture`); None: the name
    """

    name: str
    identity: str
    picture: np.ndarray | None = None


def retrieval_figure(rows, direction):
    """Returns a sheet with a query per row and its best clips, same person framed (Fig. 5).

    Arguments
    ---------
    rows : list of (Neighbours, Tile, list of Tile)
        From `analysis.nearest_clips`, the query and the clips found.
    direction : str
        "F-V" or "V-F".

    Returns
    -------
    matplotlib.figure.Figure
    """
    num_shown = max(len(tiles) for _, _, tiles in rows)
    height = 1.5 * len(rows) + 0.4  # inches, as all sizes below
    figure = Figure(figsize=(1.2 * num_shown + 1.5, height))
    grid = figure.subplots(
        len(rows), num_shown + 2, squeeze=False, width_ratios=[1, 0.1, *[1] * num_shown]
    )
    figure.subplots_adjust(
        left=0.02, right=0.98, bottom=0.25 / height, top=1 - 0.45 / height, wspace=0.1, hspace=0.4
    )
    for axes in grid.flat:
        axes.set_axis_off()
    for cells, (found, query, tiles) in zip(grid, rows, strict=True):
        _draw(cells[0], query, f"{query.identity}", right=None)
        cells[0].text(
            0.5, -0.05, f"first at {found.first_right} of {found.gallery_size}",
            ha="center", va="top", fontsize=6.5, transform=cells[0].transAxes,
        )  # fmt: skip
        scores = zip(cells[2:], tiles, found.scores, found.right, strict=False)
        for axes, tile, score, right in scores:
            _draw(axes, tile, f"{'✓ ' if right else ''}{score:.2f}", right)
    figure.text(0.02, 0.995, QUERIES[direction], va="top", fontsize=8, style="italic")
    figure.text(
        0.98, 0.995, "best first, with scores; framed, ✓: the same person",
        ha="right", va="top", fontsize=8, style="italic",
    )  # fmt: skip
    return figure


def _draw(axes, tile, title, right):
    """Draws a clip with a frame: thick for the same person, thin for another, none for a query."""
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[], box_aspect=1)
    axes.set_title(
        shortened(title), fontsize=7.5, pad=3, parse_math=False,
        weight="bold" if right else "normal",
    )  # fmt: skip
    if tile.picture is None:
        text = f"{shortened(tile.identity)}\n{shortened(tile.name)}"
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=6, parse_math=False)
    else:
        axes.imshow(tile.picture, **(SOUND if tile.picture.ndim == 2 else {"aspect": "auto"}))
    for spine in axes.spines.values():
        spine.set(color=POSITIVE if right else "0.6", linewidth=3.5 if right else 0.6)
