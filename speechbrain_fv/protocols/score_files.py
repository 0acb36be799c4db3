"""Files of submitted scores, as a challenge takes them: lines `key score`, and their direction."""

import json
from pathlib import Path

import numpy as np

from speechbrain_fv.corpora.mavceleb_lists import read_keyed

DIRECTIONS = ("distance", "similarity")
"""What submitted scores are: a distance is lower for one person, a similarity higher."""
DIRECTION_FILE = "submitted.json"
"""Beside the files of a submission, not in its zip: name of each file -> its direction."""


def scores_of(keys, file, source):
    """Returns the scores (num_keys,) of a file of lines `key score`, in the order of keys.

    Raises
    ------
    ValueError
        If a score is no finite number, or a key is missing or of another list, with file and line.
    """
    scores, lines = read_keyed(file, "score", finite)
    missing = [key for key in keys if key not in scores]
    more = scores.keys() - set(keys)
    if more and len(missing) == len(keys):
        raise ValueError(
            f"{file}, line 1: none of its keys is in {source}, such as {next(iter(scores))!r}; it "
            "is of another list"
        )
    if more:
        key = min(more, key=lines.__getitem__)
        raise ValueError(f"{file}, line {lines[key]}: key {key!r} is not in {source}")
    if missing:
        raise ValueError(
            f"{file}: {len(missing)} keys of {source} have no line, the first {missing[0]!r}"
        )
    return np.array([scores[key] for key in keys], dtype=np.float64)


def directions_in(folder):
    """Returns the name of each file of a submission -> its direction; empty where none is stated.

    Arguments
    ---------
    folder : path

    Raises
    ------
    ValueError
        If `DIRECTION_FILE` in the folder is faulty.
    """
    path = Path(folder, DIRECTION_FILE)
    if not path.is_file():
        return {}
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; expected file names with directions") from None
    if not isinstance(stated, dict) or any(word not in DIRECTIONS for word in stated.values()):
        raise ValueError(
            f"{path}: expected file names with {' or '.join(DIRECTIONS)}, got {stated!r}"
        )
    return stated


def finite(text):
    """Returns a finite number; ValueError for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"expected a finite score, got {text!r}; lines have no header")
    return value
