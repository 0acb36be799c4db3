"""Which index a gallery takes, by a rule of size."""

KINDS = ("exact", "coded")
EXACT_UNTIL = 4_000_000


def choose_kind(count: int, kind: str = "auto") -> str:
    """Returns the kind of index for some vectors: the asked one, or by their number.

    The rule compares all vectors up to 4 million: that is exact, needs torch only, and at K = 256
    takes 0.1 to 0.2 s of CPU time and 1 GB per million. Beyond, it takes codes of the vectors,
    which find nearly all of the best in a tenth of the time. `recipes/benchmark.py search`
    measures both.

    Example
    -------
    >>> choose_kind(1_000_000), choose_kind(5_000_000), choose_kind(1000, "coded")
    ('exact', 'coded', 'coded')
    """
    if kind != "auto":
        return kind
    return "exact" if count <= EXACT_UNTIL else "coded"
