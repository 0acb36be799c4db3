"""Splits: which identities are for training, validation and test where a corpus does not say."""

import numpy as np

from speechbrain_fv.data.schema import SPLITS


def split_identities(identities, shares=(0.7, 0.1, 0.2), seed=0):
    """A random assignment of identities to train, valid and test.

    Arguments
    ---------
    identities : iterable of str
        Identities in any order; repetitions count once.
    shares : tuple of three float
        Shares of train, valid and test, each above 0, adding up to 1. Counts are rounded, and
        every split gets at least one identity.
    seed : int
        Seed of the shuffle, at least 0.

    Returns
    -------
    dict of str to str
        Identity to split.

    Raises
    ------
    ValueError
        If the shares are not three positive numbers with sum 1, or with fewer than 3 identities.

    Example
    -------
    >>> splits = split_identities([f"p{number}" for number in range(10)], seed=1)
    >>> [list(splits.values()).count(split) for split in SPLITS]
    [7, 1, 2]
    """
    shares = tuple(shares)
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(
            f"shares: expected three positive numbers (train, valid, test) with sum 1, got "
            f"{shares}; use for example (0.7, 0.1, 0.2)."
        )
    names = sorted(set(identities))
    if len(names) < 3:
        raise ValueError(
            f"identities: expected at least 3 to fill {', '.join(SPLITS)}, got {len(names)}; "
            f"add identities or give the splits yourself."
        )
    num_valid = max(1, round(shares[1] * len(names)))
    num_test = min(max(1, round(shares[2] * len(names))), len(names) - num_valid - 1)
    order = np.random.default_rng(seed).permutation(len(names))
    num_train = len(names) - num_valid - num_test
    labels = np.repeat(SPLITS, [num_train, num_valid, num_test])
    assigned = {names[index]: str(label) for index, label in zip(order, labels, strict=True)}
    return {name: assigned[name] for name in names}
