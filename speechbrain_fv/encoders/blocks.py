"""Blocks behind both encoders, in the place of the `CMWR`, that other methods have."""

import torch
from torch.nn.functional import normalize

from speechbrain_fv.encoders.common import fix_bias


class UnitBranch(torch.nn.Module):
    """Returns embeddings behind ReLU and dropout at length 1, the end of a branch of FOP.

    It has no weights: what the branches of the two modalities have is their encoders'. An embedding
    without a positive entry becomes zeros.

    Arguments
    ---------
    dropout : float
        Share of the entries that is dropped in training, in [0, 1).

    Example
    -------
    >>> UnitBranch()(torch.tensor([[3.0, -1.0, 4.0]])).norm() > 0
    tensor(True)
    """

    def __init__(self, dropout=0.5):
        super().__init__()
        self.dropout = torch.nn.Dropout(_share(dropout))

    def forward(self, embeddings):
        """Returns coordinates of at least 0, of the shape (..., K) of the embeddings."""
        return normalize(self.dropout(embeddings.relu()), dim=-1)


class SharedTrunk(torch.nn.Module):
    """The single stream of SSNet: layers that faces and voices go through alike.

    Linear, BatchNorm, ReLU and dropout, twice, then scaling to length 1 (Nawaz et al., "Deep Latent
    Space Learning for Cross-modal Mapping of Audio and Visual Signals", DICTA 2019, in later code
    of its authors). The width stays K; theirs is 128. In training a BatchNorm takes the faces and
    the voices of a batch together.

    Arguments
    ---------
    embedding_dim : int
        K, the width of the embeddings.
    dropout : float
        Share of the entries that is dropped in training, in [0, 1).

    Example
    -------
    >>> SharedTrunk(embedding_dim=8)(torch.randn(2, 4, 8)).shape
    torch.Size([2, 4, 8])
    """

    def __init__(self, embedding_dim, dropout=0.5):
        super().__init__()
        self.layers = torch.nn.Sequential()
        for _ in range(2):
            linear = torch.nn.Linear(embedding_dim, embedding_dim)
            fix_bias(linear)
            norm = torch.nn.BatchNorm1d(embedding_dim)
            self.layers.extend([linear, norm, torch.nn.ReLU(), torch.nn.Dropout(_share(dropout))])

    def forward(self, embeddings):
        """Returns coordinates of at least 0, of the shape (..., K) of the embeddings."""
        rows = self.layers(embeddings.flatten(0, -2))
        return normalize(rows, dim=1).view_as(embeddings)


def _share(dropout):
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: expected a share in [0, 1), got {dropout}")
    return dropout
