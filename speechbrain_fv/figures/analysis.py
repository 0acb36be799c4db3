"""Embeddings -> what figures show of them: score histograms, nearest clips, a map in the plane.

A score compares a face and a voice, by their cosine unless another is given. Nothing here is a
reported metric.
"""

from typing import NamedTuple

import numpy as np

from speechbrain_fv import protocols
from speechbrain_fv.evaluation.scoring import MODALITIES, Comparison

NUM_BINS = 4000
CHUNK_SIZE = 2**22
"""Scores held at once, about 20 bytes each."""


class Neighbours(NamedTuple):
    """A query and the gallery clips that score highest.

    query : int, row among the embeddings of the query's modality
    gallery : numpy.ndarray of shape (num_shown,), rows of the other modality, best first
    scores : numpy.ndarray of shape (num_shown,)
    right : numpy.ndarray of shape (num_shown,), bool, whether it is the same person
    first_right : int, place of the first clip of the same person, from 1
    gallery_size : int
    """

    query: int
    gallery: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    first_right: int
    gallery_size: int


def score_histograms(
    embeddings, metadata=None, num_bins=NUM_BINS, chunk_size=CHUNK_SIZE, score=None
):
    """Returns how the scores of all face-voice pairs are distributed; none is kept.

    Arguments
    ---------
    embeddings : Embeddings
    metadata : pandas.DataFrame, optional
        With ``identity`` and ``gender`` for the stratum G.
    num_bins : int
        Equal bins over [-1, 1]; over the scores that occur if those are no cosines.
    chunk_size : int
        Scores held at once, >= 1 (one row of scores is the least); it changes no count.
    score : Score, optional
        How a face and a voice are compared; `scores.Cosine` by default.

    Returns
    -------
    dict
        ``edges`` of shape (num_bins + 1,); ``positives`` of shape (num_bins,), pairs of one
        identity; ``negatives``: "U" and, if the metadata defines it, "G" -> (num_bins,);
        ``score``: its name.

    Raises
    ------
    ValueError
        If the score gives a pair none.

    Example
    -------
    >>> from speechbrain_fv.evaluation.embeddings import Embeddings
    >>> names = ["ann", "bob"]
    >>> counts = score_histograms(Embeddings(np.eye(2), np.eye(2), names, names), num_bins=2)
    >>> counts["positives"].tolist(), counts["negatives"]["U"].tolist()
    ([0, 2], [0, 2])
    """
    comparison = _comparison(embeddings, score, "verification")
    low, high = comparison.ends()
    people = np.array(embeddings.identities)
    groups = _genders(metadata, people)
    order = np.lexsort((people, groups))  # so that a person and a gender are blocks of pairs
    place = np.argsort(order)
    (faces, face_person), (voices, voice_person) = (
        _sorted_clips(comparison.prepared(m), place[np.searchsorted(people, who)])
        for m, who in (("face", embeddings.face_identity), ("voice", embeddings.voice_identity))
    )
    groups = groups[order]
    by_person = _edges(face_person, voice_person, np.arange(len(people)))
    by_gender = _edges(groups[face_person], groups[voice_person], np.unique(groups[groups >= 0]))
    total, same_person, same_gender, known = np.zeros((4, num_bins), dtype=np.int64)
    num_rows = max(chunk_size // len(voices), 1)
    for start in range(0, len(faces), num_rows):
        scores = comparison.values(faces[start : start + num_rows], voices).numpy()
        bins = ((scores - low) * (num_bins / (high - low))).clip(0, num_bins - 1).astype(np.int32)
        total += _count(bins, num_bins)
        for _, block in _blocks(bins, start, by_gender):
            same_gender += _count(block, num_bins)
        for person, block in _blocks(bins, start, by_person):
            counts = _count(block, num_bins)
            same_person += counts
            known += counts * (groups[person] >= 0)
    negatives = {"U": total - same_person}
    if len(by_gender[0]):
        negatives["G"] = same_gender - known
    return {
        "edges": np.linspace(low, high, num_bins + 1),
        "positives": same_person,
        "negatives": negatives,
        "score": comparison.score.name,
    }


def _comparison(embeddings, score, task, direction=None):
    """Returns a `Comparison`; ValueError where the score cannot do a task."""
    comparison = Comparison(embeddings, score)
    reason = comparison.score.unable(task, direction)
    if reason:
        raise ValueError(reason)
    return comparison


def _genders(metadata, people):
    """Returns a number per person, -1 where the gender is unknown."""
    table = None if metadata is None else protocols.check_metadata(metadata, people)
    if protocols.undefined_reason(table, "G"):
        return np.full(len(people), -1)
    return protocols.stratum_groups(table, "G")


def _sorted_clips(rows, person):
    """Returns rows and their persons, sorted by person."""
    order = np.argsort(person, kind="stable")
    return rows[order], person[order]


def _edges(face_group, voice_group, groups):
    """Returns groups, and where each starts and ends among the sorted faces and voices."""
    sides = ("left", "right")
    rows = [np.searchsorted(face_group, groups, side) for side in sides]
    columns = [np.searchsorted(voice_group, groups, side) for side in sides]
    return groups, *rows, *columns


def _blocks(bins, start, edges):
    """Yields (group, its block) of the rows that begin at face `start`."""
    groups, row_start, row_stop, column_start, column_stop = edges
    touched = (row_stop > start) & (row_start < start + len(bins)) & (row_stop > row_start)
    for index in np.flatnonzero(touched):
        rows = slice(max(row_start[index] - start, 0), row_stop[index] - start)
        yield groups[index], bins[rows, column_start[index] : column_stop[index]]


def _count(bins, num_bins):
    return np.bincount(bins.ravel(), minlength=num_bins)


def nearest_clips(embeddings, direction, num_queries=5, num_shown=5, seed=0, score=None):
    """Returns random queries of different people with the gallery clips that score highest.

    Arguments
    ---------
    embeddings : Embeddings
    direction : str
        "F-V": faces ask for voices; "V-F": voices for faces.
    num_queries, num_shown : int
        At most; fewer where there are fewer.
    seed : int
        Of the draw of the people, who have both a face and a voice, and of their clips.
    score : Score, optional
        How a face and a voice are compared; `scores.Cosine` by default.

    Returns
    -------
    list of Neighbours

    Raises
    ------
    ValueError
        If the direction is neither of the two, or the score cannot rank a gallery in it.

    Example
    -------
    >>> from speechbrain_fv.evaluation.embeddings import Embeddings
    >>> people = Embeddings(np.eye(2), np.eye(2), ["ann", "bob"], ["ann", "bob"])
    >>> [(row.query, row.gallery.tolist()) for row in nearest_clips(people, "F-V", 1)]
    [(0, [0, 1])]
    """
    if direction not in ("F-V", "V-F"):
        raise ValueError(f"direction: expected 'F-V' or 'V-F', got {direction!r}.")
    query, gallery = (MODALITIES[letter] for letter in direction.split("-"))
    asks = getattr(embeddings, f"{query}_identity")
    holds = getattr(embeddings, f"{gallery}_identity")
    rng = np.random.default_rng(seed)
    people = rng.permutation(np.intersect1d(asks, holds))[:num_queries]
    comparison = _comparison(embeddings, score, "retrieval", direction)
    asking, candidates = comparison.prepared(query), comparison.prepared(gallery)
    found = []
    for person in people:
        row = int(rng.choice(np.flatnonzero(asks == person)))
        sides = (asking[[row]], candidates)
        scores = comparison.values(*(sides if query == "face" else sides[::-1])).numpy().ravel()
        order = np.argsort(-scores, kind="stable")
        right = holds[order] == person
        best, first = order[:num_shown], int(right.argmax()) + 1
        found.append(Neighbours(row, best, scores[best], right[:num_shown], first, len(candidates)))
    return found


def choose_clips(embeddings, num_identities=10, num_clips=8, seed=0):
    """Returns the rows of a few clips of a few random people that have a face and a voice.

    Arguments
    ---------
    embeddings : Embeddings
    num_identities, num_clips : int
        People, and faces and voices of each, at most.
    seed : int

    Returns
    -------
    faces, voices : numpy.ndarray of int
        Rows of the embeddings, person by person.
    """
    rng = np.random.default_rng(seed)
    both = np.intersect1d(embeddings.face_identity, embeddings.voice_identity)
    people = np.sort(rng.permutation(both)[:num_identities])
    return tuple(
        np.concatenate(
            [np.sort(rng.permutation(np.flatnonzero(who == one))[:num_clips]) for one in people]
        )
        for who in (embeddings.face_identity, embeddings.voice_identity)
    )


def map_clips(faces, voices, seed=0):
    """Returns places in the plane by t-SNE on unit vectors, faces and voices in one map.

    Arguments
    ---------
    faces : array of shape (num_faces, dim)
    voices : array of shape (num_voices, dim)
    seed : int

    Returns
    -------
    faces, voices : numpy.ndarray of shape (num_faces, 2) and (num_voices, 2)

    Raises
    ------
    ValueError
        With fewer than 4 clips.
    """
    vectors = np.concatenate([faces, voices]).astype(np.float64)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    if len(vectors) < 4:
        raise ValueError(f"t-SNE: expected at least 4 clips, got {len(vectors)}; add clips.")
    # Distances are scaled: of nearly equal vectors t-SNE would else see only rounding.
    spread = np.sqrt(vectors.var(axis=0).sum()) or 1.0
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    from sklearn.manifold import TSNE

    model = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    places = model.fit_transform((vectors - vectors.mean(axis=0)) / spread)
    return places[: len(faces)], places[len(faces) :]
