"""The losses of LDJE beside the identities: bi-directional ranking and learnable centres.

LDJE is Wang et al., "Learning Discriminative Joint Embeddings for Efficient Face and Voice
Association", SIGIR 2020: bi-directional ranking + identity (`IdentityLoss`) + centres.
"""

import torch
from torch.nn.functional import normalize

from speechbrain_fv.data.schema import UNKNOWN
from speechbrain_fv.losses.base import Batch, Loss, Needs
from speechbrain_fv.losses.mining import all_distances, distance, others


class BidirectionalRankingLoss(Loss):
    """L_rank and L_intra: the hardest negative of the batch stays away, in both directions.

    On unit vectors, for a reference r of one modality, its pair t of the other, and n, the nearest
    to r among the t of other identities::

        L_rank  = mean_i [ alpha + d(r_i, t_i) - d(r_i, t_n) ]_+
        L_intra = mean_i [ beta - d(t_i, t_n) ]_+

    each once with faces and once with voices as references, added. The pair and its two hardest
    negatives are the clips of LDJE's quintuplet. alpha = 0.6, beta = 0.2 and the weight 0.1 of
    L_intra were found in public code, the quintuplet is unverified. The choice of n carries no
    gradient. A row without another identity in its batch adds 0. Departure: 1e-12 is added under
    the roots of d, whose gradient is infinite at 0.

    Arguments
    ---------
    rank_margin : float
        alpha, at least 0; distances lie in [0, 2].
    intra_margin : float
        beta, at least 0.

    Raises
    ------
    ValueError
        If a margin is negative.

    Example
    -------
    >>> loss = BidirectionalRankingLoss(rank_margin=2.0)
    >>> identity = {"identity": torch.tensor([0, 1])}
    >>> terms, _ = loss(Batch(torch.eye(2), torch.eye(2), voice_classes=identity))
    >>> terms["L_rank"]  # 2 (2 - sqrt(2))
    tensor(1.1716)
    """

    terms = ("L_rank", "L_intra")
    needs = Needs(voice=("identity",))

    def __init__(self, rank_margin=0.6, intra_margin=0.2):
        super().__init__()
        if rank_margin < 0 or intra_margin < 0:
            raise ValueError(
                "rank_margin and intra_margin: expected at least 0, got "
                f"{rank_margin} and {intra_margin}"
            )
        self.rank_margin, self.intra_margin = rank_margin, intra_margin

    def forward(self, batch: Batch):
        """Returns the terms and the monitor ``hard_accuracy``.

        Arguments
        ---------
        batch : Batch
            Of pairs.

        Returns
        -------
        terms : dict
            ``L_rank`` and ``L_intra``: scalars, at least 0.
        monitors : dict
            ``hard_accuracy``: scalar in [0, 1], the share of references whose hardest negative is
            farther than their pair, or that have none.
        """
        face, voice = normalize(batch.face, dim=1), normalize(batch.voice, dim=1)
        allowed = others(batch.voice_classes["identity"])
        has_negative = allowed.any(dim=1)
        distances = all_distances(face, voice)
        own = distance(face, voice)
        rank = intra = hits = face.new_zeros(())
        for reference, target, across in ((face, voice, distances), (voice, face, distances.T)):
            negative = target[hardest(across, allowed)]
            excess = own - distance(reference, negative)
            near = self.intra_margin - distance(target, negative)
            rank = rank + (self.rank_margin + excess).clamp_min(0).where(has_negative, 0).mean()
            intra = intra + near.clamp_min(0).where(has_negative, 0).mean()
            hits = hits + ((excess < 0) | ~has_negative).float().mean() / 2
        return {"L_rank": rank, "L_intra": intra}, {"hard_accuracy": hits}


def hardest(distances, allowed):
    """Returns the nearest allowed candidate, shape (B,), of every anchor.

    Arguments
    ---------
    distances : torch.Tensor, shape (B, B)
        From anchors to candidates.
    allowed : torch.Tensor of bool, shape (B, B)
        Which candidates may be a negative of an anchor. A row without any gets 0.

    Example
    -------
    >>> hardest(torch.zeros(2, 2), torch.tensor([[False, True], [True, False]])).tolist()
    [1, 0]
    """
    return distances.masked_fill(~allowed, torch.inf).argmin(dim=1)


class LearnableCenterLoss(Loss):
    """L_center: both modalities come near one trained centre per identity.

    ``mean_i ||u(f*_i) - c_{y_i}||^2 + ||u(v*_i) - c_{y_i}||^2`` with u(x) = x / ||x||, as LDJE has
    beside its ranking. That the centres are trained, and that embeddings are unit vectors here, is
    unverified. The centres start as random vectors of a length near 1. A clip of unknown identity
    adds nothing. Rows need not be pairs.

    Arguments
    ---------
    embedding_dim : int
        K, the width of the embeddings.

    Example
    -------
    >>> from speechbrain_fv.losses import TrainingSet
    >>> loss = LearnableCenterLoss(embedding_dim=2)
    >>> loss.build(TrainingSet({"identity": 2}))
    >>> _ = torch.nn.init.zeros_(loss.centers)
    >>> identity = {"identity": torch.tensor([0, 1])}
    >>> terms, _ = loss(Batch(torch.eye(2), 3 * torch.eye(2), identity, identity))
    >>> terms["L_center"]
    tensor(2., grad_fn=<AddBackward0>)
    """

    terms = ("L_center",)
    needs = Needs(face=("identity",), voice=("identity",), pairs=False)

    def __init__(self, embedding_dim):
        super().__init__()
        self.embedding_dim = embedding_dim
        self.register_parameter("centers", None)

    def build(self, training_set):
        """Makes the centres.

        Arguments
        ---------
        training_set : TrainingSet
        """
        shape = training_set.num_classes["identity"], self.embedding_dim
        self.centers = torch.nn.Parameter(torch.randn(shape) / self.embedding_dim**0.5)

    def forward(self, batch: Batch):
        """Returns the term ``L_center``, a scalar of at least 0, and no monitors."""
        loss = batch.face.new_zeros(())
        for modality in ("face", "voice"):
            embeddings = normalize(getattr(batch, modality), dim=1)
            identity = batch.classes(modality, "identity")
            squares = (embeddings - self.centers[identity.clamp_min(0)]).square().sum(dim=1)
            loss = loss + squares.where(identity != UNKNOWN, 0).mean()
        return {"L_center": loss}, {}
