"""What the encoders of both modalities share."""

import numpy as np
import torch


def projection(network_dim, embedding_dim, standardize):
    """A linear layer to width K where the network has another, and a BatchNorm where asked for."""
    layers = torch.nn.Sequential()
    if network_dim != embedding_dim:
        layers.append(torch.nn.Linear(network_dim, embedding_dim))
    if standardize:
        if layers:
            fix_bias(layers[-1])
        layers.append(torch.nn.BatchNorm1d(embedding_dim, affine=False))
    return layers


def fix_bias(layer):
    """Stops the training of a bias that a BatchNorm behind the layer takes out again.

    Its gradient is zero but for rounding, which Adam would scale up to steps of full size.
    """
    layer.bias.requires_grad_(False)


def load_strictly(network, state, source):
    """Loads weights, refusing any missing or extra key: half-loaded encoders train silently."""
    missing, extra = network.load_state_dict(state, strict=False)
    if missing or extra:
        raise ValueError(
            f"{source}: not the weights of this network; missing {missing[:3]}, "
            f"extra {extra[:3]} ({len(missing)} and {len(extra)} in all)"
        )


def person_shares(identity):
    """Returns the weight of each clip, shape (N,), by which all identities count alike; sum 1.

    Statistics of clips would else be those of whoever has most of them.

    Arguments
    ---------
    identity : sequence of N str

    Example
    -------
    >>> person_shares(["ann", "bob", "bob"]).tolist()
    [0.5, 0.25, 0.25]
    """
    _, number, count = np.unique(identity, return_inverse=True, return_counts=True)
    return 1 / (count[number] * len(count))
