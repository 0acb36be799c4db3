"""What samplers draw with: shuffled rounds, and clips of many groups at once."""

import numpy as np


def shuffled_rounds(count, length, rng):
    """Numbers below `count` in random order, every one once before any comes again.

    Arguments
    ---------
    count : int
        How many numbers there are, at least 1.
    length : int
        How many to return.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    numpy.ndarray of int64, shape (length,)

    Example
    -------
    >>> shuffled_rounds(3, 7, np.random.default_rng(0)).tolist()
    [2, 0, 1, 2, 1, 0, 2]
    """
    rounds = -(-length // count)
    return np.concatenate([rng.permutation(count) for _ in range(rounds)])[:length]


def distinct_rounds(count, length, batch_size, rng):
    """Shuffled rounds in which no batch holds a number twice, where there are enough numbers.

    A batch may end one round and begin the next: the numbers that end the one are kept out of the
    places of that batch in the next, whose order is random apart from that.

    Arguments
    ---------
    count : int
        How many numbers there are, at least 1; with fewer than `batch_size` a batch repeats some.
    length : int
        How many to return.
    batch_size : int
        Numbers per batch; the first batch begins with the first number.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    numpy.ndarray of int64, shape (length,)

    Example
    -------
    >>> numbers = distinct_rounds(5, 12, 4, np.random.default_rng(0))
    >>> [len(set(batch)) for batch in numbers.reshape(3, 4).tolist()]
    [4, 4, 4]
    """
    if count < batch_size:
        return shuffled_rounds(count, length, rng)
    rounds = [rng.permutation(count)]
    for drawn in range(count, length, count):
        order = rng.permutation(count)
        num_before = drawn % batch_size
        if num_before:
            kept_out = np.isin(order, rounds[-1][-num_before:])
            first = order[~kept_out][: batch_size - num_before]
            order = np.concatenate([first, rng.permutation(np.setdiff1d(order, first))])
        rounds.append(order)
    return np.concatenate(rounds)[:length]


class Groups:
    """Clips in groups, such as identities or videos, to draw clips of many groups at once.

    Arguments
    ---------
    group_of_clip : numpy.ndarray of int, shape (num_clips,)
        The group of every clip, below `num_groups`; -1 for a clip that is in none.
    num_groups : int
        How many groups there are; each has at least one clip.
    """

    def __init__(self, group_of_clip, num_groups):
        self.group_of_clip = np.asarray(group_of_clip)
        ungrouped = int((self.group_of_clip < 0).sum())
        self.clips = np.argsort(self.group_of_clip, kind="stable")[ungrouped:]
        self.counts = np.bincount(self.group_of_clip[self.clips], minlength=num_groups)
        self.starts = np.cumsum(self.counts) - self.counts

    def one(self, groups, rng):
        """One clip of every group, each of its clips with the same probability.

        Arguments
        ---------
        groups : numpy.ndarray of int, shape (num_draws,)
            The groups to draw from.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        numpy.ndarray of int64, shape (num_draws,)

        Example
        -------
        >>> groups = Groups(np.array([1, 0, 1]), num_groups=2)
        >>> groups.one(np.array([0, 0, 1]), np.random.default_rng(0)).tolist()
        [1, 1, 2]
        """
        return self.clips[self.starts[groups] + rng.integers(self.counts[groups])]

    def several(self, groups, num_clips, rng):
        """Several clips of every group, different ones as far as the group has so many.

        A group of fewer clips gives all of them, in random order, before any comes again.

        Arguments
        ---------
        groups : numpy.ndarray of int, shape (num_draws,)
            The groups to draw from.
        num_clips : int
            Clips of each, at least 1.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        numpy.ndarray of int64, shape (num_draws x num_clips,)
            The clips of the first group, then those of the second, and so on.

        Example
        -------
        >>> groups = Groups(np.array([1, 0, 1, 1]), num_groups=2)
        >>> groups.several(np.array([0, 1]), 3, np.random.default_rng(0)).tolist()
        [1, 1, 1, 3, 2, 0]
        """
        counts = self.counts[groups]
        places = np.empty((len(counts), num_clips), dtype=np.int64)
        for step in range(num_clips):
            taken = step % counts  # how many of the present round a group has given already
            place = rng.integers(counts - taken)  # among its other clips
            of_round = np.arange(step) >= step - taken[:, None]
            earlier = np.where(of_round, places[:, :step], counts.max())
            for other in np.sort(earlier, axis=1).T:
                place += place >= other
            places[:, step] = place
        return self.clips[self.starts[groups][:, None] + places].ravel()
