"""Centres of identities that follow their clips without a gradient (SSNet)."""

import torch
from torch.nn.functional import one_hot

from speechbrain_fv.data.schema import UNKNOWN
from speechbrain_fv.losses.base import Batch, Loss, Needs


class MovingCenterLoss(Loss):
    """L_center, and optionally L_git: clips come near a centre that follows them, off the others.

    Of all clips h_i of a batch, faces and voices alike, and the centres c of their identities::

        L_center = mean_i ||h_i - c_{y_i}||^2 / K
        L_git    = mean_{y_i != y_j} 1 / (1 + ||h_i - c_{y_j}||^2)

    as SSNet has the first beside a cross-entropy (Nawaz et al., "Deep Latent Space Learning for
    Cross-modal Mapping of Audio and Visual Signals", DICTA 2019) and a variant of it the second.
    After its step a centre moves by ``(1 - alpha)`` of the way to the mean of its clips, alpha =
    0.3, and L_center weighs lambda = 1. The numbers are those of later code of its authors, as is
    the mean over all elements, hence the division by K. Centres start at zero, which is unverified.

    Departures. The authors' code has the logits of the classifier in the place of the embeddings h;
    that the paper has the embeddings is unverified. It adds up the moves of a centre that is met n
    times in a batch, by 0.7 n of the way in all, which overshoots from n = 2 on: here it is one
    move, to the mean. Its cross-entropy is one mean over faces and voices, as L_center is; beside
    `IdentityLoss`, the sum of a mean of each, L_center weighs half. It has all pairs i != j in
    L_git: here none of one identity, which would push a clip off its own centre.

    Arguments
    ---------
    embedding_dim : int
        K, the width of the embeddings.
    alpha : float
        Share of a centre that stays, in [0, 1].
    git : bool
        Whether L_git is a term too.

    Raises
    ------
    ValueError
        If `alpha` is out of its range.

    Example
    -------
    >>> from speechbrain_fv.losses import TrainingSet
    >>> loss = MovingCenterLoss(embedding_dim=2)
    >>> loss.build(TrainingSet({"identity": 3}))
    >>> identity = {"identity": torch.tensor([0, 1])}
    >>> terms, _ = loss(Batch(torch.eye(2), torch.eye(2), identity, identity))
    >>> terms["L_center"], loss.centers
    (tensor(0.5000), tensor([[0.7000, 0.0000],
            [0.0000, 0.7000],
            [0.0000, 0.0000]]))
    """

    needs = Needs(face=("identity",), voice=("identity",), pairs=False)

    def __init__(self, embedding_dim, alpha=0.3, git=False):
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha: expected a share in [0, 1], got {alpha}")
        self.embedding_dim, self.alpha, self.git = embedding_dim, alpha, bool(git)
        self.register_buffer("centers", None)

    @property
    def terms(self):
        """L_center, and L_git where it is asked for."""
        return ("L_center", "L_git") if self.git else ("L_center",)

    def build(self, training_set):
        """Makes the centres."""
        self.centers = torch.zeros(training_set.num_classes["identity"], self.embedding_dim)

    def forward(self, batch: Batch):
        """Returns the terms, scalars of at least 0, and no monitors; in training, moves centres."""
        rows = torch.cat([batch.face, batch.voice])
        classes = torch.cat([batch.classes(side, "identity") for side in ("face", "voice")])
        known = classes != UNKNOWN
        own = self.centers[classes.clamp_min(0)]
        squares = (rows - own).square().mean(dim=1)
        terms = {"L_center": squares.where(known, 0).mean()}
        if self.git:
            terms["L_git"] = repulsion(rows, own, classes)
        if self.training:
            self.centers = moved_centers(self.centers, rows.detach(), classes, 1 - self.alpha)
        return terms, {}


def repulsion(rows, own, classes):
    """Returns L_git, a scalar in [0, 1]; 0 where no two rows are of two classes.

    Arguments
    ---------
    rows, own : torch.Tensor, shape (B, K)
        Embeddings, and the centre of the class of every row.
    classes : torch.Tensor of int64, shape (B,)
        -1 where unknown; such rows are in no pair.
    """
    known = classes != UNKNOWN
    pair = known.unsqueeze(1) & known & (classes.unsqueeze(1) != classes)
    norms = rows.square().sum(dim=1, keepdim=True) + own.square().sum(dim=1)
    squares = (norms - 2 * rows @ own.T).clamp_min(0)
    return (1 / (1 + squares)).where(pair, 0).sum() / pair.sum().clamp_min(1)


@torch.no_grad()
def moved_centers(centers, rows, classes, share):
    """Returns the centres, each of a class met moved by a share of the way to its rows' mean.

    Arguments
    ---------
    centers : torch.Tensor, shape (C, K)
    rows : torch.Tensor, shape (B, K)
    classes : torch.Tensor of int64, shape (B,)
        -1 where unknown; such rows move nothing.
    share : float
        In [0, 1].

    Example
    -------
    >>> moved_centers(torch.zeros(1, 1), torch.ones(3, 1), torch.tensor([0, 0, 0]), 0.7)
    tensor([[0.7000]])
    """
    # A product with the members sums in a fixed order on every device.
    members = one_hot(classes + 1, len(centers) + 1)[:, 1:].to(rows)
    counts = members.sum(dim=0).unsqueeze(1)
    means = members.T @ rows / counts.clamp_min(1)
    return torch.where(counts > 0, centers + share * (means - centers), centers)
