"""Slow statistics of an ablation: loops over seeds and resamples."""

import math

from tests.references.bootstrap import interval


def mean(values):
    return sum(values) / len(values)


def standard_deviation(values):
    return math.sqrt(sum((value - mean(values)) ** 2 for value in values) / (len(values) - 1))


def interval_of_mean(values, replicates):
    """The 95 % interval of the mean over runs; ``replicates[run][resample]``."""
    means = [mean([run[r] for run in replicates]) for r in range(len(replicates[0]))]
    return interval(means, mean(values))


def interval_of_difference(values, other_values, replicates, others):
    """The 95 % interval of the difference of two means over runs, resample by resample."""
    differences = [
        mean([run[r] for run in replicates]) - mean([run[r] for run in others])
        for r in range(len(replicates[0]))
    ]
    return interval(differences, mean(values) - mean(other_values))
