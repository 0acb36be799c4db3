"""Slow references: exact rational scores, loops over every pair, draw and permutation."""

from fractions import Fraction
from itertools import combinations, pairwise


def exact_score(a, b):
    """Orders pairs of integer vectors as their cosine does, exactly: sign(ab) (ab)^2 / (aa bb)."""
    dot = sum(int(x) * int(y) for x, y in zip(a, b, strict=True))
    squares = sum(int(x) ** 2 for x in a) * sum(int(y) ** 2 for y in b)
    return Fraction(dot * abs(dot), squares)


def is_allowed(a, b, attributes):
    """Tells whether two identities, as dicts, agree in known values of all attributes."""
    return all(a[name] and a[name] == b[name] for name in attributes)


def pooled_scores(
    faces, voices, face_identity, voice_identity, people, attributes, score=exact_score
):
    """Returns the scores of all positive pairs and of the allowed negative pairs."""
    positives, negatives = [], []
    for face, i in zip(faces, face_identity, strict=True):
        for voice, j in zip(voices, voice_identity, strict=True):
            if i == j:
                positives.append(score(face, voice))
            elif is_allowed(people[i], people[j], attributes):
                negatives.append(score(face, voice))
    return positives, negatives


def auc(positives, negatives):
    """Returns the share of ordered pairs, ties half; None without any."""
    wins = sum(
        Fraction(1 if p > n else 0) + Fraction(int(p == n), 2) for p in positives for n in negatives
    )
    pairs = len(positives) * len(negatives)
    return wins / pairs if pairs else None


def eer(positives, negatives):
    """Returns where the polygon through all operating points has equal errors."""
    if not (positives and negatives):
        return None
    points = [(Fraction(0), Fraction(1))]  # (missed, accepted) with every score accepted
    for threshold in sorted({*positives, *negatives}):
        missed = Fraction(sum(p <= threshold for p in positives), len(positives))
        accepted = Fraction(sum(n > threshold for n in negatives), len(negatives))
        points.append((missed, accepted))
    for (missed, accepted), (next_missed, next_accepted) in pairwise(points):
        if next_missed >= next_accepted:
            gap = accepted - missed
            share = gap / (gap + next_missed - next_accepted)
            return missed + share * (next_missed - missed)
    raise AssertionError("the last operating point rejects everything")


def accuracy_by_draws(positive, negatives, candidates):
    """Returns the expected win of one positive over every draw of candidates - 1 negatives."""
    wins = []
    for drawn in combinations(negatives, candidates - 1):
        best = max(drawn)
        wins.append(
            Fraction(0) if best > positive else Fraction(1, 1 + sum(n == positive for n in drawn))
        )
    return sum(wins) / len(wins) if wins else None


def matching(
    queries,
    gallery,
    query_identity,
    gallery_identity,
    people,
    attributes,
    candidates,
    score=exact_score,
):
    """Returns (accuracy or None, number of probes) of 1:N matching."""
    probes = []
    for query, i in zip(queries, query_identity, strict=True):
        positives, negatives = [], []
        for item, j in zip(gallery, gallery_identity, strict=True):
            if i == j:
                positives.append(score(query, item))
            elif is_allowed(people[i], people[j], attributes):
                negatives.append(score(query, item))
        # An unknown attribute matches nobody; negatives is then empty.
        if positives and len(negatives) >= candidates - 1:
            wins = [accuracy_by_draws(p, negatives, candidates) for p in positives]
            probes.append(sum(wins) / len(wins))
    return (sum(probes) / len(probes) if probes else None), len(probes)


def average_precision(relevant, scores):
    """Returns the sum over thresholds of precision times the recall gained there."""
    total = Fraction(0)
    for threshold in set(scores):
        found = [r for r, s in zip(relevant, scores, strict=True) if s >= threshold]
        gained = sum(r for r, s in zip(relevant, scores, strict=True) if s == threshold)
        total += Fraction(sum(found), len(found)) * Fraction(gained, sum(relevant))
    return total


def chance_by_rankings(num_positives, gallery_size):
    """Returns the mean average precision over every placing of the positives."""
    values = []
    for places in combinations(range(1, gallery_size + 1), num_positives):
        hits = [Fraction(k, place) for k, place in enumerate(places, start=1)]
        values.append(sum(hits) / num_positives)
    return sum(values) / len(values)


def retrieval(queries, gallery, query_identity, gallery_identity, score=exact_score):
    """Returns the mAP over queries and over identities, and the number of queries."""
    by_identity = {}
    for query, i in zip(queries, query_identity, strict=True):
        relevant = [int(i == j) for j in gallery_identity]
        if any(relevant):
            scores = [score(query, item) for item in gallery]
            by_identity.setdefault(i, []).append(average_precision(relevant, scores))
    values = [value for group in by_identity.values() for value in group]
    means = [sum(group) / len(group) for group in by_identity.values()]
    return sum(values) / len(values), sum(means) / len(means), len(values)
