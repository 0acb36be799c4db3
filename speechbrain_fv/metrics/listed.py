"""Metrics of listed trials: scores of given pairs, counts around them, wins of given candidates."""

import numpy as np
import torch

from speechbrain_fv.metrics import SCORE_STEP, PooledCounts
from speechbrain_fv.metrics.scores import row_blocks
from speechbrain_fv.metrics.verification import crossing


def inner_products(probes, candidates):
    """Returns (num_rows, num_candidates), of probes (num_rows, dim) with candidates each."""
    return (candidates @ probes[:, :, None]).squeeze(2)


def pair_scores(probes, targets, rows, columns, chunk_size, compare=inner_products):
    """Returns the scores of each probe with its own targets: for unit rows, their cosines.

    Rounded to multiples of `SCORE_STEP`, as all scores are, so that equal embeddings tie.

    Arguments
    ---------
    probes : torch.Tensor of shape (num_probes, dim), float64, as `compare` takes them
    targets : torch.Tensor of shape (num_targets, dim), float64
    rows : torch.Tensor of shape (num_rows,), int64
        Rows of `probes`.
    columns : torch.Tensor of shape (num_rows, max_candidates), int64
        Rows of `targets`; -1 is padding.
    chunk_size : int
        Numbers held at once beside the result, >= 1 (those of one row are the least).
    compare : function of probes (num_rows, dim) and candidates (num_rows, max_candidates, dim)
        Returns scores (num_rows, max_candidates) in [-1, 1].

    Returns
    -------
    torch.Tensor of shape (num_rows, max_candidates), float64, in [-1, 1]; -inf in the padding

    Example
    -------
    >>> vectors = torch.eye(2).double()
    >>> pair_scores(vectors, vectors, torch.tensor([1]), torch.tensor([[1, 0, -1]]), chunk_size=9)
    tensor([[1., 0., -inf]], dtype=torch.float64)
    """
    scores = probes.new_empty(columns.shape)
    row_size = probes.shape[1] * (columns.shape[1] + 1)
    for part in row_blocks(len(rows), row_size, chunk_size, probes.device):
        candidates = targets[columns[part].clamp(min=0)]
        scores[part] = compare(probes[rows[part]], candidates)
    scores = scores.div_(SCORE_STEP).round_().mul_(SCORE_STEP)
    return scores.masked_fill_(columns < 0, -torch.inf)


def listed_counts(positives, negatives):
    """Returns the `PooledCounts` of the scores of listed trials.

    Arguments
    ---------
    positives : torch.Tensor of shape (num_positives,)
    negatives : torch.Tensor of shape (num_negatives,)

    Returns
    -------
    PooledCounts

    Example
    -------
    >>> listed_counts(torch.tensor([0.5]), torch.tensor([0.1, 0.5, 0.9])).tied
    tensor([1])
    """
    negatives = negatives.sort().values
    thresholds, num_positives = positives.unique(return_counts=True)
    below = torch.searchsorted(negatives, thresholds)
    upto = torch.searchsorted(negatives, thresholds, right=True)
    return PooledCounts(thresholds, num_positives, below, upto - below, len(negatives))


def wins(scores):
    """Returns the share of a win of each row: 1 / (k + 1) when k negatives tie with the positive.

    Arguments
    ---------
    scores : torch.Tensor of shape (num_rows, max_candidates)
        The positive first; -inf is padding.

    Returns
    -------
    torch.Tensor of shape (num_rows,), float64, in [0, 1]; 0 when a negative scores higher

    Example
    -------
    >>> wins(torch.tensor([[0.5, 0.5, 0.1], [0.5, 0.6, -torch.inf]]))
    tensor([0.5000, 0.0000], dtype=torch.float64)
    """
    positive, negatives = scores[:, :1], scores[:, 1:]
    ties = (negatives == positive).sum(dim=1)
    return (negatives <= positive).all(dim=1).double() / (1 + ties)


def listed_replicates(scores, labels, people, weights, auc, eer, chunk_size=2**24):
    """Returns the AUC and the EER of a list in bootstrap replicates over people.

    A positive of i counts w_i times, a negative of i and k w_i w_k times.

    Arguments
    ---------
    scores : torch.Tensor of shape (num_rows,)
    labels : torch.Tensor of shape (num_rows,), bool
    people : tuple of two torch.Tensor of shape (num_rows,), int64
        Who is on either side, in [0, num_identities).
    weights : torch.Tensor of shape (num_replicates, num_identities), int64
        See `bootstrap.draw_weights`.
    auc, eer : float
        The exact values; a list whose replicates all have weights 1 gives these.
    chunk_size : int
        Numbers held at once, >= 1.

    Returns
    -------
    tuple of two torch.Tensor of shape (num_replicates,), float64
        NaN where a replicate has no positive or no negative.

    Example
    -------
    >>> one, other = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
    >>> scores, weights = torch.tensor([0.9, 0.5, 0.1]), torch.tensor([[1, 1]])
    >>> listed_replicates(scores, one == other, (one, other), weights, auc=0.5, eer=0.5)[0]
    tensor([0.5000], dtype=torch.float64)
    """
    thresholds, place = scores.unique(return_inverse=True)
    weights = torch.cat([torch.ones_like(weights[:1]), weights]).double()
    values = []
    for part in weights.split(max(1, chunk_size // (4 * len(scores)))):
        one, other = (part[:, person] for person in people)
        counts = torch.where(labels, one, one * other)
        table = [
            part.new_zeros(len(part), len(thresholds)).index_add_(1, place[side], counts[:, side])
            for side in (labels, ~labels)
        ]
        positives, negatives = (rows / rows.sum(dim=1, keepdim=True) for rows in table)
        below = negatives.cumsum(dim=1)
        areas = (positives * (below - negatives / 2)).sum(dim=1)
        ends = torch.zeros_like(below[:, :1])
        missed = torch.cat([ends, positives.cumsum(dim=1)], dim=1)
        values.append((areas, crossing(missed, 1 - torch.cat([ends, below], dim=1))))
    areas, errors = (torch.cat(parts) for parts in zip(*values, strict=True))
    return areas[1:] - areas[0] + auc, errors[1:] - errors[0] + eer


def official_eer(labels, distances):
    """Returns the equal error rate as the organisers of FAME and FLAG compute it.

    The ROC curve of (label, -distance), and on it the root of 1 - x - tpr(x), linearly
    interpolated: as in their public baseline, by the same functions of scikit-learn and scipy.

    Arguments
    ---------
    labels : array of shape (num_rows,), of 1 (one person) and 0
    distances : array of shape (num_rows,), lower for one person

    Returns
    -------
    float in [0, 1]; NaN without positives or negatives

    Example
    -------
    >>> round(official_eer([1, 1, 0, 0], [0.1, 0.6, 0.5, 0.9]), 9)
    0.5
    """
    from scipy.interpolate import interp1d
    from scipy.optimize import brentq
    from sklearn.metrics import roc_curve

    labels = np.asarray(labels).astype(int)
    if labels.all() or not labels.any():
        return float("nan")
    accepted, found, _ = roc_curve(labels, -np.asarray(distances, dtype=np.float64))
    return float(brentq(lambda x: 1.0 - x - interp1d(accepted, found)(x), 0.0, 1.0))
