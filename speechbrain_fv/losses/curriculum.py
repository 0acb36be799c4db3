"""The contrastive loss with a curriculum of negatives (PINs; Nagrani et al., ECCV 2018)."""

import torch
from torch.nn.functional import normalize

from speechbrain_fv.losses.base import Batch, Loss, Needs
from speechbrain_fv.losses.mining import all_distances, distance, others


def curriculum_negatives(distances, allowed, tau, capped=True):
    """Returns the negative at a percentile of hardness for every anchor.

    The allowed candidates of an anchor are sorted from far, which is easy, to near; the one at the
    place ``tau (n - 1)``, rounded, is taken. Where it is nearer than the anchor's own positive, the
    nearest that is not nearer than the positive is taken instead; where all are nearer, the
    farthest.

    Arguments
    ---------
    distances : torch.Tensor, shape (B, B)
        From anchors to candidates; the positive of anchor i is candidate i.
    allowed : torch.Tensor of bool, shape (B, B)
        Which candidates may be a negative of an anchor.
    tau : float
        Percentile in [0, 1]: 0 is the farthest, 1 the nearest.
    capped : bool
        Whether the positive caps the hardness.

    Returns
    -------
    chosen : torch.Tensor of int64, shape (B,)
        Column of the negative; meaningless in a row where none is allowed.

    Example
    -------
    >>> distances = torch.tensor([[0.5, 0.9, 0.2, 0.6]]).expand(4, 4)
    >>> allowed = ~torch.eye(4, dtype=torch.bool)
    >>> [curriculum_negatives(distances, allowed, tau)[0].item() for tau in (0.0, 0.5, 1.0)]
    [1, 3, 3]
    """
    order = distances.masked_fill(~allowed, -torch.inf).argsort(dim=1, descending=True, stable=True)
    last = allowed.sum(dim=1) - 1
    place = (tau * last.double()).round().long()
    if capped:
        own = distances.diagonal().unsqueeze(1)
        place = place.minimum((allowed & (distances >= own)).sum(dim=1) - 1)
    return order.gather(1, place.clamp_min(0).unsqueeze(1)).squeeze(1)


class CurriculumContrastiveLoss(Loss):
    """L_PINs: a face and the voice of its video come together, voices of other videos go away.

    On unit vectors, with P the pairs of one video and the negatives that are chosen for them::

        L = 1/|P| sum_P  p d^2 + (1 - p) max(0, m - d)^2

    as in PINs (Nagrani, Albanie and Zisserman, "Learnable PINs", ECCV 2018), where p = 1 for a pair
    of one video and 0 for a negative. A face is the anchor; `curriculum_negatives` chooses one
    negative voice of another video for it. Identities play no part.

    tau grows from 0.3 by 0.1 every two epochs up to 0.8. An epoch here has another length, so the
    schedule follows the share of the training's steps that is done: tau grows after every sixth of
    it, which is two of twelve epochs, and the six values have a sixth of the training each. The
    steps are those of the full budget, also if the training stops early.

    Of the constants, m = 0.6 and the start, the step and the end of tau were found in public code;
    the squares and the two epochs are unverified, hence `squared` and `step_share`. Departures: the
    schedule as above; an anchor without a voice of another video in its batch has no negative;
    1e-12 is added under the roots of d, whose gradient is infinite at 0.

    Arguments
    ---------
    margin : float
        m, at least 0; distances of unit vectors lie in [0, 2].
    squared : bool
        Whether the distances and the hinge are squared, as above; else neither is.
    tau_start, tau_step, tau_end : float
        First value, growth and largest value of tau, in [0, 1].
    step_share : float
        Share of the training's steps after which tau grows, in (0, 1].
    capped : bool
        Whether no negative is nearer than the positive, where one is farther.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Example
    -------
    >>> loss = CurriculumContrastiveLoss()
    >>> [round(loss.tau(step, num_steps=12), 1) for step in (0, 1, 2, 9, 10, 12)]
    [0.3, 0.3, 0.4, 0.7, 0.8, 0.8]
    >>> videos = {"video": torch.tensor([0, 1])}
    >>> terms, monitors = loss(Batch(torch.eye(2), torch.eye(2).flip(0), voice_classes=videos))
    >>> terms["L_PINs"]  # two positives at squared distance 2, two negatives at 0: (4 + 2 m^2) / 4
    tensor(1.1800)
    """

    terms = ("L_PINs",)
    needs = Needs(voice=("video",))

    def __init__(
        self,
        margin=0.6,
        squared=True,
        tau_start=0.3,
        tau_step=0.1,
        tau_end=0.8,
        step_share=1 / 6,
        capped=True,
    ):
        super().__init__()
        if margin < 0:
            raise ValueError(f"margin: expected at least 0, got {margin}")
        if not 0 <= tau_start <= tau_end <= 1 or tau_step < 0:
            raise ValueError(
                "tau: expected 0 <= tau_start <= tau_end <= 1 and tau_step >= 0, got "
                f"{tau_start}, {tau_end} and {tau_step}"
            )
        if not 0 < step_share <= 1:
            raise ValueError(f"step_share: expected a share in (0, 1], got {step_share}")
        self.margin, self.squared, self.capped = margin, squared, capped
        self.tau_start, self.tau_step, self.tau_end = tau_start, tau_step, tau_end
        self.step_share = step_share

    def tau(self, step, num_steps):
        """Returns tau at an optimiser step counted from 0, of `num_steps`."""
        num_grown = int(step / (num_steps * self.step_share) + 1e-9)  # 3 / 0.3 is below 10
        return min(self.tau_end, self.tau_start + num_grown * self.tau_step)

    def forward(self, batch: Batch):
        """Returns the term ``L_PINs`` and the monitor ``tau``.

        Arguments
        ---------
        batch : Batch
            Of pairs of one video.

        Returns
        -------
        terms : dict
            ``L_PINs``: scalar, at least 0.
        monitors : dict
            ``tau``: the percentile of this step, in [0, 1].
        """
        face, voice = normalize(batch.face, dim=1), normalize(batch.voice, dim=1)
        allowed = others(batch.voice_classes["video"])
        has_negative = allowed.any(dim=1)
        tau = self.tau(batch.step, batch.num_steps)
        chosen = curriculum_negatives(all_distances(face, voice), allowed, tau, self.capped)
        hinge = (self.margin - distance(face, voice[chosen])).clamp_min(0)
        if self.squared:
            hinge = hinge.square()
        positive = distance(face, voice, self.squared)
        total = positive.sum() + (hinge * has_negative).sum()
        loss = total / (len(face) + has_negative.sum())
        return {"L_PINs": loss}, {"tau": face.new_full((), tau)}
