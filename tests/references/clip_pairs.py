"""Slow strata of clips: every pair of a face and a voice is asked, one by one."""

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve


def compared(faces, voices, negatives, positives):
    """Returns (face, voice, same) of each pair compared; clips are dicts with identity.

    Positives None: all pairs of one identity.
    """
    found = []
    for row, face in enumerate(faces):
        for column, voice in enumerate(voices):
            same = face["identity"] == voice["identity"]
            asked = positives if same else negatives
            if asked is None or all(face[name] and face[name] == voice[name] for name in asked):
                found.append((row, column, same))
    return found


def rates(pairs, scores, faces, voices, weights):
    """Returns (AUC, EER) with weight w_i for positives of i and w_i w_k for negatives."""
    rows = []
    for row, column, same in pairs:
        one, other = faces[row]["identity"], voices[column]["identity"]
        weight = weights[one] if same else weights[one] * weights[other]
        if weight:
            rows.append((same, scores[row][column], weight))
    if len({same for same, _, _ in rows}) < 2:
        return np.nan, np.nan
    label, score, weight = map(np.array, zip(*rows, strict=True))
    accepted, found, _ = roc_curve(label, score, sample_weight=weight, drop_intermediate=False)
    eer = np.interp(0, accepted - (1 - found), accepted)
    return roc_auc_score(label, score, sample_weight=weight), eer
