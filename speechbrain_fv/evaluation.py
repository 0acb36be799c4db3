"""Embeddings and a protocol -> a report: verification, 1:N matching and retrieval.

The report holds plain numbers, fractions in [0, 1]. A value without trials is None with its count
beside it; a stratum that the metadata cannot define is None, with the reason under "reasons".
"""

import json

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from speechbrain_fv import metrics, protocols
from speechbrain_fv.files import replacing

TASKS = ("verification", "matching", "retrieval")
DIRECTIONS = ("F-V", "V-F")


def evaluate(
    embeddings,
    metadata=None,
    tasks=TASKS,
    max_candidates=10,
    chunk_size=metrics.CHUNK_SIZE,
    device="cpu",
    progress=False,
):
    """Returns the report of a set of embeddings: exact values by enumeration.

    Every same-identity pair is a positive in each stratum; strata restrict the negatives.

    Arguments
    ---------
    embeddings : Embeddings
    metadata : pandas.DataFrame, optional
        Column ``identity`` and any of ``gender``, ``nationality``, ``age``; empty is unknown.
        Without it only the unrestricted stratum U is defined.
    tasks : sequence of str
        Which of `TASKS` to compute; verification alone is the cheapest.
    max_candidates : int
        Largest N of 1:N matching, >= 2.
    chunk_size : int
        Scores held at once, 8 bytes each, >= 1. It bounds the memory and changes no result.
    device : str
        Where to compute ("cpu", "cuda").
    progress : bool
        Whether to show a progress bar on stderr.

    Returns
    -------
    dict
        ``num_identities`` (with a face or a voice), ``num_faces``, ``num_voices``, one entry per
        task, and ``reasons`` by the path of each stratum that is None, such as "verification/G".

    Raises
    ------
    ValueError
        If an argument is out of range, the device cannot be used, or the metadata lacks an
        identity or repeats one.

    Example
    -------
    >>> from speechbrain_fv.embeddings import Embeddings
    >>> names = ["ann", "bob", "eve"]
    >>> report = evaluate(Embeddings(np.eye(3), np.eye(3), names, names))
    >>> report["verification"]["U"]
    {'auc': 1.0, 'eer': 0.0, 'num_positives': 3, 'num_negatives': 6}
    >>> report["reasons"]["verification/G"]
    'no metadata, which G needs for gender'
    """
    unknown = [task for task in tasks if task not in TASKS]
    if unknown:
        raise ValueError(f"tasks: expected some of {TASKS}, received {unknown}.")
    for name, value, least in (
        ("max_candidates", max_candidates, 2),
        ("chunk_size", chunk_size, 1),
    ):
        if not isinstance(value, int) or value < least:
            raise ValueError(
                f"{name}: expected an integer of at least {least}, received {value!r}."
            )
    check_device(device)
    trials = _Trials(embeddings, metadata, max_candidates, chunk_size, device)
    report = {
        "num_identities": len(embeddings.identities),
        "num_faces": len(embeddings.face),
        "num_voices": len(embeddings.voice),
    }
    reasons = {}
    for path, value in tqdm(
        _values(trials, tasks), total=_num_values(tasks), desc="evaluate", disable=not progress
    ):
        *parents, name = path
        node = report
        for parent in parents:
            node = node.setdefault(parent, {})
        if isinstance(value, str):
            reasons["/".join(path)] = value
        node[name] = None if isinstance(value, str) else value
    return {**report, "reasons": reasons}


def check_device(device):
    """Raises ValueError if torch cannot compute on the device, such as "cpu" or "cuda:0"."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch built without CUDA
        raise ValueError(f"device {device!r} cannot be used ({error}); try 'cpu'.") from error


class _Trials:
    """The embeddings as tensors, and the group of each clip in a stratum."""

    def __init__(self, embeddings, metadata, max_candidates, chunk_size, device):
        self.metadata = metadata
        identities = embeddings.identities
        if metadata is not None:
            self.metadata = protocols.check_metadata(metadata, identities)
        self.options = {"max_candidates": max_candidates, "chunk_size": chunk_size}
        self.num_identities = len(identities)
        self.vectors, self.identity = {}, {}
        for key, modality in (("F", "face"), ("V", "voice")):
            vectors = torch.as_tensor(getattr(embeddings, modality), device=device)
            labels = np.searchsorted(identities, getattr(embeddings, f"{modality}_identity"))
            self.vectors[key] = metrics.unit_rows(vectors)
            self.identity[key] = torch.as_tensor(labels, device=device)

    def groups(self, stratum):
        """Returns the group of each clip, by modality."""
        if stratum == "U":
            groups = np.zeros(self.num_identities, dtype=np.int64)
        else:
            groups = protocols.stratum_groups(self.metadata, stratum)
        groups = torch.as_tensor(groups, device=self.identity["F"].device)
        return {modality: groups[self.identity[modality]] for modality in "FV"}

    def verification(self, stratum):
        """Returns AUC, EER and their counts."""
        groups = self.groups(stratum)
        counts = metrics.count_pooled(
            self.vectors["F"],
            self.vectors["V"],
            self.identity["F"],
            self.identity["V"],
            groups["F"],
            groups["V"],
            self.options["chunk_size"],
        )
        return {
            "auc": _number(metrics.area_under_curve(counts)),
            "eer": _number(metrics.equal_error_rate(counts)),
            "num_positives": int(counts.num_positives.sum()),
            "num_negatives": counts.num_negatives,
        }

    def scores(self, direction, stratum):
        """Returns the `metrics.QueryScores` of one direction."""
        query, gallery = direction.split("-")
        groups = self.groups(stratum)
        return metrics.score_queries(
            self.vectors[query],
            self.vectors[gallery],
            self.identity[query],
            self.identity[gallery],
            groups[query],
            groups[gallery],
            **self.options,
        )

    def retrieval(self, direction, scores):
        """Returns mAP by query and by identity with chance, of queries that have a positive."""
        query, gallery = direction.split("-")
        has_positive = scores.num_positives > 0
        precision = scores.average_precision[has_positive]
        identity = self.identity[query][has_positive].unique(return_inverse=True)[1]
        per_identity = torch.bincount(identity, precision) / torch.bincount(identity)
        size = len(self.vectors[gallery])
        chance = metrics.chance_average_precision(scores.num_positives[has_positive], size)
        return {
            "map": _number(precision.mean()),
            "map_per_identity": _number(per_identity.mean()),
            "chance_map": _number(chance.mean()),
            "num_queries": len(precision),
            "gallery_size": size,
        }


def _values(trials, tasks):
    """Yields (path, value or reason) of each entry; one pass in U serves both ranked tasks."""
    if "verification" in tasks:
        for stratum in protocols.VERIFICATION_STRATA:
            reason = protocols.undefined_reason(trials.metadata, stratum)
            yield ("verification", stratum), reason or trials.verification(stratum)
    ranked = [task for task in ("matching", "retrieval") if task in tasks]
    for direction in DIRECTIONS if ranked else ():
        unrestricted = trials.scores(direction, "U")
        if "matching" in tasks:
            for stratum in protocols.MATCHING_STRATA:
                reason = protocols.undefined_reason(trials.metadata, stratum)
                if reason:
                    yield ("matching", direction, stratum), reason
                    continue
                scores = unrestricted if stratum == "U" else trials.scores(direction, stratum)
                yield ("matching", direction, stratum), _matching(scores.accuracy)
        if "retrieval" in tasks:
            yield ("retrieval", direction), trials.retrieval(direction, unrestricted)


def _num_values(tasks):
    """Returns how many entries `_values` yields."""
    sizes = {
        "verification": len(protocols.VERIFICATION_STRATA),
        "matching": len(DIRECTIONS) * len(protocols.MATCHING_STRATA),
        "retrieval": len(DIRECTIONS),
    }
    return sum(sizes[task] for task in tasks)


def _matching(accuracy):
    """Returns accuracy and number of probes by N, from (num_queries, max_candidates - 1)."""
    counts = (~accuracy.isnan()).sum(dim=0).tolist()
    return {
        str(candidates): {"accuracy": _number(mean), "num_probes": count}
        for candidates, (mean, count) in enumerate(
            zip(accuracy.nanmean(dim=0), counts, strict=True), start=2
        )
    }


def _number(value):
    """Returns a float, or None for NaN (JSON has no NaN)."""
    return None if np.isnan(float(value)) else float(value)


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


def save_report(path, report):
    """Writes a report as strict JSON; a killed run leaves no half file."""
    with replacing(path) as file:
        file.write(json.dumps(report, indent=2, allow_nan=False).encode() + b"\n")


def format_report(report):
    """Returns the tables of a report for the terminal: percent, "-" where undefined.

    Arguments
    ---------
    report : dict
        From `evaluate`, with any of its tasks.

    Returns
    -------
    str

    Example
    -------
    >>> from speechbrain_fv.embeddings import Embeddings
    >>> names = ["ann", "bob", "eve"]
    >>> report = evaluate(Embeddings(np.eye(3), np.eye(3), names, names), tasks=["retrieval"])
    >>> print(format_report(report))
    3 identities, 3 faces, 3 voices; values in %
    <BLANKLINE>
    Retrieval          F-V     V-F
    mAP             100.00  100.00
      per identity  100.00  100.00
      chance         61.11   61.11
    """
    counts = (report["num_identities"], report["num_faces"], report["num_voices"])
    lines = ["{} identities, {} faces, {} voices; values in %".format(*counts)]
    if "verification" in report:
        columns = report["verification"]
        lines += ["", _row("Verification", columns, str)]
        for label, key in (("AUC", "auc"), ("EER", "eer")):
            lines.append(_row(label, [column and column[key] for column in columns.values()]))
    for direction, columns in report.get("matching", {}).items():
        lines += ["", _row(f"Matching {direction}", columns, str)]
        for candidates in [name for name in ("2", "5", "10") if name in columns["U"]]:
            values = [column and column[candidates]["accuracy"] for column in columns.values()]
            lines.append(_row(f"1:{candidates}", values))
    if "retrieval" in report:
        columns = report["retrieval"]
        lines += ["", _row("Retrieval", columns, str)]
        for label, key in (
            ("mAP", "map"),
            ("  per identity", "map_per_identity"),
            ("  chance", "chance_map"),
        ):
            lines.append(_row(label, [column[key] for column in columns.values()]))
    reasons = {path.split("/")[-1]: reason for path, reason in report["reasons"].items()}
    lines += [""] * bool(reasons)
    lines += [f"{stratum} is undefined: {reason}" for stratum, reason in reasons.items()]
    return "\n".join(lines)


def _row(label, values, show=lambda value: "-" if value is None else f"{100 * value:.2f}"):
    """Returns one line of a table."""
    return f"{label:<14}" + "".join(f"{show(value):>8}" for value in values)
