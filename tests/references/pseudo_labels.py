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


def median_gradient_norm(point, points):
    """How far a point, not among the points, is from the first-order condition of Eq. 4."""
    offsets = points - point
    units = offsets / np.linalg.norm(offsets, axis=1, keepdims=True)
    return np.linalg.norm(units.sum(axis=0)) / len(points)


def weiszfeld(points, iterations=300):
    """Eq. 4 by the plain iteration; for points that the median does not meet."""
    point = points.mean(axis=0)
    for _ in range(iterations):
        weights = [1 / math.dist(point, other) for other in points]
        point = np.average(points, axis=0, weights=weights)
    return point


def lloyd(points, centres):
    """K-means from given centres, until no assignment changes; empty clusters: farthest points."""
    centres = np.array(centres, dtype=float)
    labels = None
    while True:
        distances = [[math.dist(point, centre) for centre in centres] for point in points]
        new = np.argmin(distances, axis=1)
        if labels is not None and (new == labels).all():
            return labels, centres
        labels = new
        farthest = sorted(range(len(points)), key=lambda i: -distances[i][labels[i]])
        for c in range(len(centres)):
            if (labels == c).any():
                centres[c] = points[labels == c].mean(axis=0)
            else:
                centres[c] = points[farthest.pop(0)]


def labels_of_a_batch(points, seeds, history, momentum):
    """One modality's labels for one q, from Eq. 3 to the ranks of Fig. 2."""
    scaled = scale_columns(points)
    prototype = running_prototype(history, weiszfeld(scaled), momentum)
    labels, _ = lloyd(scaled, seeds)
    ranks = ranks_by_distance(scaled, labels, len(seeds), prototype)
    return np.array([ranks[label] for label in labels]), prototype


def labels_of_a_shared_batch(face, voice, seeds, history, momentum):
    """Both modalities' labels for one q of one K-means: all points, one prototype, one ranking."""
    points = np.concatenate([scale_columns(face), scale_columns(voice)])
    prototype = running_prototype(history, weiszfeld(points), momentum)
    labels, _ = lloyd(points, seeds)
    ranks = ranks_by_distance(points, labels, len(seeds), prototype)
    ranked = [ranks[label] for label in labels]
    return ranked[: len(face)], ranked[len(face) :], prototype


def labels_of_a_paired_batch(face, voice, seeds, histories, momentum):
    """Both modalities' labels for one q: a K-means each, from the seeds of the same pairs."""
    distances, labels, prototypes = [], [], []
    for points, own_seeds, history in zip((face, voice), seeds, histories, strict=True):
        scaled = scale_columns(points)
        prototypes.append(running_prototype(history, weiszfeld(scaled), momentum))
        labels.append(lloyd(scaled, own_seeds)[0])
        distances.append([])
        for c in range(len(own_seeds)):
            mean = scaled[labels[-1] == c].mean(axis=0)
            distances[-1].append(math.dist(mean, prototypes[-1]))
    order = sorted(range(len(seeds[0])), key=lambda c: distances[0][c] + distances[1][c])
    ranked = [[order.index(c) for c in own_labels] for own_labels in labels]
    return *ranked, prototypes


def greedy_seed_rows(points, uniforms):
    """Rows of greedy k-means++ from uniform draws, one for each centre and point."""
    squared = [[sum((x - y) ** 2) for y in points] for x in points]
    waits = [[-math.log(u) for u in row] for row in uniforms]
    chosen = [int(np.argmin(waits[0]))]
    nearest = list(squared[chosen[0]])
    for row in waits[1:]:
        hurried = [w / d if d > 0 else math.inf for w, d in zip(row, nearest, strict=True)]
        trials = sorted(range(len(points)), key=hurried.__getitem__)
        trials = trials[: 2 + int(math.log(len(uniforms)))]
        left = {i: [min(pair) for pair in zip(squared[i], nearest, strict=True)] for i in trials}
        best = min(trials, key=lambda i: sum(left[i]))
        chosen.append(best)
        nearest = left[best]
    return chosen
