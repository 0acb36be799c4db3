"""Verification: all face-voice pairs in one pool, every stratum from one pass."""

import math
import threading
from typing import NamedTuple

import torch

from speechbrain_fv.metrics.scores import (
    CHUNK_SIZE,
    SCORE_STEP,
    add_ones_,
    agreement,
    row_blocks,
    sort_,
)
from speechbrain_fv.metrics.workers import each, num_workers


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

    @property
    def has_both(self):
        """Whether there are positives and negatives; without either no rate is defined."""
        return bool(len(self.thresholds) and self.num_negatives)


class PairCounts(NamedTuple):
    """How the negatives lie around each distinct positive score, by what their identities share.

    thresholds : torch.Tensor of shape (num_thresholds,), int64, ascending, in `SCORE_STEP`
    num_positives : torch.Tensor of shape (num_thresholds,), int64, >= 1
    negatives : torch.Tensor of shape (2 num_thresholds + 1, 2^num_attributes)
        Rows: below the first threshold, tied with it, between it and the second, and so on.
        Columns: the code of `agreement`.
    """

    thresholds: torch.Tensor
    num_positives: torch.Tensor
    negatives: torch.Tensor

    def within(self, stratum):
        """Returns the `PooledCounts` of a stratum, a set of attributes as bits."""
        codes = torch.arange(self.negatives.shape[1], device=self.negatives.device)
        inside = self.negatives[:, codes & stratum == stratum].sum(dim=1)
        upto = inside.cumsum(0)
        return PooledCounts(
            self.thresholds * SCORE_STEP,
            self.num_positives,
            upto[:-1:2],
            inside[1::2],
            int(upto[-1]),
        )


def count_pairs(faces, voices, labels, chunk_size=CHUNK_SIZE, users=(), tick=None):
    """Returns the `PairCounts` of all face-voice pairs.

    The scores of a chunk are sorted together with two marks per threshold, one before and one
    after the scores that equal it; the number of marks passed says where a negative lies.

    Arguments
    ---------
    faces, voices : Clips
    labels : torch.Tensor of shape (num_identities, num_attributes), int64, -1 is unknown
    chunk_size : int
        Scores held at once, >= 1. The positive scores are held besides, and a chunk is never
        smaller than their number.
    users : sequence of callable
        Each is called with the `integer_scores` of each block of faces, as (scores, rows), in any
        order and in several threads; its `collect` is called with what it returns, in order.
    tick : callable, optional
        Called with the number of faces of each block, to show progress.

    Returns
    -------
    PairCounts
    """
    thresholds, num_positives = positive_scores(faces, voices).unique(return_counts=True)
    num_codes = 2 ** labels.shape[1]
    num_labels = num_codes + 3  # mark before, the codes, pairs of one identity, mark after
    size = (2 * len(thresholds) + 1) * num_labels
    # int32 halves the memory; no count exceeds the number of pairs.
    many = len(faces.vectors) * len(voices.vectors) >= 2**31
    table = thresholds.new_zeros(size, dtype=torch.int64 if many else torch.int32)
    marks = thresholds * 2 ** num_labels.bit_length()
    marks = torch.stack([marks, marks + num_labels - 1], dim=1).flatten()
    num_faces, num_voices = len(faces.vectors), len(voices.vectors)
    num_parts = num_workers(marks.device)
    step = max(chunk_size, len(marks)) // max(num_voices, 1) // num_parts
    step = max(min(step, -(-num_faces // num_parts)), 1)
    own, lock = threading.local(), threading.Lock()

    def count(rows):
        if not hasattr(own, "keys"):
            # One for all parts: new memory costs the system as much time as the sorting.
            own.keys = marks.new_empty(step * num_voices + len(marks))
        shape = rows.stop - rows.start, num_voices
        size = math.prod(shape)
        found = _label(own.keys[:size].view(shape), faces, voices, labels, rows, users)
        own.keys[size : step * num_voices] = num_codes + 1  # counted where nobody reads
        own.keys[step * num_voices :] = marks
        _count_between_marks(table, sort_(own.keys), num_labels, lock)
        return rows, found

    parts = [slice(i, min(i + step, num_faces)) for i in range(0, num_faces, step)]
    for rows, found in each(count, parts, marks.device):
        for blocks in found:
            for user, block in zip(users, blocks, strict=True):
                user.collect(block)
        if tick:
            tick(rows.stop - rows.start)
    return PairCounts(thresholds, num_positives, table.view(-1, num_labels)[:, 1 : num_codes + 1])


def positive_scores(faces, voices):
    """Returns the `integer_scores` of all pairs of one identity.

    Arguments
    ---------
    faces, voices : Clips

    Returns
    -------
    torch.Tensor of shape (num_positives,), int64
    """
    sizes = faces.num_clips.tolist(), voices.num_clips.tolist()
    blocks = zip(faces.vectors.split(sizes[0]), voices.vectors.split(sizes[1]), strict=True)
    scores = [faces.compare(*block).flatten() for block in blocks if all(map(len, block))]
    return torch.cat([faces.identity.new_empty(0), *scores])


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
    if not counts.has_both:
        return float("nan")
    return crossing(*_corners(counts)).item()


def crossing(missed, accepted):
    """Returns where a curve of missed against accepted shares has equal errors.

    Arguments
    ---------
    missed : torch.Tensor of shape (..., num_points), rising from 0 to 1
    accepted : torch.Tensor of shape (..., num_points), falling to 0

    Returns
    -------
    torch.Tensor of shape (...)
        Where the polygon through the points meets missed = accepted; NaN where a share is.

    Example
    -------
    >>> crossing(torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.5, 0.0]))
    tensor(0.3333)
    """
    gap = accepted - missed
    after = (gap > 0).sum(dim=-1, keepdim=True).clamp(1, missed.shape[-1] - 1)
    before = after - 1
    start, stop = gap.gather(-1, before), gap.gather(-1, after)
    share = start / (start - stop)
    missed_before, missed_after = missed.gather(-1, before), missed.gather(-1, after)
    return (missed_before + share * (missed_after - missed_before)).squeeze(-1)


def roc_points(counts, num_points=200):
    """Returns at most num_points corners of the exact ROC curve, spread over its whole course.

    A third lie evenly along the accepted negatives, a third along the accepted positives, and a
    third evenly in the logarithm of the accepted negatives, where a detector is operated.

    Arguments
    ---------
    counts : PooledCounts
    num_points : int, >= 6

    Returns
    -------
    false_accept : torch.Tensor, float64, ascending from 0 to 1
        Share of negatives accepted at a threshold.
    true_accept : torch.Tensor of the same shape, float64, ascending from 0 to 1
        Share of positives accepted there. Both are empty without positives or negatives.

    Example
    -------
    >>> one, two = torch.tensor([1]), torch.tensor([2])
    >>> roc_points(PooledCounts(torch.tensor([0.5]), one, two, one, num_negatives=4))[0]
    tensor([0.0000, 0.2500, 0.5000, 1.0000], dtype=torch.float64)
    """
    if not counts.has_both:
        return (torch.empty(0, dtype=torch.float64),) * 2
    missed, accepted = (share.flip(0).cpu() for share in _corners(counts))
    found = 1 - missed
    if len(found) > num_points:
        even = torch.linspace(0, 1, num_points // 3, dtype=torch.float64)
        smallest = max(1 / counts.num_negatives, 1e-6)
        log = torch.logspace(torch.tensor(smallest).log10().item(), 0, len(even)).double()
        chosen = [torch.searchsorted(accepted, torch.cat([even, log]))]
        chosen += [torch.searchsorted(found.contiguous(), even)]
        kept = torch.cat(chosen).clamp(max=len(found) - 1).unique()
        kept = torch.cat([kept, torch.tensor([0, len(found) - 1])]).unique()
        accepted, found = accepted[kept], found[kept]
    return accepted, found


def _corners(counts):
    """Returns missed and accepted shares along the curve, from accepting all to accepting none."""
    num_positives = counts.num_positives.sum()
    missed_before = counts.num_positives.cumsum(0) - counts.num_positives
    missed = torch.stack([missed_before, missed_before + counts.num_positives], dim=1).flatten()
    accepted = counts.num_negatives - counts.below
    accepted = torch.stack([accepted, accepted - counts.tied], dim=1).flatten()
    ends = missed.new_zeros(1)
    missed = torch.cat([ends, missed, num_positives[None]]).double() / num_positives
    accepted = torch.cat([ends + counts.num_negatives, accepted, ends]).double()
    return missed, accepted / counts.num_negatives


def _label(keys, faces, voices, labels, rows, users):
    """Fills keys (num_rows, num_voices): a score and, in the low bits, what the pair shares.

    Returns what the users return, in a list for each block.
    """
    num_codes = 2 ** labels.shape[1]
    bits = (num_codes + 3).bit_length()
    identity, index = faces.identity[rows].unique_consecutive(return_inverse=True)
    codes = 1 + agreement(labels, identity)
    codes[torch.arange(len(identity), device=codes.device), identity] = num_codes + 1
    codes = codes[:, voices.identity]
    found = []
    for block in row_blocks(*keys.shape, keys.numel(), keys.device):
        inside = slice(rows.start + block.start, rows.start + block.stop)
        scores = faces.compare(faces.vectors[inside], voices.vectors)
        found.append([use(scores, inside) for use in users])
        torch.add(codes[index[block]], scores, alpha=2**bits, out=keys[block])
    return found


def _count_between_marks(table, keys, num_labels, lock):
    """Adds the labels of sorted keys to the table (flat), a row of it for each space of marks."""
    passed = 0
    mask = 2 ** num_labels.bit_length() - 1
    for part in row_blocks(len(keys), 1, len(keys), keys.device):
        label = keys[part] & mask
        is_mark = (label == 0) | (label == num_labels - 1)
        space = is_mark.cumsum(dim=0).add_(passed)
        passed = space[-1:].clone()
        label.add_(space, alpha=num_labels)
        with lock:  # a mark itself is counted in a column that nobody reads
            add_ones_(table, label)
