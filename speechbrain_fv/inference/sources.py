"""Bytes and open files among the paths that a user gives, as files that all readers take."""

import io
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_UNSAFE = re.compile(r"[^\w.-]", re.ASCII)


class Held(os.PathLike):
    """A file that holds what was given as bytes; messages call it by its name.

    Arguments
    ---------
    name : str
        That of the open file, or "bytes" and a number.
    path : str
        Where the bytes lie.
    fault : str
        Why there are none: what opens the file is told then.
    """

    def __init__(self, name: str, path: str, fault: str = "") -> None:
        self.name, self.path, self.fault = name, path, fault

    def __fspath__(self) -> str:
        if self.fault:
            raise ValueError(f"{self.name}: {self.fault}")
        return self.path

    def __str__(self) -> str:
        return self.name


@contextmanager
def on_disk(*given: Any) -> Iterator[list]:
    """Yields what was given with each bytes object and open binary file as a `Held`.

    What can be iterated becomes a list. Each open file is read from where it stands. The files of
    `Held` are deleted at the end.

    Arguments
    ---------
    *given : path, bytes, open binary file, or iterable of these, nested as deep as one likes

    Example
    -------
    >>> with on_disk("b.jpg", ("a.jpg", b"bytes of an image")) as (one, several):
    ...     one, [str(source) for source in several]
    ('b.jpg', ['a.jpg', 'bytes 1'])
    """
    listed = [_listed(source) for source in given]
    sources = list(_leaves(listed))
    if not any(map(_is_content, sources)):
        yield listed
        return
    taken = {str(source) for source in sources if not _is_content(source)}
    with tempfile.TemporaryDirectory(prefix="speechbrain-fv-") as folder:
        yield _held(listed, Path(folder), taken)


def name_apart(files):
    """Gives each `Held` a name of its own among files, of which a folder may hold its namesake."""
    taken = {str(file) for file in files if not isinstance(file, Held)}
    for file in files:
        if isinstance(file, Held):
            file.name = _free_name(file.name, taken)


def _is_content(source):
    return isinstance(source, bytes | bytearray | memoryview) or hasattr(source, "read")


def _listed(given):
    """Returns iterables as lists; a source, an image or a table of numbers as it is."""
    is_one = isinstance(given, str | os.PathLike) or _is_content(given)
    if is_one or not isinstance(given, Iterable) or getattr(given, "ndim", 1) != 1:
        return given
    return [_listed(part) for part in given]


def _leaves(listed):
    for source in listed:
        yield from _leaves(source) if isinstance(source, list) else (source,)


def _held(source, folder, taken):
    if isinstance(source, list):
        return [_held(part, folder, taken) for part in source]
    if not _is_content(source):
        return source
    name = _free_name(getattr(source, "name", None), taken)
    try:
        content = _content_of(source)
    except (OSError, ValueError) as error:
        return Held(name, "", str(error))
    path = folder / f"{len(taken)}-{_UNSAFE.sub('_', name)[-100:]}"
    path.write_bytes(content)
    return Held(name, str(path))


def _content_of(source):
    """Returns the bytes of a bytes object or of an open file."""
    if isinstance(source, io.TextIOBase):
        raise ValueError("opened as text; open it with mode 'rb'")
    if not hasattr(source, "read"):
        return source
    try:
        content = source.read()
    except (OSError, ValueError) as error:
        raise ValueError(f"the open file cannot be read ({error})") from error
    if not isinstance(content, bytes | bytearray | memoryview):
        raise ValueError(f"expected bytes, read {type(content).__name__}; open it with mode 'rb'")
    if not content and _place(source):
        raise ValueError("the open file has been read to its end; seek(0) first, or pass its bytes")
    return content


def _place(source):
    """Returns how far an open file has been read, in bytes; 0 where it does not tell."""
    with suppress(AttributeError, OSError, ValueError):
        return source.tell()
    return 0


def _free_name(name, taken):
    """Returns a name that no other source of the call has, and takes it."""
    stem = name if isinstance(name, str) and name else "bytes"
    number, free = 1, stem if stem != "bytes" else "bytes 1"
    while free in taken:
        number += 1
        free = f"{stem} {number}"
    taken.add(free)
    return free
