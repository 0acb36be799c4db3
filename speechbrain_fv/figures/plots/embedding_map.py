"""Maps of embeddings in the plane: faces and voices of a few people."""

import string

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Tol's "muted" scheme and a grey; each person has a letter too, which does not depend on colour.
COLOURS = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255",
    "#AA4499", "#555555",
)  # fmt: skip


def embedding_map_figure(maps, face_identity, voice_identity):
    """Returns maps side by side, with faces as filled discs and voices as open squares (Fig. 6).

    Arguments
    ---------
    maps : dict of str to (array of shape (num_faces, 2), array of shape (num_voices, 2))
        Title -> places of faces and voices, from `analysis.map_clips`.
    face_identity : sequence of num_faces str
    voice_identity : sequence of num_voices str
        At most 10 people together; each has a colour and a letter.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there are more people than colours.

    Example
    -------
    >>> figure = embedding_map_figure({"": (np.eye(2), np.eye(2))}, ["a", "b"], ["a", "b"])
    >>> [text.get_text() for text in figure.legends[0].texts]
    ['face', 'voice']
    """
    people = sorted({*face_identity, *voice_identity})
    if len(people) > len(COLOURS):
        raise ValueError(
            f"identities: expected at most {len(COLOURS)} to tell apart, got {len(people)}."
        )
    number = {person: index for index, person in enumerate(people)}
    figure = Figure(figsize=(3.9 * len(maps) + 0.2, 4.7), layout="constrained")
    panels = figure.subplots(1, len(maps), squeeze=False)[0]
    for axes, (title, (faces, voices)) in zip(panels, maps.items(), strict=True):
        for places, names, is_face in (
            (voices, voice_identity, False),
            (faces, face_identity, True),
        ):
            _clips(axes, np.asarray(places), [number[name] for name in names], is_face)
        axes.set(title=title, xticks=[], yticks=[], aspect="equal", adjustable="datalim")
        axes.margins(0.06)
    dot = {"linestyle": "", "color": "0.3", "markersize": 10}
    figure.legend(
        handles=[
            Line2D([], [], marker="o", label="face", **dot),
            Line2D([], [], marker="s", label="voice", markerfacecolor="white", **dot),
        ],
        title="Each letter, with its colour, is a person.", title_fontsize=9,
        loc="outside lower center", ncols=2,
    )  # fmt: skip
    return figure


def _clips(axes, places, numbers, is_face):
    """Draws clip after clip with the letter of its person, so that a later clip hides both."""
    for (x, y), number in zip(places, numbers, strict=True):
        light = is_face and number not in (1, 2, 4, 5)  # letters on dark discs are white
        axes.scatter(
            x, y, s=105, marker="o" if is_face else "s", linewidths=1.1, zorder=3,
            facecolors=COLOURS[number] if is_face else "white", edgecolors=COLOURS[number],
        )  # fmt: skip
        axes.annotate(
            string.ascii_uppercase[number], (x, y), ha="center", va="center_baseline",
            fontsize=7.5, weight="bold", zorder=3, color="white" if light else "black",
        )  # fmt: skip
