"""The bounds of every image and audio file, in training and in use, and what is said beyond them.

What lies beyond the largest and smallest values here is refused by the scan of a corpus, by the
readers of the training, by inference, search and the page, with the same words.
"""

import math
from typing import NamedTuple

MAX_PIXELS = 50_000_000  # 150 MB decoded; phones take 12 to 50 million
MAX_IMAGE_BYTES = 500_000_000
MAX_ASPECT = 20  # of the sides: the reader enlarges the shorter one, and the longer one with it

MAX_SECONDS = 3600.0
MAX_SAMPLES = 2**28  # of one channel, 1 GiB decoded
MAX_PEAK = 8.0  # full scale is 1; integers stored as floats reach 127 or more
RATES = (4000, 768000)  # Hz
MAX_CHANNELS = 64


class Least(NamedTuple):
    """What a face or a voice must have at least, unless a preparation was told otherwise.

    face_pixels : int
        Shortest side of an image in pixels.
    seconds : float
        Length of a recording in seconds; of its speech, where silence is removed.
    level_db : float
        RMS of a recording in dB below full scale, at most 0.
    """

    face_pixels: int = 32
    seconds: float = 1.0
    level_db: float = -60.0


LEAST = Least()
ONE_COLOUR = "one colour only; expected a photo of a face"


def size_fault(width, height, min_pixels):
    """Returns why an image is too small, or "".

    Example
    -------
    >>> size_fault(90, 20, 32)
    '90 x 20 pixels, expected at least 32 a side; take a larger picture'
    """
    if min(width, height) >= min_pixels:
        return ""
    return (
        f"{width} x {height} pixels, expected at least {min_pixels} a side; take a larger picture"
    )


def level_fault(level, min_level, channels=1, loudest=-math.inf):
    """Returns why a recording of a level in dB is too quiet, or "".

    Arguments
    ---------
    level : float
        Of the mean of all channels; -inf where all its samples are equal.
    min_level : float
        Least level.
    channels : int
    loudest : float
        Level of the loudest channel by itself.

    Example
    -------
    >>> level_fault(-70.0, -60.0)
    'silent: -70.0 dB, expected at least -60 dB; record it louder'
    >>> level_fault(-math.inf, -60.0, 2, -20.0)
    'the 2 channels cancel each other out: -20.0 dB alone, 0 mixed down; keep one of them'
    """
    if level >= min_level:
        return ""
    heard = f"{level:.1f} dB" if math.isfinite(level) else "all samples are equal"
    # The mean of a voice in one of n channels is 20 log10 n dB below it, without cancelling.
    if channels > 1 and loudest >= min_level and level < loudest - 20 * math.log10(channels) - 6:
        mixed = f"{level:.1f} dB" if math.isfinite(level) else "0"
        return (
            f"the {channels} channels cancel each other out: {loudest:.1f} dB alone, {mixed} mixed "
            "down; keep one of them"
        )
    mixed = f" after mixing down {channels} channels" if channels > 1 else ""
    return f"silent: {heard}{mixed}, expected at least {min_level:g} dB; record it louder"


def short_fault(seconds, min_seconds, whole_seconds=None):
    """Returns why a recording is too short, or "".

    Arguments
    ---------
    seconds : float
        Length of what can be used.
    min_seconds : float
        Least of it.
    whole_seconds : float, optional
        Length of the recording that has so many seconds of speech, where silence was removed.

    Example
    -------
    >>> short_fault(0.5, 1)
    'too short: 0.50 s, expected at least 1 s; record more'
    >>> short_fault(0.0, 1, 2.0)
    'no speech in 2.00 s, expected at least 1 s; record more, or keep the silence'
    """
    if seconds >= min_seconds and (seconds or whole_seconds is None):
        return ""
    if whole_seconds is None:
        return f"too short: {seconds:.2f} s, expected at least {min_seconds:g} s; record more"
    found = f"{seconds:.2f} s of speech" if seconds else "no speech"
    return (
        f"{found} in {whole_seconds:.2f} s, expected at least {min_seconds:g} s; record more, or "
        "keep the silence"
    )
