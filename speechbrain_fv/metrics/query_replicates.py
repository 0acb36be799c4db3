"""Bootstrap of matching and retrieval from what each identity adds to a positive's rank.

A replicate changes how many negatives of each identity a positive meets. Taking its rank anew for
every replicate is affordable for a sample of positives only. All positives therefore enter to
first order in the gallery's weights, by statistics per pair of identities, and the remainder, the
exact value less the first order, is taken on the sample and scaled up. With few positives (4,096 by
default) every replicate is exact. 1:2 matching is exact to first order.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from speechbrain_fv.metrics.closed_forms import win_probabilities
from speechbrain_fv.metrics.workers import each

NUM_SAMPLED = 16384
_MATCHING_EVERY = 8  # of the sample matching takes one in so many: each costs 36 times as much
_TABLE_SIZE = 2**23  # counts held at most
_AT_ONCE = 64  # sampled positives, of which one has 36 values in each replicate


class _Sampled(NamedTuple):
    """The sampled positives; counts are those of each identity's clips in the gallery."""

    identity: torch.Tensor  # (num_sampled,)
    num_positives: torch.Tensor  # (num_sampled,), of the same query
    from_here: torch.Tensor  # (num_sampled,), positives of the query scoring the same or more
    below: torch.Tensor  # (num_sampled, num_identities), float32
    upto: torch.Tensor  # (num_sampled, num_identities), float32, below or tied


class QueryReplicates:
    """Accuracies and mean average precisions of bootstrap replicates of one direction.

    Arguments
    ---------
    weights : torch.Tensor of shape (num_replicates, num_identities), int64
        See `bootstrap.draw_weights`.
    queries, gallery : Clips
    strata : ranking.Strata
    max_candidates : int
    num_sampled : int
        Positives taken exactly; matching takes every 8th of them. Of no more than a quarter as
        many positives all are taken, by both.
    seed : int
    """

    def __init__(
        self, weights, queries, gallery, strata, max_candidates, num_sampled=NUM_SAMPLED, seed=0
    ):
        self.weights = weights.double()
        self.strata = strata
        self.num_clips = gallery.num_clips
        self.num_queries = torch.where(gallery.num_clips > 0, queries.num_clips, 0)
        self.order = torch.arange(1, max_candidates, device=weights.device)[:, None]
        everyone = torch.arange(len(gallery.num_clips), device=weights.device)
        weighted = (self.weights * gallery.num_clips).T
        self.num_negatives = torch.stack(  # (num_strata, num_identities, num_replicates)
            [allowed.double() @ weighted for allowed in strata.allowed(everyone).unbind(1)]
        )
        self.first = np.append(0, gallery.num_clips[queries.identity].cumsum(0).cpu().numpy())
        num_sampled = min(num_sampled, max(_TABLE_SIZE // len(gallery.num_clips), 1))
        self.complete = self.first[-1] <= num_sampled // 4
        self.sampled, represents = self._sample(num_sampled, seed)
        self.represents = torch.as_tensor(represents, device=weights.device)
        self.kept = []
        self.waiting = ()
        num_replicates = len(weights)
        self.wins = self.weights.new_zeros(len(strata), max_candidates - 1, num_replicates)
        # Of queries, and of identities.
        self.precision = self.weights.new_zeros(2, num_replicates)

    def part(self, block, rows, counts, wins, precision):
        """Returns what `collect` takes of a block: a `ranking.RankedBlock` and what was made of it.

        Any thread may make it.
        """
        slopes = None if self.complete else self._first_order(block, counts, wins, precision)
        return self._sampled_of(block, rows), slopes

    def collect(self, part):
        """Takes the parts of the queries, in their order."""
        sampled, first_order = part
        if sampled:
            self.kept.append(sampled)
        if first_order:
            self._add_first_order(*first_order)

    def values(self):
        """Returns the replicates.

        Returns
        -------
        accuracy : torch.Tensor of shape (num_strata, max_candidates - 1, num_replicates)
        mean_average_precision : torch.Tensor of shape (num_replicates,)
        per_identity : torch.Tensor of shape (num_replicates,)
            The mean average precision with the same weight for each identity.
            NaN where a replicate has no trial.
        """
        self._add_waiting()
        sampled = _Sampled(*(torch.cat(parts) for parts in zip(*self.kept, strict=True)))
        every = torch.arange(len(sampled.identity))
        some = every if self.complete else every[::_MATCHING_EVERY]
        scale = self.represents.sum() / self.represents[some].sum()

        def weighted(values, represents, part):
            of_part = _Sampled(*(counts[part] for counts in sampled))
            weight = self.weights[:, of_part.identity].T
            weight = weight * (represents[part] / of_part.num_positives)[:, None]
            return values(of_part, weight)

        device = self.weights.device
        wins = partial(weighted, self._sampled_wins, self.represents * scale)
        for values in each(wins, some.split(_AT_ONCE), device):
            self.wins += values
        precision = partial(weighted, self._sampled_precision, self.represents)
        for values in each(precision, every.split(_AT_ONCE), device):
            self.precision += values
        num_probes = self.weights * self.num_queries
        num_trials = torch.stack(
            [
                torch.stack([(num_probes.T * (n >= order)).sum(dim=0) for order in self.order])
                for n in self.num_negatives
            ]
        )
        num_queries = num_probes.sum(dim=1)
        num_identities = self.weights @ (self.num_queries > 0).double()
        return (
            self.wins / num_trials,
            self.precision[0] / num_queries,
            self.precision[1] / num_identities,
        )

    def _sample(self, num_sampled, seed):
        """Returns the sampled positives, ascending, and how many each of them stands for.

        The best positives of a query decide its average precision: the r-th from the top is drawn
        with a probability proportional to 1 / r.
        """
        if self.complete:
            return np.arange(self.first[-1]), np.ones(self.first[-1])
        end = np.repeat(self.first[1:], np.diff(self.first))
        chance = 1 / (end - np.arange(self.first[-1]))
        upto = chance.cumsum()
        edges = np.linspace(0, upto[-1], num_sampled + 1)
        drawn = np.random.default_rng(seed).uniform(edges[:-1], edges[1:])
        drawn = np.searchsorted(upto, drawn).clip(max=len(upto) - 1)
        return drawn, edges[1] / chance[drawn]

    def _sampled_of(self, block, rows):
        """Returns the sampled positives of a block, or None."""
        first = self.first[rows.start : rows.stop + 1]
        sampled = self.sampled[slice(*np.searchsorted(self.sampled, first[[0, -1]]))]
        if not len(sampled):
            return None
        row = np.searchsorted(first, sampled, side="right") - 1
        place = torch.as_tensor(sampled - first[row], device=block.below.device)
        row = torch.as_tensor(row, device=block.below.device)
        spaces = torch.arange(block.negatives.shape[1], device=row.device)
        last = torch.stack([block.below[row, place], block.upto[row, place]], dim=1)
        upto = (spaces <= last[:, :, None]).float() @ block.negatives[row]
        return _Sampled(
            block.identity[row],
            block.num_positives[row, 0],
            block.from_here[row, place],
            upto[:, 0, 1:-1],
            upto[:, 1, 1:-1],
        )

    def _first_order(self, block, counts, wins, precision):
        """Returns the value of all positives to first order in the weights of the gallery.

        That is the identities (n,) of the queries and, of each, slopes (n, values, gallery
        identities) and sums of what is constant (n, values + 1).
        """
        below, tied, num_negatives = counts
        share = block.valid / block.num_positives.clamp(min=1)  # a positive's part of its query
        count, slope = self._slopes(below, tied, num_negatives)
        slope = torch.where(wins.isnan(), 0.0, slope * share)
        constant = torch.where(wins.isnan(), 0.0, wins * share) - slope * count
        ap_slope = precision**2 / block.from_here.clamp(min=1) * share
        ap_constant = precision * share + ap_slope * (num_negatives[0] - below[0])

        identity, index = block.identity.unique_consecutive(return_inverse=True)
        by_identity = self._by_identity(block, slope, ap_slope, len(identity), index)
        totals = torch.cat([constant.flatten(0, 1), ap_constant[None], ap_slope[None]])
        totals = totals.sum(dim=2).T
        totals = totals.new_zeros(len(identity), len(totals.T)).index_add_(0, index, totals)
        return identity, by_identity, totals

    def _add_first_order(self, identity, by_identity, totals):
        """Adds a block's first order in every replicate, once an identity is complete."""
        if self.waiting and self.waiting[0] == identity[0]:
            by_identity[0] += self.waiting[1][0]
            totals[0] += self.waiting[2][0]
        else:
            self._add_waiting()
        complete = len(identity) - 1
        for start in range(0, complete, 16):
            part = slice(start, min(start + 16, complete))
            self._add_weighted(identity[part], by_identity[part], totals[part])
        # Queries come by identity: the last one's may go on in the next block.
        self.waiting = identity[-1:], by_identity[-1:], totals[-1:]

    def _add_waiting(self):
        if self.waiting:
            self._add_weighted(*self.waiting)
        self.waiting = ()

    def _slopes(self, below, tied, num_negatives):
        """Returns a count, and the change of each accuracy with it, all negatives being fixed.

        The count is of the negatives below, ties half; the slope that of its share to the power
        N - 1, (num_candidates, *shape). For N = 2 this is the accuracy.
        """
        count = below + tied / 2
        order = self.order.view(-1, *[1] * count.ndim)
        slope = order * (count / num_negatives) ** (order - 1) / num_negatives
        return count, torch.where(num_negatives >= order, slope, 0.0)

    def _by_identity(self, block, slope, ap_slope, num_identities, index):
        """Returns (identities of the block, values, gallery identities): slope times counts.

        The counts of a positive are a sum over spaces; the slopes are summed over the positives
        above a space instead, and meet the counts once.
        """
        num_rows, num_spaces = block.negatives.shape[:2]
        half = slope.flatten(0, 1).transpose(0, 1) / 2
        above = half.new_zeros(num_rows, half.shape[1] + 1, num_spaces)
        for spaces in (block.below, block.upto):
            above[:, :-1].scatter_add_(2, spaces[:, None].expand_as(half), half)
        above[:, -1].scatter_add_(1, block.below, ap_slope)
        above = above.flip(2).cumsum(dim=2).flip(2)
        counts = torch.bmm(above.float(), block.negatives)[:, :, 1:-1].double()
        return counts.new_zeros(num_identities, *counts.shape[1:]).index_add_(0, index, counts)

    def _add_weighted(self, identity, by_identity, totals):
        """Adds the first order of some identities in every replicate."""
        weights = self.weights[:, identity].T  # (num_rows, num_replicates)
        shape = (len(identity), len(self.order), len(self.strata))
        allowed = self.strata.allowed(identity)
        counts = by_identity[:, :-1].view(*shape, -1) * allowed[:, None]
        counts = (counts @ self.weights.T).permute(2, 1, 0, 3)
        constant = totals[:, :-2].view(shape).permute(2, 1, 0)[..., None]
        # (num_strata, num_candidates, num_rows, num_replicates)
        num_negatives = self.num_negatives[:, None, identity]
        values = constant + counts * (self._usual(identity)[:, None] / num_negatives)
        usable = num_negatives >= self.order[:, :, None]
        self.wins += (torch.where(usable, values, 0.0) * weights).sum(dim=2)

        counts = by_identity[:, -1] @ self.weights.T
        values = totals[:, -2:-1] + counts - totals[:, -1:] * self.num_negatives[0, identity]
        self.precision += self._by_query_and_identity(identity, values * weights)

    def _sampled_wins(self, sampled, weight):
        """Returns the exact wins of some positives, less their first order if it was added.

        Shape (num_strata, num_candidates, num_replicates).
        """
        found = []
        allowed = self.strata.allowed(sampled.identity).unbind(1)
        for stratum, inside in enumerate(allowed):
            below, upto = ((counts * inside).double() for counts in (sampled.below, sampled.upto))
            usual = self._usual(sampled.identity)[stratum]
            now = below.sum(dim=1, keepdim=True), (upto - below).sum(dim=1, keepdim=True)
            below, upto = below @ self.weights.T, upto @ self.weights.T
            num_negatives = self.num_negatives[stratum, sampled.identity]
            wins = win_probabilities(below, upto - below, num_negatives, len(self.order) + 1)
            if not self.complete:
                count, slope = self._slopes(*now, usual)
                value = win_probabilities(*now, usual, len(wins) + 1)
                change = (below + upto) / 2 * (usual / num_negatives) - count
                wins -= torch.where(value.isnan(), 0.0, value + slope * change)
            found.append(torch.where(wins.isnan(), 0.0, wins * weight).sum(dim=1))
        return torch.stack(found)

    def _sampled_precision(self, sampled, weight):
        """Returns the exact precision at some positives, less its first order if it was added.

        Shape (2, num_replicates): of queries, and of identities.
        """
        from_here = sampled.from_here[:, None]
        below = sampled.below.double()
        above = self.num_negatives[0, sampled.identity] - below @ self.weights.T
        values = from_here / (from_here + above)
        if not self.complete:
            usual = self._usual(sampled.identity)[0] - below.sum(dim=1, keepdim=True)
            value = from_here / (from_here + usual)
            values -= value - value**2 / from_here * (above - usual)
        return self._by_query_and_identity(sampled.identity, values * weight)

    def _by_query_and_identity(self, identity, values):
        """Returns (2, num_replicates), sums of (num_rows, num_replicates) values of queries."""
        by_identity = values / self.num_queries[identity, None]
        return torch.stack([values.sum(dim=0), by_identity.sum(dim=0)])

    def _usual(self, identity):
        """Returns (num_strata, num_rows, 1), the negatives of identities outside the bootstrap."""
        allowed = self.strata.allowed(identity).double()
        return (allowed @ self.num_clips.double()).T[:, :, None]
