"""Slow references of the pseudo-label equations: numpy and scipy loops, nothing of the package."""

import math

import numpy as np
from scipy.optimize import minimize


def scale_columns(points):
    """Eq. 3, entry by entry."""
    scaled = np.zeros_like(points, dtype=float)
    for column in range(points.shape[1]):
        low, high = min(points[:, column]), max(points[:, column])
        for row in range(points.shape[0]):
            if high > low:
                scaled[row, column] = 2 * (points[row, column] - low) / (high - low) - 1
    return scaled


def sum_of_distances(point, points):
    """The objective of Eq. 4."""
    return sum(math.dist(point, other) for other in points)


def geometric_median(points):
    """Eq. 4 by a general-purpose minimiser, from several starts."""
    starts = [points.mean(axis=0), *points[:3]]
    results = [
        minimize(
            sum_of_distances,
            start,
            args=(points,),
            method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 20000, "maxfev": 20000},
        )
        for start in starts
    ]
    return min(results, key=lambda result: result.fun).x


def running_prototype(history, current, momentum):
    """Eq. 7 for one modality: `history` holds eta(1..n-1) as updated."""
    if not history:
        return np.array(current, dtype=float)
    mean = sum(history) / len(history)
    return momentum * np.array(current) + (1 - momentum) * mean


def is_kmeans_fixed_point(points, labels, q):
    """Whether each point is nearest to the mean of its own cluster (ties allowed)."""
    centres = {c: points[labels == c].mean(axis=0) for c in range(q) if (labels == c).any()}
    for point, label in zip(points, labels, strict=True):
        distances = {c: math.dist(point, centre) for c, centre in centres.items()}
        if distances[label] > min(distances.values()) + 1e-4:
            return False
    return True


def ranks_by_distance(points, labels, q, prototype):
    """Fig. 2: the rank of each cluster by its centre's distance to the prototype."""
    distances = {c: math.dist(points[labels == c].mean(axis=0), prototype) for c in range(q)}
    ordered = sorted(range(q), key=lambda c: (distances[c], c))
    return {c: ordered.index(c) for c in range(q)}
