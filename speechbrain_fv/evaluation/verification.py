"""Verification in one stratum: its values, their counts and the ROC curve, with replicates."""

from typing import NamedTuple

import numpy as np
import torch

from speechbrain_fv import metrics


class Verification(NamedTuple):
    """What a report says of verification in a stratum.

    auc, eer : float in [0, 1], NaN without a positive or a negative
    num_positives, num_negatives : int
    roc : tuple of two torch.Tensor of shape (num_points,)
        See `metrics.roc_points`.
    replicates : tuple of two torch.Tensor of shape (num_replicates,), or of two None
        Of AUC and EER.
    accepted : numpy.ndarray of shape (num_replicates, num_points), or None
        Replicates of the true accept rates.
    """

    auc: float
    eer: float
    num_positives: int
    num_negatives: int
    roc: tuple[torch.Tensor, torch.Tensor]
    replicates: tuple
    accepted: np.ndarray | None


def verify_stratum(counts, pairs, stratum):
    """Returns the `Verification` of a stratum.

    Arguments
    ---------
    counts : metrics.PairCounts
    pairs : metrics.PairReplicates or None
    stratum : int
        A set of attributes as bits.

    Example
    -------
    >>> people = torch.tensor([0, 1])
    >>> clips = metrics.sort_clips(torch.eye(2), people, num_identities=2)
    >>> counts = metrics.count_pairs(clips, clips, torch.empty(2, 0, dtype=torch.int64))
    >>> verify_stratum(counts, None, 0)[:4]
    (1.0, 0.0, 2, 2)
    """
    inside = counts.within(stratum)
    auc, eer = metrics.area_under_curve(inside), metrics.equal_error_rate(inside)
    roc, replicates, accepted = metrics.roc_points(inside), (None, None), None
    if pairs:
        replicates = pairs.rates(stratum, auc, eer)
        if len(roc[0]):
            accepted = pairs.accepted(stratum, *roc).cpu().numpy()
    num_positives = int(inside.num_positives.sum())
    return Verification(auc, eer, num_positives, inside.num_negatives, roc, replicates, accepted)
