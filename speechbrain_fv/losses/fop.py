"""Fusion and orthogonal projection (FOP)."""

import torch
from torch.nn.functional import cross_entropy, normalize

from speechbrain_fv.data.schema import UNKNOWN
from speechbrain_fv.losses.base import Batch, Loss, Needs

FUSIONS = ("linear", "gated")


class FOPLoss(Loss):
    """L_id and L_OPL: identities and orthogonality, both of a fusion of a face and a voice.

    Saeed et al., "Fusion and Orthogonal Projection for Improved Face-Voice Association", ICASSP
    2022, as its authors' code has it. With the branches' outputs f and v, of length 1, m is

    - linear: ``w_1 f + w_2 v`` with two trained scalars that start uniformly in [0, 1);
    - gated: ``k * tanh(f) + (1 - k) * tanh(v)``, where k is the sigmoid of two layers of width K on
      [f, v] with BatchNorm and ReLU between them.

    L_id is the cross-entropy of a linear classifier of m, and with h = m / ||m||::

        L_OPL = 1 - mean_{i != j, y_i = y_j} <h_i, h_j> + beta mean_{y_i != y_j} |<h_i, h_j>|

    with beta = 0.7, and 1e-6 added to the numbers of pairs; where no identity comes twice, the
    first part is 1. The weight of L_OPL is alpha, 1 in the paper. Nothing pulls a face and a voice
    of one person together but that both make m, and what is compared are the branches: the fusion
    is dropped. A branch ends in ReLU, dropout and scaling to length 1, which is
    `encoders.UnitBranch`.

    Departures: batches hold several pairs of an identity, while the authors' are rows in one fixed
    random order; the branches' layers are the encoders', whose BatchNorm has no weights; with the
    gated fusion the authors compare tanh(f) with tanh(v), here f with v.

    Arguments
    ---------
    embedding_dim : int
        K, the width of the embeddings.
    fusion : str
        "linear" or "gated".
    negative_weight : float
        beta, at least 0.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Example
    -------
    >>> from speechbrain_fv.losses import TrainingSet
    >>> loss = FOPLoss(embedding_dim=2)
    >>> loss.build(TrainingSet({"identity": 2}))
    >>> identity = {"identity": torch.tensor([0, 0, 1, 1])}
    >>> rows = torch.eye(2).repeat_interleave(2, dim=0)
    >>> terms, _ = loss(Batch(rows, rows, identity, identity))
    >>> round(terms["L_OPL"].item(), 4)
    0.0
    """

    terms = ("L_id", "L_OPL")
    needs = Needs(voice=("identity",))

    def __init__(self, embedding_dim, fusion="linear", negative_weight=0.7):
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"fusion: expected one of {', '.join(FUSIONS)}, got {fusion!r}")
        if negative_weight < 0:
            raise ValueError(f"negative_weight: expected at least 0, got {negative_weight}")
        self.embedding_dim, self.negative_weight = embedding_dim, negative_weight
        self.fusion = LinearFusion() if fusion == "linear" else GatedFusion(embedding_dim)
        self.classifier = None

    def check_batch_size(self, batch_size):
        """Raises ValueError if the BatchNorm of the gated fusion has a single row."""
        if batch_size < 2 and isinstance(self.fusion, GatedFusion):
            raise ValueError(
                f"fusion gated: expected batches of at least 2 pairs, got {batch_size}; raise "
                "batch_size"
            )

    def build(self, training_set):
        """Makes the classifier.

        Raises
        ------
        ValueError
            If there are fewer than two training identities.
        """
        num_identities = training_set.identities_to_classify()
        self.classifier = torch.nn.Linear(self.embedding_dim, num_identities)

    def forward(self, batch: Batch):
        """Returns the terms and the monitor ``id_accuracy``.

        Arguments
        ---------
        batch : Batch
            Of pairs.

        Returns
        -------
        terms : dict
            ``L_id``: scalar, at least 0. ``L_OPL``: scalar in [0, 2 + beta].
        monitors : dict
            ``id_accuracy``: scalar in [0, 1], the share of fusions whose identity is predicted.
        """
        identity = batch.voice_classes["identity"]
        fused = self.fusion(normalize(batch.face, dim=1), normalize(batch.voice, dim=1))
        logits = self.classifier(fused)
        losses = cross_entropy(logits, identity, ignore_index=UNKNOWN, reduction="sum")
        hits = (logits.argmax(dim=1) == identity).float().mean()
        projection = orthogonal_projection(fused, identity, self.negative_weight)
        return {"L_id": losses / len(identity), "L_OPL": projection}, {"id_accuracy": hits}


def orthogonal_projection(fused, classes, negative_weight=0.7):
    """Returns L_OPL, a scalar: one class points one way, two classes at right angles.

    Arguments
    ---------
    fused : torch.Tensor, shape (B, K)
    classes : torch.Tensor of int64, shape (B,)
        -1 where unknown; such rows are in no pair.
    negative_weight : float
        beta.

    Example
    -------
    >>> orthogonal_projection(torch.ones(2, 2), torch.tensor([0, 1]))  # no pair of one class
    tensor(1.7000)
    """
    unit = normalize(fused, dim=1)
    cosines = unit @ unit.T
    known = classes != UNKNOWN
    pair = (known.unsqueeze(1) & known).fill_diagonal_(False)
    same = classes.unsqueeze(1) == classes
    near = cosines.where(pair & same, 0).sum() / ((pair & same).sum().to(unit) + 1e-6)
    far = cosines.abs().where(pair & ~same, 0).sum() / ((pair & ~same).sum().to(unit) + 1e-6)
    return 1 - near + negative_weight * far


class LinearFusion(torch.nn.Module):
    """``w_1 f + w_2 v`` with trained scalars."""

    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.rand(2))

    def forward(self, face, voice):
        """Returns the fusion (B, K) of faces and voices (B, K)."""
        return self.weights[0] * face + self.weights[1] * voice


class GatedFusion(torch.nn.Module):
    """``k * tanh(f) + (1 - k) * tanh(v)`` with a trained gate k for every coordinate."""

    def __init__(self, embedding_dim):
        super().__init__()
        self.gate = torch.nn.Sequential(
            torch.nn.Linear(2 * embedding_dim, embedding_dim, bias=False),  # BatchNorm has one
            torch.nn.BatchNorm1d(embedding_dim),
            torch.nn.ReLU(),
            torch.nn.Linear(embedding_dim, embedding_dim),
            torch.nn.Sigmoid(),
        )

    def forward(self, face, voice):
        """Returns the fusion (B, K) of faces and voices (B, K)."""
        gate = self.gate(torch.cat([face, voice], dim=1))
        return gate * face.tanh() + (1 - gate) * voice.tanh()
