"""Which rows of a batch are compared, and how far apart they are.

A choice of rows carries no gradient: it is made on distances without it, and the distances of the
chosen rows are then computed anew, with it.
"""

import torch

from speechbrain_fv.data.schema import UNKNOWN

EPSILON = 1e-12
"""Is added under a root: the root's gradient is infinite at 0, where two embeddings are equal."""


def others(classes):
    """Returns which rows are of another class than a row.

    A row of unknown class is another than every row but itself.

    Arguments
    ---------
    classes : torch.Tensor of int64, shape (B,)
        Class of every row; -1 where unknown.

    Returns
    -------
    torch.Tensor of bool, shape (B, B)
        Entry i, j: whether row j is of another class than row i; False on the diagonal.

    Example
    -------
    >>> others(torch.tensor([0, 0, 1])).int().tolist()
    [[0, 0, 1], [0, 0, 1], [1, 1, 0]]
    """
    other = (classes.unsqueeze(1) != classes) | (classes == UNKNOWN)
    return other.fill_diagonal_(False)


def distance(x, z, squared=False):
    """Returns the Euclidean distance of each row of x to the same row of z, with gradient.

    Arguments
    ---------
    x, z : torch.Tensor, shape (B, K)
    squared : bool
        Whether to leave the root out. With the root, 1e-12 is added under it.

    Returns
    -------
    torch.Tensor, shape (B,)

    Example
    -------
    >>> distance(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), squared=True)
    tensor([25.])
    """
    total = (x - z).square().sum(dim=1)
    return total if squared else (total + EPSILON).sqrt()


@torch.no_grad()
def all_distances(x, z):
    """Returns the Euclidean distances, shape (B, N), of all rows of x and z, without gradient."""
    return torch.cdist(x, z)


def draw_one(allowed, generator):
    """Draws one allowed column for every row, each with the same probability.

    Arguments
    ---------
    allowed : torch.Tensor of bool, shape (B, N)
    generator : torch.Generator or None
        Source of randomness, on the CPU.

    Returns
    -------
    torch.Tensor of int64, shape (B,)
        Column numbers; 0 in a row where none is allowed.

    Example
    -------
    >>> draw_one(torch.tensor([[False, True], [True, False], [False, False]]), None).tolist()
    [1, 0, 0]
    """
    share = torch.rand(len(allowed), generator=generator).to(allowed.device)
    count = allowed.sum(dim=1)
    place = (share * count).long().minimum(count - 1) + 1  # from 1; rounding may reach the count
    return (allowed.cumsum(dim=1) >= place.unsqueeze(1)).int().argmax(dim=1)


def mean_where(valid, values):
    """Returns the mean of the valid entries; 0, with a gradient of 0, where none is.

    Example
    -------
    >>> mean_where(torch.tensor([True, False, True]), torch.tensor([1.0, 9.0, 2.0]))
    tensor(1.5000)
    """
    return values.where(valid, 0).sum() / valid.sum().clamp_min(1)
