"""Pictures of clips for a retrieval sheet, found through the manifests of a run."""

import numpy as np
from PIL import Image, ImageOps

from speechbrain_fv.data.schema import parse_speech
from speechbrain_fv.figures.plots.spectrogram import RANGE_DB, spectrogram
from speechbrain_fv.media.audio import AudioFile

SIDE = 160  # pixels
MAX_SECONDS = 2.5


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
        return _face(row["image"]) if "image" in row else _spectrogram(row)
    except (OSError, ValueError):
        return None


def _face(path):
    from speechbrain_fv.media.images import decode_image  # torch, which other figures do without

    pixels = decode_image(path).permute(1, 2, 0).numpy()
    return np.asarray(ImageOps.fit(Image.fromarray(pixels), (SIDE, SIDE)))


def _spectrogram(row):
    """Returns levels in dB below the loudest, from `RANGE_DB` below it (0) to it (1)."""
    start, stop = int(row["start"]), int(row["stop"])
    if row.get("speech"):
        start, stop = parse_speech(row["speech"])[0][0], parse_speech(row["speech"])[-1][1]
    with AudioFile(row["wav"]) as file:
        rate = file.rate
        samples = file.read(start, min(stop, start + round(MAX_SECONDS * rate)))
    return 1 + spectrogram(samples, rate)[0] / RANGE_DB
