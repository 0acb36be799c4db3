"""Slow statistics of an ablation: loops over seeds and resamples."""

import math


def percentile(values, share):
    """The linearly interpolated percentile of the defined values."""
    values = sorted(value for value in values if not math.isnan(value))
    place = share * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])


def mean(values):
    return sum(values) / len(values)


def standard_deviation(values):
    return math.sqrt(sum((value - mean(values)) ** 2 for value in values) / (len(values) - 1))


def interval_of_mean(replicates):
    """The 95 % interval of the mean over runs; ``replicates[run][resample]``."""
    means = [mean([run[r] for run in replicates]) for r in range(len(replicates[0]))]
    return percentile(means, 0.025), percentile(means, 0.975)


def interval_of_difference(replicates, others):
    """The 95 % interval of the difference of two means over runs, resample by resample."""
    differences = [
        mean([run[r] for run in replicates]) - mean([run[r] for run in others])
        for r in range(len(replicates[0]))
    ]
    return percentile(differences, 0.025), percentile(differences, 0.975)
