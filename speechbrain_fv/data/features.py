"""Features of clips, computed once and kept: memory-mapped, checksummed, filled piece by piece.

A store is a folder::

    about.json     the width of the vectors, and of what network and reader they are
    index.bin      for each row: the SHA-256 of what it is a vector of, and a checksum
    vectors.f32    the rows, float32

Rows are only ever added, first the vectors, then their entries of the index. A process that is
killed in between leaves bytes behind the last entry, which the next one overwrites.
"""

import functools
import hashlib
import json
import logging
import os
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from speechbrain_fv.files import replacing

logger = logging.getLogger(__name__)

ENTRY = np.dtype([("name", "V32"), ("checksum", "<u4")])
ABOUT_FILE, INDEX_FILE, VECTORS_FILE = "about.json", "index.bin", "vectors.f32"


def row_name(*parts):
    """Returns the 32 bytes that name a row, of texts and numbers that say what it is of.

    Example
    -------
    >>> row_name("a", 0) == row_name("a", 0) != row_name("a", 1)
    True
    """
    return hashlib.sha256(json.dumps(parts).encode()).digest()


class FeatureStore:
    """Vectors by name, in a folder.

    Arguments
    ---------
    folder : path
        Made when rows are first added.
    about : dict
        Of what the vectors are, in JSON types. A folder whose vectors are of something else is
        emptied, with a warning, when it is filled.

    Example
    -------
    >>> store = FeatureStore(getfixture("tmp_path") / "store", {"network": "a"})
    >>> with store.filling():
    ...     store.add([row_name("clip")], np.ones((1, 3), np.float32))
    >>> store.rows([row_name("clip"), row_name("other")])
    {b'...': 0}
    """

    entry, what, data_file = ENTRY, "features", VECTORS_FILE
    option = "cache_folder"  # which names the folder

    def __init__(self, folder, about):
        self.folder, self.about = Path(folder), json.loads(json.dumps(about))
        self.index_path = self.folder / INDEX_FILE
        self.vectors_path = self.folder / self.data_file
        self.dim, self.num_rows = None, 0

    @contextmanager
    def filling(self):
        """Lets this process alone add rows; others wait, then find them.

        Raises
        ------
        ValueError
            If the folder cannot be written, with how to go on.
        """
        with self._told():
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            lock.acquire()
        try:
            with self._told():
                self._open()
                if self.dim is None and self.vectors_path.exists():
                    logger.warning(
                        "%s: it is damaged, or holds %s of another network or reader; they "
                        "are computed anew",
                        self.folder,
                        self.what,
                    )
                    self.index_path.unlink(missing_ok=True)
                    self.vectors_path.unlink()
            yield self
        finally:
            lock.release()

    def add(self, names, vectors):
        """Adds rows, whole or not at all; only inside of `filling`.

        Arguments
        ---------
        names : sequence of bytes
            Results of `row_name`.
        vectors : numpy.ndarray of float32, shape (len(names), D)

        Raises
        ------
        ValueError
            If they cannot be written, as on a full disk; what was there before stays.
        """
        vectors = np.ascontiguousarray(vectors, "<f4")
        with self._told():
            if self.dim is None:
                self._describe(vectors.shape[1])
            entries = np.zeros(len(names), self.entry)
            for entry, name, vector in zip(entries, names, vectors, strict=True):
                entry["name"], entry["checksum"] = np.void(name), self._checksum(name, vector)
            self._append(entries, vectors.tobytes())

    def _describe(self, dim):
        self.dim = dim
        with replacing(self.folder / ABOUT_FILE) as file:
            file.write(json.dumps({"dim": dim, **self.about}, indent=1).encode())

    def _append(self, entries, content):
        """Writes rows behind the last one, and their entries after that."""
        try:
            _append(self.vectors_path, self._num_bytes(self.num_rows), content)
            _append(self.index_path, self.num_rows * self.entry.itemsize, entries.tobytes())
        except BaseException:
            self._cut(self.num_rows)
            raise
        self.num_rows += len(entries)

    def rows(self, names):
        """Returns the row of each name that has a sound one; damaged rows count as absent.

        Arguments
        ---------
        names : iterable of bytes

        Returns
        -------
        rows : dict of bytes to int
        """
        with self._told():
            self._open()
        found, damaged = {}, set()
        if not self.num_rows:
            return found
        entries, wanted = np.fromfile(self.index_path, self.entry, self.num_rows), set(names)
        present = [
            (row, name) for row, name in enumerate(entries["name"].tolist()) if name in wanted
        ]
        damaged_rows = self._damaged(entries, [row for row, _ in present])
        for row, name in present:
            if row in damaged_rows:
                damaged.add(name)
            else:
                found[name] = row
        if damaged - found.keys():
            logger.warning(
                "%s: %d damaged rows are computed again", self.folder, len(damaged - found.keys())
            )
        return found

    def vectors(self):
        """Returns the rows, memory-mapped: numpy.memmap of float32, shape (num_rows, D)."""
        return np.memmap(self.vectors_path, "<f4", "r", shape=(self.num_rows, self.dim))

    def _damaged(self, entries, rows):
        """Those of some rows whose checksum is not that of their content, a set."""
        vectors, of_rows = self.vectors(), entries[rows]
        named = zip(rows, of_rows["name"].tolist(), of_rows["checksum"].tolist(), strict=True)
        return {row for row, name, kept in named if self._checksum(name, vectors[row]) != kept}

    def _open(self):
        """Finds out how many whole rows there are."""
        self.dim, self.num_rows = None, 0
        try:
            about = json.loads((self.folder / ABOUT_FILE).read_text(encoding="utf-8"))
            dim = about.pop("dim")
        except (OSError, ValueError, KeyError, AttributeError):
            about = dim = None
        if type(dim) is not int or dim < 1 or about != self.about:
            return
        self.dim = dim
        self.num_rows = self._num_whole()

    def _num_whole(self):
        """How many rows are in both files."""
        return min(
            _size(self.index_path) // self.entry.itemsize,
            _size(self.vectors_path) // (4 * self.dim),
        )

    def _num_bytes(self, num_rows):
        """Where a number of rows ends."""
        return 4 * self.dim * num_rows

    def _cut(self, num_rows):
        """Takes away what lies behind a number of rows, where that is possible."""
        for path, size in (
            (self.index_path, num_rows * self.entry.itemsize),
            (self.vectors_path, self._num_bytes(num_rows)),
        ):
            try:
                os.truncate(path, size)
            except OSError:  # the next process does it
                logger.debug("%s: not truncated", path)

    def _checksum(self, name, vector):
        """Of a row, its name and what the store is of: rows left of another store do not fit."""
        about = json.dumps(self.about, sort_keys=True).encode()
        return zlib.crc32(vector.tobytes(), zlib.crc32(name, zlib.crc32(about)))

    @contextmanager
    def _told(self):
        try:
            yield
        except OSError as error:
            raise ValueError(
                f"{self.folder}: {self.what} cannot be kept ({error.strerror or error}); free "
                f"space there, or choose another {self.option}; the same command then goes on "
                f"with the {self.num_rows} rows that are there"
            ) from error


def _append(path, position, content):
    """Writes bytes at a position that is the end of what counts, and drops what lay behind it."""
    with open(path, "r+b" if path.exists() else "w+b") as file:
        file.truncate(position)
        file.seek(position)
        file.write(content)


def _size(path):
    return path.stat().st_size if path.exists() else 0


class FeatureReader:
    """Reads a clip's features from a store that has them.

    Arguments
    ---------
    store : FeatureStore
    rows : dict of str to tuple of int
        ID of a clip to its rows: that of the clip as evaluation reads it, then those of its
        augmented views, of which training draws one.
    """

    takes = ("ID",)

    def __init__(self, store, rows):
        self.store, self.rows = store, rows

    @functools.cached_property
    def _vectors(self):
        return self.store.vectors()

    def __getstate__(self):
        return {"store": self.store, "rows": self.rows}  # a memory map would be copied

    def __call__(self, clip, draw):
        """Returns features, float32 of shape (D,); of the clip itself where `draw` is None."""
        row, *views = self.rows[clip]
        if draw is not None and views:
            row = views[np.random.default_rng(draw).integers(len(views))]
        return torch.from_numpy(np.array(self._vectors[row], dtype=np.float32))
