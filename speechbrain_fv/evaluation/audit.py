"""Is a trial list what its name says, and may its labels be taken from position?

Facts about a list that need no score: positives, order of labels, attributes of the negatives
against the name, trials listed twice or with both answers, people of a training.
"""

import re
from typing import Any

import numpy as np
import pandas as pd

from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.report import percent
from speechbrain_fv.protocols import ATTRIBUTES, check_metadata, stratum_attributes
from speechbrain_fv.protocols.lists import TrialList
from speechbrain_fv.protocols.resolve import ResolvedList

_PUBLISHED_NAMES = {"g": "G", "random": "U"}
"""How published lists write a stratum otherwise: `verify_g_v2f`, `veriflist_random_seenheard`."""


def audit_list(
    resolved: ResolvedList, attributes: dict[str, Any], leaked: dict[str, int] | None = None
) -> dict[str, Any]:
    """Returns what the rows of a list say of it.

    Arguments
    ---------
    resolved : ResolvedList
        Rows with clips that are not among the embeddings are left out; the others keep their
        position in the file.
    attributes : dict
        From `attribute_codes`.
    leaked : dict, optional
        The list's entry under ``parts`` of `check_leakage`; None: the training is not known.

    Returns
    -------
    dict
        - ``num_pairs``, ``positive_share``: of all pairs that the list compares;
        - ``alternation`` (verification): ``neighbours_differ``, the share of neighbouring rows with
          different labels, and ``longest_run``, the most rows in a row that alternate;
        - ``positional`` (verification): ``agreement``, the share of rows whose label is that of
          `positional_labels`, and ``perfect_auc``, the AUC that a model without errors has by
          these; (matching) the share of rows whose first candidate, and no other,
          is the probe's identity by the embeddings;
        - ``promise``: ``stratum`` that the name states (None: none, or several) and ``negatives``,
          by attribute of it, and ``together`` where it has several: ``share`` of negative pairs
          that agree, ``num_pairs`` with both known, ``num_broken`` that differ;
        - ``num_repeated_rows`` that repeat an earlier one, whatever their label, or whatever the
          order of their negatives; in retrieval, clips that are named again;
        - ``num_contradictory_pairs``: pairs listed as positive and as negative;
        - ``training``: ``num_identities``, ``num_leaked_identities``, ``num_pairs`` and
          ``num_leaked_pairs`` (None: unknown).

        A share of nothing is None.
    """
    kind = resolved.trials.kind
    if kind == "retrieval":
        positive = np.bincount(resolved.target_identity, minlength=_most(resolved))
        num_pairs = len(resolved.probes) * len(resolved.targets)
        num_positives = int(positive[resolved.probe_identity].sum())
    else:
        roles = _roles(resolved)
        num_pairs, num_positives = int((roles >= 0).sum()), int((roles == 1).sum())
    return {
        "num_pairs": num_pairs,
        "positive_share": _share(num_positives, num_pairs),
        "alternation": _alternation(resolved) if kind == "verification" else None,
        "positional": _positional(resolved),
        "promise": _promise(resolved, attributes),
        "num_repeated_rows": _num_repeated(resolved),
        "num_contradictory_pairs": 0 if kind == "retrieval" else _num_contradictory(resolved),
        "training": leaked,
    }


def positional_labels(resolved: ResolvedList) -> np.ndarray:
    """Returns the labels (num_left,) of code that does not read them: they alternate by position.

    The first row of the file is taken as positive, the second as negative, and so on.

    Arguments
    ---------
    resolved : ResolvedList
        Of verification or matching.
    """
    return resolved.rows % 2 == 0


def promised_stratum(trials: TrialList) -> str | None:
    """Returns the stratum that a list states: how it was drawn, or a part of its name.

    Such a part is U, or letters of GNA in upper case; g and random are G and U, as published lists
    write them. None where there is none, or several that differ.

    Example
    -------
    >>> from speechbrain_fv.protocols import TrialList
    >>> names = ["pins/matching_v2f_GN", "ssos/verify_g_v2f", "trials_a", "G_or_N"]
    >>> [promised_stratum(TrialList(name, "matching", "", None, None)) for name in names]
    ['GN', 'G', None, None]
    """
    if trials.drawn:
        return trials.drawn["stratum"]
    parts = re.split(r"[^A-Za-z0-9]+", trials.name)
    parts = {_PUBLISHED_NAMES.get(part, part) for part in parts}
    found = [part for part in parts if re.fullmatch(r"U|(?!.*(.).*\1)[GNA]+", part)]
    return found[0] if len(found) == 1 else None


def attribute_codes(embeddings: Embeddings, metadata: pd.DataFrame | None) -> dict[str, Any]:
    """Returns attribute -> modality -> code of each clip, -1 where unknown."""
    if metadata is None:
        return {}
    people = embeddings.identities
    table = check_metadata(metadata, people)
    rows = {
        modality: np.searchsorted(people, getattr(embeddings, f"{modality}_identity"))
        for modality in ("face", "voice")
    }
    codes = {
        attribute: pd.factorize(table[attribute].replace("", None))[0]
        for attribute in ATTRIBUTES.values()
        if attribute in table.columns
    }
    return {name: {m: code[rows[m]] for m in rows} for name, code in codes.items()}


def negatives_agree(resolved: ResolvedList, attributes: dict[str, Any]) -> dict[str, Any] | None:
    """Returns by attribute the share of negative pairs that agree; None for retrieval.

    Arguments
    ---------
    resolved : ResolvedList
    attributes : dict
        From `attribute_codes`.

    Returns
    -------
    dict
        By attribute ``share`` and ``num_pairs``, those with both known.
    """
    if resolved.trials.kind == "retrieval":
        return None
    result = {}
    for name in attributes:
        known, agree = _compared(resolved, [attributes[name]])
        result[name] = {"share": _share(agree, known), "num_pairs": known}
    return result


def format_audit(section: dict[str, Any]) -> str:
    """Returns the audit of all lists as a table for the terminal, in percent.

    Its columns: positive pairs; neighbouring rows whose labels differ, and the longest run of them
    in rows; labels that position tells, and by such labels the AUC of a model without errors and of
    the scores; rows that repeat others, and pairs with both labels.

    Arguments
    ---------
    section : dict
        From `evaluate_lists`. Lists without labels have no audit.

    Returns
    -------
    str
    """
    section = {name: entry for name, entry in section.items() if entry["audit"]}
    if not section:
        return ""
    width = max([5, *map(len, section)])
    titles = (
        "positive",
        "alternate",
        "longest",
        "by place",
        "perfect",
        "AUC",
        "repeated",
        "both ways",
    )
    lines = [f"{'Audit':<{width}}" + "".join(f"{title:>11}" for title in titles)]
    for name, entry in section.items():
        audit = entry["audit"]
        order, place = audit["alternation"] or {}, audit["positional"] or {}
        cells = [
            percent(audit["positive_share"]),
            percent(order.get("neighbours_differ")),
            order.get("longest_run", "-"),
            percent(place.get("agreement")),
            percent(place.get("perfect_auc")),
            percent(place.get("auc")),
            audit["num_repeated_rows"],
            audit["num_contradictory_pairs"],
        ]
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>11}" for cell in cells))
        lines += [f"{'':<{width}}  {remark}" for remark in _remarks(audit)]
    return "\n".join(lines)


def _remarks(audit):
    """Returns what the table has no column for: the promise of the name, and the training."""
    promise, remarks = audit["promise"], []
    for name, at in promise["negatives"].items():
        shown = f"{percent(at['share'])} % of {at['num_pairs']} negative pairs agree"
        if not at["num_pairs"]:
            shown = "no negative pair is known in it"
        remarks.append(f"{promise['stratum']} promises {name}: {shown}, {at['num_broken']} differ")
    if audit["training"]:
        remarks.append(
            "{num_leaked_identities} of {num_identities} identities are of the training, in "
            "{num_leaked_pairs} of {num_pairs} pairs".format(**audit["training"])
        )
    return remarks


def _share(part, whole):
    return float(part / whole) if whole else None


def _most(resolved):
    """Returns how many codes of identities a retrieval list has at most."""
    sides = (resolved.probe_identity, resolved.target_identity)
    return 1 + max(int(side.max(initial=0)) for side in sides)


def _roles(resolved):
    """Returns (num_left, max_candidates): 1 positive, 0 negative, -1 no pair."""
    targets = resolved.candidates
    if resolved.trials.kind == "verification":
        positive = resolved.labels[:, None]
    else:
        positive = np.arange(targets.shape[1]) == 0
    return np.where(targets < 0, -1, positive.astype(np.int64))


def _alternation(resolved):
    """Returns how far the labels alternate; rows that were left out break a run."""
    labels, rows = resolved.labels, resolved.rows
    adjacent = np.diff(rows) == 1
    differ = adjacent & (labels[1:] != labels[:-1])
    # A run of n changes has n + 1 rows; changes are counted from the last place without one.
    places = np.arange(1, len(differ) + 1)
    since = np.maximum.accumulate(np.where(differ, 0, places))
    longest = int((places - since).max(initial=0)) + 1 if len(labels) else 0
    return {
        "neighbours_differ": _share(differ.sum(), adjacent.sum()),
        "longest_run": longest,
    }


def _positional(resolved):
    if resolved.trials.kind == "retrieval":
        return None
    num_rows = len(resolved.probes)
    if resolved.trials.kind == "matching":
        return {"agreement": _share(num_rows - resolved.num_contradictions, num_rows)}
    labels, truth = positional_labels(resolved), resolved.labels
    perfect = None
    if labels.any() and not labels.all():
        # Scores that are the true labels: ties count half.
        perfect = 0.5 * (1 + truth[labels].mean() - truth[~labels].mean())
    return {
        "agreement": _share((labels == truth).sum(), num_rows),
        "perfect_auc": None if perfect is None else float(perfect),
    }


def _compared(resolved, codes):
    """Returns of how many negative pairs all attributes are known, and how many of them agree."""
    known = _roles(resolved) == 0
    agree = known
    for code in codes:
        probes = code[resolved.probe][resolved.probes][:, None]
        candidates = code[resolved.target][resolved.candidates]
        known = known & (probes >= 0) & (candidates >= 0)
        agree = agree & (probes == candidates)
    return int(known.sum()), int((known & agree).sum())


def _promise(resolved, attributes):
    """Returns what the name promises of the negatives, and how far it is kept."""
    stratum, negatives = promised_stratum(resolved.trials), {}
    if stratum and resolved.trials.kind != "retrieval":
        names = stratum_attributes(stratum)
        asked = {name: [name] for name in names}
        if len(names) > 1:
            asked["together"] = names
        for name, parts in asked.items():
            known, agree = 0, 0
            if all(part in attributes for part in parts):
                known, agree = _compared(resolved, [attributes[part] for part in parts])
            negatives[name] = {
                "share": _share(agree, known),
                "num_pairs": known,
                "num_broken": known - agree,
            }
    return {"stratum": stratum, "negatives": negatives}


def _num_repeated(resolved):
    """Returns how many rows repeat an earlier one; in retrieval, how many clips do."""
    if resolved.trials.kind == "retrieval":
        sides = (resolved.probes, resolved.targets)
        return int(sum(len(side) - len(np.unique(side)) for side in sides))
    candidates = resolved.candidates
    # The order of negatives makes no other trial.
    rows = np.column_stack([resolved.probes, candidates[:, :1], np.sort(candidates[:, 1:], axis=1)])
    return int(pd.DataFrame(rows).duplicated().sum())


def _num_contradictory(resolved):
    """Returns how many pairs are listed both as positive and as negative."""
    roles, candidates = _roles(resolved), resolved.candidates
    probes = np.broadcast_to(resolved.probes[:, None], candidates.shape)
    listed = roles >= 0
    pairs = pd.DataFrame({"probe": probes[listed], "target": candidates[listed]})
    pairs = pairs.assign(role=roles[listed]).drop_duplicates()
    return int(pairs.duplicated(["probe", "target"]).sum())
