"""Search as its definition says it: every cosine, one after the other."""

import math


def cosine(first, second):
    """Cosine of two sequences of numbers."""
    product = sum(float(a) * float(b) for a, b in zip(first, second, strict=True))
    lengths = [math.sqrt(sum(float(a) ** 2 for a in vector)) for vector in (first, second)]
    return product / (lengths[0] * lengths[1])


def best(entries, query, k):
    """The k (id, cosine) of a list of (id, vector) that are most similar to a query.

    Of equal cosines (to 12 digits) the earlier entry comes first.
    """
    found = [(name, cosine(vector, query)) for name, vector in entries]
    order = sorted(range(len(found)), key=lambda i: (-round(found[i][1], 12), i))
    return [found[i] for i in order[:k]]
