"""Matching and retrieval: each query ranks the clips of the other modality."""

from typing import NamedTuple

import torch

from speechbrain_fv.metrics.closed_forms import chance_average_precision, win_probabilities
from speechbrain_fv.metrics.scores import (
    CHUNK_SIZE,
    add_ones_,
    agreement,
    row_blocks,
    sort_,
)
from speechbrain_fv.metrics.workers import each, num_workers


class QueryScores(NamedTuple):
    """What each query scores, in the order of its `Clips`; NaN where it has no trial.

    num_positives : torch.Tensor of shape (num_queries,), clips of the query's identity
    accuracy : torch.Tensor of shape (num_strata, max_candidates - 1, num_queries), in [0, 1]
        Expected share of 1:N trials won, for N = 2..max_candidates.
    average_precision : torch.Tensor of shape (num_queries,), in [0, 1], over the whole gallery
    """

    num_positives: torch.Tensor
    accuracy: torch.Tensor
    average_precision: torch.Tensor


class MeanPrecisions(NamedTuple):
    """Retrieval over the queries that have a positive: scalars, float64, NaN without such a query.

    by_query : torch.Tensor
        mAP.
    by_identity : torch.Tensor
        Mean over the identities of the mean over their queries.
    chance : torch.Tensor
        Expected mAP of random rankings.
    num_queries : int
    """

    by_query: torch.Tensor
    by_identity: torch.Tensor
    chance: torch.Tensor
    num_queries: int


class RankedBlock(NamedTuple):
    """Where the positives of a block of queries stand; positives are padded, see `valid`.

    The positives of a query, ascending, divide its gallery into *spaces*: below the first, tied
    with it, between it and the second, and so on. A negative is counted in a space and, there, in
    the column of its identity.

    identity : torch.Tensor of shape (num_rows,), int64
    num_positives : torch.Tensor of shape (num_rows, 1), int64
    valid : torch.Tensor of shape (num_rows, max_positives), bool
    negatives : torch.Tensor of shape (num_rows, num_spaces, num_identities + 2), float32
        Counts; the first and the last column count marks and are no negatives.
    below, upto : torch.Tensor of shape (num_rows, max_positives), int64
        Last space with negatives scoring less than, and at most as much as, each positive.
    from_here : torch.Tensor of shape (num_rows, max_positives), int64
        Positives scoring the same or more.
    """

    identity: torch.Tensor
    num_positives: torch.Tensor
    valid: torch.Tensor
    negatives: torch.Tensor
    below: torch.Tensor
    upto: torch.Tensor
    from_here: torch.Tensor


class Strata:
    """Which identities are negatives of an identity in each stratum.

    Arguments
    ---------
    labels : torch.Tensor of shape (num_identities, num_attributes), int64, -1 is unknown
    strata : sequence of int
        Sets of attributes as bits; see `agreement`.

    Example
    -------
    >>> strata = Strata(torch.tensor([[0], [0], [1]]), [0, 1])
    >>> strata.allowed(torch.tensor([0])).int()
    tensor([[[0, 1, 1],
             [0, 1, 0]]], dtype=torch.int32)
    """

    def __init__(self, labels, strata):
        self.labels = labels
        self.masks = torch.tensor(strata, device=labels.device)[:, None]

    def __len__(self):
        return len(self.masks)

    def allowed(self, identities):
        """Returns bool (num_rows, num_strata, num_identities), False for the identity itself."""
        codes = agreement(self.labels, identities)[:, None]
        result = codes & self.masks == self.masks
        rows = torch.arange(len(identities), device=identities.device)
        result[rows, :, identities] = False
        return result

    def everyone(self):
        """Returns bool (num_identities, num_identities) of the first stratum."""
        return self.allowed(torch.arange(len(self.labels), device=self.labels.device))[:, 0]


def score_queries(
    queries, gallery, strata, max_candidates=10, chunk_size=CHUNK_SIZE, replicates=None, tick=None
):
    """Returns the exact 1:N accuracies of each query in each stratum, and its average precision.

    Arguments
    ---------
    queries, gallery : Clips
    strata : Strata
        The first one allows every pair.
    max_candidates : int
        Largest N, >= 2: one positive and N - 1 negatives.
    chunk_size : int
        Scores held at once, >= 1 (one row of scores is the least that is held).
    replicates : QueryReplicates, optional
        Collects what the bootstrap needs.
    tick : callable, optional
        Called with the number of queries of each block, to show progress.

    Returns
    -------
    QueryScores
    """
    return Ranking(queries, gallery, strata, max_candidates, chunk_size, replicates, tick).scores()


class Ranking:
    """The queries' scores while blocks of them are ranked; arguments as of `score_queries`.

    Each row of scores is sorted once; how many clips of each identity lie below a positive serves
    every stratum, every N, and the replicates.
    """

    def __init__(self, queries, gallery, strata, max_candidates, chunk_size, replicates, tick):
        self.queries, self.gallery, self.strata = queries, gallery, strata
        self.max_candidates, self.chunk_size = max_candidates, chunk_size
        self.replicates, self.tick = replicates, tick
        self.num_positives = gallery.num_clips[queries.identity]
        shape = len(strata), max_candidates - 1, len(queries.vectors)
        self.accuracy = queries.vectors.new_empty(shape)
        self.average_precision = queries.vectors.new_empty(shape[-1])
        self.num_ranked = 0

    def __call__(self, scores, rows):
        """Ranks queries by their integer scores (num_rows, gallery_size), in any thread.

        Returns what `collect` takes in the order of the queries.
        """
        return [
            self._rank(scores[block.start - rows.start : block.stop - rows.start], block)
            for block in self._blocks(rows)
        ]

    def collect(self, ranked):
        """Takes what a call returned for the next queries."""
        for rows, part in ranked:
            if self.replicates:
                self.replicates.collect(part)
            self.num_ranked = rows.stop
            if self.tick:
                self.tick(rows.stop - rows.start)

    def scores(self):
        """Returns the `QueryScores`; compares and ranks the queries that are left."""
        left = self._blocks(slice(self.num_ranked, len(self.num_positives)))
        for ranked in each(self._compare, left, self.num_positives.device):
            self.collect([ranked])
        return QueryScores(self.num_positives, self.accuracy, self.average_precision)

    def _compare(self, rows):
        vectors = self.queries.vectors[rows]
        return self._rank(self.queries.compare(vectors, self.gallery.vectors), rows)

    def _blocks(self, rows):
        """Yields slices of rows that hold scores, counts by identity, or values by positive."""
        positives, size = self.num_positives[rows], len(self.gallery.vectors)
        most = int(positives.max()) if len(positives) else 0
        by_identity = (2 * most + 2) * (len(self.gallery.num_clips) + 2)
        num_values = len(self.strata) * self.max_candidates * most
        row_size = max(size + most, by_identity // 2, num_values)
        most = self.chunk_size // num_workers(positives.device)
        for block in row_blocks(len(positives), row_size, most, positives.device):
            yield slice(rows.start + block.start, rows.start + block.stop)

    def _rank(self, scores, rows):
        """Returns rows, and the part of the replicates that they are."""
        block = _rank(
            scores, self.queries.identity[rows], self.gallery, int(self.num_positives[rows].max())
        )
        counts = count_strata(block, self.strata, self.gallery.num_clips)
        wins = win_probabilities(*counts, self.max_candidates)
        self.accuracy[:, :, rows] = mean_of_positives(wins, block.valid).transpose(0, 1)
        precision = precisions(block, counts)
        self.average_precision[rows] = mean_of_positives(precision, block.valid)
        if not self.replicates:
            return rows, None
        return rows, self.replicates.part(block, rows, counts, wins, precision)


def mean_precisions(scores, queries, gallery):
    """Returns mAP by query and by identity, beside chance.

    Arguments
    ---------
    scores : QueryScores
        Of these queries in this gallery.
    queries, gallery : Clips

    Returns
    -------
    MeanPrecisions

    Example
    -------
    >>> from speechbrain_fv.metrics import sort_clips
    >>> clips = sort_clips(torch.eye(2), torch.tensor([0, 1]), num_identities=2)
    >>> strata = Strata(torch.empty(2, 0, dtype=torch.int64), [0])
    >>> mean_precisions(score_queries(clips, clips, strata), clips, clips).chance
    tensor(0.7500, dtype=torch.float64)
    """
    has_positive = scores.num_positives > 0
    precision = scores.average_precision[has_positive]
    identity = queries.identity[has_positive].unique(return_inverse=True)[1]
    per_identity = torch.bincount(identity, precision) / torch.bincount(identity)
    size = len(gallery.vectors)
    chance = chance_average_precision(scores.num_positives[has_positive], size)
    return MeanPrecisions(precision.mean(), per_identity.mean(), chance.mean(), len(precision))


def count_strata(block, strata, num_clips):
    """Returns negatives below, tied and in all, for each positive of a block, in each stratum.

    Arguments
    ---------
    block : RankedBlock
    strata : Strata
    num_clips : torch.Tensor of shape (num_identities,), int64, clips in the gallery

    Returns
    -------
    below, tied : torch.Tensor of shape (num_strata, num_rows, max_positives), float64
    num_negatives : torch.Tensor of shape (num_strata, num_rows, 1), float64
    """
    identity, index = block.identity.unique_consecutive(return_inverse=True)
    allowed = strata.allowed(identity)
    num_negatives = (allowed.double() @ num_clips.double())[index].T[:, :, None]
    # Sums of counts below 2^24: float32 is exact.
    allowed = torch.nn.functional.pad(allowed.float(), (1, 1))[index]
    upto = torch.bmm(allowed, block.negatives.mT).double().cumsum(dim=2).transpose(0, 1)
    below, upto = (
        upto.gather(2, place.expand(len(upto), -1, -1)) for place in (block.below, block.upto)
    )
    return below, upto - below, num_negatives


def precisions(block, counts):
    """Returns (num_rows, max_positives), the precision at each positive over the whole gallery."""
    below, _, num_negatives = counts
    return block.from_here / (block.from_here + num_negatives[0] - below[0])


def mean_of_positives(values, valid):
    """Returns the mean over the last axis of (..., num_rows, max_positives), valid places."""
    return torch.where(valid, values, 0.0).sum(dim=-1) / valid.sum(dim=-1)


def _rank(scores, identity, gallery, most):
    """Returns the `RankedBlock` of some queries with at most `most` positives each."""
    num_positives = gallery.num_clips[identity, None]
    place = torch.arange(most, device=identity.device)
    valid = place < num_positives
    columns = torch.where(valid, gallery.first[identity, None] + place, len(gallery.vectors))
    last = len(gallery.num_clips) + 1  # label of the mark after a positive; 0 is before it
    bits = last.bit_length()
    keys, positives = _marked_keys(scores, gallery, columns, valid, bits, last)
    num_spaces = 2 * most + 2  # a last one holds padding
    negatives = _count_spaces(sort_(keys), bits, last, num_spaces)
    positives = positives.sort(dim=1).values
    less = torch.searchsorted(positives, positives)
    upto = torch.searchsorted(positives, positives, right=True)
    upto = torch.where(valid, upto, 0)
    less = torch.where(valid, less, 0)
    return RankedBlock(
        identity, num_positives, valid, negatives, 2 * less, less + upto, num_positives - less
    )


def _marked_keys(scores, gallery, columns, valid, bits, last):
    """Returns unsorted keys of scores and labels, and the positive ones, padded at the end.

    The label of a negative is its identity plus 1. Each positive becomes two marks, one before
    the negatives with its score and one after them.
    """
    size = len(gallery.vectors)
    padding = (2**37 << bits) + last
    keys = scores.new_full((len(scores), size + 1 + columns.shape[1]), padding)
    torch.add(gallery.identity + 1, scores, alpha=2**bits, out=keys[:, :size])
    positives = (keys.gather(1, columns) >> bits) << bits
    positives = torch.where(valid, positives, padding)
    keys.scatter_(1, columns, positives)
    keys[:, size + 1 :] = torch.where(valid, positives + last, padding)
    return keys, positives


def _count_spaces(keys, bits, last, num_spaces):
    """Returns the counts (num_rows, num_spaces, last + 1) of each label between the marks."""
    label = keys & (2**bits - 1)
    space = ((label == 0) | (label == last)).cumsum(dim=1)
    space += num_spaces * torch.arange(len(keys), device=keys.device)[:, None]
    label.add_(space, alpha=last + 1)
    counts = torch.zeros(len(keys) * num_spaces * (last + 1), device=keys.device)
    return add_ones_(counts, label).view(len(keys), num_spaces, last + 1)
