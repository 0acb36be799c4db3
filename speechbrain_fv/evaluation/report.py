"""The report of an evaluation: as files, read back, and as tables."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from speechbrain_fv.files import replacing

REPLICATES = "replicates.npz"


class Report(dict):
    """The values of an evaluation as a plain dict, and their bootstrap replicates.

    Attributes
    ----------
    replicates : dict of str to numpy.ndarray, or None without a bootstrap
        One array of shape (num_replicates,) by the path of each value, such as
        "verification/U/auc"; NaN where undefined. Also ``identities``, sorted, and ``seed``.
    """

    replicates = None


def load_metadata(path):
    """Returns the table of a metadata CSV as text; an empty field is unknown.

    Raises
    ------
    ValueError
        If the file is empty or no CSV.
    FileNotFoundError
        If there is no such file.
    """
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(f"{path}: {error}") from error


def number_or_none(value):
    """Returns a number as a float, or None for NaN (JSON has no NaN).

    Example
    -------
    >>> number_or_none(np.float32(0.5)), number_or_none(float("nan"))
    (0.5, None)
    """
    return None if np.isnan(float(value)) else float(value)


def save_report(path, report):
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


def load_report(folder):
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
        with np.load(paths[1], allow_pickle=False) as archive:
            report.replicates = dict(archive)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{folder}: the report cannot be read ({error}); evaluate anew") from error
    return report


def format_report(report):
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
    if "bootstrap" in report:
        num_replicates = report["bootstrap"]["num_replicates"]
        lines.append(
            f"[low, high]: 95 % interval of {num_replicates} bootstrap replicates over identities"
        )
    if "verification" in report:
        rows = {name: [node, node] for name, node in report["verification"].items()}
        lines += _table("Verification", {"AUC": "auc", "EER": "eer"}, rows)
    for direction, strata in report.get("matching", {}).items():
        shown = [name for name in ("2", "5", "10") if name in strata["U"]]
        rows = {
            name: [node and node[candidates] for candidates in shown]
            for name, node in strata.items()
        }
        lines += _table(f"Matching {direction}", {f"1:{n}": "accuracy" for n in shown}, rows)
    if "retrieval" in report:
        columns = {"mAP": "map", "mAP per identity": "map_per_identity", "chance": "chance_map"}
        rows = {name: [node] * 3 for name, node in report["retrieval"].items()}
        lines += _table("Retrieval", columns, rows)
    reasons = {path.split("/")[-1]: reason for path, reason in report["reasons"].items()}
    lines += [""] * bool(reasons)
    lines += [f"{stratum} is undefined: {reason}" for stratum, reason in reasons.items()]
    return "\n".join(lines)


def percent(value, interval=None):
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
    """Returns the lines of a table; each cell is a dict with the key of its column, or None."""
    lines = ["", f"{title:<16}" + "".join(f"{column:>20}" for column in columns)]
    for name, nodes in rows.items():
        cells = [
            percent(node and node[key], node and node.get(f"{key}_interval"))
            for node, key in zip(nodes, columns.values(), strict=True)
        ]
        lines.append(f"{name:<16}" + "".join(f"{cell:>20}" for cell in cells))
    return lines
