"""Slow references of FOP and SSNet: one pair of rows at a time, nothing of the package."""

import numpy as np


def unit(x):
    """x at length 1."""
    return x / np.linalg.norm(x)


def orthogonal_projection(rows, classes, beta):
    """OPL of the fused rows."""
    near, far = [], []
    for i in range(len(rows)):
        for j in range(len(rows)):
            cosine = unit(rows[i]) @ unit(rows[j])
            if i != j and classes[i] == classes[j]:
                near.append(cosine)
            elif i != j:
                far.append(abs(cosine))
    first = 1 - sum(near) / (len(near) + 1e-6)
    return first + beta * sum(far) / (len(far) + 1e-6)


def gated(face, voice, gate):
    """k tanh(f) + (1 - k) tanh(v) of one pair, with its gate."""
    return gate * np.tanh(face) + (1 - gate) * np.tanh(voice)


def center(rows, classes, centers):
    """The mean over all elements of the squared differences from the centres."""
    squares = [
        (value - centers[y][k]) ** 2
        for row, y in zip(rows, classes, strict=True)
        for k, value in enumerate(row)
    ]
    return np.mean(squares)


def repulsion(rows, classes, centers):
    """The mean of 1 / (1 + ||h_i - c_{y_j}||^2) over rows of two classes."""
    values = [
        1 / (1 + sum((rows[i] - centers[classes[j]]) ** 2))
        for i in range(len(rows))
        for j in range(len(rows))
        if classes[i] != classes[j]
    ]
    return np.mean(values) if values else 0.0


def moved(centers, rows, classes, share):
    """The centres, each moved to the mean of its rows by a share of the way."""
    result = [np.array(c, dtype=float) for c in centers]
    for y in set(classes):
        mean = np.mean([row for row, z in zip(rows, classes, strict=True) if z == y], axis=0)
        result[y] += share * (mean - result[y])
    return np.array(result)
