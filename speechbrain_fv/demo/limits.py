"""How much a visitor of the page may ask for at once."""

import os
from typing import NamedTuple


class Limits(NamedTuple):
    """Bounds of what is uploaded; `check_size` and the readers of media refuse more.

    megabytes : float
        Size of one file, in MB of 2^20 bytes.
    files : int
        Candidates of one ranking.
    seconds : float
        Length of one recording.
    megapixels : float
        Size of one image, before it is decoded.
    minutes : float
        How long uploaded files are kept.
    """

    megabytes: float = 20
    files: int = 20
    seconds: float = 120
    megapixels: float = 50
    minutes: float = 15

    @property
    def bytes(self):
        """Size of one file in bytes."""
        return round(2**20 * self.megabytes)

    @property
    def pixels(self):
        """Pixels of one image."""
        return round(1e6 * self.megapixels)


def check_limits(limits):
    """Raises ValueError naming the first bound that is not above 0."""
    for name, value in limits._asdict().items():
        if not 0 < value < float("inf"):
            raise ValueError(f"max_{name}: expected a number above 0, got {value}")


def check_size(path, limits):
    """Raises ValueError if a file is larger than allowed, or gone.

    Example
    -------
    >>> path = getfixture("tmp_path") / "face.jpg"
    >>> _ = path.write_bytes(bytes(3 * 2**20))
    >>> check_size(path, Limits(megabytes=2))
    Traceback (most recent call last):
    ValueError: 3.0 MB are too large; at most 2 MB
    """
    try:
        size = os.path.getsize(path)
    except OSError:
        raise ValueError("the upload has been deleted meanwhile; upload it again") from None
    if size > limits.bytes:
        raise ValueError(f"{size / 2**20:.1f} MB are too large; at most {limits.megabytes:g} MB")
