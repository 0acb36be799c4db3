"""The bounds of every image and audio file, in training and in use.

What lies beyond the largest and smallest values here is refused by the scan of a corpus, by the
readers of the training, by inference, search and the page, with the same words.
"""

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
