"""Slow reference of PINs: one anchor and one candidate at a time, nothing of the package."""

import numpy as np


def unit(x):
    """x at length 1."""
    return x / np.linalg.norm(x)


def negative_of(i, faces, voices, videos, tau, capped=True):
    """The row whose voice is the negative of face i, or None where no other video is there."""
    candidates = [j for j in range(len(voices)) if j != i and videos[j] != videos[i]]
    if not candidates:
        return None
    distance = {j: np.linalg.norm(unit(faces[i]) - unit(voices[j])) for j in (i, *candidates)}
    easy_to_hard = sorted(candidates, key=lambda j: -distance[j])
    place = round(tau * (len(candidates) - 1))
    if capped:
        while place > 0 and distance[easy_to_hard[place]] < distance[i]:
            place -= 1
    return easy_to_hard[place]


def loss(faces, voices, videos, tau, margin=0.6, squared=True, capped=True):
    """The mean over all pairs used of p d^2 + (1 - p) max(0, m - d)^2, or without the squares."""
    power = 2 if squared else 1
    values = []
    for i in range(len(faces)):
        values.append(np.linalg.norm(unit(faces[i]) - unit(voices[i])) ** power)
        j = negative_of(i, faces, voices, videos, tau, capped)
        if j is not None:
            far = np.linalg.norm(unit(faces[i]) - unit(voices[j]))
            values.append(max(0.0, margin - far) ** power)
    return sum(values) / len(values)
