"""Matching and retrieval: each query ranks the clips of the other modality."""

from typing import NamedTuple

import torch

from speechbrain_fv.metrics.scores import (
    CHUNK_SIZE,
    cosine_scores,
    count_around,
    group_blocks,
    sort_,
)


class QueryScores(NamedTuple):
    """What each query scores; NaN where it has no trial.

    num_positives : torch.Tensor of shape (num_queries,), clips of the query's identity
    accuracy : torch.Tensor of shape (num_queries, max_candidates - 1), in [0, 1]
        Expected share of 1:N trials won, for N = 2..max_candidates.
    average_precision : torch.Tensor of shape (num_queries,), in [0, 1]
    """

    num_positives: torch.Tensor
    accuracy: torch.Tensor
    average_precision: torch.Tensor


def score_queries(
    queries,
    gallery,
    query_identity,
    gallery_identity,
    query_group,
    gallery_group,
    max_candidates=10,
    chunk_size=CHUNK_SIZE,
):
    """Returns the exact 1:N accuracies and the average precision of each query in a stratum.

    Arguments
    ---------
    queries : torch.Tensor of shape (num_queries, dim), unit rows
    gallery : torch.Tensor of shape (gallery_size, dim), unit rows
    query_identity, gallery_identity : torch.Tensor of shape (num_queries,) and (gallery_size,)
    query_group, gallery_group : torch.Tensor of shape (num_queries,) and (gallery_size,)
        Stratum of each clip, one group per identity; a query meets only its own group, and -1
        meets nobody.
    max_candidates : int
        Largest N, >= 2: one positive and N - 1 negatives.
    chunk_size : int
        Scores held at once, >= 1 (one row of scores is the least that is held).

    Returns
    -------
    QueryScores
        The average precision is over the gallery of the query's group.
    """
    order = gallery_identity.argsort(stable=True)
    gallery, gallery_identity = gallery[order], gallery_identity[order]
    gallery_group = gallery_group[order]
    first = torch.searchsorted(gallery_identity, query_identity)
    num_positives = torch.searchsorted(gallery_identity, query_identity, right=True) - first
    accuracy = queries.new_full((len(queries), max_candidates - 1), float("nan"))
    average_precision = queries.new_full((len(queries),), float("nan"))
    query_group = torch.where(num_positives > 0, query_group, -1)
    for rows, columns in group_blocks(query_group, gallery_group, chunk_size):
        scores = cosine_scores(queries[rows], gallery[columns])
        ranks = _rank_positives(scores, query_identity[rows], gallery_identity[columns])
        wins = win_probabilities(ranks.below, ranks.tied, ranks.num_negatives, max_candidates)
        accuracy[rows] = _mean_of_positives(wins, ranks.valid).T
        from_here = ranks.positives_from + ranks.num_negatives - ranks.below
        precision = ranks.positives_from.double() / from_here
        average_precision[rows] = _mean_of_positives(precision, ranks.valid)
    return QueryScores(num_positives, accuracy, average_precision)


def win_probabilities(below, tied, num_negatives, max_candidates):
    """Returns the probability that a positive wins 1:N against negatives drawn without replacement.

    With ``r`` of ``n`` negatives below and none tied this is C(r, N-1) / C(n, N-1). A positive that
    ties with k of the drawn negatives wins with probability 1 / (k + 1). The recurrence

        w_1 = q_1 = 1
        q_N = q_{N-1} (r - N + 2) / (n - N + 2)                        all drawn are below
        w_N = ((N - 1) w_{N-1} (r + t - N + 2) / (n - N + 2) + q_N) / N

    has no negative term and no large factor. It is the sum over k of the hypergeometric
    probabilities of k ties, each divided by k + 1 (by C(t, k) / (k + 1) = C(t+1, k+1) / (t + 1)).

    Arguments
    ---------
    below, tied, num_negatives : torch.Tensor of any one broadcastable shape
        Counts r, t, n with r + t <= n.
    max_candidates : int
        Largest N, >= 2.

    Returns
    -------
    torch.Tensor of shape (max_candidates - 1, *shape), float64, in [0, 1]
        NaN where n < N - 1.

    Example
    -------
    >>> r, t, n = torch.tensor([[2], [1], [3]])
    >>> win_probabilities(r, t, n, max_candidates=3).squeeze()
    tensor([0.8333, 0.6667], dtype=torch.float64)
    """
    below, tied, num_negatives = below.double(), tied.double(), num_negatives.double()
    wins = all_below = torch.ones_like(below + num_negatives)
    result = []
    for candidates in range(2, max_candidates + 1):
        left = num_negatives - candidates + 2
        left = torch.where(left > 0, left, torch.nan)
        all_below = all_below * (below - candidates + 2).clamp(min=0) / left
        wins = wins * (candidates - 1) * (below + tied - candidates + 2).clamp(min=0) / left
        wins = (wins + all_below) / candidates
        result.append(wins)
    return torch.stack(result)


def chance_average_precision(num_positives, gallery_size):
    """Returns the expected average precision of a random ranking.

    E[AP] = (H_n + (R - 1) / (n - 1) (n - H_n)) / n, R positives among n, H_n the harmonic number.

    Arguments
    ---------
    num_positives : torch.Tensor of any shape, in [1, gallery_size]
    gallery_size : int, >= 1

    Returns
    -------
    torch.Tensor of the same shape, float64, in (0, 1]

    Example
    -------
    >>> chance_average_precision(torch.tensor([1, 2]), gallery_size=2)
    tensor([0.7500, 1.0000], dtype=torch.float64)
    """
    ranks = torch.arange(1, gallery_size + 1, dtype=torch.float64, device=num_positives.device)
    harmonic = (1 / ranks).sum()
    others = (num_positives.double() - 1) / max(gallery_size - 1, 1)
    return (harmonic + others * (gallery_size - harmonic)) / gallery_size


class _Ranks(NamedTuple):
    """Place of each query's positives, padded to (num_queries, max_positives); see `valid`."""

    below: torch.Tensor  # negatives scoring strictly less
    tied: torch.Tensor  # negatives scoring the same
    positives_from: torch.Tensor  # positives scoring the same or more
    valid: torch.Tensor  # bool, False in the padding
    num_negatives: torch.Tensor  # (num_queries, 1)


def _rank_positives(scores, query_identity, gallery_identity):
    """Returns the `_Ranks` of a (num_queries, gallery_size) block; its columns are by identity."""
    first = torch.searchsorted(gallery_identity, query_identity)[:, None]
    count = torch.searchsorted(gallery_identity, query_identity, right=True)[:, None] - first
    place = torch.arange(int(count.max()), device=scores.device)
    valid = place < count
    index = (first + place).clamp(max=scores.shape[1] - 1)
    # Padded with infinity, which sorts last: the valid places stay in front.
    positives = sort_(scores.gather(1, index).masked_fill(~valid, torch.inf))
    own_below, own_upto = count_around(positives, positives)
    all_below, all_upto = count_around(positives, sort_(scores))
    below = all_below - own_below
    tied = all_upto - own_upto - below
    return _Ranks(below, tied, count - own_below, valid, scores.shape[1] - count)


def _mean_of_positives(values, valid):
    """Returns the mean over the last axis of (..., num_queries, max_positives), valid places."""
    return torch.where(valid, values, 0.0).sum(dim=-1) / valid.sum(dim=-1)
