"""Slow references of SSOS: one pair and one identity at a time, nothing of the package."""

import numpy as np

from tests.references.contrastive import log_softmax


def alignment(x, z, identities, constant):
    """g(x, z), anchor by anchor; other rows of the anchor's identity are left out."""
    unit = [row / np.linalg.norm(row) for row in x]
    values = []
    for i, anchor in enumerate(z):
        total = constant
        for j in range(len(x)):
            if identities[j] != identities[i]:
                total += np.exp(anchor @ unit[j] - anchor @ unit[i])
        values.append(np.log(total))
    return np.array(values)


def terms(face, voice, identities, matrix, weights, constant, weight_ce):
    """L_id and L_align of pairs, with the weights of all identities."""
    scaled = [w * len(weights) / sum(weights) for w in weights]
    w = np.array([scaled[y] for y in identities])
    ce = np.zeros(len(face))
    for row, y in enumerate(identities):
        for z in (face[row], voice[row]):
            ce[row] -= log_softmax(list(matrix @ z), y)
    there, back = (alignment(x, z, identities, constant) for x, z in ((face, voice), (voice, face)))
    identity = np.mean(w * ce) if weight_ce else np.mean(w) * np.mean(ce)
    return identity, np.mean(w * there) / 2 + np.mean(w * back) / 2


def changed(weights, hardness, first):
    """The weights after a change, with the authors' numbers."""
    num = len(weights)
    order = sorted(range(num), key=lambda y: (hardness[y], y))
    if first:
        easiest = order[: round(0.5 * num)]
        return [1.0 if y in easiest else 0.0 for y in range(num)]
    if sum(w > 0 for w in weights) >= 0.9 * num:
        return list(weights)
    left = [y for y in order if weights[y] == 0]
    added = left[: int(np.ceil(22 * num / 924))]
    return [1.0 if y in added else 0.99 * w for y, w in enumerate(weights)]
