"""Slow references of InfoNCE's relatives: one anchor at a time, nothing of the package."""

import numpy as np


def cosine(x, z):
    """The cosine of two vectors."""
    return float(x @ z) / float(np.linalg.norm(x) * np.linalg.norm(z))


def inner(x, z):
    """The inner product of two vectors."""
    return float(x @ z)


def log_softmax(logits, place):
    """log softmax(logits)[place]."""
    largest = max(logits)
    return logits[place] - largest - np.log(sum(np.exp(value - largest) for value in logits))


def infonce(faces, voices, tau, similarity=cosine, left_out=lambda i, j: False):
    """Both directions' mean of -log softmax at the own pair, added."""
    total = 0.0
    for anchors, candidates in ((faces, voices), (voices, faces)):
        for i, anchor in enumerate(anchors):
            kept = [j for j in range(len(candidates)) if j == i or not left_out(i, j)]
            logits = [similarity(anchor, candidates[j]) / tau for j in kept]
            total -= log_softmax(logits, kept.index(i)) / len(anchors)
    return total


def supcon(anchors, candidates, positives, tau):
    """L_out of Khosla et al.: per anchor its candidates, and which of them are positives."""
    total = 0.0
    for anchor, others, own in zip(anchors, candidates, positives, strict=True):
        logits = [cosine(anchor, other) / tau for other in others]
        logs = [log_softmax(logits, place) for place in range(len(others)) if own[place]]
        total -= sum(logs) / len(logs)
    return total / len(anchors)


def cross_modal_supcon(faces, voices, identities, tau):
    """Both directions, candidates of the other modality only, added."""
    same = [[i == j for j in identities] for i in identities]
    size = len(faces)
    return supcon(faces, [voices] * size, same, tau) + supcon(voices, [faces] * size, same, tau)


def pooled_supcon(faces, voices, identities, tau):
    """One pool of faces and voices; the candidates of a clip are all others."""
    pool, labels = [*faces, *voices], [*identities, *identities]
    others = [[j for j in range(len(pool)) if j != i] for i in range(len(pool))]
    candidates = [[pool[j] for j in kept] for kept in others]
    positives = [[labels[j] == labels[i] for j in kept] for i, kept in enumerate(others)]
    return supcon(pool, candidates, positives, tau)
