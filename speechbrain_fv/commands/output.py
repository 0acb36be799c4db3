"""What a command returns, and how it is printed."""

import json
import logging
import re
import sys
from contextlib import contextmanager
from typing import NamedTuple

from speechbrain_fv.messages import in_one_line

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class _Note(logging.Formatter):
    """A notice in one line."""

    def format(self, record):
        return f"note: {printable(record.getMessage())}"


class Outcome(NamedTuple):
    """What a command did.

    data : dict
        For --json; numbers are finite.
    lines : list of str
        For people.
    left_out : sequence of (file, reason)
        Files that could not be used.
    """

    data: dict
    lines: list
    left_out: tuple = ()


@contextmanager
def notices_shown(quiet):
    """Shows what the package logs on stderr, one line each: all warnings, or errors only."""
    logger = logging.getLogger("speechbrain_fv")
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.ERROR if quiet else logging.WARNING)
    handler.setFormatter(_Note())
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def print_outcome(outcome, as_json, quiet):
    """Writes the result to stdout, and to stderr what was left out."""
    for file, reason in () if quiet else outcome.left_out:
        named = reason if file in reason else f"{file}: {reason}"
        print("left out:", in_one_line(named, most=None), file=sys.stderr)
    if as_json:
        left_out = [{"file": file, "reason": reason} for file, reason in outcome.left_out]
        print(json.dumps({**outcome.data, "left_out": left_out}, allow_nan=False, indent=2))
    else:
        for line in outcome.lines:
            print(printable(line))
    sys.stdout.flush()


def printable(text):
    """Returns text of one line: what a file name or an id may hold besides letters is escaped.

    That is bytes that are no Unicode, line ends, and what a terminal takes for a command.

    Example
    -------
    >>> printable("1. a\\nb.jpg \\x1b[2J")
    '1. a\\\\nb.jpg \\\\x1b[2J'
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def ranking_lines(rows, name):
    """Returns lines of aligned columns.

    Arguments
    ---------
    rows : list of dict
        With rank, score, probability (None: unknown), and the entry `name`.
    name : str

    Example
    -------
    >>> row = {"rank": 1, "file": "a.jpg", "score": 0.25, "probability": 0.7}
    >>> ranking_lines([row], "file")
    ['          score  probability', '1. a.jpg  0.250         70 %']
    """
    cells = [["", "score", "probability"]]
    for row in rows:
        probability = row["probability"]
        percent = "-" if probability is None else f"{100 * probability:.0f} %"
        numbers = f"{row['score']:.3f}", percent
        cells.append([printable(f"{row['rank']}. {row[name]}"), *numbers])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        f"{first:<{widths[0]}}  {score:>{widths[1]}}  {probability:>{widths[2]}}"
        for first, score, probability in cells
    ]
