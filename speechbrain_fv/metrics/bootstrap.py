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


def interval(replicates, level=0.95, most_undefined=0.05):
    """Returns the percentile interval of a value, or None where it is undefined.

    Arguments
    ---------
    replicates : array of shape (num_replicates,)
        NaN where a replicate has no trial; it is left out.
    level : float in (0, 1)
    most_undefined : float in [0, 1)
        With a larger share of NaN the interval is undefined.

    Returns
    -------
    list of two floats, or None

    Example
    -------
    >>> np.round(interval(np.arange(41.0)), 6).tolist()
    [1.0, 39.0]
    """
    known = np.asarray(replicates)
    known = known[~np.isnan(known)]
    if len(known) < max(2, (1 - most_undefined) * len(replicates)):
        return None
    return np.quantile(known, [(1 - level) / 2, (1 + level) / 2]).tolist()


def band(replicates, level=0.95):
    """Returns the percentile intervals of a curve's values, point by point.

    Arguments
    ---------
    replicates : array of shape (num_replicates, num_points)
    level : float in (0, 1)

    Returns
    -------
    list of two lists of num_points floats, or None
        Lower and upper ends; None where `interval` of a point would be.

    Example
    -------
    >>> np.round(band(np.arange(41.0)[:, None]), 6).tolist()
    [[1.0], [39.0]]
    """
    ends = [interval(values, level) for values in np.asarray(replicates).T]
    return None if None in ends else np.transpose(ends).tolist()
