"""Exact metrics of cross-modal association: AUC, EER, 1:N matching, average precision.

Nothing is sampled: each metric follows from how many negatives score below a positive and how
many tie with it. The counts are taken in chunks: no more than ``chunk_size`` scores exist at once.
A score is the cosine of two embeddings, in [-1, 1]; higher means the same person.

A *stratum* is a group number for each clip: a negative is allowed when both clips carry the same
group. Group -1 (unknown) is allowed nowhere. Positives are the pairs of one identity, whatever the
group.
"""

from typing import NamedTuple

import torch

SCORE_STEP = 2.0**-36
"""Cosines are rounded to multiples of this (1.5e-11)."""

CHUNK_SIZE = 2**24
"""Scores held at once unless the caller says otherwise: 128 MiB of float64."""


def unit_rows(embeddings):
    """Returns the embeddings as float64 with rows of length 1.

    Arguments
    ---------
    embeddings : torch.Tensor of shape (num_clips, dim)
        Finite, no row of zeros (`evaluation.Embeddings` checks it).

    Returns
    -------
    torch.Tensor of shape (num_clips, dim), float64

    Example
    -------
    >>> unit_rows(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]], dtype=torch.float64)
    """
    return torch.nn.functional.normalize(embeddings.double(), dim=1, eps=0.0)


def cosine_scores(queries, gallery):
    """Returns all cosines between two sets of unit rows, rounded to multiples of `SCORE_STEP`.

    The last bits of a matrix product depend on the shape of the matrices and on the place of a row
    within them. Rounding removes them, so that equal embeddings tie in every chunking and on every
    device. The step is far below what float32 embeddings resolve (6e-8).

    Arguments
    ---------
    queries : torch.Tensor of shape (num_queries, dim), float64
    gallery : torch.Tensor of shape (gallery_size, dim), float64

    Returns
    -------
    torch.Tensor of shape (num_queries, gallery_size), float64, in [-1, 1]

    Example
    -------
    >>> cosine_scores(torch.eye(2).double(), unit_rows(torch.tensor([[1.0, 1.0]]))).shape
    torch.Size([2, 1])
    """
    scores = queries @ gallery.T
    return scores.div_(SCORE_STEP).round_().mul_(SCORE_STEP)


# Verification: all face-voice pairs in one pool


class PooledCounts(NamedTuple):
    """How the negatives of a stratum lie around each distinct positive score.

    thresholds : torch.Tensor of shape (num_thresholds,), ascending distinct positive scores
    num_positives : torch.Tensor of shape (num_thresholds,), positives at each threshold, >= 1
    below : torch.Tensor of shape (num_thresholds,), negatives scoring strictly less
    tied : torch.Tensor of shape (num_thresholds,), negatives scoring the same
    num_negatives : int, allowed negatives in all
    """

    thresholds: torch.Tensor
    num_positives: torch.Tensor
    below: torch.Tensor
    tied: torch.Tensor
    num_negatives: int


def count_pooled(faces, voices, face_identity, voice_identity, face_group, voice_group, chunk_size):
    """Returns the `PooledCounts` of all face-voice pairs of a stratum.

    Arguments
    ---------
    faces : torch.Tensor of shape (num_faces, dim), unit rows
    voices : torch.Tensor of shape (num_voices, dim), unit rows
    face_identity, voice_identity : torch.Tensor of shape (num_faces,) and (num_voices,), int64
    face_group, voice_group : torch.Tensor of shape (num_faces,) and (num_voices,), int64
        Stratum of each clip, one group per identity; -1 is unknown.
    chunk_size : int
        Scores held at once, >= 1 (one row of scores is the least that is held).

    Returns
    -------
    PooledCounts
    """
    known = face_group >= 0
    positives = _positive_scores(faces, voices, face_identity, voice_identity)
    inside = _positive_scores(faces[known], voices, face_identity[known], voice_identity)
    thresholds, num_positives = positives.unique(return_counts=True)
    # Count every pair of the stratum first and take its positives away afterwards.
    below, upto = (-count for count in _count_around(thresholds, _sort_(inside)))
    num_negatives = -len(inside)
    blocks = (
        cosine_scores(faces[rows], voices[columns])
        for rows, columns in _group_blocks(face_group, voice_group, chunk_size)
    )
    for scores in _merge(blocks, chunk_size):
        more_below, more_upto = _count_around(thresholds, _sort_(scores))
        below += more_below
        upto += more_upto
        num_negatives += len(scores)
    return PooledCounts(thresholds, num_positives, below, upto - below, num_negatives)


def area_under_curve(counts):
    """Returns the share of (positive, negative) pairs in the right order; ties count half.

    Arguments
    ---------
    counts : PooledCounts

    Returns
    -------
    float in [0, 1]; NaN without positives or negatives

    Example
    -------
    >>> one, two = torch.tensor([1]), torch.tensor([2])
    >>> area_under_curve(PooledCounts(torch.tensor([0.5]), one, two, one, num_negatives=4))
    0.625
    """
    total = counts.num_positives.sum().item() * counts.num_negatives
    wins = (counts.below.double() + 0.5 * counts.tied) @ counts.num_positives.double()
    return wins.item() / total if total else float("nan")


def equal_error_rate(counts):
    """Returns the error rate where as many positives are missed as negatives are accepted.

    The ROC curve is the polygon through the operating points "accept a score >= t", one for each
    distinct score t; equal scores form one threshold. The equal error rate is where it meets
    the line of equal errors.

    Arguments
    ---------
    counts : PooledCounts

    Returns
    -------
    float in [0, 1]; NaN without positives or negatives

    Example
    -------
    >>> one, two = torch.tensor([1]), torch.tensor([2])
    >>> equal_error_rate(PooledCounts(torch.tensor([0.5]), one, two, one, num_negatives=4))
    0.4
    """
    num_positives = counts.num_positives.sum().item()
    if not (num_positives and counts.num_negatives):
        return float("nan")
    # Two corners per threshold, at it and just above it: between positives only accepts change.
    missed = counts.num_positives.cumsum(0)
    missed = torch.stack([missed - counts.num_positives, missed], dim=1).flatten()
    rejected = torch.stack([counts.below, counts.below + counts.tied], dim=1).flatten()
    missed = missed.double() / num_positives
    accepted = 1 - rejected.double() / counts.num_negatives
    zero, one = missed.new_zeros(1), missed.new_ones(1)
    missed = torch.cat([zero, missed, one])
    accepted = torch.cat([one, accepted, zero])
    excess = missed - accepted  # rises from -1 to 1
    after = int((excess < 0).sum())
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return torch.lerp(missed[after - 1], missed[after], share).item()


# Matching and retrieval: each query ranks the other modality


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
    for rows, columns in _group_blocks(query_group, gallery_group, chunk_size):
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
    positives = _sort_(scores.gather(1, index).masked_fill(~valid, torch.inf))
    own_below, own_upto = _count_around(positives, positives)
    all_below, all_upto = _count_around(positives, _sort_(scores))
    below = all_below - own_below
    tied = all_upto - own_upto - below
    return _Ranks(below, tied, count - own_below, valid, scores.shape[1] - count)


def _mean_of_positives(values, valid):
    """Returns the mean over the last axis of (..., num_queries, max_positives), valid places."""
    return torch.where(valid, values, 0.0).sum(dim=-1) / valid.sum(dim=-1)


def _positive_scores(faces, voices, face_identity, voice_identity):
    """Returns the scores (num_positives,) of all pairs of one identity."""
    face_order, voice_order = face_identity.argsort(), voice_identity.argsort()
    face_identity, voice_identity = face_identity[face_order], voice_identity[voice_order]
    identities, num_faces = face_identity.unique_consecutive(return_counts=True)
    face_rows = face_order.split(num_faces.tolist())
    first = torch.searchsorted(voice_identity, identities).tolist()
    last = torch.searchsorted(voice_identity, identities, right=True).tolist()
    return torch.cat(
        [faces.new_empty(0)]
        + [
            cosine_scores(faces[rows], voices[voice_order[start:stop]]).flatten()
            for rows, start, stop in zip(face_rows, first, last, strict=True)
        ]
    )


def _group_blocks(row_group, column_group, chunk_size):
    """Yields the rows and columns (index tensors) of each allowed block, group by group."""
    for group in row_group[row_group >= 0].unique():
        columns = (column_group == group).nonzero().squeeze(1)
        if len(columns):
            rows = (row_group == group).nonzero().squeeze(1)
            for chunk in rows.split(max(chunk_size // len(columns), 1)):
                yield chunk, columns


def _merge(blocks, chunk_size):
    """Yields the scores of the blocks as flat tensors, joining small blocks to chunk_size."""
    pending, size = [], 0
    for block in blocks:
        if pending and size + block.numel() > chunk_size:
            yield _joined(pending)
            pending, size = [], 0
        pending.append(block.flatten())
        size += block.numel()
    if pending:
        yield _joined(pending)


def _joined(parts):
    """Returns the parts as one tensor; a single part is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _count_around(values, ordered):
    """Returns how many of each row of `ordered` are below, and at most, each of `values`."""
    return torch.searchsorted(ordered, values), torch.searchsorted(ordered, values, right=True)


def _sort_(values):
    """Sorts along the last axis, on a CPU in place: numpy is ten times as fast as torch there."""
    if values.is_cuda:
        return values.sort(dim=-1).values
    values.numpy().sort(axis=-1)
    return values
