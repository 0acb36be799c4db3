"""Arrays from files of others: judged by their headers before any is read, never unpickled."""

import os
import zipfile
import zlib

import numpy as np

MAX_INFLATED_BYTES, MAX_RATIO = 2**28, 100
"""More bytes than that, out of less than a hundredth of them, are not read: a compressed file of
some kilobytes may stand for gigabytes. Embeddings hardly compress, padded names by ten to thirty
times."""


def read_arrays(path, names=None):
    """Returns those arrays of an .npz that it has, and the names of all, sorted.

    Arguments
    ---------
    path : path
        The file; nothing in it is unpickled.
    names : sequence of str, optional
        The arrays to read; by default all.

    Returns
    -------
    arrays : dict of str to array
    found : list of str

    Raises
    ------
    ValueError
        If the file is no .npz, damaged, one of these holds objects or is no array, or if their
        headers tell other sizes than were stored, more than this machine's memory, or more than
        numbers compress to.
    OSError
        If it cannot be opened.

    Example
    -------
    >>> path = getfixture("tmp_path") / "vectors.npz"
    >>> np.savez(path, face=np.ones((2, 3)), note="x")
    >>> arrays, found = read_arrays(path, ["face", "voice"])
    >>> arrays["face"].shape, list(arrays), found
    ((2, 3), ['face'], ['face', 'note'])
    """
    with open(path, "rb") as file:
        try:
            with np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
                found = sorted(archive)
                wanted = [name for name in names or found if name in archive]
                _check_members(archive.zip, [_member(archive.zip, name) for name in wanted])
                arrays = {name: archive[name] for name in wanted}
        except _BROKEN_ARCHIVE as error:
            file.seek(0)
            is_zip = file.read(4) == b"PK\3\4"
            if is_zip and isinstance(error, zipfile.BadZipFile | zlib.error | EOFError):
                raise ValueError(f"{path}: damaged or cut off ({error}); copy it again") from error
            raise ValueError(
                f"{path}: {error}; expected an .npz of numbers and text, as numpy.savez writes it"
            ) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # bytes, which numpy gives of other files
            raise ValueError(f"{path}: {name} is no array; write it with numpy.savez")
    return arrays, found


def read_array(path):
    """Returns the array of an .npy file, never unpickled.

    Raises
    ------
    ValueError
        If the file is no .npy, damaged, holds objects, is not as large as its header tells, or
        larger than this machine's memory.
    OSError
        If it cannot be opened.

    Example
    -------
    >>> path = getfixture("tmp_path") / "vector.npy"
    >>> np.save(path, np.ones(3))
    >>> read_array(path)
    array([1., 1., 1.])
    """
    with open(path, "rb") as file:
        try:
            size = os.fstat(file.fileno()).st_size
            _check_announced("the array", file, size)
            _check_memory(size)
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, MemoryError, EOFError) as error:
            raise ValueError(f"{path}: not a readable .npy ({error})") from error


def array_shape(path, name):
    """Returns the shape of an array of an .npz by its header; None where that cannot be read.

    Example
    -------
    >>> path = getfixture("tmp_path") / "vectors.npz"
    >>> np.savez(path, face=np.ones((2, 3)))
    >>> array_shape(path, "face"), array_shape(path, "voice")
    ((2, 3), None)
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_member(archive, name)) as file:
            return _header(file)[0]
    except (*_BROKEN_ARCHIVE, KeyError):
        return None


# What numpy, zipfile and zlib raise on changed bytes; of a made-up size numpy's MemoryError.
_BROKEN_ARCHIVE = (
    *(ValueError, EOFError, OSError, MemoryError, zipfile.BadZipFile, zlib.error),
    *(NotImplementedError, RuntimeError),  # compressed or encrypted in other ways
)


def _member(archive, name):
    """Returns the name in the archive of what numpy finds under a name."""
    return name if name in archive.NameToInfo else f"{name}.npy"


def _check_members(archive, members):
    """Raises ValueError if members of an archive are not what their headers and sizes tell."""
    total = 0
    for member in members:
        info = archive.getinfo(member)
        total += info.file_size
        if info.file_size > max(MAX_INFLATED_BYTES, MAX_RATIO * info.compress_size):
            raise ValueError(
                f"{member}: its {info.compress_size:,} bytes inflate to {info.file_size:,}, which "
                "numbers do not; if it is yours, write it uncompressed"
            )
        with archive.open(info) as file:
            if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
                file.seek(0)
                _check_announced(member, file, info.file_size)
    _check_memory(total)


def _check_memory(num_bytes):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if num_bytes > memory:
        raise ValueError(f"expected at most this machine's {memory:,} bytes, got {num_bytes:,}")


def _check_announced(name, file, size):
    """Raises ValueError if the header of an array tells of more or fewer bytes than follow it."""
    shape, dtype = _header(file)
    if dtype.hasobject:
        return  # numpy says so
    announced, there = dtype.itemsize, size - file.tell()
    for length in shape:
        announced *= length  # Python's numbers do not overflow
    if announced != there or min(shape, default=0) < 0:
        raise ValueError(
            f"{name}: its header tells of {dtype} of shape {shape}, {announced:,} bytes, and "
            f"{there:,} follow"
        )


def _header(file):
    """Returns shape and type of the .npy that begins here; the file then stands at its data."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):  # later ones name the fields of a structure in Unicode
        raise ValueError(f"expected an array of numbers or text, got a .npy of version {version}")
    read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
    shape, _, dtype = read(file)
    return shape, dtype
