"""Slow scores of integer vectors, exact; and 1:N by a score that ranks, over every arrangement."""

from fractions import Fraction
from itertools import permutations


def inner_product(face, voice):
    """Returns the inner product."""
    return sum(int(x) * int(y) for x, y in zip(face, voice, strict=True))


def negative_distance(face, voice):
    """Orders pairs as the negative Euclidean distance does: by its square."""
    return -sum((int(x) - int(y)) ** 2 for x, y in zip(face, voice, strict=True))


def one_sided(face, voice):
    """Returns a score in which face and voice have different parts, beyond [-1, 1]."""
    return 3 * int(face[0]) * int(voice[1]) - int(face[1]) + 2 * int(voice[0]) ** 2


def ranked_wins(rank, probe, positive, negatives, num_candidates):
    """Returns the mean win of a positive over every choice and arrangement of N candidates."""
    values = []
    for drawn in permutations(negatives, num_candidates - 1):
        for place in range(num_candidates):
            candidates = [*drawn[:place], positive, *drawn[place:]]
            scores = rank(probe, candidates)
            tied = sum(score == scores[place] for score in scores)
            values.append(Fraction(1, tied) if max(scores) == scores[place] else Fraction(0))
    return sum(values) / len(values)


def ranked_accuracy(rank, queries, gallery, query_identity, gallery_identity, allowed, number):
    """Returns (accuracy, number of probes) of 1:N by `rank`; `allowed` takes two identities."""
    probes = []
    for query, i in zip(queries, query_identity, strict=True):
        positives = [item for item, j in zip(gallery, gallery_identity, strict=True) if i == j]
        negatives = [
            item
            for item, j in zip(gallery, gallery_identity, strict=True)
            if i != j and allowed(i, j)
        ]
        if positives and len(negatives) >= number - 1:
            wins = [ranked_wins(rank, query, item, negatives, number) for item in positives]
            probes.append(sum(wins) / len(wins))
    return (sum(probes) / len(probes) if probes else None), len(probes)
