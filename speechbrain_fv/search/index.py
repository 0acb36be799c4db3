"""Which index a gallery takes, by a rule of size, and how it is made."""

import numpy as np

from speechbrain_fv.search.approximate import CHUNK, build_index
from speechbrain_fv.search.exact import ExactIndex

KINDS = ("exact", "ivf", "hnsw")
EXACT_UNTIL = 4_000_000
IVF_UNTIL = 10_000_000


def choose_kind(count, kind="auto"):
    """Returns the kind of index for some vectors: the asked one, or by their number.

    The rule compares all vectors up to 4 M: that is exact, and at K = 256 takes 88 ms of CPU time
    a query and 1 GiB per million. Up to 10 M it takes inverted lists (IVF), whose queries take
    three times as long for ten times as many; beyond, HNSW, where they take twice as long, for a
    quarter more memory, and where removing means building again. The limit of exact search is
    late on purpose: a voice lies far from every face, and there the others miss many of the best.
    `recipes/benchmark.py search` measures all three.

    Example
    -------
    >>> choose_kind(1_000_000), choose_kind(5_000_000), choose_kind(20_000_000)
    ('exact', 'ivf', 'hnsw')
    >>> choose_kind(1000, "hnsw")
    'hnsw'
    """
    if count == 0:
        return "exact"
    if kind != "auto":
        return kind
    if count <= EXACT_UNTIL:
        return "exact"
    return "ivf" if count <= IVF_UNTIL else "hnsw"


def must_rebuild(index, count, kind):
    """Whether an index that is to hold some vectors is to be made anew.

    That is when the rule asks for a larger kind; for a smaller one at half its limit, so that a
    gallery near a limit does not change to and fro; and for IVF at twice and at half of what its
    lists were trained on.

    Arguments
    ---------
    index : ExactIndex or FaissIndex
    count : int
        Number of vectors that it will hold.
    kind : str
        "auto" or one of `KINDS`.
    """
    wanted = choose_kind(count, kind)
    if wanted == index.kind:
        return wanted == "ivf" and not index.trained_on < 2 * count < 4 * index.trained_on
    larger = KINDS.index(wanted) > KINDS.index(index.kind)
    return larger or choose_kind(2 * count, kind) != index.kind


def make_index(kind, dim, count, take):
    """Returns an index of some vectors; arguments as for `build_index`, kind one of `KINDS`."""
    if kind != "exact":
        return build_index(kind, dim, count, take)
    vectors = np.empty((count, dim), np.float32)
    for start in range(0, count, CHUNK):
        rows = np.arange(start, min(start + CHUNK, count))
        vectors[rows] = take(rows)
    return ExactIndex(vectors)
