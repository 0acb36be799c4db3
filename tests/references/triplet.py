"""Slow references of the losses on triplets: one triplet at a time, nothing of the package."""

import numpy as np


def distance_ratio(reference, positive, negative, squared=False):
    """|| softmax(d+, d-) - (0, 1) || of one triplet, or its square."""
    near = np.linalg.norm(reference - positive)
    far = np.linalg.norm(reference - negative)
    largest = max(near, far)
    q = np.exp(np.array([near, far]) - largest)
    q = q / q.sum()
    gap = np.linalg.norm(q - np.array([0.0, 1.0]))
    return gap**2 if squared else gap


def voice_anchored(voice, positive, negative, margin, radius):
    """[ d(v, f+)^2 - d(v, f-)^2 + m ]_+ of one triplet on the sphere."""
    v, p, n = (radius * x / np.linalg.norm(x) for x in (voice, positive, negative))
    return max(0.0, sum((v - p) ** 2) - sum((v - n) ** 2) + margin)


def semi_hard(i, anchors, candidates, identities):
    """The row of the nearest negative that is farther than the positive, else of the farthest."""
    unit = [x / np.linalg.norm(x) for x in candidates]
    anchor = anchors[i] / np.linalg.norm(anchors[i])
    distance = [np.linalg.norm(anchor - x) for x in unit]
    negatives = [j for j in range(len(unit)) if identities[j] != identities[i]]
    farther = [j for j in negatives if distance[j] > distance[i]]
    if farther:
        return min(farther, key=lambda j: distance[j])
    return max(negatives, key=lambda j: distance[j])
