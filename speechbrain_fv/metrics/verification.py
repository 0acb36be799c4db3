"""Verification: all face-voice pairs of a stratum in one pool."""

from typing import NamedTuple

import torch

from speechbrain_fv.metrics.scores import cosine_scores, count_around, group_blocks, sort_


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
    below, upto = (-count for count in count_around(thresholds, sort_(inside)))
    num_negatives = -len(inside)
    blocks = (
        cosine_scores(faces[rows], voices[columns])
        for rows, columns in group_blocks(face_group, voice_group, chunk_size)
    )
    for scores in _merge(blocks, chunk_size):
        more_below, more_upto = count_around(thresholds, sort_(scores))
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
