"""Bootstrap over identities: how often each one is drawn, and intervals of the replicates.

A replicate draws as many identities as there are, with replacement. A drawn copy of a person
brings all its own clips. With w_i the number of copies of identity i:

- positives and queries of i count w_i times;
- a negative pair of i and k counts w_i w_k times; in the gallery of a query of i, the clips of k
  are there w_k times;
- copies of one person are never each other's negatives.

Clips of one person are not independent, so that a bootstrap over clips would be too narrow.
"""

import numpy as np
from scipy.special import ndtr, ndtri

INTERVAL = "percentiles about the value"  # what a report records of `interval`
TIE = 1e-9  # a replicate this near its value equals it, but for rounding


def draw_weights(num_identities, num_replicates, seed):
    """Returns how often each identity is drawn in each replicate.

    The draws depend on nothing else: two reports on the same identities are paired.

    Arguments
    ---------
    num_identities : int, >= 1
    num_replicates : int, >= 0
    seed : int, >= 0

    Returns
    -------
    numpy.ndarray of shape (num_replicates, num_identities), int64
        Each row sums to num_identities.

    Example
    -------
    >>> draw_weights(4, 2, seed=0).sum(axis=1).tolist()
    [4, 4]
    """
    shares = np.full(num_identities, 1 / num_identities)
    return np.random.default_rng(seed).multinomial(num_identities, shares, size=num_replicates)


def interval(replicates, value, level=0.95, most_undefined=0.05):
    """Returns the bootstrap interval of a value, which holds it, or None where it is undefined.

    Its ends are the percentiles Phi(z0 + z) of the replicates, z = Phi^-1((1 +- level) / 2), where
    z0 = Phi^-1(share of the replicates below the value, ties half): as many standard deviations
    from the value as percentiles are from the median. Where z0 = 0 these are the percentiles.

    The bias-corrected interval (Efron, JASA 82, 1987) has Phi(2 z0 + z): of the two z0 one undoes
    the bias of the replicates, the other that of the value, taken for as large. Here a replicate
    is biased because it repeats people: the value does not, and has no such bias.

    With all replicates on one side of the value, z0 is that of half a replicate on the other, and
    the interval ends at the value.

    Arguments
    ---------
    replicates : array of shape (num_replicates,)
        NaN where a replicate has no trial; it is left out.
    value : float or None
        Of the set itself; without it there is no interval.
    level : float in (0, 1)
    most_undefined : float in [0, 1)
        With a larger share of NaN the interval is undefined.

    Returns
    -------
    list of two floats, or None

    Example
    -------
    >>> np.round(interval(np.arange(41.0), 20), 6).tolist()
    [1.0, 39.0]
    >>> np.round(interval(np.arange(41.0), 10), 2).tolist()
    [0.18, 36.16]
    """
    known = np.asarray(replicates)
    known = known[~np.isnan(known)]
    if value is None or np.isnan(value):
        return None
    if len(known) < max(2, (1 - most_undefined) * len(replicates)):
        return None
    below = ((known < value - TIE).mean() + (known < value + TIE).mean()) / 2
    z0 = ndtri(np.clip(below, 0.5 / len(known), 1 - 0.5 / len(known)))
    low, high = np.quantile(known, ndtr(z0 + ndtri([(1 - level) / 2, (1 + level) / 2])))
    return [float(min(low, value)), float(max(high, value))]


def band(replicates, values, level=0.95):
    """Returns the `interval` of each value of a curve.

    Arguments
    ---------
    replicates : array of shape (num_replicates, num_points)
    values : array of shape (num_points,)
    level : float in (0, 1)

    Returns
    -------
    list of two lists of num_points floats, or None
        Lower and upper ends; None where `interval` of a point would be.

    Example
    -------
    >>> np.round(band(np.arange(41.0)[:, None], [20]), 6).tolist()
    [[1.0], [39.0]]
    """
    ends = [
        interval(of_point, value, level)
        for of_point, value in zip(np.asarray(replicates).T, values, strict=True)
    ]
    return None if None in ends else np.transpose(ends).tolist()
