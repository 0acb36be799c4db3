"""Verification within each gender, nationality and age group, so that a bias shows."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from speechbrain_fv import protocols
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.exact import evaluate
from speechbrain_fv.protocols.ages import first_year

MIN_IDENTITIES = 5
VALUES = ("auc", "auc_interval", "eer", "eer_interval", "num_positives", "num_negatives")


def evaluate_groups(
    embeddings: Embeddings,
    metadata: pd.DataFrame,
    min_identities: int = MIN_IDENTITIES,
    **options: Any,
) -> dict[str, list[dict[str, Any]]]:
    """Returns the verification values among the people of each group alone.

    Positives and negatives are both within the group, so that groups compare on equal terms.
    Groups of fewer people are pooled; those of unknown attribute are counted, not scored.

    Arguments
    ---------
    embeddings : Embeddings
    metadata : pandas.DataFrame
        Column ``identity`` and any of ``gender``, ``nationality``, ``age``.
    min_identities : int
        Of a group that is scored, >= 2.
    options
        Of `evaluation.evaluate`, such as ``device`` and ``score``.

    Returns
    -------
    dict of str to list of dict
        By attribute, its groups by falling size (of ages from young to old), then the pooled, then
        the unknown: ``group`` (its name), ``kind`` ("group", "pooled" or "unknown"),
        ``num_identities``, ``num_faces``,
        ``num_voices``, and as in a stratum ``auc``, ``eer``, their intervals if there is a
        bootstrap, and counts. ``auc`` is None where nothing is scored; ``reason`` tells why where
        the score cannot. Attributes that the metadata lacks are left out.

    Raises
    ------
    ValueError
        If the metadata lacks an identity, or `min_identities` is below 2.

    Example
    -------
    >>> import pandas as pd
    >>> from speechbrain_fv.evaluation.embeddings import Embeddings
    >>> people = ["ann", "bob", "eve"]
    >>> metadata = pd.DataFrame({"identity": people, "gender": ["f", "m", "f"]})
    >>> vectors = Embeddings(np.eye(3), np.eye(3), people, people)
    >>> groups = evaluate_groups(vectors, metadata, min_identities=2)["gender"]
    >>> [(group["group"], group["num_identities"], group["auc"]) for group in groups]
    [('f', 2, 1.0), ('other (1)', 1, None)]
    """
    if min_identities < 2:
        raise ValueError(f"min_identities: expected at least 2, got {min_identities}.")
    table = protocols.check_metadata(metadata, embeddings.identities)
    return {
        attribute: [
            _scored(embeddings, name, kind, people, min_identities, options)
            for name, kind, people in _groups(table[attribute], min_identities, attribute == "age")
        ]
        for letter, attribute in protocols.ATTRIBUTES.items()
        if not protocols.undefined_reason(table, letter)
    }


def _groups(values, min_identities, in_order=False):
    """Yields (name, kind, identities) of the groups, the pooled and the unknown."""
    people = {name: group.index for name, group in values.groupby(values)}
    unknown = people.pop("", None)
    ordered = sorted(people, key=lambda name: (-len(people[name]), name))
    small = [name for name in ordered if len(people[name]) < min_identities]
    large = ordered[: len(ordered) - len(small)]
    for name in sorted(large, key=first_year) if in_order else large:
        yield name, "group", people[name]
    if small:
        pooled = [person for name in small for person in people[name]]
        yield f"other ({len(small)})", "pooled", pooled
    if unknown is not None:
        yield "unknown", "unknown", unknown


def group_rows(embeddings: Embeddings, kept: Any) -> Any:
    """Returns the embeddings of some faces and voices, as the fields of `Embeddings`.

    Arguments
    ---------
    embeddings : Embeddings
    kept : sequence of two numpy.ndarray of bool, shape (num_faces,) and (num_voices,)
    """
    kept = dict(zip(("face", "voice"), kept, strict=True))
    return {
        field.name: value[kept[field.name.split("_")[0]]]
        for field in dataclasses.fields(embeddings)
        if (value := getattr(embeddings, field.name)) is not None
    }


def group_entry(
    embeddings: Embeddings,
    name: str,
    kind: str,
    parts: Any,
    min_identities: int,
    options: dict[str, Any],
    num_people: int | None = None,
) -> dict[str, Any]:
    """Returns the entry of a group, from the fields that `group_rows` returned.

    The number of people is that of those with a face or a voice in the group, unless it is given.
    """
    people = {*parts["face_identity"].tolist(), *parts["voice_identity"].tolist()}
    num_people = len(people) if num_people is None else num_people
    entry = {"group": name, "kind": kind, "num_identities": num_people}
    entry.update({f"num_{modality}s": len(parts[modality]) for modality in ("face", "voice")})
    both = np.intersect1d(parts["face_identity"], parts["voice_identity"])
    if kind == "unknown" or num_people < min_identities or not len(both):
        return entry | {"auc": None}
    report = evaluate(type(embeddings)(**parts), tasks=("verification",), **options)
    values = report["verification"]["U"]
    if values is None:
        return entry | {"auc": None, "reason": report["reasons"]["verification/U"]}
    return entry | {key: values[key] for key in VALUES if key in values}


def _scored(embeddings, name, kind, people, min_identities, options):
    """Returns the entry of a group of people."""
    kept = [
        np.isin(getattr(embeddings, f"{modality}_identity"), people)
        for modality in ("face", "voice")
    ]
    parts = group_rows(embeddings, kept)
    return group_entry(embeddings, name, kind, parts, min_identities, options, len(people))
