"""People, not clips: the clips of a person averaged, then scored by the code that scores clips."""

from typing import Any

import numpy as np
import pandas as pd

from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.exact import evaluate
from speechbrain_fv.evaluation.report import Report, format_report
from speechbrain_fv.scores import Score
from speechbrain_fv.scores.averaging import CancelledError, averaged

MODALITIES = ("face", "voice")


def people_of(embeddings: Embeddings, score: Score | None = None) -> Embeddings:
    """Returns the embeddings of people: of each one face and one voice, averaged over the clips.

    Arguments
    ---------
    embeddings : Embeddings
        Of clips; their weights, if there are any, are those of the averages.
    score : Score, optional
        How embeddings are compared, see `averaged`; the cosine by default.

    Returns
    -------
    Embeddings
        In the order of the identities' names; who has no face, or no voice, has none here either.

    Raises
    ------
    ValueError
        If the weights of a person are all 0, or the embeddings cancel each other.

    Example
    -------
    >>> clips = Embeddings(np.eye(3), np.eye(3)[:2], ["ann", "ann", "bob"], ["ann", "bob"])
    >>> people_of(clips).face.round(2).tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    """
    parts = {}
    for modality in MODALITIES:
        names, owners = np.unique(getattr(embeddings, f"{modality}_identity"), return_inverse=True)
        weights = getattr(embeddings, f"{modality}_weight")
        try:
            people = averaged(getattr(embeddings, modality), owners, names, weights, score)
        except ValueError as error:
            raise type(error)(f"{modality}: {error}") from error
        parts |= {modality: people, f"{modality}_identity": names}
    return Embeddings(**parts)


def evaluate_people(
    embeddings: Embeddings,
    metadata: pd.DataFrame | None = None,
    score: Score | None = None,
    **options: Any,
) -> Report:
    """Returns the report of people, as `evaluate` returns that of clips.

    Arguments
    ---------
    embeddings : Embeddings
        Of clips.
    metadata, score
        As for `evaluate`.
    **options
        Of `evaluate`.

    Returns
    -------
    Report
        With the entries of `evaluate`, and with ``clips``: by modality ``least``, ``median``,
        ``most`` and ``total`` number of clips per person, and ``weights``: by modality "given" or
        "equal".

    Raises
    ------
    ValueError
        As `people_of` and `evaluate`.
    """
    report = evaluate(people_of(embeddings, score), metadata, score=score, **options)
    report["clips"], report["weights"] = {}, {}
    for modality in MODALITIES:
        counts = np.unique(getattr(embeddings, f"{modality}_identity"), return_counts=True)[1]
        given = getattr(embeddings, f"{modality}_weight") is not None
        report["clips"][modality] = {
            "least": int(counts.min()),
            "median": float(np.median(counts)),
            "most": int(counts.max()),
            "total": int(counts.sum()),
        }
        report["weights"][modality] = "given" if given else "equal"
    return report


def add_people(
    report: Report,
    embeddings: Embeddings,
    metadata: pd.DataFrame | None = None,
    score: Score | None = None,
    **options: Any,
) -> None:
    """Adds the report of people to that of clips as "people", its replicates under "people/".

    Nothing is added where everybody has one face and one voice at most: people are clips then.
    Where somebody's clips cancel each other "people" is None, and the reason stands at its path.
    """
    single = all(
        len(set(labels)) == len(labels)
        for labels in (embeddings.face_identity, embeddings.voice_identity)
    )
    if single:
        return
    try:
        people = evaluate_people(embeddings, metadata, score, **options)
    except CancelledError as error:
        report["people"] = None
        report.setdefault("reasons", {})["people"] = str(error)
        return
    people.pop("bootstrap", None)  # that of the clips
    report["people"] = dict(people)
    if report.replicates is not None:
        values = people.replicates.items()
        report.replicates |= {f"people/{path}": array for path, array in values if "/" in path}


def format_people(report: dict[str, Any]) -> str:
    """Returns the tables of the people in a report for the terminal; "" where it has none."""
    people = report.get("people")
    if not people:
        return ""
    counts = [
        f"{of['median']:g} {modality}s ({of['least']} to {of['most']}, "
        f"{people['weights'][modality]} weights)"
        for modality, of in people["clips"].items()
    ]
    _, *tables = format_report({**people, "reasons": {}}).split("\n")
    title = f"People, each the average of {' and '.join(counts)}; the middle person's count first"
    return "\n".join([title, *tables])
