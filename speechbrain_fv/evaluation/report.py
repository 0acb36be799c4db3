"""The report of an evaluation: as files, read back, and as tables."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from speechbrain_fv.arrays import read_arrays
from speechbrain_fv.files import PathLike, read_table, replacing
from speechbrain_fv.protocols import MATCHING_STRATA, VERIFICATION_STRATA
from speechbrain_fv.scores import DIRECTIONS, TASKS, Score

REPLICATES = "replicates.npz"

_PLACES = {
    "verification": (VERIFICATION_STRATA, ("auc", "eer")),
    "matching": (DIRECTIONS, MATCHING_STRATA, tuple(map(str, range(2, 11))), ("accuracy",)),
    "retrieval": (DIRECTIONS, ("map", "map_per_identity")),
}
"""Task -> the names that follow it, place by place, on the way to a value that can be monitored."""


class Report(dict):
    """The values of an evaluation as a plain dict, and their bootstrap replicates.

    Attributes
    ----------
    replicates : dict of str to numpy.ndarray, or None without a bootstrap
        One array of shape (num_replicates,) by the path of each value, such as
        "verification/U/auc"; NaN where undefined. Also ``identities``, sorted, and ``seed``.
    """

    replicates = None


def load_metadata(path: PathLike) -> pd.DataFrame:
    """Returns the table of a metadata CSV as text; an empty field is unknown.

    Raises
    ------
    ValueError
        If the file is empty or no CSV.
    FileNotFoundError
        If there is no such file.
    """
    with open(path, "rb"):  # an absent file is an error of its own
        return read_table(path)


def number_or_none(value: float) -> float | None:
    """Returns a number as a float, or None for NaN (JSON has no NaN).

    Example
    -------
    >>> number_or_none(np.float32(0.5)), number_or_none(float("nan"))
    (0.5, None)
    """
    return None if np.isnan(float(value)) else float(value)


def save_report(path: PathLike, report: Report) -> None:
    """Writes a report as strict JSON and its replicates, if any, to replicates.npz beside it.

    A killed run leaves no half file.

    Arguments
    ---------
    path : str or Path
    report : dict or Report
    """
    text = json.dumps(report, indent=2, allow_nan=False)
    # A list of numbers stays on one line.
    text = re.sub(r"\[\s+([^][{}\"]*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    replicates = getattr(report, "replicates", None)
    beside = Path(path).with_name(REPLICATES)
    beside.unlink(missing_ok=True)  # those of an earlier report must not outlive it
    if replicates:
        with replacing(beside) as file:
            np.savez(file, **replicates)
    with replacing(path) as file:  # last: with the report a run counts as done
        file.write(text.encode() + b"\n")


def load_report(folder: PathLike) -> Report:
    """Returns the `Report` that `save_report` left as report.json in a folder.

    Arguments
    ---------
    folder : str or Path

    Raises
    ------
    ValueError
        If report.json or replicates.npz is absent or cannot be read.
    """
    paths = [Path(folder) / name for name in ("report.json", REPLICATES)]
    for path in paths:
        if not path.is_file():
            raise ValueError(
                f"{path}: not found; evaluate with num_replicates of 2 or more first, or name the "
                "embeddings file"
            )
    try:
        report = Report(json.loads(paths[0].read_text(encoding="utf-8")))
        report.replicates, _ = read_arrays(paths[1])
    except (ValueError, OSError) as error:
        raise ValueError(f"{folder}: the report cannot be read ({error}); evaluate anew") from error
    return report


def format_report(report: dict[str, Any]) -> str:
    """Returns the tables of a report for the terminal: percent, "-" where undefined.

    Arguments
    ---------
    report : dict
        From `evaluate`, with any of its tasks.

    Returns
    -------
    str
        With 95 % intervals in brackets if there was a bootstrap.

    Example
    -------
    >>> print(format_report({
    ...     "num_identities": 3, "num_faces": 3, "num_voices": 3, "reasons": {},
    ...     "bootstrap": {"num_replicates": 1000, "seed": 0, "num_identities": 3},
    ...     "verification": {"U": {"auc": 0.9, "auc_interval": [0.8, 0.95], "eer": 0.2}, "G": None},
    ... }))
    3 identities, 3 faces, 3 voices; values in %
    [low, high]: 95 % interval of 1000 bootstrap replicates over identities
    <BLANKLINE>
    Verification                     AUC                 EER
    U                 90.00 [80.0, 95.0]               20.00
    G                                  -                   -
    """
    counts = (report["num_identities"], report["num_faces"], report["num_voices"])
    lines = ["{} identities, {} faces, {} voices; values in %".format(*counts)]
    if "score" in report:
        lines.append(f"score: {report['score']}")
    if "bootstrap" in report:
        num_replicates = report["bootstrap"]["num_replicates"]
        lines.append(
            f"[low, high]: 95 % interval of {num_replicates} bootstrap replicates over identities"
        )
    if "verification" in report:
        rows = {name: [node, node] for name, node in report["verification"].items()}
        lines += _table("Verification", {"AUC": "auc", "EER": "eer"}, rows)
    for direction, strata in report.get("matching", {}).items():
        shown = shown_candidates(strata)
        rows = {
            name: [node and node[candidates] for candidates in shown]
            for name, node in strata.items()
        }
        lines += _table(f"Matching {direction}", {f"1:{n}": "accuracy" for n in shown}, rows)
    if "retrieval" in report:
        columns = {"mAP": "map", "mAP per identity": "map_per_identity", "chance": "chance_map"}
        rows = {name: [node] * 3 for name, node in report["retrieval"].items()}
        lines += _table("Retrieval", columns, rows)
    reasons = undefined(report)
    lines += [""] * bool(reasons)
    lines += [f"{name} is undefined: {reason}" for name, reason in reasons.items()]
    return "\n".join(lines)


def shown_candidates(strata: dict[str, Any]) -> list[str]:
    """Returns which N of matching in one direction a table shows: those of 2, 5 and 10 that the
    score can do, or else what it can.

    Example
    -------
    >>> shown_candidates({"U": {"2": None, "3": {"accuracy": 0.5}, "4": None}, "G": None})
    ['3']
    """
    values = next((node for node in strata.values() if node), {})
    known = [name for name, node in values.items() if node]
    return [name for name in ("2", "5", "10") if name in known] or known[:3]


def undefined(report: dict[str, Any]) -> dict[str, str]:
    """Returns what of a report is None as text -> why: strata, and what the score cannot do.

    Example
    -------
    >>> undefined({"verification": {"U": None, "G": None}, "reasons": {
    ...     "verification/U": "no pairs", "verification/G": "no pairs", "retrieval/F-V": "no"}})
    {'verification': 'no pairs', 'retrieval F-V': 'no'}
    """
    others, reasons = {}, {}  # numbers of candidates by reason, and everything else
    for path, reason in report["reasons"].items():
        task, *parts = path.split("/")
        if not parts:  # a whole section
            reasons[task] = reason
        elif len(parts) == 2 and task == "verification":  # a value of a stratum without trials
            reasons[parts[0]] = reason
        elif parts[-1] == "accuracy":
            if parts[2] == "2":
                reasons[parts[1]] = reason
            elif parts[1] not in reasons:
                others.setdefault(reason, {})[f"1:{parts[2]}"] = None
        elif task == "retrieval" or not any(_node(report, path.split("/")[:-1]).values()):
            reasons[" ".join([task, *parts[: task != "verification"]])] = reason
        elif len(parts) == 3:
            others.setdefault(reason, {})[f"1:{parts[2]}"] = None
        elif len(parts) == 4:
            reasons[f"the interval of 1:{parts[2]}"] = reason
        else:
            reasons[parts[-1]] = reason
    return reasons | {", ".join(names): reason for reason, names in others.items()}


def value_at(report: dict[str, Any], path: str) -> Any:
    """Returns the number at a path of a report.

    Arguments
    ---------
    report : dict
        From `evaluate`.
    path : str
        Names separated by "/", such as "verification/U/auc" or "matching/V-F/U/2/accuracy".

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there is no such value, with what there is; or if it is None, with the reason.

    Example
    -------
    >>> value_at({"verification": {"U": {"auc": 0.75}}}, "verification/U/auc")
    0.75
    >>> value_at({"verification": {"U": {"auc": 0.75}}}, "verification/U/acc")
    Traceback (most recent call last):
    ValueError: verification/U/acc: expected one of auc in verification/U of the report
    """
    node, passed = report, []
    for name in path.split("/"):
        if node is None:
            break
        if not isinstance(node, dict) or name not in node:
            there = ", ".join(node) if isinstance(node, dict) else "nothing"
            place = f"{'/'.join(passed)} of the report" if passed else "the report"
            raise ValueError(f"{path}: expected one of {there} in {place}")
        node = node[name]
        passed.append(name)
    if node is None:
        raise ValueError(f"{path}: the report has no value: {_reason(report, passed)}")
    if isinstance(node, bool) or not isinstance(node, int | float):
        inside = f", with {', '.join(node)}" if isinstance(node, dict) else ""
        raise ValueError(f"{path}: expected a number, got a {type(node).__name__}{inside}")
    return float(node)


def higher_is_better(path: str) -> bool:
    """Whether more is better of the value at a path of a report; of the error rates less is.

    Example
    -------
    >>> higher_is_better("verification/U/auc"), higher_is_better("verification/U/eer")
    (True, False)
    """
    return path.split("/")[-1] != "eer"


def check_value(path: str, score: Score) -> None:
    """Raises ValueError if no report has a value at a path, or a score can give none there.

    Example
    -------
    >>> from speechbrain_fv.scores import Cosine
    >>> check_value("retrieval/F-V/map", Cosine(directions=["V-F"]))
    Traceback (most recent call last):
    ValueError: retrieval/F-V/map: Cosine(directions=['V-F']) compares in the direction V-F only
    """
    task, *parts = path.split("/")
    if task not in TASKS:
        raise ValueError(
            f"{path}: expected a path into the report such as verification/U/auc, which begins "
            f"with one of {', '.join(TASKS)}"
        )
    passed = task
    for number, names in enumerate(_PLACES[task]):
        name = parts[number] if number < len(parts) else ""
        if name not in names:
            raise ValueError(f"{path}: expected one of {', '.join(names)} after {passed}")
        passed += f"/{name}"
    if passed != path:
        raise ValueError(f"{path}: expected nothing after {passed}")
    direction = parts[0] if task != "verification" else None
    reason = score.unable(task, direction, int(parts[2]) if task == "matching" else None)
    if reason:
        raise ValueError(f"{path}: {reason}")


def _node(report, names):
    """Returns the dict at a place of a report, an empty one where there is none."""
    node = report
    for name in names:
        node = (node or {}).get(name)
    return node or {}


def _reason(report, passed):
    """Returns why a report has None at a place."""
    reasons = report.get("reasons", {})
    for end in range(len(passed), 0, -1):
        node = _node(report, passed[:end])
        reason = reasons.get("/".join(passed[:end])) or (
            node.get("reason") if isinstance(node, dict) else None
        )
        if reason:
            return reason
    return "there are no trials"


def percent(value: float | None, interval: Sequence[float] | None = None) -> str:
    """Returns a share in percent, with its interval if there is one; "-" for None.

    Example
    -------
    >>> percent(0.8527, [0.801, 0.899])
    '85.27 [80.1, 89.9]'
    """
    if value is None:
        return "-"
    text = f"{100 * value:.2f}"
    return f"{text} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if interval else text


def _table(title, columns, rows):
    """Returns the lines of a table; each cell is a dict with the key of its column, or None.

    There are none where all cells are None: what cannot be done has its reason below.
    """
    if not any(node for nodes in rows.values() for node in nodes):
        return []
    lines = ["", f"{title:<16}" + "".join(f"{column:>20}" for column in columns)]
    for name, nodes in rows.items():
        cells = [
            percent(node and node[key], node and node.get(f"{key}_interval"))
            for node, key in zip(nodes, columns.values(), strict=True)
        ]
        lines.append(f"{name:<16}" + "".join(f"{cell:>20}" for cell in cells))
    return lines
