"""The loss of "Seeking the Shape of Sound" (SSOS): identities, alignment, weights of identities."""

import math

import torch
from torch.nn.functional import cross_entropy, normalize

from speechbrain_fv.data.schema import UNKNOWN
from speechbrain_fv.losses.base import Batch, Loss, Needs
from speechbrain_fv.losses.mining import others

STAGE_STEPS = 2400
"""Steps of the authors' first stage, in which the weights are made."""

FIRST_STEP, EVERY_STEPS = 500, 100
"""Of these, the step of the first change of the weights, and the steps between changes."""

ADDED, OUT_OF = 22, 924
"""Identities that a change adds, and the identities of the authors' training set."""

DECAY, LAST_SHARE = 0.99, 0.9
"""Factor of the other weights at a change, and the share above 0 at which changes end."""

HARDNESS_START, HARDNESS_MOMENTUM = 14.0, 0.9
"""First hardness of an identity, and the share of it that stays when the identity is met."""


class SSOSLoss(Loss):
    """L_id and L_align, both weighted by how hard an identity is.

    Wen et al., "Seeking the Shape of Sound: An Adaptive Framework for Learning Voice-Face
    Association", CVPR 2021, as its authors' code has it. With z_f and z_v, the embeddings behind a
    dropout, one matrix W for both modalities, u(x) = x / ||x||, and w the weights of identities::

        L_id    = CE(W z_f, y) + CE(W z_v, y)
        L_align = 1/2 mean_i w_i g(z_f, z_v)_i + 1/2 mean_i w_i g(z_v, z_f)_i
        g(x, z)_i = log( C + sum_{j != i} exp( <z_i, u(x_j)> - <z_i, u(x_i)> ) )

    Of the two clips only the other modality's is normalised: the anchor's length is a temperature
    of its own. C = 5.4 in the code; that the paper has it too is unverified.

    *Weights.* Every identity has a hardness, 14 at first, which moves a tenth of the way to the sum
    of its two cross-entropies when it is met. In the first stage of 2,400 steps all weights are 1
    until step 500; then the easiest half of the identities gets 1 and the others 0. After every
    further 100 steps the easiest 22 of 924 among those at 0 get 1, and all other weights are
    multiplied by 0.99, until 90 % are above 0: the hardest stay at 0. Weights are scaled to a mean
    of 1 over all identities.

    Departures. The first stage is the share `stage_one` of the training, its steps scaled alike,
    and the training goes on with the last weights, where the authors begin anew; 0.19 is the first
    stage's share of all their steps. Another reading of public code begins with 30 % in place of
    half: `first_share`. Other rows of the anchor's own identity are left out of g; the
    authors' batches have none. The optimiser is the one that all methods share.

    Arguments
    ---------
    embedding_dim : int
        K, the width of the embeddings.
    constant : float
        C, positive.
    dropout : float
        Share of the entries of the embeddings that is dropped in training, in [0, 1).
    weight_ce : bool
        How weights reach L_id. False, as coded: its mean is multiplied by the mean weight of the
        batch. True, as written in the paper: every row by its own.
    stage_one : float
        Share of the training steps in which the weights change, in [0, 1]; 0: all weights stay 1.
    first_share : float
        Share of the identities that the first change keeps, in (0, 1].

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Example
    -------
    >>> from speechbrain_fv.losses import TrainingSet
    >>> loss = SSOSLoss(embedding_dim=4)
    >>> loss.build(TrainingSet({"identity": 3}))
    >>> identity = {"identity": torch.tensor([0, 2])}
    >>> terms, monitors = loss(Batch(torch.randn(2, 4), torch.randn(2, 4), identity, identity))
    >>> sorted(terms), sorted(monitors)
    (['L_align', 'L_id'], ['id_accuracy', 'weighted_share'])
    """

    terms = ("L_id", "L_align")
    needs = Needs(face=("identity",), voice=("identity",))

    def __init__(
        self,
        embedding_dim,
        constant=5.4,
        dropout=0.5,
        weight_ce=False,
        stage_one=0.19,
        first_share=0.5,
    ):
        super().__init__()
        if constant <= 0 or not 0 <= dropout < 1:
            raise ValueError(
                "constant and dropout: expected a positive number and a share in [0, 1), got "
                f"{constant} and {dropout}"
            )
        if not 0 <= stage_one <= 1 or not 0 < first_share <= 1:
            raise ValueError(
                "stage_one and first_share: expected shares in [0, 1] and (0, 1], got "
                f"{stage_one} and {first_share}"
            )
        self.embedding_dim, self.constant, self.dropout = embedding_dim, constant, dropout
        self.weight_ce, self.stage_one, self.first_share = weight_ce, stage_one, first_share
        self.classifier = None

    def build(self, training_set):
        """Makes W, and the hardness and the weight of every identity.

        Raises
        ------
        ValueError
            If there are fewer than two training identities.
        """
        num_identities = training_set.identities_to_classify()
        self.classifier = torch.nn.Linear(self.embedding_dim, num_identities, bias=False)
        self.register_buffer("hardness", torch.full((num_identities,), HARDNESS_START))
        self.register_buffer("weight", torch.ones(num_identities))
        self.register_buffer("num_changes", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch):
        """Returns the terms and the monitors; in training, moves hardnesses and weights.

        Arguments
        ---------
        batch : Batch
            Of pairs. Its generator drops entries of the embeddings, the same in every process.

        Returns
        -------
        terms : dict
            ``L_id`` and ``L_align``: scalars, at least 0.
        monitors : dict
            ``id_accuracy``: scalar in [0, 1], the share of faces and voices whose identity is
            predicted. ``weighted_share``: scalar in [0, 1], the share of identities with a weight
            above 0.
        """
        identity = batch.voice_classes["identity"]
        known = identity != UNKNOWN
        relative = self.weight * (len(self.weight) / self.weight.sum())
        weights = relative[identity.clamp_min(0)].where(known, 1)
        face, voice = (self._dropped(x, batch.generator) for x in (batch.face, batch.voice))
        losses, hits = face.new_zeros(len(face)), 0
        for embeddings in (face, voice):
            logits = self.classifier(embeddings)
            losses = losses + cross_entropy(
                logits, identity, ignore_index=UNKNOWN, reduction="none"
            )
            hits = hits + (logits.argmax(dim=1) == identity).float().mean() / 2
        allowed = others(identity)
        align = sum(alignment(*sides, allowed, self.constant) for sides in _both(face, voice)) / 2
        ce = (weights * losses).mean() if self.weight_ce else weights.mean() * losses.mean()
        if self.training:
            self._learn(identity[known], losses.detach()[known], batch.step + 1, batch.num_steps)
        share = (self.weight > 0).float().mean()
        terms = {"L_id": ce, "L_align": (weights * align).mean()}
        return terms, {"id_accuracy": hits, "weighted_share": share}

    def _dropped(self, embeddings, generator):
        """The embeddings with a share of their entries dropped and the others scaled up."""
        if not self.training or not self.dropout:
            return embeddings
        kept = torch.rand(embeddings.shape, generator=generator) >= self.dropout
        return embeddings * kept.to(embeddings) / (1 - self.dropout)

    @torch.no_grad()
    def _learn(self, identity, losses, num_done, num_steps):
        """Moves the hardness of the identities met, and changes weights where it is time."""
        num_met = torch.bincount(identity, minlength=len(self.hardness))
        sums = self.hardness.new_zeros(len(self.hardness)).index_add_(0, identity, losses)
        means = sums / num_met.clamp_min(1)
        moved = HARDNESS_MOMENTUM * self.hardness + (1 - HARDNESS_MOMENTUM) * means
        self.hardness.copy_(moved.where(num_met > 0, self.hardness))
        due = num_changes_due(num_done, self.stage_one * num_steps)
        while self.num_changes < due:
            share = self.first_share if self.num_changes == 0 else None
            self.weight.copy_(changed_weights(self.weight, self.hardness, share))
            self.num_changes += 1


def _both(face, voice):
    return (face, voice), (voice, face)


def alignment(x, z, allowed, constant):
    """Returns g(x, z), shape (B,): how far every anchor is from preferring its own pair.

    Arguments
    ---------
    x, z : torch.Tensor, shape (B, K)
        Candidates, which are normalised, and anchors, which are not.
    allowed : torch.Tensor of bool, shape (B, B)
        Which candidates are negatives of an anchor.
    constant : float
        C.

    Example
    -------
    >>> alignment(torch.eye(2), torch.eye(2), ~torch.eye(2, dtype=torch.bool), 5.4)
    tensor([1.7523, 1.7523])
    """
    products = z @ normalize(x, dim=1).T
    excess = (products - products.diagonal().unsqueeze(1)).masked_fill(~allowed, -torch.inf)
    constants = excess.new_full((len(excess), 1), math.log(constant))
    return torch.cat([constants, excess], dim=1).logsumexp(dim=1)


def num_changes_due(num_done, stage_steps):
    """Returns how many changes of the weights are due after a number of steps.

    Arguments
    ---------
    num_done : int
        Steps done.
    stage_steps : float
        Steps of the first stage, to which the authors' 2,400 are scaled.

    Example
    -------
    >>> [num_changes_due(step, 2400) for step in (499, 500, 599, 600, 2400, 9999)]
    [0, 1, 1, 2, 20, 20]
    """
    if stage_steps <= 0:
        return 0
    step = min(1.0, num_done / stage_steps) * STAGE_STEPS
    return max(0, math.floor((step - FIRST_STEP) / EVERY_STEPS + 1e-9) + 1)


def changed_weights(weight, hardness, first_share=None):
    """Returns the weights of identities after a change.

    Arguments
    ---------
    weight, hardness : torch.Tensor, shape (num_identities,)
    first_share : float, optional
        At the first change, the share of the identities, the easiest, whose weight becomes 1 while
        all others become 0.

    Example
    -------
    >>> hardness = torch.tensor([3.0, 1.0, 2.0, 4.0])
    >>> first = changed_weights(torch.ones(4), hardness, first_share=0.5)
    >>> first.tolist(), changed_weights(first, hardness)
    ([0.0, 1.0, 1.0, 0.0], tensor([1.0000, 0.9900, 0.9900, 0.0000]))
    """
    num = len(weight)
    if first_share is not None:
        easiest = hardness.argsort(stable=True)[: max(1, round(first_share * num))]
        return torch.zeros_like(weight).index_fill_(0, easiest, 1.0)
    if (weight > 0).sum() >= LAST_SHARE * num:
        return weight
    left = hardness.masked_fill(weight > 0, torch.inf).argsort(stable=True)
    added = left[: min(-(-ADDED * num // OUT_OF), int((weight == 0).sum()))]
    return (DECAY * weight).index_fill_(0, added, 1.0)
