"""Bytes and open files among the paths that a user gives, as files that all readers take."""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Held(os.PathLike):
    """A file that holds what was given as bytes; messages call it by its name.

    Arguments
    ---------
    name : str
        That of the open file, or "bytes" and a number.
    path : str
        Where the bytes lie.
    """

    def __init__(self, name: str, path: str) -> None:
        self.name, self.path = name, path

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.name


@contextmanager
def on_disk(*given: Any) -> Iterator[list]:
    """Yields sources with each bytes object and open binary file as a `Held`; others as they are.

    Each open file is read from where it stands. The files are deleted at the end.

    Arguments
    ---------
    *given : path, bytes, open binary file, or list of these, nested as deep as one likes

    Raises
    ------
    ValueError
        If a file was opened as text, or is closed or cannot be read.

    Example
    -------
    >>> with on_disk(["a.jpg", b"bytes of an image"]) as (sources,):
    ...     [str(source) for source in sources]
    ['a.jpg', 'bytes 1']
    """
    given = list(given)
    if not any(map(_to_hold, given)):
        yield given
        return
    taken = {str(source) for source in _leaves(given) if not _is_content(source)}
    with tempfile.TemporaryDirectory(prefix="speechbrain-fv-") as folder:
        yield [_held(source, Path(folder), taken) for source in given]


def _is_content(source):
    return isinstance(source, bytes | bytearray | memoryview) or hasattr(source, "read")


def _leaves(given):
    for source in given:
        yield from _leaves(source) if isinstance(source, list | tuple) else (source,)


def _to_hold(source):
    return any(map(_is_content, _leaves([source])))


def _held(source, folder, taken):
    if isinstance(source, list | tuple):
        return [_held(part, folder, taken) for part in source]
    if not _is_content(source):
        return source
    name = _free_name(getattr(source, "name", None), taken)
    if isinstance(source, io.TextIOBase):
        raise ValueError(f"{name}: opened as text; open it with mode 'rb'")
    if hasattr(source, "read"):
        try:
            source = source.read()
        except (OSError, ValueError) as error:
            raise ValueError(f"{name}: the open file cannot be read ({error})") from error
        if not isinstance(source, bytes | bytearray | memoryview):
            raise ValueError(f"{name}: expected bytes, read {type(source).__name__}")
    path = folder / str(len(taken))
    path.write_bytes(source)
    return Held(name, str(path))


def _free_name(name, taken):
    """Returns a name that no other source of the call has, and takes it."""
    stem = name if isinstance(name, str) and name else "bytes"
    number, free = 1, stem if stem != "bytes" else "bytes 1"
    while free in taken:
        number += 1
        free = f"{stem} {number}"
    taken.add(free)
    return free
