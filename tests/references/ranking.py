"""Slow references of LDJE: one pair at a time, nothing of the package."""

import numpy as np


def unit(x):
    """x at length 1."""
    return x / np.linalg.norm(x)


def ranking(references, targets, identities, rank_margin, intra_margin):
    """One direction: the means of both hinges; a row without another identity adds 0."""
    rank = intra = 0.0
    for i in range(len(references)):
        r, t = unit(references[i]), unit(targets[i])
        negatives = [
            unit(targets[j]) for j in range(len(targets)) if identities[j] != identities[i]
        ]
        if not negatives:
            continue
        n = min(negatives, key=lambda z: np.linalg.norm(r - z))
        rank += max(0.0, rank_margin + np.linalg.norm(r - t) - np.linalg.norm(r - n))
        intra += max(0.0, intra_margin - np.linalg.norm(t - n))
    return rank / len(references), intra / len(references)


def center(faces, voices, face_identities, voice_identities, centers):
    """The mean squared distance to the centre of each modality, added; -1 adds nothing."""
    total = 0.0
    for embeddings, identities in ((faces, face_identities), (voices, voice_identities)):
        for x, y in zip(embeddings, identities, strict=True):
            if y >= 0:
                total += sum((unit(x) - centers[y]) ** 2) / len(embeddings)
    return total
