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


class SideBySide(torch.nn.Module):
    """Gives each part of the embeddings to a block of its own; outside of training at length 1.

    The parts are models side by side, each with a loss of its own (`losses.OnPart`), which sees it
    as its block leaves it. Behind a training each part has length 1: the cosine of two whole
    embeddings is the mean of the cosines of their parts, an ensemble that is one model.

    Arguments
    ---------
    blocks : sequence of torch.nn.Module
        Each from (..., width) to (..., width).
    widths : sequence of int
        Columns of each, in their order. Columns behind the last are a part without a block.

    Raises
    ------
    ValueError
        If there is not a width of at least 1 for each block.

    Example
    -------
    >>> block = SideBySide([torch.nn.Identity(), torch.nn.ReLU()], widths=[2, 1]).eval()
    >>> block(torch.tensor([[3.0, 4.0, 5.0, 0.0, 2.0]]))
    tensor([[0.6000, 0.8000, 1.0000, 0.0000, 1.0000]])
    """

    def __init__(self, blocks, widths):
        super().__init__()
        if not blocks or len(blocks) != len(widths) or min(widths) < 1:
            raise ValueError(
                f"widths: expected one of at least 1 for each of {len(blocks)} blocks, got "
                f"{list(widths)}"
            )
        self.blocks, self.widths = torch.nn.ModuleList(blocks), list(widths)

    def forward(self, embeddings):
        """Returns embeddings of the same shape (..., K).

        Raises
        ------
        ValueError
            If K is less than the sum of the widths.
        """
        rest = embeddings.shape[-1] - sum(self.widths)
        if rest < 0:
            raise ValueError(
                f"embedding_dim: expected at least {sum(self.widths)}, the widths of the parts, "
                f"got {embeddings.shape[-1]}"
            )
        parts = embeddings.split([*self.widths, *([rest] if rest else [])], dim=-1)
        blocks = [*self.blocks, torch.nn.Identity()]
        parts = [block(part) for block, part in zip(blocks, parts, strict=False)]
        if not self.training:
            parts = [normalize(part, dim=-1) for part in parts]
        return torch.cat(parts, dim=-1)


def _share(dropout):
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: expected a share in [0, 1), got {dropout}")
    return dropout
