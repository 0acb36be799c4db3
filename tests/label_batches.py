"""Batches that the tests of pseudo-labels label."""

import torch


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(seed=0, size=32, dim=6):
    """Faces and voices of a batch, in a few loose groups."""
    rng = generator(seed)
    centres = 3 * torch.randn(5, dim, generator=rng)
    groups = torch.randint(5, (2, size), generator=rng)
    return centres[groups] + torch.randn(2, size, dim, generator=rng)
