"""Contact sheets: the faces and voices of a few pairs as the model gets them."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from speechbrain_fv.figures.plots.media import SOUND, sound_picture
from speechbrain_fv.figures.plots.style import shortened

PER_ROW = 5
FACE, VOICE, TEXT, GAP = 1.4, 0.8, 0.3, 0.04
"""In inches: heights of the tiles, of a name above them, and what is between tiles."""


class SeenClips(NamedTuple):
    """Faces and voices as training reads them, pair by pair.

    faces : numpy.ndarray of uint8, shape (num_pairs, height, width, 3); None of precomputed vectors
    voices : numpy.ndarray of int16, shape (num_pairs, num_samples); None of precomputed vectors
    rate : int, of the voices, in Hz; 0 without
    face_identity, voice_identity : numpy.ndarray of str, shape (num_pairs,)
    """

    faces: np.ndarray | None
    voices: np.ndarray | None
    rate: int
    face_identity: np.ndarray
    voice_identity: np.ndarray


def contact_sheet_figure(seen):
    """Returns a sheet of pairs, a face above the spectrogram of the voice trained beside it.

    Arguments
    ---------
    seen : SeenClips
        With at least one modality.

    Returns
    -------
    matplotlib.figure.Figure
    """
    num_pairs = len(seen.face_identity)
    parts = [
        (clips, height)
        for clips, height in ((seen.faces, FACE), (seen.voices, VOICE))
        if clips is not None
    ]
    per_row = min(PER_ROW, num_pairs)
    band_height = sum(height + GAP for _, height in parts) + TEXT
    width, height = per_row * (FACE + GAP) + GAP, -(-num_pairs // per_row) * band_height
    figure = Figure(figsize=(width, height))
    for pair in range(num_pairs):
        band, column = divmod(pair, per_row)
        left, top = GAP + column * (FACE + GAP), height - band * band_height - TEXT
        for part, (clips, tile) in enumerate(parts):
            axes = figure.add_axes(
                (left / width, (top - tile) / height, FACE / width, tile / height),
                xticks=[], yticks=[],
            )  # fmt: skip
            if clips is seen.voices:
                axes.imshow(sound_picture(clips[pair], seen.rate), **SOUND)
            else:
                axes.imshow(clips[pair], aspect="auto")
            if not part:
                axes.set_title(_title(seen, pair), fontsize=8, pad=3, parse_math=False)
            axes.spines[:].set(color="0.6", linewidth=0.6)
            top -= tile + GAP
    return figure


def _title(seen, pair):
    """Returns the person, or two lines where face and voice are of two."""
    face, voice = str(seen.face_identity[pair]), str(seen.voice_identity[pair])
    return shortened(face) if face == voice else f"{shortened(face)}\nvoice: {shortened(voice, 12)}"
