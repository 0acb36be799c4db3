"""Slow scoring of trial lists: a loop over the rows, exact rational scores."""

from fractions import Fraction

from tests.references.metrics import auc, average_precision, eer, exact_score


def verification(rows, faces, voices, score=exact_score):
    """Returns AUC and EER of rows (face, voice, label), clips looked up in dicts of vectors."""
    scores = {True: [], False: []}
    for face, voice, label in rows:
        scores[label].append(score(faces[face], voices[voice]))
    return auc(scores[True], scores[False]), eer(scores[True], scores[False])


def matching(rows, probes, targets, score=exact_score):
    """Returns {N: (accuracy, number of rows)} of rows (probe, positive, negative, ...)."""
    wins = {}
    for probe, *candidates in rows:
        scores = [score(probes[probe], targets[name]) for name in candidates]
        tied = sum(value == scores[0] for value in scores)
        won = Fraction(1, tied) if max(scores) == scores[0] else Fraction(0)
        wins.setdefault(len(candidates), []).append(won)
    return {size: (sum(values) / len(values), len(values)) for size, values in wins.items()}


def retrieval(queries, gallery, probes, targets, identity_of, score=exact_score):
    """Returns the mAP of queries that have a positive in the gallery."""
    values = []
    for query in queries:
        relevant = [int(identity_of[query] == identity_of[name]) for name in gallery]
        if any(relevant):
            scores = [score(probes[query], targets[name]) for name in gallery]
            values.append(average_precision(relevant, scores))
    return sum(values) / len(values)
