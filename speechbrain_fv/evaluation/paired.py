"""Two reports on the same test identities -> their differences, with paired intervals."""

from pathlib import Path
from typing import Any

import numpy as np

from speechbrain_fv.evaluation.embeddings import load_embeddings
from speechbrain_fv.evaluation.exact import evaluate
from speechbrain_fv.evaluation.report import Report, load_metadata, load_report, percent
from speechbrain_fv.files import PathLike
from speechbrain_fv.metrics import interval

LABELS = ("identities", "seed")  # of the replicates: no values


def open_report(source: PathLike, metadata: PathLike | None = None, **options: Any) -> Report:
    """Returns the `Report` of a run, or of an embeddings file.

    Arguments
    ---------
    source : str or Path
        Folder with report.json and replicates.npz, or embeddings as an .npz file.
    metadata : str or Path, optional
        CSV for an embeddings file, as `evaluate` takes it.
    **options
        Of `evaluate`, for an embeddings file.

    Raises
    ------
    ValueError
        If the source is neither, or its content is not usable.
    """
    source = Path(source)
    if source.suffix == ".npz":
        table = load_metadata(metadata) if metadata else None
        return evaluate(load_embeddings(source), table, **options)
    return load_report(source)


def compare_reports(one: Report, other: Report) -> dict[str, dict[str, Any]]:
    """Returns the difference of each value of two reports, paired by the identities drawn.

    Arguments
    ---------
    one, other : Report
        With replicates of the same identities, seed and number.

    Returns
    -------
    dict of str to dict
        By the path of a value, such as "verification/U/auc": ``one``, ``other``, ``difference``
        (other - one), ``difference_interval`` (95 %), and ``share_greater``, the share of
        replicates in which the other is greater, ties half. None where undefined. Values that
        only one report has are left out.

    Raises
    ------
    ValueError
        If the reports have no replicates, or are not paired.
    """
    check_paired(one, other)
    result = {}
    for path in one.replicates:
        if path in LABELS or path not in other.replicates:
            continue
        values = [_value(report, path) for report in (one, other)]
        known = None not in values
        differences = other.replicates[path] - one.replicates[path]
        defined = differences[~np.isnan(differences)]
        difference = values[1] - values[0] if known else None
        share = (np.sign(defined) + 1).mean() / 2 if known and len(defined) else None
        result[path] = {
            "one": values[0],
            "other": values[1],
            "difference": difference,
            "difference_interval": interval(differences, difference),
            "share_greater": None if share is None else float(share),
        }
    return result


def check_paired(one: Report, other: Report) -> None:
    """Raises ValueError, saying what differs, unless the replicates drew the same identities."""
    for report in (one, other):
        if not report.replicates:
            raise ValueError("num_replicates: expected at least 2 in both reports, got 0")
    identities = [set(report.replicates["identities"].tolist()) for report in (one, other)]
    if identities[0] != identities[1]:
        missing = [sorted(identities[i] - identities[1 - i]) for i in (0, 1)]
        raise ValueError(
            f"the test identities differ: {len(missing[0])} are in the first report only "
            f"{missing[0][:3]}, {len(missing[1])} in the second only {missing[1][:3]}; compare "
            "reports on the same people"
        )
    settings = [(report["bootstrap"]["seed"], _num_replicates(report)) for report in (one, other)]
    if settings[0] != settings[1]:
        raise ValueError(
            f"the replicates are not paired: seed and number are {settings[0]} in the first "
            f"report, {settings[1]} in the second; evaluate both with the same bootstrap_seed and "
            "num_replicates"
        )


def format_comparison(comparison: dict[str, dict[str, Any]]) -> str:
    """Returns the table of `compare_reports` for the terminal, in percent; 1:N for N = 2, 5, 10.

    Example
    -------
    >>> print(format_comparison({"verification/U/auc": {
    ...     "one": 0.8, "other": 0.85, "difference": 0.05, "difference_interval": [0.02, 0.081],
    ...     "share_greater": 0.99}}))
    value in %                                   A       B          B - A [95 %]  B > A
    verification/U/auc                       80.00   85.00       5.00 [2.0, 8.1]   99.0
    """
    lines = [f"{'value in %':<36}{'A':>10}{'B':>8}{'B - A [95 %]':>22}{'B > A':>7}"]
    for path, node in comparison.items():
        parts = path.split("/")
        if "matching" in parts and parts[-2] not in ("2", "5", "10"):
            continue
        share = node["share_greater"]
        lines.append(
            f"{path:<36}{percent(node['one']):>10}{percent(node['other']):>8}"
            f"{percent(node['difference'], node['difference_interval']):>22}"
            f"{'-' if share is None else f'{100 * share:.1f}':>7}"
        )
    return "\n".join(lines)


def _value(report, path):
    """Returns the value at a path of a report."""
    node = report
    for name in path.split("/"):
        node = node[name]
    return node


def _num_replicates(report):
    return report["bootstrap"]["num_replicates"]
