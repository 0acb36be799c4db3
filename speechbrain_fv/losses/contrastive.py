"""InfoNCE between the faces and the voices of a batch (van den Oord et al., 2018)."""

import torch
from torch.nn.functional import cross_entropy, normalize

from speechbrain_fv.data.schema import UNKNOWN
from speechbrain_fv.losses.base import Batch, Loss, Needs


class InfoNCELoss(Loss):
    """L_NCE: each face picks its voice among the batch's voices, each voice its face.

    ``-log softmax_j(cos(f*_i, v*_j) / tau)`` at j = i, and the same from voice to face, as means
    over the batch. Pairs of one identity elsewhere in the batch are no negatives and are left out.

    Arguments
    ---------
    temperature : float
        tau, positive.

    Raises
    ------
    ValueError
        If the temperature is not positive.

    Example
    -------
    >>> loss = InfoNCELoss(temperature=1.0)
    >>> label = {"identity": torch.tensor([0, 1])}
    >>> terms, monitors = loss(Batch(torch.eye(2), torch.eye(2), voice_classes=label))
    >>> {name: round(value.item(), 4) for name, value in terms.items()}
    {'L_NCE': 0.6265}
    """

    terms = ("L_NCE",)
    needs = Needs(voice=("identity",))

    def __init__(self, temperature=0.1):
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature: expected a positive number, got {temperature}")
        self.temperature = temperature

    def forward(self, batch: Batch):
        """Returns the term ``L_NCE`` and the monitor ``pair_accuracy``.

        Arguments
        ---------
        batch : Batch
            Of pairs.

        Returns
        -------
        terms : dict
            ``L_NCE``: scalar, at least 0.
        monitors : dict
            ``pair_accuracy``: scalar in [0, 1], the share of faces and voices that pick their own.
        """
        face, voice = batch.face, batch.voice
        identity = batch.voice_classes["identity"]
        repeated = (identity.unsqueeze(1) == identity) & (identity != UNKNOWN)
        repeated.fill_diagonal_(False)
        scores = normalize(face, dim=1) @ normalize(voice, dim=1).T / self.temperature
        scores = scores.masked_fill(repeated, -torch.inf)  # (B, B)
        own = torch.arange(len(scores), device=scores.device)
        loss = cross_entropy(scores, own) + cross_entropy(scores.T, own)
        hits = (scores.argmax(dim=1) == own).float() + (scores.argmax(dim=0) == own).float()
        return {"L_NCE": loss}, {"pair_accuracy": hits.mean() / 2}
