"""The files of a gallery: data named by its content, and a manifest that is replaced last.

A reader finds the manifest of one save and the data that it names. A save that stops at any point
leaves the old manifest and its data; the next save deletes what the stopped one wrote.
"""

import fcntl
import hashlib
import json
import os
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from speechbrain_fv.files import naming, replacing
from speechbrain_fv.search import older
from speechbrain_fv.search.index import KINDS

FORMAT = 1
MANIFEST = "gallery.json"
LARGEST_MANIFEST = 2**16  # bytes; ours have about 1500
DATA_FILE = re.compile(
    r"(face|voice)-(vectors|centroids|codes|index|ids|offsets|removed)-[0-9a-f]{64}\.(npy|faiss)"
)
PARTIAL_FILE = re.compile(r"\.((face|voice)-[a-z]+|gallery\.json)(\.[\d-]+)?\.partial")


def save_parts(folder, header, parts):
    """Writes a gallery, whole or not at all, and deletes what older saves left.

    Waits while another process saves into the folder or loads from it.

    Arguments
    ---------
    folder : path
        Made when absent; files that are no gallery's stay.
    header : dict
        For the manifest, with an entry for each modality.
    parts : dict of (modality, part) to callable
        Each takes an object with `write(bytes)` and fills a .npy file.

    Raises
    ------
    OSError
        If the disk is full or may not be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, fcntl.LOCK_EX) as lock:
        try:
            files = {key: _write_part(folder, *key, fill) for key, fill in parts.items()}
            manifest = {"format": FORMAT, **header}
            for modality in ("face", "voice"):
                own = {part: files[key] for key in files for part in key[1:] if key[0] == modality}
                manifest[modality] = {**header[modality], "files": own}
            os.fsync(lock)  # the names of the data reach the disk before the manifest does
            with replacing(folder / MANIFEST) as file:
                file.write(json.dumps(manifest, indent=1).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.fsync(lock)
        finally:
            _sweep(folder)


@contextmanager
def opened(folder):
    """Yields the manifest of a gallery; nobody saves into its folder meanwhile.

    Raises
    ------
    ValueError
        If there is no gallery, or its manifest is damaged or of another format.
    """
    path = _manifest(folder)
    with _locked(folder, fcntl.LOCK_SH):
        yield _read_manifest(path)


@contextmanager
def changing(folder):
    """Makes others that change a gallery wait, from its loading until it is saved again.

    Otherwise, when two processes add to one gallery at the same time, the additions of the first
    to save are lost. Readers do not wait.

    Raises
    ------
    ValueError
        If there is no gallery.
    """
    while True:  # the process that held the lock may have replaced the manifest
        path = _manifest(folder)
        with _locked(path, fcntl.LOCK_EX) as lock:
            if path.exists() and os.path.samestat(os.fstat(lock), os.stat(path)):
                yield
                return


def _manifest(folder):
    """Returns the path of a gallery's manifest; ValueError where there is none."""
    path = Path(folder, MANIFEST)
    if not path.is_file():
        raise ValueError(f"{folder}: no gallery is there ({MANIFEST} is missing); check the path")
    return path


def part_file(folder, modality, part, entry, verify):
    """Returns the path of a data file after checking its size, and if asked its content.

    Arguments
    ---------
    folder : path
    modality, part : str
    entry : dict
        "name" and "size" of the manifest.
    verify : bool
        Whether to read the file and compare its SHA-256 with its name.

    Raises
    ------
    ValueError
        If the entry is not one that `save_parts` writes, or the file is not the one it names.
    """
    name = entry.get("name") if isinstance(entry, dict) else None
    pattern = rf"{modality}-{part}-([0-9a-f]{{64}})\.{_suffix(part)}"
    match = re.fullmatch(pattern, name) if isinstance(name, str) else None
    if match is None or not _is_count(entry.get("size")):
        raise ValueError(f"{folder}: {MANIFEST} names an unusable file {name!r}; {_REMEDY}")
    path = Path(folder) / name
    size = path.stat().st_size if path.is_file() else None
    if size != entry["size"]:
        found = "missing" if size is None else f"{size} bytes long"
        raise ValueError(f"{path}: expected {entry['size']} bytes, the file is {found}; {_REMEDY}")
    if verify and _content_hash(path) != match[1]:
        raise ValueError(f"{path}: the content is not what was saved; {_REMEDY}")
    return path


def read_array(path, dtype, ndim, mmap):
    """Returns the array of a .npy file, memory-mapped or read; never pickled objects.

    A mapped array may be written to; that changes neither the file nor another reader's array.

    Raises
    ------
    ValueError
        If the file is truncated, no .npy, or of another type or number of axes.
    """
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: not a usable .npy file ({error}); {_REMEDY}") from error
    if not isinstance(array, np.ndarray) or (array.dtype, array.ndim) != (np.dtype(dtype), ndim):
        raise ValueError(f"{path}: expected {np.dtype(dtype)} with {ndim} axes; {_REMEDY}")
    return array if mmap and array.size else np.array(array)


class _HashedFile:
    """A file whose content is hashed while it is written."""

    def __init__(self, file):
        self.file, self.hash = file, hashlib.sha256()

    def write(self, data):
        self.hash.update(data)
        return self.file.write(data)


def _write_part(folder, modality, part, fill):
    """Returns name and size of a data file that has been written and has reached the disk."""
    partial = folder / f".{modality}-{part}.{os.getpid()}.partial"
    try:
        with naming(partial), open(partial, "wb") as file:
            hashed = _HashedFile(file)
            fill(hashed)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        name = f"{modality}-{part}-{hashed.hash.hexdigest()}.{_suffix(part)}"
        os.replace(partial, folder / name)
    finally:
        partial.unlink(missing_ok=True)
    return {"name": name, "size": size}


def _sweep(folder):
    """Deletes data that the manifest does not name; none where the manifest cannot be read."""
    named = set()
    if (folder / MANIFEST).exists():
        try:
            manifest = _read_manifest(folder / MANIFEST)
        except ValueError:
            return
        for modality in ("face", "voice"):
            named |= {entry.get("name") for entry in manifest[modality]["files"].values()}
    for path in folder.iterdir():
        stale = DATA_FILE.fullmatch(path.name) and path.name not in named
        if stale or PARTIAL_FILE.fullmatch(path.name):
            path.unlink()


def _read_manifest(path):
    """Returns a manifest with the entries that every gallery has; ValueError otherwise."""
    with open(path, "rb") as file:
        text = file.read(LARGEST_MANIFEST + 1)
    try:
        manifest = json.loads(text) if len(text) <= LARGEST_MANIFEST else None
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise ValueError(f"{path}: not a gallery's manifest; {_REMEDY}")
    if manifest["format"] != FORMAT:
        raise ValueError(
            f"{path}: format {manifest['format']!r}, this version of the package reads {FORMAT}; "
            "update the package, or build the gallery again"
        )
    usable = (
        isinstance(manifest.get("model_version"), str)
        and manifest.get("kind") in ("auto", *KINDS, *older.KINDS)
        and _is_count(manifest.get("embedding_dim"))
        and all(_is_shelf(manifest.get(modality)) for modality in ("face", "voice"))
    )
    if not usable:
        raise ValueError(f"{path}: entries are missing or of the wrong type; {_REMEDY}")
    return manifest


def _is_shelf(entry):
    return (
        isinstance(entry, dict)
        and entry.get("kind") in (*KINDS, *older.KINDS)
        and _is_count(entry.get("rows"))
        and isinstance(entry.get("files"), dict)
        and all(isinstance(file, dict) for file in entry["files"].values())
    )


def _is_count(value):
    return type(value) is int and 0 <= value < 2**48


def _suffix(part):
    """Returns the suffix of a data file; earlier versions saved an index as faiss does."""
    return "faiss" if part == "index" else "npy"


def _content_hash(path):
    """Returns the SHA-256 of a file as hexadecimal digits."""
    content = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            content.update(block)
    return content.hexdigest()


@contextmanager
def _locked(path, operation):
    """Holds a lock on a folder or a file, which ends with the process; yields its descriptor."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, operation)
        yield descriptor
    finally:
        os.close(descriptor)


_REMEDY = "restore the gallery from a copy, or build it again"
