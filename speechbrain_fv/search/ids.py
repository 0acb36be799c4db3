"""The names of a gallery's rows in one text; a million names take their bytes and 8 MB."""

import numpy as np

from speechbrain_fv.names import names_of


class Ids:
    """Names of rows 0, 1, 2 and so on, in UTF-8 one after the other.

    Arguments
    ---------
    text : array of shape (bytes,), uint8
    offsets : array of shape (N + 1,), int64
        Name i is ``text[offsets[i]:offsets[i + 1]]``.

    Raises
    ------
    ValueError
        If the offsets do not cut the text into N names.

    Example
    -------
    >>> ids = Ids.of(["ann", "bob"]).extended(["cem"])
    >>> ids[2], len(ids), list(ids.kept(np.array([True, False, True])))
    ('cem', 3, ['ann', 'cem'])
    """

    def __init__(self, text, offsets):
        # np.asarray gives a plain view; slicing a np.memmap is several times slower.
        text, offsets = np.asarray(text), np.asarray(offsets)
        bounds_hold = (
            text.dtype == np.uint8
            and offsets.dtype == np.int64
            and text.ndim == offsets.ndim == 1
            and len(offsets) > 0
            and offsets[0] == 0
            and offsets[-1] == len(text)
            and bool((offsets[1:] > offsets[:-1]).all())
        )
        if not bounds_hold:
            raise ValueError("the ids' offsets do not cut their text into names")
        self.text, self.offsets = text, offsets

    @classmethod
    def of(cls, names):
        """Returns the `Ids` of a list of str; ValueError unless each is text and not empty."""
        encoded = [_encode(name) for name in names]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        text = np.frombuffer(b"".join(encoded), np.uint8)
        return cls(text, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def __len__(self):
        return len(self.offsets) - 1

    def __getitem__(self, row):
        if not 0 <= row < len(self):
            raise IndexError(row)
        first, last = self.offsets[row], self.offsets[row + 1]
        return self.text[first:last].tobytes().decode()

    def extended(self, names):
        """Returns these `Ids` and more behind them."""
        more = Ids.of(names)
        offsets = np.concatenate([self.offsets, self.offsets[-1] + more.offsets[1:]])
        return Ids(np.concatenate([self.text, more.text]), offsets)

    def kept(self, mask):
        """Returns the `Ids` of the rows where a mask (N,) holds."""
        lengths = np.diff(self.offsets)
        offsets = np.concatenate([[0], np.cumsum(lengths[mask])]).astype(np.int64)
        return Ids(self.text[np.repeat(mask, lengths)], offsets)


def id_list(ids):
    """Returns one id or several as a list of str; ValueError for other than text.

    Example
    -------
    >>> id_list("ann"), id_list(("ann", "bob"))
    (['ann'], ['ann', 'bob'])
    """
    names = [ids] if isinstance(ids, str) or not np.iterable(ids) else list(ids)
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"ids: expected text that is not empty, got {name!r}")
    return names_of(names, "ids")


def _encode(name):
    if not isinstance(name, str) or not name:
        raise ValueError(f"ids: expected text that is not empty, got {name!r}")
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"ids: {name!r} is no Unicode text; rename the file, or choose another id"
        ) from None
