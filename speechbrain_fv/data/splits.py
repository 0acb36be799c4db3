"""Splits: which identities are for training, validation and test where a corpus does not say.

`split_identities` is one random split, `Folds` a cross-validation over people.
"""

from dataclasses import asdict, dataclass

import numpy as np

from speechbrain_fv.data.schema import SPLITS

LEAST_PEOPLE = 2  # of a split; with one there is no pair of two people


def split_identities(identities, shares=(0.7, 0.1, 0.2), seed=0):
    """A random assignment of identities to train, valid and test.

    Arguments
    ---------
    identities : iterable of str
        Identities in any order; repetitions count once.
    shares : tuple of three float
        Shares of train, valid and test, each above 0, adding up to 1. Counts are rounded, and
        every split gets at least two identities, of fewer than six in all at least one.
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
    [6, 2, 2]
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
    least = min(LEAST_PEOPLE, len(names) // 3)
    num_valid = min(max(least, round(shares[1] * len(names))), len(names) - 2 * least)
    num_test = min(max(least, round(shares[2] * len(names))), len(names) - num_valid - least)
    order = np.random.default_rng(seed).permutation(len(names))
    num_train = len(names) - num_valid - num_test
    labels = np.repeat(SPLITS, [num_train, num_valid, num_test])
    assigned = {names[index]: str(label) for index, label in zip(order, labels, strict=True)}
    return {name: assigned[name] for name in names}


def check_people(identities, complete, least_people, file):
    """Raises ValueError, before files are read, if a split has fewer people than it needs.

    Arguments
    ---------
    identities : pandas.DataFrame
        Columns identity and split.
    complete : set of str
        Identities with a face and a voice.
    least_people : int
        Of each split; a training needs two in each, with one there is no pair of two people.
    file : path
        The corpus, for the message.
    """
    counts = identities.split[identities.identity.isin(complete)].value_counts()
    for split in SPLITS:
        if counts.get(split, 0) < least_people:
            raise ValueError(
                f"{file}: split {split!r}: expected at least {least_people} identities with a face "
                f"and a voice, got {counts.get(split, 0)} of {len(complete)} in all; add people, "
                "or say in a column split who is in which"
            )


@dataclass(frozen=True)
class Folds:
    """Cross-validation over people: each of them is tested in exactly one fold.

    The people, in a random order and sorted by stratum, are dealt out in turn. So the numbers of
    people of two folds, and those of a stratum, differ by one at most. Of the others, validation
    people are taken at even distances in the same order. Folds depend on the names of the people,
    on their strata and on the seed, and on nothing else: not on `fold` itself.

    Arguments
    ---------
    fold : int or None
        Whose people are the test split, 0 to `num_folds` - 1. None: no folds, the corpus has its
        own split.
    num_folds : int
        At least 2.
    valid_share : float
        Share of the other people that are for validation, above 0 and below 1; two people at least.
    among : sequence of str
        Splits of the corpus whose people take part. Others are left out altogether: with
        ("train", "valid") the people of the test split stay unseen by the cross-validation.
    seed : int
        At least 0.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Example
    -------
    >>> people = {f"p{number}": "train" for number in range(10)}
    >>> tested = [Folds(fold).assign(people) for fold in range(5)]
    >>> [sorted(name for name, split in fold.items() if split == "test") for fold in tested[:2]]
    [['p4', 'p5'], ['p6', 'p9']]
    """

    fold: int | None = None
    num_folds: int = 5
    valid_share: float = 0.2
    among: tuple = SPLITS
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "among", tuple(self.among))
        if type(self.num_folds) is not int or self.num_folds < 2:
            raise ValueError(f"num_folds: expected a number of 2 or more, got {self.num_folds!r}")
        numbers = range(self.num_folds)
        if self.fold is not None and (type(self.fold) is not int or self.fold not in numbers):
            raise ValueError(f"fold: expected null or 0 to {numbers[-1]}, got {self.fold!r}")
        if not 0 < self.valid_share < 1:
            raise ValueError(
                f"fold_valid_share: expected a share above 0 and below 1, got {self.valid_share!r}"
            )
        if not self.among or set(self.among) - set(SPLITS):
            raise ValueError(
                f"fold_among: expected some of {', '.join(SPLITS)}, got {list(self.among)}"
            )

    @property
    def options(self):
        """What of the folds shapes a preparation, as JSON types; empty without folds."""
        return {} if self.fold is None else {"folds": {**asdict(self), "among": list(self.among)}}

    def assign(self, splits, strata=None):
        """Returns the split of each person in this fold; the splits as they are without folds.

        Arguments
        ---------
        splits : dict of str to str
            Identity to the split that the corpus gives it.
        strata : dict of str to tuple of str, optional
            Identity to what the folds should have equal shares of, the most important first.

        Returns
        -------
        dict of str to str
            Sorted by name; people of other splits than `among` are left out.

        Raises
        ------
        ValueError
            If a fold would test, validate or train on fewer than `LEAST_PEOPLE`.
        """
        if self.fold is None:
            return splits
        names = sorted(name for name, split in splits.items() if split in self.among)
        order = [names[place] for place in np.random.default_rng(self.seed).permutation(len(names))]
        if strata is not None:
            order.sort(key=strata.__getitem__)
        tested = set(order[self.fold :: self.num_folds])
        others = [name for name in order if name not in tested]
        num_valid = max(LEAST_PEOPLE, round(self.valid_share * len(others)))
        if min(len(names) // self.num_folds, len(others) - num_valid) < LEAST_PEOPLE:
            raise ValueError(
                f"num_folds: expected at least {LEAST_PEOPLE} people in each split of each fold, "
                f"got {len(names)} people for {self.num_folds} folds; take fewer folds, a smaller "
                "fold_valid_share, or more people"
            )
        places = ((np.arange(num_valid) + 0.5) * len(others) / num_valid).astype(int)
        valid = {others[place] for place in places}
        return {
            name: "test" if name in tested else "valid" if name in valid else "train"
            for name in names
        }
