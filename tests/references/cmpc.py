"""Slow references of CMPC: one clip and one cluster at a time, nothing of the package."""

from math import erf

import numpy as np

from tests.references.contrastive import log_softmax


def unit(x):
    """x at length 1; zeros stay."""
    length = np.linalg.norm(x)
    return x / length if length else x


def instance(anchors, candidates, videos, temperature):
    """L_ii of every anchor; other rows of its video are left out."""
    losses = []
    for i, anchor in enumerate(anchors):
        rows = [j for j in range(len(candidates)) if j == i or videos[j] != videos[i]]
        logits = [unit(anchor) @ unit(candidates[j]) / temperature for j in rows]
        losses.append(-log_softmax(logits, rows.index(i)))
    return np.array(losses)


def prototype(anchors, videos, clusters, centres, phi):
    """L_ip of every anchor, by one clustering of the other modality."""
    losses = []
    for i, anchor in enumerate(anchors):
        rows = [j for j in range(len(anchors)) if j == i or videos[j] != videos[i]]
        logits = []
        for j in rows:
            own = clusters[videos[j]]
            logits.append(unit(anchor) @ unit(centres[own]) / phi[own])
        losses.append(-log_softmax(logits, rows.index(i)))
    return np.array(losses)


def weights(rho, delta, kappa):
    """The cumulative normal distribution at rho, the largest scaled to 1."""
    mean, deviation = np.mean(rho), np.std(rho)
    if deviation < 1e-6:
        return np.ones(len(rho))
    values = [
        (1 + erf((r - mean - delta * deviation) / np.sqrt(2 * kappa) / deviation)) / 2 for r in rho
    ]
    return np.array(values) / max(values)


def concentrations(points, labels, centres, mean):
    """phi of every cluster."""
    num = len(centres)
    members = [[x for x, y in zip(points, labels, strict=True) if y == k] for k in range(num)]
    phi = {
        k: np.mean([np.linalg.norm(x - centres[k]) for x in members[k]])
        / np.log(len(members[k]) + 10)
        for k in range(num)
        if len(members[k]) > 1
    }
    largest = max(phi.values(), default=0.0)
    phi |= {k: largest for k in range(num) if len(members[k]) == 1}
    low, high = np.percentile(list(phi.values()), [10, 90])
    phi = {k: min(max(value, low), high) for k, value in phi.items()}
    scale = np.mean(list(phi.values()))
    if scale == 0:
        return np.full(num, mean)
    return np.array(
        [max(mean / 20, mean * phi[k] / scale) if k in phi else mean for k in range(num)]
    )


def remembered(memory, videos, embeddings, momentum):
    """The memory after a batch, by the mean direction of each video's clips."""
    result = np.array(memory)
    for video in set(videos):
        clips = [unit(x) for x, v in zip(embeddings, videos, strict=True) if v == video]
        result[video] = unit(momentum * result[video] + (1 - momentum) * unit(sum(clips)))
    return result
