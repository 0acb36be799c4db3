"""Several named test sets in one report, such as heard and unheard languages, and their mean."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from speechbrain_fv import metrics
from speechbrain_fv.corpora.own_data import one_spelling
from speechbrain_fv.data.selection import matches
from speechbrain_fv.evaluation.attributes import (
    MODALITIES,
    ClipAttributes,
    clip_attributes,
    default_strata,
    evaluate_clip_groups,
    evaluate_strata,
)
from speechbrain_fv.evaluation.embeddings import Embeddings, load_embeddings
from speechbrain_fv.evaluation.exact import evaluate
from speechbrain_fv.evaluation.groups import group_rows
from speechbrain_fv.evaluation.report import Report, load_metadata, percent
from speechbrain_fv.protocols.leakage import check_leakage

VALUES = ("auc", "eer")


def evaluate_sets(
    embeddings: Embeddings | None,
    attributes: ClipAttributes | None,
    sets: Mapping[str, Any],
    metadata: pd.DataFrame | None = None,
    **options: Any,
) -> Report:
    """Returns the report of each set, and the mean over them.

    Arguments
    ---------
    embeddings : Embeddings
    attributes : ClipAttributes
        Of these.
    sets : mapping of str to mapping
        Name to the clips in the set, by attribute: ``{language: Urdu}`` takes faces and voices in
        Urdu, ``{voice: {language: Urdu}, face: {language: English}}`` restricts them apart. Or
        ``{embeddings: file.npz}``, optionally with ``metadata``: a set of its own.
    metadata : pandas.DataFrame, optional
        As in `evaluate`.
    **options
        Of `evaluate`.

    Returns
    -------
    Report
        ``sets`` by name, each a report as `evaluate` returns it with ``selection``; and ``mean``:
        ``auc`` and ``eer`` of stratum U over the sets, with intervals where all sets have the same
        people, whose resamples are then the same, else ``reason``.

    Raises
    ------
    ValueError
        If a set asks for an attribute or a value that no clip has, or is empty.
    """
    report, single = Report(sets={}), {}
    report.replicates = {}
    for name, wanted in sets.items():
        if not isinstance(wanted, Mapping) or not wanted or "/" in name:
            raise ValueError(
                f"sets: expected names without '/' and mappings such as {{language: English}}, got "
                f"{name}: {wanted!r}"
            )
        if "embeddings" in wanted:
            chosen, people = _own(name, wanted)
        else:
            chosen, people = _chosen(name, wanted, embeddings, attributes), metadata
        node = evaluate(chosen, people, **options)
        single[name] = node
        report["sets"][name] = {"selection": dict(wanted), **node}
        for path, values in (node.replicates or {}).items():
            if path not in ("identities", "seed"):
                report.replicates[f"sets/{name}/{path}"] = values
    report["mean"] = _mean(single)
    return report


def sets_leakage(train_identities, sets, meta_csv=None, allow_leakage=False):
    """Returns what `check_leakage` says of each set that has embeddings of its own.

    Arguments
    ---------
    train_identities, meta_csv, allow_leakage
        As in `check_leakage`.
    sets : mapping of str to mapping, or None
        As in `evaluate_sets`.

    Returns
    -------
    dict of str to dict

    Raises
    ------
    ValueError
        If there is leakage and it is not allowed, or a file cannot be read.
    """
    found = {}
    for name, wanted in (sets or {}).items():
        if isinstance(wanted, Mapping) and "embeddings" in wanted:
            tested = load_embeddings(wanted["embeddings"])
            try:
                found[name] = check_leakage(train_identities, tested, (), meta_csv, allow_leakage)
            except ValueError as error:
                raise ValueError(f"sets: {name}: {error}") from error
    return found


def add_attributes(
    report: Report,
    embeddings: Embeddings,
    clips: pd.DataFrame | None,
    metadata: pd.DataFrame | None,
    strata: Mapping[str, Any] | None = None,
    sets: Mapping[str, Any] | None = None,
    **options: Any,
) -> None:
    """Adds to a report what the attributes of its clips allow, and the named sets.

    Arguments
    ---------
    report : Report
        Of `evaluate`. It gets ``clip_strata``, ``sets`` and ``mean``, and ``groups`` of the values
        of an attribute; each only where there is something to tell.
    embeddings : Embeddings
    clips, metadata : pandas.DataFrame or None
        As in `attributes.clip_attributes`.
    strata : mapping, optional
        As in `attributes.evaluate_strata`; by default those of `attributes.default_strata`.
    sets : mapping, optional
        As in `evaluate_sets`; of each its verification.
    **options
        Of `evaluate`, but for its tasks.
    """
    attributes = clip_attributes(embeddings, clips, metadata)
    strata = default_strata(attributes) if strata is None else strata
    of_pairs = {name: options[name] for name in PAIR_OPTIONS if name in options}
    if strata:
        node = evaluate_strata(embeddings, attributes, strata, **of_pairs)
        report["clip_strata"] = dict(node)
        _add_replicates(report, node, "clip_strata/")
    if groups := evaluate_clip_groups(embeddings, attributes, **of_pairs):
        report["groups"] = {**report.get("groups", {}), **groups}
    if sets:
        node = evaluate_sets(
            embeddings, attributes, sets, metadata, tasks=("verification",), **options
        )
        report.update(node)
        _add_replicates(report, node, "")


PAIR_OPTIONS = ("num_replicates", "bootstrap_seed", "chunk_size", "device", "score")
"""Options of `evaluate` that verification takes."""


def _add_replicates(report, node, prefix):
    if report.replicates is not None:
        report.replicates |= {f"{prefix}{path}": value for path, value in node.replicates.items()}


def _own(name, wanted):
    """Returns the embeddings and the metadata of a set that names files of its own."""
    others = set(wanted) - {"embeddings", "metadata"}
    if others:
        raise ValueError(f"sets: {name}: expected embeddings and metadata, got {sorted(others)}")
    metadata = wanted.get("metadata")
    return load_embeddings(wanted["embeddings"]), metadata and load_metadata(metadata)


def _chosen(name, wanted, embeddings, attributes):
    """Returns the embeddings of the clips that a set asks for."""
    tables = [getattr(attributes, modality) for modality in MODALITIES]
    if embeddings is None or not any(len(table.columns) for table in tables):
        raise ValueError(
            f"sets: {name}: the clips have no attributes; give clips: a CSV with them, or metadata"
        )
    by_modality = {
        modality: {key: value for key, value in wanted.items() if key not in MODALITIES}
        | dict(wanted.get(modality, {}))
        for modality in MODALITIES
    }
    by_modality = {
        modality: {key: _spelled(key, values) for key, values in asked.items()}
        for modality, asked in by_modality.items()
    }
    kept = [
        matches(table, by_modality[modality], f"sets: {name}", tables).to_numpy()
        for modality, table in zip(MODALITIES, tables, strict=True)
    ]
    try:
        return type(embeddings)(**group_rows(embeddings, kept))
    except ValueError as error:
        counts = " and ".join(
            f"{int(rows.sum())} {modality}s"
            for rows, modality in zip(kept, MODALITIES, strict=True)
        )
        raise ValueError(f"sets: {name}: {counts} are in it: {error}") from error


def _spelled(attribute, values):
    """Returns the values that a set asks for as `clip_attributes` spells them: male is m."""
    values = values if isinstance(values, list | tuple) else [values]
    return one_spelling(
        pd.Series([str(value) for value in values], dtype=object), attribute
    ).tolist()


def _mean(single):
    """Returns the mean of AUC and EER over sets, with paired intervals."""
    node = {}
    for key in VALUES:
        values = [(report["verification"]["U"] or {}).get(key) for report in single.values()]
        node[key] = None if None in values else float(np.mean(values))
    replicates = [report.replicates for report in single.values()]
    if not all(replicates):
        return node
    people = [of_set["identities"].tolist() for of_set in replicates]
    if any(names != people[0] for names in people):
        return node | {"reason": "the sets have different people, so their mean has no interval"}
    for key in VALUES:
        spread = np.mean([of_set[f"verification/U/{key}"] for of_set in replicates], axis=0)
        node[f"{key}_interval"] = metrics.interval(spread, node[key])
    return node


def format_sets(report: Mapping[str, Any]) -> str:
    """Returns the tables of ``clip_strata``, ``sets`` and ``mean`` of a report, in percent.

    Example
    -------
    >>> node = {"auc": 0.75, "eer": 0.25}
    >>> print(format_sets({"clip_strata": {"+language": node}}))
    Clips                            AUC                 EER
    +language                      75.00               25.00
    """
    lines = []
    for title, nodes in (
        ("Clips", report.get("clip_strata", {})),
        (
            "Sets",
            {name: node["verification"]["U"] for name, node in report.get("sets", {}).items()},
        ),
    ):
        if not nodes:
            continue
        width = max(16, *(len(name) + 1 for name in nodes))
        lines += [""] * bool(lines) + [f"{title:<{width}}{'AUC':>20}{'EER':>20}"]
        if title == "Sets" and "mean" in report:
            nodes = {**nodes, "mean": report["mean"]}
        for name, node in nodes.items():
            node = node or dict.fromkeys(VALUES)
            cells = [percent(node[key], node.get(f"{key}_interval")) for key in VALUES]
            lines.append(f"{name:<{width}}" + "".join(f"{cell:>20}" for cell in cells))
            lines += [f"  {node['reason']}"] if "reason" in node else []
    return "\n".join(lines)
