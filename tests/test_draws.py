"""What samplers draw with, counted against what a loop over permutations would give."""

from collections import Counter

import numpy as np
import pytest

from speechbrain_fv.data.draws import Groups, distinct_rounds


@pytest.mark.parametrize(("count", "batch_size"), [(5, 4), (5, 5), (7, 3), (12, 11), (3, 1)])
def test_rounds_without_repetition_within_a_batch(count, batch_size):
    for seed in range(20):
        numbers = distinct_rounds(count, 20 * batch_size, batch_size, np.random.default_rng(seed))
        assert all(
            len(set(batch)) == batch_size for batch in numbers.reshape(20, batch_size).tolist()
        )
        complete = numbers[: len(numbers) // count * count].reshape(-1, count)
        assert (np.sort(complete, axis=1) == np.arange(count)).all()


def test_every_order_of_the_next_round_that_keeps_batches_apart_is_as_likely():
    """5 numbers in batches of 4: the 5th may not be among the 3 that follow it."""
    counts = Counter()
    for seed in range(6000):
        numbers = distinct_rounds(5, 10, 4, np.random.default_rng(seed)).tolist()
        place = {number: n for n, number in enumerate(numbers[:5])}
        counts[tuple(place[number] for number in numbers[5:])] += 1
    assert len(counts) == 24 + 24  # the last number at the 4th or the 5th place
    expected = 6000 / 48
    assert sum((n - expected) ** 2 / expected for n in counts.values()) < 47 + 5 * (2 * 47) ** 0.5


def test_clips_of_a_group_without_repetition_are_uniform():
    """Ordered pairs of three clips, and three of two: as a loop over permutations would draw."""
    groups = Groups(np.array([1, 0, -1, 1, 0, 1]), num_groups=2)
    drawn = groups.several(np.tile([0, 1], 6000), 3, np.random.default_rng(0)).reshape(-1, 2, 3)
    small = Counter(map(tuple, drawn[:, 0].tolist()))
    large = Counter(map(tuple, drawn[:, 1].tolist()))
    assert set(small) == {(1, 4, 1), (1, 4, 4), (4, 1, 1), (4, 1, 4)}
    assert len(large) == 6 and all(sorted(order) == [0, 3, 5] for order in large)
    for counts in (small, large):
        expected = 6000 / len(counts)
        assert max(abs(n - expected) for n in counts.values()) < 5 * expected**0.5
    single = Counter(groups.one(np.zeros(6000, dtype=int), np.random.default_rng(0)).tolist())
    assert set(single) == {1, 4} and abs(single[1] - 3000) < 5 * 3000**0.5
