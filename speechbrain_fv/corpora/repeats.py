"""A preparation that is asked for again and finds nothing changed ends at once.

To list and stamp every file of a large corpus takes minutes. A folder's stamp changes whenever a
file in it is added, removed, renamed or replaced by another, so the stamps of folders are enough;
files that are overwritten in place they miss, so those that were left out, which somebody may
repair, are stamped too, and in a corpus of up to `EVERY_FILE` files all others.
"""

import functools
import inspect
import json
import logging
import os
import time
from pathlib import Path

from speechbrain_fv.data.manifests import PREPARATION_FILE, REPORT_FILE, cache_key, is_prepared
from speechbrain_fv.data.schema import SPLITS
from speechbrain_fv.files import file_stamp, read_table, replacing

logger = logging.getLogger(__name__)

INPUTS_FILE = "inputs.json"
EVERY_FILE = 100_000


def at_once_if_unchanged(prepare):
    """Decorates a preparation ``prepare(manifest_folder, ...)`` of files that lie in folders.

    Its other arguments must be JSON types, paths or objects whose `repr` tells all they are.
    """

    @functools.wraps(prepare)
    def wrapper(manifest_folder, *args, **kwargs):
        bound = inspect.signature(prepare).bind(manifest_folder, *args, **kwargs).arguments
        given = {name: value for name, value in bound.items() if name != "manifest_folder"}
        surroundings = [os.getcwd(), os.environ.get("SPEECHBRAIN_ROOT")]
        arguments = cache_key({"given": given, "surroundings": surroundings})
        if _unchanged(Path(manifest_folder), arguments):
            logger.info("%s: up to date, no input has changed", manifest_folder)
            return
        start = time.time_ns()
        stamps = {path: file_stamp(path) for path in _folders_and_files(given.values())}
        prepare(manifest_folder, *args, **kwargs)
        if all(int(stamp.split(":")[1]) < start for stamp in stamps.values() if stamp):
            _remember(Path(manifest_folder), arguments, stamps)

    return wrapper


def _unchanged(folder, arguments):
    try:
        inputs = json.loads((folder / INPUTS_FILE).read_text(encoding="utf-8"))
        same = inputs["arguments"] == arguments and is_prepared(folder, inputs["key"])
        return same and all(file_stamp(path) == stamp for path, stamp in inputs["stamps"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _remember(folder, arguments, stamps):
    """Writes the stamps of what was given, and of the files that were listed and their folders."""
    preparation = json.loads((folder / PREPARATION_FILE).read_text(encoding="utf-8"))
    files = [
        path
        for kind, column in (("faces", "image"), ("voices", "wav"))
        for split in SPLITS
        for path in read_table(folder / f"{kind}_{split}.csv")[column]
    ]
    left_out = read_table(folder / REPORT_FILE).path
    every = files if len(files) <= EVERY_FILE else []
    for path in {*map(os.path.dirname, files), *left_out, *every}:
        stamps.setdefault(path, file_stamp(path))
    content = {"arguments": arguments, "key": preparation["key"], "stamps": stamps}
    with replacing(folder / INPUTS_FILE) as file:
        file.write(json.dumps(content).encode())


def _folders_and_files(values):
    """Yields the paths among values, and all folders below those that are folders."""
    for value in values:
        if isinstance(value, dict):
            yield from _folders_and_files(value.values())
        elif isinstance(value, list | tuple):
            yield from _folders_and_files(value)
        elif isinstance(value, str | os.PathLike) and os.path.exists(value):
            yield os.path.abspath(value)
            yield from _folders_below(os.path.abspath(value))


def _folders_below(folder):
    """Yields a folder and those below it, each once: links may lead back to those above."""
    seen = set()
    for parent, names, _ in os.walk(folder, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:
            names.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        yield parent
