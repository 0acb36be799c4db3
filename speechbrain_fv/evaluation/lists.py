"""Embeddings and resolved lists -> the section `lists` of a report.

Verification: AUC and EER of the listed trials. Matching: the share of trials won, where a positive
that ties with k negatives wins 1 / (k + 1). Retrieval: mAP over the listed gallery, beside its
chance. What a score cannot do is None, with the reason.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from speechbrain_fv import metrics
from speechbrain_fv.evaluation.audit import (
    attribute_codes,
    audit_list,
    negatives_agree,
    positional_labels,
)
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.report import number_or_none
from speechbrain_fv.evaluation.scoring import Comparison
from speechbrain_fv.files import PathLike, write_table
from speechbrain_fv.metrics.candidates import candidate_wins
from speechbrain_fv.metrics.listed import listed_counts, listed_replicates, pair_scores, wins
from speechbrain_fv.protocols import write_list
from speechbrain_fv.protocols.resolve import ResolvedList
from speechbrain_fv.scores import Score

ROWS_AT_ONCE = 2**14
NUM_EXAMPLES = 5
"""Unresolvable clips that the report names; the CSV has them all."""


def evaluate_lists(
    embeddings: Embeddings,
    lists: Sequence[ResolvedList],
    metadata: pd.DataFrame | None = None,
    chunk_size: int = metrics.CHUNK_SIZE,
    device: str = "cpu",
    score: Score | None = None,
    leakage: dict[str, Any] | None = None,
    num_replicates: int = 0,
    bootstrap_seed: int = 0,
) -> dict[str, Any]:
    """Returns the section `lists` of a report: the values of each list over its resolvable trials.

    Arguments
    ---------
    embeddings : Embeddings
    lists : sequence of ResolvedList
        From `protocols.resolve_lists`, with the same embeddings.
    metadata : pandas.DataFrame, optional
        With it, the share of negative pairs that agree in gender, nationality and age is reported.
    chunk_size : int
        Numbers held at once, 8 bytes each, >= 1. It bounds the memory and changes no result.
    device : str
        Where to compute ("cpu", "cuda").
    score : Score, optional
        How a face and a voice are compared; `scores.Cosine` by default.
    leakage : dict, optional
        From `check_leakage`, of the same lists; the audit then states the people of the training.
    num_replicates, bootstrap_seed : int
        Of the bootstrap over people by which verification has intervals; 0: none.

    Returns
    -------
    dict
        By name of the list: ``kind``, ``source``, ``direction``, ``num_rows`` (in retrieval
        queries and gallery clips), ``published_num_rows`` (None: unknown), ``as_published``,
        ``num_unresolved_rows``, ``num_unresolved_clips``, ``unresolved_clips`` (the first few),
        ``num_contradictions``, ``drawn`` (seed and numbers; None for a file),
        ``negatives_agree`` (by attribute: ``share``, ``num_pairs`` with both known),
        ``audit`` (see `audit.audit_list`; for verification ``positional`` also has ``auc``, that of
        the scores against labels taken from position), and values:

        - verification: ``auc``, ``eer``, ``chance_auc``, ``num_positives``, ``num_negatives``, and
          with a bootstrap ``auc_interval`` and ``eer_interval`` over the people of the list;
        - matching: ``accuracy`` by N: ``accuracy``, ``chance``, ``num_trials``;
        - retrieval: ``map``, ``map_per_identity``, ``chance_map``, ``num_queries`` (those with
          a positive), ``num_queries_without_positive``, ``gallery_size``.

        Of a list without labels, where the embeddings do not tell either, ``audit`` is None, and so
        are its values. A value without trials is None. Where the score cannot do a list, or a
        number of candidates, its values are None and ``reason`` tells why.

    Example
    -------
    >>> from speechbrain_fv.evaluation.embeddings import Embeddings
    >>> from speechbrain_fv.protocols import SampledTrials, resolve_lists
    >>> names = ["ann", "bob", "eve"]
    >>> people = Embeddings(np.eye(3), np.eye(3), names, names, names, names)
    >>> lists = resolve_lists(SampledTrials(6, seed=0, strata=["U"]), people)
    >>> evaluate_lists(people, lists)["sampled/matching_F-V_U"]["accuracy"]
    {'2': {'accuracy': 1.0, 'chance': 0.5, 'num_trials': 6}}
    """
    comparison = Comparison(embeddings, score, device)
    attributes = attribute_codes(embeddings, metadata)
    parts = (leakage or {}).get("parts", {})
    section = {}
    for resolved in lists:
        if resolved.trials.kind == "verification" and resolved.labels is None:
            section[resolved.trials.name] = {**_facts(resolved), **_UNLABELLED}
            continue
        audit = audit_list(resolved, attributes, parts.get(resolved.trials.name))
        values = _values(resolved, comparison, chunk_size)
        scores = values.pop("scores", None)
        if resolved.trials.kind == "verification":
            unscored = scores is None
            by_position = None if unscored else _rates(scores, positional_labels(resolved))[0]
            audit["positional"]["auc"] = by_position
        section[resolved.trials.name] = {
            **_facts(resolved),
            "negatives_agree": negatives_agree(resolved, attributes),
            "audit": audit,
            **values,
        }
        if num_replicates and scores is not None:
            replicates = list_replicates(
                resolved, comparison, num_replicates, bootstrap_seed, chunk_size, scores
            )
            node = section[resolved.trials.name]
            for key, values in (replicates or {}).items():
                node[f"{key}_interval"] = metrics.interval(values, node[key])
    return section


_UNLABELLED = {
    **dict.fromkeys(("negatives_agree", "audit", "auc", "eer", "num_positives", "num_negatives")),
    "chance_auc": 0.5,
    "reason": "the list has no labels, and the embeddings do not tell who is on the clips",
}


def list_replicates(
    resolved: ResolvedList,
    comparison: Comparison,
    num_replicates: int,
    seed: int = 0,
    chunk_size: int = metrics.CHUNK_SIZE,
    scores: np.ndarray | None = None,
) -> dict[str, np.ndarray] | None:
    """Returns ``auc`` and ``eer`` (num_replicates,) of a verification list, over its people.

    Arguments
    ---------
    resolved : ResolvedList
    comparison : Comparison
    num_replicates, seed, chunk_size : int
    scores : array or torch.Tensor of shape (num_rows,), optional
        Higher for one person; by default those of the comparison.

    Returns
    -------
    dict or None
        None where people are not known, there is one, or the list has no positive or no negative.
    """
    embeddings, labels = comparison.embeddings, torch.as_tensor(resolved.labels)
    if not embeddings.labelled or comparison.score.unable("verification"):
        return None
    people = np.array(embeddings.identities)
    who = [
        np.searchsorted(people, getattr(embeddings, f"{modality}_identity"))[rows]
        for modality, rows in (
            (resolved.probe, resolved.probes),
            (resolved.target, resolved.targets),
        )
    ]
    present, codes = np.unique(np.concatenate(who), return_inverse=True)
    if len(present) < 2 or labels.all() or not labels.any():
        return None
    if scores is None:
        scores = _scores(resolved, comparison, chunk_size)[:, 0]
    scores = torch.as_tensor(scores)
    labels = labels.to(scores.device)
    counts = listed_counts(scores[labels], scores[~labels])
    exact = metrics.area_under_curve(counts), metrics.equal_error_rate(counts)
    weights = metrics.draw_weights(len(present), num_replicates, seed)
    sides = [torch.as_tensor(side, device=scores.device) for side in np.split(codes, 2)]
    spread = listed_replicates(
        scores, labels, sides, torch.as_tensor(weights, device=scores.device), *exact, chunk_size
    )
    return {key: of.cpu().numpy() for key, of in zip(("auc", "eer"), spread, strict=True)}


def save_list_files(folder: PathLike, lists: Sequence[ResolvedList]) -> None:
    """Writes `unresolved.csv` (list, modality, clip, num_rows) and every drawn list.

    Arguments
    ---------
    folder : path
        Drawn lists become `<folder>/<name>.csv`, which `ListFile` reads.
    lists : sequence of ResolvedList
    """
    missing = [resolved.missing for resolved in lists]
    write_table(pd.concat(missing, ignore_index=True), Path(folder) / "unresolved.csv")
    for trials in (resolved.trials for resolved in lists):
        if trials.drawn:
            write_list(Path(folder) / f"{trials.name}.csv", trials)


def format_lists(section: dict[str, Any]) -> str:
    """Returns the table of the section for the terminal, in percent, chance beside each value.

    Arguments
    ---------
    section : dict
        From `evaluate_lists`.

    Returns
    -------
    str
    """
    width = max([5, *map(len, section)])
    lines = [f"{'Lists':<{width}}  value        %  chance  trials, of which unresolved"]
    for name, entry in section.items():
        for label, value, chance in _shown(entry):
            numbers = "".join(
                f"{'-' if number is None else f'{100 * number:.2f}':>8}"
                for number in (value, chance)
            )
            rows = " x ".join(map(str, entry["num_rows"]))
            line = f"{name:<{width}}  {label:<5} {numbers}  {rows}, {entry['num_unresolved_rows']}"
            if entry["as_published"] is False:
                line += f" (published: {' x '.join(map(str, entry['published_num_rows']))})"
            lines.append(line)
        lines += [f"{'':<{width}}  {reason}" for reason in list_reasons(entry)]
    return "\n".join(lines)


def list_reasons(entry: dict[str, Any]) -> list[str]:
    """Returns why values of a list are None, each reason once."""
    nodes = [entry, *entry.get("accuracy", {}).values()]
    return list(dict.fromkeys(node["reason"] for node in nodes if "reason" in node))


def _shown(entry):
    """Returns (label, value, chance) of each value of a list."""
    if entry["kind"] == "verification":
        return [("AUC", entry["auc"], 0.5), ("EER", entry["eer"], 0.5)]
    if entry["kind"] == "matching":
        return [(f"1:{n}", at["accuracy"], at["chance"]) for n, at in entry["accuracy"].items()]
    return [("mAP", entry["map"], entry["chance_map"])]


def _facts(resolved):
    """Returns what the report says of a list beside its values."""
    trials, missing = resolved.trials, resolved.missing
    published = trials.published
    return {
        "kind": trials.kind,
        "source": trials.source,
        "direction": resolved.direction,
        "num_rows": list(trials.counts),
        "published_num_rows": list(published) if published else None,
        "as_published": trials.counts == published if published else None,
        "num_unresolved_rows": resolved.num_unresolved,
        "num_unresolved_clips": len(missing),
        "unresolved_clips": missing["clip"].head(NUM_EXAMPLES).tolist(),
        "num_contradictions": resolved.num_contradictions,
        "drawn": trials.drawn or None,
    }


def _values(resolved, comparison, chunk_size):
    """Returns the values of a list."""
    kind = resolved.trials.kind
    reason = comparison.score.unable(kind, resolved.direction)
    values = _KINDS[kind](resolved, comparison, chunk_size, reason)
    return {**values, "reason": reason} if reason else values


def _verification(resolved, comparison, chunk_size, reason):
    """Returns AUC, EER and the numbers of trials; beside them the scores, unless there are none."""
    scores = None if reason else _scores(resolved, comparison, chunk_size)[:, 0]
    auc, eer = (None, None) if reason else _rates(scores, resolved.labels)
    num_positives = int(np.sum(resolved.labels))
    return {
        "auc": auc,
        "eer": eer,
        "chance_auc": 0.5,
        "num_positives": num_positives,
        "num_negatives": len(resolved.labels) - num_positives,
        "scores": scores,
    }


def _rates(scores, labels):
    """Returns AUC and EER of scored trials, None where they are not defined."""
    labels = torch.as_tensor(labels, device=scores.device)
    counts = listed_counts(scores[labels], scores[~labels])
    rates = metrics.area_under_curve(counts), metrics.equal_error_rate(counts)
    return tuple(map(number_or_none, rates))


def _matching(resolved, comparison, chunk_size, reason):
    """Returns the accuracy by the number of candidates."""
    num_candidates = (resolved.candidates >= 0).sum(axis=1)
    won, accuracy = None, {}
    if not reason and not comparison.ranks:
        won = wins(_scores(resolved, comparison, chunk_size)).cpu().numpy()
    # Of all rows: a size of which no row is left is reported with no trials.
    for size in np.unique((resolved.trials.targets != "").sum(axis=1)).tolist():
        rows = np.flatnonzero(num_candidates == size)
        unable = comparison.score.unable("matching", resolved.direction, size)
        value = None
        if len(rows) and not unable:
            of_size = _won(resolved, comparison, rows, size) if won is None else won[rows]
            value = float(of_size.mean())
        accuracy[str(size)] = {"accuracy": value, "chance": 1 / size, "num_trials": len(rows)}
        if unable:
            accuracy[str(size)]["reason"] = unable
    return {"accuracy": accuracy}


def _won(resolved, comparison, rows, size):
    """Returns the shares of a win of rows of so many candidates, by a score that ranks them."""
    probes, targets = (comparison.prepared(m) for m in (resolved.probe, resolved.target))
    rank, won = comparison.rank(resolved.direction), []
    for part in np.array_split(rows, -(-len(rows) // ROWS_AT_ONCE)):
        chosen = torch.as_tensor(resolved.candidates[part, :size], device=targets.device)
        probe = torch.as_tensor(resolved.probes[part], device=probes.device)
        won.append(candidate_wins(rank, probes[probe], targets[chosen]))
    return torch.cat(won).cpu().numpy()


def _retrieval(resolved, comparison, chunk_size, reason):
    """Returns mAP by query and by identity, beside chance."""
    if reason:
        names = ("map", "map_per_identity", "chance_map", "num_queries")
        nothing = dict.fromkeys((*names, "num_queries_without_positive"))
        return {**nothing, "gallery_size": len(resolved.targets)}
    sides = []
    num_identities = 1 + max(
        people.max(initial=0) for people in (resolved.probe_identity, resolved.target_identity)
    )
    for modality, rows, identity in (
        (resolved.probe, resolved.probes, resolved.probe_identity),
        (resolved.target, resolved.targets, resolved.target_identity),
    ):
        of_side = comparison.given[modality]
        identity = torch.as_tensor(identity, device=of_side.device)
        clips = of_side[torch.as_tensor(rows, device=of_side.device)]
        sides.append(comparison.grouped(modality, clips, identity, num_identities))
    everyone = metrics.Strata(sides[0].identity.new_empty(num_identities, 0), [0])
    scores = metrics.score_queries(*sides, everyone, max_candidates=2, chunk_size=chunk_size)
    means = metrics.mean_precisions(scores, *sides)
    return {
        "map": number_or_none(means.by_query),
        "map_per_identity": number_or_none(means.by_identity),
        "chance_map": number_or_none(means.chance),
        "num_queries": means.num_queries,
        "num_queries_without_positive": len(resolved.probes) - means.num_queries,
        "gallery_size": len(resolved.targets),
    }


def _scores(resolved, comparison, chunk_size):
    """Returns the scores (num_left, max_candidates) of verification or matching trials."""
    probes, targets = (comparison.prepared(m) for m in (resolved.probe, resolved.target))
    rows, columns = (
        torch.as_tensor(part, device=probes.device)
        for part in (resolved.probes, resolved.candidates)
    )
    compare = comparison.listed(resolved.probe)
    return pair_scores(probes, targets, rows, columns, chunk_size, compare)


_KINDS = {"verification": _verification, "matching": _matching, "retrieval": _retrieval}
