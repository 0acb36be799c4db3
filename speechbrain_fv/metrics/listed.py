"""Metrics of listed trials: scores of given pairs, counts around them, wins of given candidates."""

import torch

from speechbrain_fv.metrics import SCORE_STEP, PooledCounts


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
    step = max(1, chunk_size // (probes.shape[1] * (columns.shape[1] + 1)))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
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
