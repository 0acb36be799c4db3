"""1:N matching by a score that ranks N candidates and tells nothing of a single pair.

Every trial is given N times, with the positive at each of the N places: a score that prefers a
place is at chance. Few trials are all taken, in every order of their negatives; of many a sample.
"""

import math
from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch

from speechbrain_fv.metrics.listed import wins
from speechbrain_fv.metrics.scores import to_integers

_VALUES_AT_ONCE = 2**22
"""Of embeddings, in one call of the score."""


class CandidateMatching(NamedTuple):
    """What 1:N matching gave for one N and one stratum.

    accuracy : torch.Tensor of shape (num_queries,), in [0, 1]
        Mean over the trials of a query; NaN where it has none.
    num_trials : int
        Trials that were scored: a query, a positive, N - 1 negatives in an order.
    sampled : bool
        Whether there were more.
    won, met : torch.Tensor of shape (num_identities, num_identities), float64, or None
        Wins and trials of the queries of the one identity against negatives of the other, for
        N = 2, from which the bootstrap is made.
    """

    accuracy: torch.Tensor
    num_trials: int
    sampled: bool
    won: torch.Tensor | None
    met: torch.Tensor | None


def candidate_wins(rank, probes, candidates):
    """Returns the share of a win of each trial, over the N places that the positive can have.

    Arguments
    ---------
    rank : function of probes (num_trials, dim) and candidates (num_trials, N, dim)
        Returns scores (num_trials, N), higher meaning the same person.
    probes : torch.Tensor of shape (num_trials, dim)
    candidates : torch.Tensor of shape (num_trials, N, dim)
        The positive first; the others follow it, around the end, wherever it is put.

    Returns
    -------
    torch.Tensor of shape (num_trials,), float64, in [0, 1]
        A positive that ties with k negatives has 1 / (k + 1) of a win.

    Example
    -------
    >>> always_the_first = lambda probes, candidates: torch.tensor([[1.0, 0.0]]).double()
    >>> candidate_wins(always_the_first, torch.ones(1, 2), torch.ones(1, 2, 2))
    tensor([0.5000], dtype=torch.float64)
    """
    num_candidates = candidates.shape[1]
    total = torch.zeros(len(probes), dtype=torch.float64, device=probes.device)
    for place in range(num_candidates):
        scores = to_integers(rank(probes, candidates.roll(place, dims=1)))
        total += wins(scores.roll(-place, dims=1))
    return total / num_candidates


def match_candidates(queries, gallery, allowed, num_candidates, rank, max_trials, seed=0):
    """Returns the `CandidateMatching` of queries whose trials are all scored, or a sample.

    Arguments
    ---------
    queries, gallery : Clips
        With vectors as `rank` takes them.
    allowed : torch.Tensor of shape (num_identities, num_identities), bool
        Whose clips are negatives of whose queries; never one's own.
    num_candidates : int
        N, at least 2.
    rank : function
        See `candidate_wins`.
    max_trials : int
        With more trials than this, each query gets the same number of random ones, in all about so
        many, and at least one.
    seed : int
        Of their draw.

    Returns
    -------
    CandidateMatching
    """
    num_negatives = (allowed * gallery.num_clips).sum(dim=1).tolist()  # no GPU has integer products
    sizes = queries.num_clips.tolist(), gallery.num_clips.tolist()
    eligible = [
        identity
        for identity, size in enumerate(num_negatives)
        if sizes[0][identity] and sizes[1][identity] and size >= num_candidates - 1
    ]
    in_all = sum(
        sizes[0][i] * sizes[1][i] * math.perm(num_negatives[i], num_candidates - 1)
        for i in eligible
    )
    num_probes = sum(sizes[0][identity] for identity in eligible)
    sampled = in_all > max_trials
    each = max(1, max_trials // num_probes) if sampled else None
    generator = np.random.default_rng(seed)
    accuracy = torch.full((len(queries.vectors),), torch.nan, dtype=torch.float64)
    tables = torch.zeros(2, *allowed.shape, dtype=torch.float64) if num_candidates == 2 else None
    num_trials, orders = 0, {}
    for identity in eligible:
        probes, positives = (_rows(clips, identity) for clips in (queries, gallery))
        negatives = torch.nonzero(allowed[identity][gallery.identity])[:, 0].cpu()
        if sampled:
            trials = _drawn(probes, positives, negatives, num_candidates, each, generator)
        else:
            size = len(negatives)
            if size not in orders:
                orders = {size: _all_orders(size, num_candidates - 1)}
            trials = _enumerated(probes, positives, negatives[orders[size]])
        won = _won(queries, gallery, *trials, rank).cpu()
        num_trials += len(won)
        accuracy[probes] = won.view(len(probes), -1).mean(dim=1)
        if tables is not None:
            whose = gallery.identity.cpu()[trials[1][:, 1]]
            for table, values in zip(tables, (won, torch.ones_like(won)), strict=True):
                table[identity].index_add_(0, whose, values)
    return CandidateMatching(
        accuracy, num_trials, sampled, *((None, None) if tables is None else tables)
    )


def candidate_replicates(weights, matching, num_queries):
    """Returns the accuracy of 1:2 matching in each replicate of the bootstrap over identities.

    A query of identity i counts w_i times, a negative of identity k in its gallery w_k times.

    Arguments
    ---------
    weights : torch.Tensor of shape (num_replicates, num_identities), int64
        See `bootstrap.draw_weights`.
    matching : CandidateMatching
        For N = 2.
    num_queries : torch.Tensor of shape (num_identities,), int64
        Queries of each identity.

    Returns
    -------
    torch.Tensor of shape (num_replicates,), float64
        NaN where a replicate has no trial.
    """
    weights = weights.cpu().double()
    won, met = weights @ matching.won.T, weights @ matching.met.T  # (num_replicates, identities)
    probes = torch.where(met > 0, weights * num_queries.cpu(), 0.0)
    shares = torch.where(met > 0, won / met.clamp(min=1e-300), 0.0)
    return (shares * probes).sum(dim=1) / probes.sum(dim=1)


def draw_distinct(sizes, num_drawn, generator):
    """Returns (num_rows, num_drawn) integers, per row distinct and uniform in [0, size).

    Floyd's algorithm, for all rows at once; size >= num_drawn. A row's set is uniform, its order
    is not.
    """
    drawn = np.empty((len(sizes), num_drawn), dtype=np.int64)
    for place in range(num_drawn):
        last = sizes - num_drawn + place
        value = generator.integers(last + 1)
        taken = (drawn[:, :place] == value[:, None]).any(axis=1)
        drawn[:, place] = np.where(taken, last, value)
    return drawn


def _rows(clips, identity):
    """Returns the rows of an identity's clips."""
    first = int(clips.first[identity])
    return torch.arange(first, first + int(clips.num_clips[identity]))


def _all_orders(size, num_drawn):
    """Returns every ordered choice of num_drawn of size things, (num_choices, num_drawn)."""
    if num_drawn == 1:
        return torch.arange(size)[:, None]
    return torch.tensor(list(permutations(range(size), num_drawn)))


def _enumerated(probes, positives, negatives):
    """Returns probes (num_trials,) and candidates (num_trials, N) of all trials, by probe."""
    counts = len(probes), len(positives), len(negatives)
    place = torch.arange(math.prod(counts))
    positive = positives[place // counts[2] % counts[1]]
    candidates = torch.cat([positive[:, None], negatives[place % counts[2]]], dim=1)
    return probes[place // (counts[1] * counts[2])], candidates


def _drawn(probes, positives, negatives, num_candidates, each, generator):
    """Returns probes and candidates of random trials, `each` of them for every probe."""
    count = len(probes) * each
    positive = positives[torch.from_numpy(generator.integers(len(positives), size=count))]
    chosen = draw_distinct(np.full(count, len(negatives)), num_candidates - 1, generator)
    chosen = torch.from_numpy(generator.permuted(chosen, axis=1))
    candidates = torch.cat([positive[:, None], negatives[chosen]], dim=1)
    return probes.repeat_interleave(each), candidates


def _won(queries, gallery, probes, candidates, rank):
    """Returns `candidate_wins` of rows, a part at a time."""
    size = (1 + candidates.shape[1]) * gallery.vectors.shape[1]
    step = max(1, _VALUES_AT_ONCE // size)
    device = gallery.vectors.device
    return torch.cat(
        [
            candidate_wins(
                rank, queries.vectors[rows.to(device)], gallery.vectors[chosen.to(device)]
            )
            for rows, chosen in zip(probes.split(step), candidates.split(step), strict=True)
        ]
    )
