"""Pictures of clips for a retrieval sheet, found through the manifests of a run."""

import numpy as np
from PIL import Image, ImageOps

from speechbrain_fv.data.schema import parse_speech
from speechbrain_fv.figures.plots.spectrogram import RANGE_DB, spectrogram
from speechbrain_fv.media.audio import AudioFile

SIDE = 160  # pixels
MAX_SECONDS = 2.5
SOUND = {"cmap": "gray_r", "origin": "lower", "aspect": "auto", "vmin": 0, "vmax": 1}
"""How matplotlib shows the picture of a sound."""


def read_picture(row):
    """Returns a clip as an image, or None if its file is absent or no such media.

    Arguments
    ---------
    row : dict
        Row of a manifest: a face with ``image``, or a voice with ``wav``, ``start``, ``stop``,
        ``speech``.

    Returns
    -------
    numpy.ndarray or None
        A face of shape (height, width, 3), 0 to 255; or a spectrogram of shape (frequencies,
        frames) in [0, 1], the lowest frequency first.
    """
    try:
        return _face(row["image"]) if "image" in row else sound_picture(*read_sound(row))
    except (OSError, ValueError):
        return None


def _face(path):
    from speechbrain_fv.media.images import decode_image  # torch, which other figures do without

    pixels = decode_image(path).permute(1, 2, 0).numpy()
    return np.asarray(ImageOps.fit(Image.fromarray(pixels), (SIDE, SIDE)))


def sound_picture(samples, rate):
    """Returns the spectrogram of samples, in [0, 1], from `RANGE_DB` below the loudest to it."""
    return 1 + spectrogram(samples, rate)[0] / RANGE_DB


def read_sound(row):
    """Returns the first `MAX_SECONDS` of a voice's speech, and their rate.

    Arguments
    ---------
    row : dict
        Row of a manifest, with ``wav``, ``start``, ``stop``, ``speech``.

    Returns
    -------
    samples : numpy.ndarray of float32, shape (num_samples,)
        Mono.
    rate : int
        In Hz.

    Raises
    ------
    ValueError, OSError
        If the file cannot be read.
    """
    start, stop = int(row["start"]), int(row["stop"])
    if row.get("speech"):
        start, stop = parse_speech(row["speech"])[0][0], parse_speech(row["speech"])[-1][1]
    with AudioFile(row["wav"]) as file:
        return file.read(start, min(stop, start + round(MAX_SECONDS * file.rate))), file.rate
