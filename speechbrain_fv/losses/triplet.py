"""Losses on triplets of a reference, its positive and a negative of the other modality."""

import math

import torch
from torch.nn.functional import normalize

from speechbrain_fv.losses.base import Batch, Loss, Needs
from speechbrain_fv.losses.mining import all_distances, distance, draw_one, mean_where, others

NEGATIVES = ("random", "semi_hard")


class DistanceRatioLoss(Loss):
    """L_ratio: of two candidates, the one of the reference's identity is to be the nearer.

    For a reference r, its positive p and a negative n, both of the other modality::

        q = softmax(d(r, p), d(r, n)),    L = ||q - (0, 1)|| = sqrt(2) sigmoid(d(r, p) - d(r, n))

    the mean over triplets: the distance-ratio loss (Hoffer and Ailon, 2015) as LAFV has it (Kim et
    al., "On Learning Associations of Faces and Voices", ACCV 2018). d is the distance of the
    embeddings as they are, and their scale is learned: the loss of unit vectors cannot fall below
    sqrt(2) / (1 + e^2) = 0.17. LAFV trains one model for each direction, and each is to be scored
    in its own: see the argument `directions` of a score.

    Every row of the batch is a triplet with one negative, drawn uniformly among the rows of other
    identities; a row without any is left out. Whether the paper squares the loss is unverified:
    public code does not, hence `squared`. Departure: 1e-12 is added under the roots of d, whose
    gradient is infinite at 0.

    Arguments
    ---------
    direction : str
        "V-F": the voice is the reference and the candidates are faces; "F-V": the other way round.
    squared : bool
        Whether the loss is ``||q - (0, 1)||^2``.

    Raises
    ------
    ValueError
        If `direction` is neither of the two.

    Example
    -------
    >>> loss = DistanceRatioLoss("V-F")
    >>> identity = {"identity": torch.tensor([0, 1])}
    >>> terms, _ = loss(Batch(torch.eye(2), torch.eye(2), voice_classes=identity))
    >>> terms["L_ratio"]  # distances 0 and sqrt(2)
    tensor(0.2766)
    """

    terms = ("L_ratio",)
    needs = Needs(voice=("identity",))

    def __init__(self, direction="V-F", squared=False):
        super().__init__()
        if direction not in ("F-V", "V-F"):
            raise ValueError(f"direction: expected 'F-V' or 'V-F', got {direction!r}")
        self.direction, self.squared = direction, squared

    def forward(self, batch: Batch):
        """Returns the term ``L_ratio`` and the monitor ``triplet_accuracy``.

        Arguments
        ---------
        batch : Batch
            Of pairs.

        Returns
        -------
        terms : dict
            ``L_ratio``: scalar in [0, sqrt(2)], or [0, 2] squared; 0 where there is no triplet.
        monitors : dict
            ``triplet_accuracy``: scalar in [0, 1], the share of triplets with the nearer positive.
        """
        reference, candidates = batch.voice, batch.face
        if self.direction == "F-V":
            reference, candidates = candidates, reference
        allowed = others(batch.voice_classes["identity"])
        negatives = candidates[draw_one(allowed, batch.generator)]
        excess = distance(reference, candidates) - distance(reference, negatives)
        losses = math.sqrt(2) * torch.sigmoid(excess)
        if self.squared:
            losses = losses.square()
        valid = allowed.any(dim=1)
        return (
            {"L_ratio": mean_where(valid, losses)},
            {"triplet_accuracy": mean_where(valid, (excess < 0).float())},
        )


class VoiceAnchoredTripletLoss(Loss):
    """L_VFMR3: a voice is nearer to its face than to another's, by a margin, on a sphere.

    ``mean [ d(v, f+)^2 - d(v, f-)^2 + m ]_+`` on embeddings of length `radius` (Xiong et al.,
    "Voice-Face Matching and Retrieval", 2019, the variant called VFMR3 or TriNet). Voices are the
    anchors, faces never. Radius and margin are not known: on the unit sphere, where squared
    distances lie in [0, 4], 1 is the default. That the distances are squared and how negatives are
    drawn is unverified too. Rows without a face of another identity are left out.

    Arguments
    ---------
    margin : float
        m, at least 0, of squared distances.
    radius : float
        Length of the embeddings, positive.
    negatives : str
        "random": a face drawn uniformly among those of other identities. "semi_hard": the nearest
        of them that is farther from the voice than its own face, or the farthest of all where none
        is.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Example
    -------
    >>> loss = VoiceAnchoredTripletLoss(margin=3.0)
    >>> identity = {"identity": torch.tensor([0, 1])}
    >>> terms, _ = loss(Batch(torch.eye(2), torch.eye(2), voice_classes=identity))
    >>> terms["L_VFMR3"]  # squared distances 0 and 2
    tensor(1.)
    """

    terms = ("L_VFMR3",)
    needs = Needs(voice=("identity",))

    def __init__(self, margin=1.0, radius=1.0, negatives="random"):
        super().__init__()
        if margin < 0 or radius <= 0:
            raise ValueError(
                "margin and radius: expected at least 0 and a positive number, got "
                f"{margin} and {radius}"
            )
        if negatives not in NEGATIVES:
            raise ValueError(
                f"negatives: expected one of {', '.join(NEGATIVES)}, got {negatives!r}"
            )
        self.margin, self.radius, self.negatives = margin, radius, negatives

    def forward(self, batch: Batch):
        """Returns the term ``L_VFMR3`` and the monitor ``triplet_accuracy``.

        Arguments
        ---------
        batch : Batch
            Of pairs.

        Returns
        -------
        terms : dict
            ``L_VFMR3``: scalar, at least 0; 0 where there is no triplet.
        monitors : dict
            ``triplet_accuracy``: scalar in [0, 1], the share of triplets with the nearer positive.
        """
        face, voice = (self.radius * normalize(x, dim=1) for x in (batch.face, batch.voice))
        allowed = others(batch.voice_classes["identity"])
        if self.negatives == "random":
            chosen = draw_one(allowed, batch.generator)
        else:
            chosen = semi_hard(all_distances(voice, face), allowed)
        excess = distance(voice, face, squared=True) - distance(voice, face[chosen], squared=True)
        valid = allowed.any(dim=1)
        return (
            {"L_VFMR3": mean_where(valid, (excess + self.margin).clamp_min(0))},
            {"triplet_accuracy": mean_where(valid, (excess < 0).float())},
        )


def semi_hard(distances, allowed):
    """Returns the nearest candidate that is farther than the positive, for every anchor.

    Where none is farther, it is the farthest (Schroff et al., FaceNet, 2015, as it is implemented
    most often).

    Arguments
    ---------
    distances : torch.Tensor, shape (B, B)
        From anchors to candidates; the positive of anchor i is candidate i.
    allowed : torch.Tensor of bool, shape (B, B)
        Which candidates may be a negative of an anchor.

    Returns
    -------
    chosen : torch.Tensor of int64, shape (B,)
        Column of the negative; meaningless in a row where none is allowed.

    Example
    -------
    >>> distances = torch.tensor([[0.5, 0.9, 0.2, 0.6]]).expand(4, 4)
    >>> semi_hard(distances, ~torch.eye(4, dtype=torch.bool)).tolist()
    [3, 3, 0, 1]
    """
    farther = allowed & (distances > distances.diagonal().unsqueeze(1))
    nearest = distances.masked_fill(~farther, torch.inf).argmin(dim=1)
    farthest = distances.masked_fill(~allowed, -torch.inf).argmax(dim=1)
    return torch.where(farther.any(dim=1), nearest, farthest)
