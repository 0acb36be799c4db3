"""Media read once and kept as training needs them: images resized, speech at the model's rate.

A cache is a folder as that of features, with rows of bytes of any length::

    about.json     of what reader the rows are
    index.bin      for each row: the SHA-256 of what it is of, a checksum, where it ends, its shape
    media.bin      the bytes of the rows, one after the other
    checked.json   size and time of these files when all checksums were last compared, and the rows
                   that were damaged; without it, or once they have changed, all are compared again

One memory-mapped file, not shards: a batch is drawn from the whole corpus at random, as without a
cache, and what is read of it stays in the memory that all reading processes share.
"""

import functools
import json
import logging
import math

import numpy as np
import torch

from speechbrain_fv.data.features import FeatureStore
from speechbrain_fv.files import file_stamp, replacing

logger = logging.getLogger(__name__)

CHECKED_FILE = "checked.json"


class MediaStore(FeatureStore):
    """Arrays of one type and of many shapes by name, in a folder.

    Arguments
    ---------
    folder, about
        As for `FeatureStore`; `about` has the entry "dtype".

    Example
    -------
    >>> from speechbrain_fv.data.features import row_name
    >>> store = MediaStore(getfixture("tmp_path") / "store", {"dtype": "uint8"})
    >>> with store.filling():
    ...     store.add([row_name("clip")], [np.arange(6, dtype=np.uint8).reshape(2, 3)])
    >>> row = store.rows([row_name("clip")])[row_name("clip")]
    >>> store.arrays()[row].tolist()
    [[0, 1, 2], [3, 4, 5]]
    """

    entry = np.dtype([("name", "V32"), ("checksum", "<u4"), ("end", "<u8"), ("shape", "<u4", 3)])
    what, data_file = "media", "media.bin"
    option = "media_cache"

    def add(self, names, arrays):
        """Adds arrays of at most three axes, all or none; only inside of `filling`."""
        arrays = [np.ascontiguousarray(array, self.about["dtype"]) for array in arrays]
        entries = np.zeros(len(names), self.entry)
        for entry, name, array in zip(entries, names, arrays, strict=True):
            entry["name"], entry["checksum"] = np.void(name), self._checksum(name, array)
            entry["shape"][: array.ndim] = array.shape
        with self._told():
            if self.dim is None:
                self._describe(1)
            sizes = np.cumsum([array.nbytes for array in arrays], dtype=np.uint64)
            entries["end"] = self._num_bytes(self.num_rows) + sizes
            self._append(entries, b"".join(array.tobytes() for array in arrays))

    def checked(self):
        """Notes that all rows were found sound, or were written just now; only in `filling`."""
        with self._told():
            self._note(self._known_damaged(), self._stamp())

    def arrays(self):
        """Returns the `Arrays` of the rows."""
        with self._told():
            self._open()
        entries = np.fromfile(self.index_path, self.entry, self.num_rows)
        return Arrays(self.vectors_path, self.about["dtype"], entries["end"], entries["shape"])

    def _open(self):
        self._opened = self._stamp()  # another process may add rows while these are compared
        super()._open()

    def _damaged(self, entries, rows):
        is_checked = self._notes().get("stamp") == self._opened
        damaged = self._known_damaged() if is_checked else None
        if damaged is None:
            arrays = Arrays(
                self.vectors_path, self.about["dtype"], entries["end"], entries["shape"]
            )
            named = enumerate(entries["name"].tolist())
            damaged = {
                row
                for row, name in named
                if self._checksum(name, arrays[row]) != entries["checksum"][row]
            }
            try:
                self._note(damaged, self._opened)
            except OSError:  # it only saves time
                logger.debug("%s: cannot be written", self.folder)
        return damaged.intersection(rows)

    def _stamp(self):
        return f"{file_stamp(self.index_path)} {file_stamp(self.vectors_path)}"

    def _known_damaged(self):
        return set(self._notes().get("damaged", ()))

    def _note(self, damaged, stamp):
        with replacing(self.folder / CHECKED_FILE) as file:
            file.write(json.dumps({"stamp": stamp, "damaged": sorted(damaged)}).encode())

    def _notes(self):
        try:
            return json.loads((self.folder / CHECKED_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def _num_whole(self):
        if not (self.index_path.exists() and self.vectors_path.exists()):
            return 0
        ends = np.fromfile(self.index_path, self.entry)["end"]
        return int(np.searchsorted(ends, self.vectors_path.stat().st_size, "right"))

    def _num_bytes(self, num_rows):
        if not num_rows:
            return 0
        place = (num_rows - 1) * self.entry.itemsize
        return int(np.fromfile(self.index_path, self.entry, 1, offset=place)["end"][0])


class Arrays:
    """The rows of a `MediaStore`, memory-mapped where they are first read.

    Arguments
    ---------
    path : path
    dtype : str
    ends : numpy.ndarray of int, shape (num_rows,)
        Where each row ends, in bytes.
    shapes : numpy.ndarray of int, shape (num_rows, 3)
        0 where an array has fewer axes.
    """

    def __init__(self, path, dtype, ends, shapes):
        self.path, self.dtype, self.ends, self.shapes = path, np.dtype(dtype), ends, shapes

    @functools.cached_property
    def _bytes(self):
        return np.memmap(self.path, np.uint8, "c")  # torch warns of memory not to be written to

    def __getstate__(self):
        kept = ("path", "dtype", "ends", "shapes")
        return {name: getattr(self, name) for name in kept}  # a memory map would be copied

    def __len__(self):
        return len(self.ends)

    def __getitem__(self, row):
        """Returns a row; what is written to it does not reach the file."""
        shape = [length for length in self.shapes[row].tolist() if length]
        end = int(self.ends[row])
        start = end - math.prod(shape) * self.dtype.itemsize
        return self._bytes[start:end].view(self.dtype).reshape(shape)


class CachedReader:
    """Reads clips as a reader does, from what was stored of them.

    Arguments
    ---------
    reader : ImageReader or SpeechReader
    arrays : Arrays
    rows : dict of str to int
        ID of a clip -> its row.
    """

    takes = ("ID",)

    def __init__(self, reader, arrays, rows):
        self.reader, self.arrays, self.rows = reader, arrays, rows

    def __call__(self, clip, draw):
        """Returns what the reader returns."""
        return self.finish(self.raw(clip, draw))

    def raw(self, clip, draw):
        """Returns the crop or window of a clip, as it leaves the reading process."""
        return self.reader.view(torch.from_numpy(self.arrays[self.rows[clip]]), draw)

    def finish(self, batch):
        """Returns what the reader makes of a batch on the device."""
        return self.reader.finish(batch)
