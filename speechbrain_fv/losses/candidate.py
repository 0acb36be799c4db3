"""The loss of a classifier that is shown a probe and its candidates (SVHF)."""

import torch
from torch.nn.functional import cross_entropy

from speechbrain_fv.losses.base import Batch, Loss, Needs
from speechbrain_fv.losses.mining import draw_one, mean_where, others


class CandidateLoss(Loss):
    """L_match: cross-entropy over which of N candidates is the person of the probe.

    The static model of SVHF (Nagrani et al., "Seeing Voices and Hearing Faces: Cross-modal
    Biometric Matching", CVPR 2018). Every pair of the batch is a trial: the clip of one modality is
    the probe, that of the other the positive among the candidates, and the N - 1 negatives are
    drawn uniformly among the rows of other identities; with N above 2 one may come twice. The
    place of the positive is drawn uniformly, else the classifier would learn the place. A row
    without another identity in its batch is left out.

    Departures: the paper's face and voice come from different videos, here the sampler decides; its
    SGD (momentum 0.9, 1e-2 falling to 1e-8, unverified) is replaced by what all methods share.

    Arguments
    ---------
    score : CandidateScore
        The classifier, such as a `TripleClassifier`, of one direction: with "V-F" the probe is a
        voice, with "F-V" a face. It is trained here.

    Raises
    ------
    ValueError
        If the score does not rank candidates, or not in one direction alone.

    Example
    -------
    >>> from speechbrain_fv.scores import TripleClassifier
    >>> loss = CandidateLoss(TripleClassifier(embedding_dim=4, directions="V-F"))
    >>> identity = {"identity": torch.tensor([0, 1, 2])}
    >>> batch = Batch(torch.randn(3, 4), torch.randn(3, 4), voice_classes=identity)
    >>> [sorted(values) for values in loss(batch)]
    [['L_match'], ['match_accuracy']]
    """

    terms = ("L_match",)
    needs = Needs(voice=("identity",))

    def __init__(self, score):
        super().__init__()
        directions = getattr(score, "directions", ())
        if not hasattr(score, "num_candidates") or len(directions) != 1:
            raise ValueError(
                "score: expected one that ranks candidates in one direction, such as "
                "TripleClassifier with directions V-F, got "
                f"{type(score).__name__} with {list(directions)}"
            )
        self.score = score
        (self.direction,) = directions

    def forward(self, batch: Batch):
        """Returns the term ``L_match`` and the monitor ``match_accuracy``.

        Arguments
        ---------
        batch : Batch
            Of pairs.

        Returns
        -------
        terms : dict
            ``L_match``: scalar, at least 0; 0 where the batch has one identity.
        monitors : dict
            ``match_accuracy``: scalar in [0, 1], the share of trials whose positive has the highest
            score.
        """
        probe, positive = batch.voice, batch.face
        if self.direction == "F-V":
            probe, positive = positive, probe
        allowed = others(batch.voice_classes["identity"])
        candidates, place = self._candidates(positive, allowed, batch.generator)
        logits = self.score(probe, candidates, self.direction)
        losses = cross_entropy(logits, place, reduction="none")
        valid = allowed.any(dim=1)
        hits = (logits.argmax(dim=1) == place).float()
        return {"L_match": mean_where(valid, losses)}, {"match_accuracy": mean_where(valid, hits)}

    def _candidates(self, positive, allowed, generator):
        """The candidates (B, N, K) of every row, and the place (B,) of the positive."""
        num_candidates = self.score.num_candidates
        negatives = [draw_one(allowed, generator) for _ in range(num_candidates - 1)]
        own = torch.arange(len(positive), device=positive.device)
        chosen = torch.stack([own, *negatives], dim=1)  # (B, N), the positive first
        place = torch.randint(num_candidates, (len(own),), generator=generator).to(own.device)
        columns = (torch.arange(num_candidates, device=own.device) - place.unsqueeze(1)).remainder(
            num_candidates
        )
        return positive[chosen.gather(1, columns)], place
