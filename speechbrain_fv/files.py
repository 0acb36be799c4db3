"""Reading and writing small files: tables as text, and writes that are whole or not there."""

import codecs
import csv
import errno
import fcntl
import logging
import os
import re
import threading
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]
"""What names a file or a folder."""


@contextmanager
def replacing(path):
    """Yields a binary file that takes the place of `path` once it is complete.

    A reader sees the old file or the new one, never a part; after an error the old one stays. What
    a killed process has left unfinished, the next one to write the same file overwrites.

    Arguments
    ---------
    path : path
        The file; its folder is made when absent.

    Raises
    ------
    OSError
        If it cannot be written, as on a full disk; the text names the file.

    Example
    -------
    >>> path = getfixture("tmp_path") / "folder" / "note.txt"
    >>> with replacing(path) as file:
    ...     _ = file.write(b"whole")
    >>> path.read_text()
    'whole'
    """
    with replacing_path(path) as partial, open(partial, "wb") as file:
        yield file


@contextmanager
def replacing_path(path):
    """Yields the path of an empty file that takes the place of `path`, as `replacing` does.

    For what opens its output itself, such as another program.

    Arguments
    ---------
    path : path
        The file; its folder is made when absent.
    """
    path = Path(path)
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial, descriptor = _open_partial(path)
        try:
            yield partial
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


@contextmanager
def naming(path):
    """Adds a path to an OSError that names none, as those of writing to a full disk.

    Example
    -------
    >>> with naming("report.json"):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'report.json'
    """
    try:
        yield
    except OSError as error:
        if error.errno is None and str(path) not in str(error):  # numpy's, of a short write
            raise OSError(f"{path}: {error}") from error
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def _open_partial(path):
    """Returns the path of an empty file beside another, and its open descriptor, which is locked.

    The name is the same for every process, so that nothing stays for ever; of two that write at
    once, or where the disk has no locks, the second takes a name of its own.
    """
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if _is_locked(descriptor, partial):
            os.ftruncate(descriptor, 0)
            return partial, descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    return partial, os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)


def _is_locked(descriptor, path):
    """Whether this process has just got the lock of an open file, which is still at its path."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return _is_at(descriptor, path)


def _is_at(descriptor, path):
    """Whether an open file is still the one at its path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


LOCK_FILE = ".running"


@contextmanager
def only_process(folder, wait=False):
    """Keeps a folder for one process at a time, until it leaves the block or ends in any way.

    Files that an earlier process was writing when it was killed are removed first. The lock is that
    of POSIX, which ends with this process; that of filelock would live on in the reading processes
    of a killed run, and refuse its resumption. On a shared disk it holds among machines where the
    disk's server supports it.

    Arguments
    ---------
    folder : path
        It is made when absent, with those above it; then they are removed again if they stay empty.
    wait : bool
        Whether to wait for another process that has the folder.

    Raises
    ------
    ValueError
        If another process has the folder.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "run"
    >>> with only_process(folder):
    ...     print(sorted(path.name for path in folder.iterdir()))
    ['.running']
    >>> folder.exists()
    False
    """
    path = Path(folder, LOCK_FILE)
    made = [parent for parent in path.parents if not parent.exists()]
    with _locked(path, wait):
        remove_partial(folder)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # one is not empty
                for parent in made:
                    parent.rmdir()


@contextmanager
def _locked(path, wait):
    """Holds the lock of a file that it makes."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = open(path, "a+")  # noqa: SIM115 (closed below)
        except FileNotFoundError:  # another process has just removed the folder
            continue
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                logger.warning(
                    "%s: the disk has no locks (%s); see to it that no other run writes there",
                    *(path.parent, error.strerror),
                )
                break
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise ValueError(
                f"{path.parent}: another process{f' ({holder})' if holder else ''} is writing "
                "there; wait for it, stop it, or choose another folder"
            ) from error
        if _is_at(file.fileno(), path):
            break  # else its holder has just removed it
        file.close()
    try:
        with suppress(OSError):  # a full disk: it only helps whoever is refused
            file.truncate(0)
            file.write(f"process {os.getpid()}")
            file.flush()
        yield
    finally:
        with suppress(OSError):
            file.close()


PARTIAL = re.compile(r"\..+\.partial(\.flac)?")
"""Names that `replacing` gives, or gave in earlier versions, to what is not complete."""


def remove_partial(folder):
    """Removes the files below a folder that a killed process left unfinished."""
    for parent, _, names in os.walk(folder):
        for name in filter(PARTIAL.fullmatch, names):
            partial = Path(parent, name)
            with suppress(FileNotFoundError):
                descriptor = os.open(partial, os.O_RDWR)
                if _is_locked(descriptor, partial):
                    partial.unlink()
                os.close(descriptor)


def file_stamp(path):
    """Size in bytes and modification time in ns of a file as "size:mtime"; "" when absent."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"


def read_table(file, separator=","):
    """A CSV as strings, with empty cells as empty strings.

    Arguments
    ---------
    file : path
        The CSV file.
    separator : str
        What separates the cells of a line.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    ValueError
        If the file is absent, empty, not a CSV in UTF-8, separated by something else, or a line has
        more cells or fewer than the header; or if a column stands there twice, or there are more
        than `MAX_COLUMNS`.
    """
    import pandas as pd

    _check_header(file, separator)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of cells beyond the header
            table = pd.read_csv(
                file,
                sep=separator,
                dtype=str,
                keep_default_na=False,
                skipinitialspace=True,
                index_col=False,  # else they shift the others
            )
    except FileNotFoundError:
        raise ValueError(f"{file}: not found; check the path.") from None
    except pd.errors.ParserWarning:
        raise ValueError(f"{file}: lines have more cells than the header; correct it.") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{file}: not a readable CSV in UTF-8 ({str(error).strip()}).") from None
    if len(table.columns) > 1 and (table.iloc[:, -1] == "").any():
        _check_widths(file, separator)
    return table.rename(columns=str.strip)


def _check_widths(file, separator):
    """Raises ValueError for a line with fewer cells than the header, which pandas fills with ""."""
    with open(file, encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        width = None
        for row in rows:
            width = width or len(row)
            if row and len(row) < width and not (len(row) == 1 and not row[0].strip()):
                raise ValueError(
                    f"{file}, line {rows.line_num}: expected {width} cells, as the header has, got "
                    f"{len(row)}; the file is cut off or the line broken: complete it, an empty "
                    "cell keeps its separator."
                )


MAX_COLUMNS = 1000  # a table of clips has dozens; a broken header has made a million
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def decoded(content, file):
    """Returns bytes as text in UTF-8; ValueError with what they look like, and the remedy."""
    begins = content[:2]
    if begins in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or begins.count(0) == 1:
        raise ValueError(
            f"{file}: expected text in UTF-8, got what looks like UTF-16; save it in UTF-8."
        )
    if content.startswith((b"PK\3\4", b"\x1f\x8b")):
        raise ValueError(
            f"{file}: expected text in UTF-8, got an archive or a spreadsheet; unpack it, or save "
            "the sheet as CSV."
        )
    if b"\0" in content:
        line = content[: content.index(0)].count(b"\n") + 1
        raise ValueError(
            f"{file}, line {line}: expected text, got a zero byte, as an interrupted copy or a "
            "full disk leaves them; copy or save the file again."
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{file}, line {line}: expected text in UTF-8, got byte {content[error.start]:#x}, as "
            "Windows-1252 (cp1252) or Latin-1 has it; save it in UTF-8."
        ) from None


def _check_header(file, separator):
    """Raises ValueError if a CSV is no text, its separator another one, or its header is broken.

    An absent file is left to the caller.
    """
    try:
        content = Path(file).read_bytes()
    except OSError:
        return
    header = re.split("[\r\n]", decoded(content, file).lstrip("\n\r"), maxsplit=1)[0]
    found = [mark for mark in SEPARATORS if mark in header and mark != separator]
    if found and separator not in header:
        raise ValueError(
            f"{file}: expected cells separated by {SEPARATORS[separator]}, got "
            f"{SEPARATORS[found[0]]}; save it with {SEPARATORS[separator]}."
        )
    if header.count(separator) >= MAX_COLUMNS:
        raise ValueError(
            f"{file}: expected at most {MAX_COLUMNS} columns, got {header.count(separator) + 1}; "
            "keep those that are used."
        )
    names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
    for name in filter(None, names):
        if names.count(name) > 1:
            raise ValueError(
                f"{file}: the column {name!r} stands there twice; rename one, or take it out."
            )


def write_table(table, path):
    """Writes a table as CSV, whole or not at all."""
    with replacing(path) as file:
        file.write(table.to_csv(index=False, lineterminator="\n").encode())
