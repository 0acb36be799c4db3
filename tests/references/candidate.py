"""Slow references of SVHF: one trial at a time, nothing of the package."""

import numpy as np

from tests.references.contrastive import log_softmax


def classifier(layers, candidates, probe):
    """The outputs of [c_1, ..., c_N, probe] through linear layers (weight, bias) with ReLU."""
    x = np.concatenate([*candidates, probe])
    for weight, bias in layers[:-1]:
        x = np.maximum(weight @ x + bias, 0)
    weight, bias = layers[-1]
    return weight @ x + bias


def cross_entropy(layers, candidates, probe, place):
    """Minus the log of the softmax at the place of the positive."""
    return -log_softmax(list(classifier(layers, candidates, probe)), place)
