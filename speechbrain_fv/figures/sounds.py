"""Short sounds as MP3, which every browser plays and a page can hold."""

import io
from typing import NamedTuple

import numpy as np
import soundfile

from speechbrain_fv.figures.plots.media import MAX_SECONDS, read_sound


class Sound(NamedTuple):
    """A sound to be played on a page.

    name : str, what it is of
    mp3 : bytes, about 5 kB for each second
    """

    name: str
    mp3: bytes


def read_mp3(row):
    """Returns what the picture of a voice shows as the bytes of an MP3, None if there is no file.

    Arguments
    ---------
    row : dict
        Row of a manifest, with ``wav``, ``start``, ``stop``, ``speech``.
    """
    try:
        return mp3(*read_sound(row))
    except (OSError, ValueError):
        return None


def mp3(samples, rate):
    """Returns the first `MAX_SECONDS` of samples as the bytes of an MP3; equal sounds, equal bytes.

    Arguments
    ---------
    samples : array of float or int16, shape (num_samples,)
        Mono.
    rate : int
        In Hz.

    Returns
    -------
    bytes or None
        None at a rate that MP3 does not have.

    Example
    -------
    >>> len(mp3(np.zeros(16000), 16000)) < 10_000, mp3(np.zeros(9), 96000)
    (True, None)
    """
    file = io.BytesIO()
    try:
        soundfile.write(file, np.asarray(samples)[: round(MAX_SECONDS * rate)], rate, format="MP3")
    except soundfile.LibsndfileError:
        return None
    return file.getvalue()
