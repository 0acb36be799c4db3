"""Metrics of listed trials: scores of given pairs, wins of given candidates, average precision."""

import torch

from speechbrain_fv.metrics import SCORE_STEP, PooledCounts
from speechbrain_fv.metrics.scores import sort_


def pair_scores(probes, targets, rows, columns, chunk_size):
    """Returns the cosines of each probe with its own targets.

    Rounded to multiples of `SCORE_STEP`, as all scores are, so that equal embeddings tie.

    Arguments
    ---------
    probes : torch.Tensor of shape (num_probes, dim), float64, unit rows
    targets : torch.Tensor of shape (num_targets, dim), float64, unit rows
    rows : torch.Tensor of shape (num_rows,), int64
        Rows of `probes`.
    columns : torch.Tensor of shape (num_rows, max_candidates), int64
        Rows of `targets`; -1 is padding.
    chunk_size : int
        Numbers held at once beside the result, >= 1 (those of one row are the least).

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
    step = max(1, chunk_size // (probes.shape[1] * (columns.shape[1] + 1)))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        candidates = targets[columns[part].clamp(min=0)]
        scores[part] = (candidates @ probes[rows[part], :, None]).squeeze(2)
    return _rounded_(scores).masked_fill_(columns < 0, -torch.inf)


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


def average_precisions(queries, gallery, query_identity, gallery_identity, chunk_size):
    """Returns how many positives each query has in the gallery, and its average precision.

    Equal scores form one threshold: the mean, over the positives, of the share of positives among
    the clips that score at least as much.

    Arguments
    ---------
    queries : torch.Tensor of shape (num_queries, dim), float64, unit rows
    gallery : torch.Tensor of shape (gallery_size, dim), float64, unit rows
    query_identity, gallery_identity : torch.Tensor of shape (num_queries,) and (gallery_size,)
    chunk_size : int
        Scores held at once, >= 1 (one row of scores is the least that is held).

    Returns
    -------
    num_positives : torch.Tensor of shape (num_queries,), int64
    average_precision : torch.Tensor of shape (num_queries,), float64, in [0, 1]
        NaN without positives.

    Example
    -------
    >>> vectors, people = torch.eye(2).double(), torch.tensor([0, 1])
    >>> average_precisions(vectors, vectors, people, people, chunk_size=9)[1]
    tensor([1., 1.], dtype=torch.float64)
    """
    order = gallery_identity.argsort(stable=True)
    gallery, gallery_identity = gallery[order], gallery_identity[order]
    first = torch.searchsorted(gallery_identity, query_identity)
    num_positives = torch.searchsorted(gallery_identity, query_identity, right=True) - first
    average_precision = queries.new_full((len(queries),), torch.nan)
    step = max(1, chunk_size // max(1, len(gallery)))
    for rows in (num_positives > 0).nonzero().squeeze(1).split(step):
        if not len(rows):
            break
        count = num_positives[rows, None]
        scores = _rounded_(queries[rows] @ gallery.T)
        place = torch.arange(int(count.max()), device=scores.device)
        columns = (first[rows, None] + place).clamp(max=len(gallery) - 1)
        # Padded with infinity, which sorts last.
        own = sort_(scores.gather(1, columns).masked_fill_(place >= count, torch.inf))
        positives_from = count - torch.searchsorted(own, own)
        all_from = len(gallery) - torch.searchsorted(sort_(scores), own)
        precision = torch.where(place < count, positives_from.double() / all_from, 0.0)
        average_precision[rows] = precision.sum(dim=1) / count.squeeze(1)
    return num_positives, average_precision


def _rounded_(scores):
    return scores.div_(SCORE_STEP).round_().mul_(SCORE_STEP)
