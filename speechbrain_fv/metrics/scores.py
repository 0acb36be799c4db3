"""Scores, and the blocks and counts in which the metrics take them."""

import torch

SCORE_STEP = 2.0**-36
"""Cosines are rounded to multiples of this (1.5e-11)."""

CHUNK_SIZE = 2**24
"""Scores held at once unless the caller says otherwise: 128 MiB of float64."""


def unit_rows(embeddings):
    """Returns the embeddings as float64 with rows of length 1.

    Arguments
    ---------
    embeddings : torch.Tensor of shape (num_clips, dim)
        Finite, no row of zeros (`embeddings.Embeddings` checks it).

    Returns
    -------
    torch.Tensor of shape (num_clips, dim), float64

    Example
    -------
    >>> unit_rows(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]], dtype=torch.float64)
    """
    return torch.nn.functional.normalize(embeddings.double(), dim=1, eps=0.0)


def cosine_scores(queries, gallery):
    """Returns all cosines between two sets of unit rows, rounded to multiples of `SCORE_STEP`.

    The last bits of a matrix product depend on the shape of the matrices and on the place of a row
    within them. Rounding removes them, so that equal embeddings tie in every chunking and on every
    device. The step is far below what float32 embeddings resolve (6e-8).

    Arguments
    ---------
    queries : torch.Tensor of shape (num_queries, dim), float64
    gallery : torch.Tensor of shape (gallery_size, dim), float64

    Returns
    -------
    torch.Tensor of shape (num_queries, gallery_size), float64, in [-1, 1]

    Example
    -------
    >>> cosine_scores(torch.eye(2).double(), unit_rows(torch.tensor([[1.0, 1.0]]))).shape
    torch.Size([2, 1])
    """
    scores = queries @ gallery.T
    return scores.div_(SCORE_STEP).round_().mul_(SCORE_STEP)


def group_blocks(row_group, column_group, chunk_size):
    """Yields the rows and columns (index tensors) of each allowed block, group by group."""
    for group in row_group[row_group >= 0].unique():
        columns = (column_group == group).nonzero().squeeze(1)
        if len(columns):
            rows = (row_group == group).nonzero().squeeze(1)
            for chunk in rows.split(max(chunk_size // len(columns), 1)):
                yield chunk, columns


def count_around(values, ordered):
    """Returns how many of each row of `ordered` are below, and at most, each of `values`."""
    return torch.searchsorted(ordered, values), torch.searchsorted(ordered, values, right=True)


def sort_(values):
    """Sorts along the last axis, on a CPU in place: numpy is ten times as fast as torch there."""
    if values.is_cuda:
        return values.sort(dim=-1).values
    values.numpy().sort(axis=-1)
    return values
