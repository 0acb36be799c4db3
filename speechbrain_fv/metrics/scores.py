"""Scores as exact integers, and the clips, blocks and counts in which the metrics take them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from speechbrain_fv.scores import unit

SCORE_STEP = 2.0**-36
"""Scores, in [-1, 1], are rounded to multiples of this (1.5e-11)."""

CHUNK_SIZE = 2**24
"""Scores held at once unless the caller says otherwise: 128 MiB of int64."""

_CACHED_SCORES = 2**20  # a CPU is fastest on blocks near the size of its caches
_ROUND = 1.5 * 2.0**52  # a float64 plus this holds the rounded value in its low bits
_ROUND_BITS = int(np.float64(_ROUND).view(np.int64))


def integer_scores(queries, gallery):
    """Returns all inner products of two sets of rows in whole steps of `SCORE_STEP`.

    They must lie in [-1, 1], as those of unit rows do: their cosines.

    The last bits of a matrix product depend on the shape of the matrices and on the place of a row
    within them. Rounding removes them, so that equal embeddings tie in every chunking and on every
    device. The step is far below what float32 embeddings resolve (6e-8). Integers leave room for
    a label in the low bits of a sorting key.

    Arguments
    ---------
    queries : torch.Tensor of shape (num_queries, dim), float64
    gallery : torch.Tensor of shape (gallery_size, dim), float64

    Returns
    -------
    torch.Tensor of shape (num_queries, gallery_size), int64, in [-2^36, 2^36]

    Example
    -------
    >>> integer_scores(torch.eye(2).double(), torch.tensor([[0.0, 0.5]]).double()) * SCORE_STEP
    tensor([[0.0000],
            [0.5000]])
    """
    scores = _product(queries / SCORE_STEP, gallery.T)
    # Adding the constant rounds to the nearest integer, in place, and faster than a conversion.
    return scores.add_(_ROUND).view(torch.int64).sub_(_ROUND_BITS)


def _product(one, other):
    """Returns a matrix product, in one thread of a CPU by numpy.

    That is a third faster on AMD's than torch with MKL. Several threads of numpy's BLAS would
    wait for work where torch's need the cores, which costs more.
    """
    alone = one.device.type == "cpu" and torch.get_num_threads() == 1
    return torch.from_numpy(one.numpy() @ other.numpy()) if alone else one @ other


def to_integers(scores):
    """Returns scores of any range in whole steps of `SCORE_STEP`, their order kept.

    They are squashed by x / (1 + |x|) first.

    Arguments
    ---------
    scores : torch.Tensor of any shape, float64
        Finite.

    Returns
    -------
    torch.Tensor of the same shape, int64, in [-2^36, 2^36]

    Example
    -------
    >>> to_integers(torch.tensor([-1.0, 0.0, 3.0]).double()) * SCORE_STEP
    tensor([-0.5000,  0.0000,  0.7500])
    """
    return (scores / (1 + scores.abs()) / SCORE_STEP).round().long()


class Clips(NamedTuple):
    """The clips of one modality, ordered by identity; made by `sort_clips`.

    vectors : torch.Tensor of shape (num_clips, dim), float64, as `compare` takes them
    identity : torch.Tensor of shape (num_clips,), int64, ascending, in [0, num_identities)
    num_clips : torch.Tensor of shape (num_identities,), int64
    first : torch.Tensor of shape (num_identities,), int64, row of each identity's first clip
    compare : function of rows of these vectors and of rows of the other modality's
        Returns scores (num_rows, num_other_rows), int64, in [-2^36, 2^36]; for an inner product in
        [-1, 1] it is `integer_scores`.
    """

    vectors: torch.Tensor
    identity: torch.Tensor
    num_clips: torch.Tensor
    first: torch.Tensor
    compare: Callable = integer_scores


def sort_clips(vectors, identity, num_identities, prepare=unit, compare=integer_scores):
    """Returns `Clips` from embeddings in any order.

    Arguments
    ---------
    vectors : torch.Tensor of shape (num_clips, dim)
        Finite; for `unit` no row of zeros.
    identity : torch.Tensor of shape (num_clips,), int64, in [0, num_identities)
    num_identities : int
    prepare : function of vectors
        Returns what `compare` takes, row by row; for cosines the rows at length 1.
    compare : function
        See `Clips`.

    Returns
    -------
    Clips

    Example
    -------
    >>> sort_clips(torch.eye(2), torch.tensor([1, 0]), num_identities=3).first
    tensor([0, 1, 2])
    """
    order = identity.argsort(stable=True)
    num_clips = torch.bincount(identity, minlength=num_identities)
    first = num_clips.cumsum(0) - num_clips
    return Clips(prepare(vectors[order]), identity[order], num_clips, first, compare)


def agreement(labels, identities):
    """Returns in which attributes some identities agree with each identity, as bits.

    A stratum asks for a set of attributes: it allows a pair as negative when
    ``codes & stratum == stratum``. The empty set, 0, allows every pair.

    Arguments
    ---------
    labels : torch.Tensor of shape (num_identities, num_attributes), int64
        -1 is unknown, and agrees with nobody.
    identities : torch.Tensor of shape (num_rows,), int64

    Returns
    -------
    torch.Tensor of shape (num_rows, num_identities), int64
        Bit a is set where both have the same known label of attribute a.

    Example
    -------
    >>> agreement(torch.tensor([[0, 5], [0, -1], [1, 5]]), torch.tensor([0]))
    tensor([[3, 1, 2]])
    """
    codes = labels.new_zeros(len(identities), len(labels))
    for bit, label in enumerate(labels.T):
        own = label[identities, None]
        codes += ((own == label) & (own >= 0)) * 2**bit
    return codes


def row_blocks(num_rows, row_size, chunk_size, device):
    """Yields slices of rows that hold at most chunk_size values, and at least one row.

    On a CPU blocks stay near the size of its caches, whatever chunk_size allows.
    """
    if torch.device(device).type == "cpu":
        chunk_size = min(chunk_size, _CACHED_SCORES)
    step = max(chunk_size // max(row_size, 1), 1)
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def sort_(keys):
    """Sorts the rows of a matrix; on a CPU in place with numpy, ten times as fast as torch."""
    if keys.device.type != "cpu":
        return keys.sort(dim=-1).values
    keys.numpy().sort(axis=-1)
    return keys


def add_ones_(counts, index):
    """Adds 1 to the flat `counts` at each place that `index`, of any shape, names."""
    index = index.reshape(-1)
    return counts.scatter_add_(0, index, counts.new_ones(1).expand(len(index)))
