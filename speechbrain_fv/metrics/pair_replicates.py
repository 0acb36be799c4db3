"""Bootstrap of verification from a histogram of scores per pair of identities."""

import threading

import torch

from speechbrain_fv.metrics.scores import add_ones_, agreement
from speechbrain_fv.metrics.verification import crossing, positive_scores

NUM_BINS = 1024
_CELL_BITS = 17  # the bins are made of at most 2^17 cells of equal width, and one below
_TABLE_SIZE = 2**25  # counts held at most, 128 MiB, as long as a pair has 8 bins
_SAMPLE_SIZE = 2**22  # scores that place the bins


class PairReplicates:
    """AUC and EER of bootstrap replicates.

    The scores of each pair of identities are counted in common bins, which hold about equal shares
    of the positives and of the negatives; a replicate is a weighted sum of these histograms.
    Scores in one bin count as tied. Replicates are shifted so that weights of 1 give the exact
    value; the error left is that of a change in the distribution within a bin.

    Arguments
    ---------
    weights : torch.Tensor of shape (num_replicates, num_identities), int64
        See `bootstrap.draw_weights`.
    faces, voices : Clips
    labels : torch.Tensor of shape (num_identities, num_attributes), int64, -1 is unknown
    num_bins : int
        Bins at most; fewer where the pairs of identities are many (2^25 counts in all, but at
        least 8 bins).
    """

    def __init__(self, weights, faces, voices, labels, num_bins=NUM_BINS):
        self.weights = torch.cat([torch.ones_like(weights[:1]), weights]).double()
        self.faces, self.voices, self.labels = faces, voices, labels
        num_identities = len(labels)
        num_pairs = num_identities * (num_identities + 1) // 2
        self.num_bins = min(num_bins, max(_TABLE_SIZE // num_pairs, 8))
        self.bin_of_cell = self._bins()
        self.counts = torch.zeros(
            num_pairs * self.num_bins, dtype=torch.int32, device=weights.device
        )
        self._by_code, self._lock = None, threading.Lock()

    def __call__(self, scores, rows):
        """Counts the `integer_scores` (num_rows, num_voices) of some faces, in any thread."""
        identity, index = self.faces.identity[rows].unique_consecutive(return_inverse=True)
        start = self._pair(identity[:, None], torch.arange(len(self.labels), device=scores.device))
        start = (start * self.num_bins)[:, self.voices.identity]
        bins = self.bin_of_cell[self._cell(scores)].add_(start[index])
        with self._lock:
            add_ones_(self.counts, bins)

    def collect(self, block):
        """Nothing is left to be done with a block that has been counted."""

    def rates(self, stratum, auc, eer):
        """Returns the replicates of the AUC and of the EER in a stratum.

        Arguments
        ---------
        stratum : int
            A set of attributes as bits.
        auc, eer : float
            The exact values.

        Returns
        -------
        tuple of two torch.Tensor of shape (num_replicates,), float64
            NaN where a replicate has no positive or no negative.
        """
        positives, negatives, missed, passed = self._shares(stratum)
        areas = (positives * (passed[:, 1:] - negatives / 2)).sum(dim=1)
        errors = crossing(missed, 1 - passed)
        return tuple(
            values[1:] - values[0] + value for values, value in ((areas, auc), (errors, eer))
        )

    def accepted(self, stratum, false_accept, true_accept):
        """Returns the replicates of a ROC curve at false accept rates.

        Arguments
        ---------
        stratum : int
            A set of attributes as bits.
        false_accept, true_accept : torch.Tensor of shape (num_points,), float64, ascending
            Points of the exact curve.

        Returns
        -------
        torch.Tensor of shape (num_replicates, num_points), float64, in [0, 1]
            True accept rates; NaN where a replicate has no positive or no negative.
        """
        _, _, missed, passed = self._shares(stratum)
        rates = 1 - passed.flip(1).contiguous(), 1 - missed.flip(1)
        wanted = false_accept.to(missed.device).expand(len(missed), -1).contiguous()
        after = torch.searchsorted(rates[0], wanted).clamp(1, missed.shape[1] - 1)
        (left, right), (low, high) = (
            (rate.gather(1, after - 1), rate.gather(1, after)) for rate in rates
        )
        share = ((wanted - left) / (right - left)).nan_to_num(1.0, 1.0, 1.0).clamp(0, 1)
        values = low + share * (high - low)
        return (values[1:] - values[0] + true_accept.to(values.device)).clamp(0, 1)

    def _shares(self, stratum):
        """Returns shares of positives and of negatives by bin, and those below each bin's edges.

        All of shape (1 + num_replicates, num_bins), or num_bins + 1 edges; the first row is the
        set itself.
        """
        with self._lock:
            if self._by_code is None:
                self._by_code = self._weighted()
        positives = self._by_code[-1]
        codes = torch.arange(len(self._by_code) - 1, device=positives.device)
        negatives = self._by_code[:-1][codes & stratum == stratum].sum(dim=0)
        shares = [counts / counts.sum(dim=1, keepdim=True) for counts in (positives, negatives)]
        ends = torch.zeros_like(positives[:, :1])
        return *shares, *(torch.cat([ends, share.cumsum(dim=1)], dim=1) for share in shares)

    def _pair(self, one, other):
        """Returns the row of each unordered pair of identities, in the order of `triu_indices`."""
        low, high = torch.minimum(one, other), torch.maximum(one, other)
        return low * len(self.labels) - low * (low - 1) // 2 + high - low

    def _cell(self, scores):
        """Returns the cell of equal width of each score; those outside go to the ends."""
        cells = (scores - self.lowest).__irshift__(self.shift).add_(1)
        return cells.clamp_(min=0, max=2**_CELL_BITS)

    def positives(self):
        """Returns the scores of the pairs of one identity, which the bins are laid over."""
        return positive_scores(self.faces, self.voices)

    def _bins(self):
        """Lays cells over the range of the positive scores and returns the bin of each cell."""
        positives = self.positives()
        lowest, highest = int(positives.min()), int(positives.max())
        # All negatives below the lowest positive are alike, and all above the highest.
        self.lowest, self.shift = lowest, max((highest - lowest).bit_length() - _CELL_BITS, 0)
        num_faces, num_voices = len(self.faces.vectors), len(self.voices.vectors)
        sampled = min(max(_SAMPLE_SIZE // num_voices, 1), num_faces)
        rows = torch.linspace(0, num_faces - 1, sampled, device=positives.device).long()
        sample = self.faces.compare(self.faces.vectors[rows], self.voices.vectors).flatten()
        shares = positives.new_zeros(2**_CELL_BITS + 1, dtype=torch.float64)
        for values in (positives, sample):
            counts = torch.bincount(self._cell(values), minlength=2**_CELL_BITS + 1).double()
            shares += counts / counts.sum() / 2
        occupied = shares > 0
        if occupied.sum() <= self.num_bins:  # few distinct scores: each has a bin of its own
            return (occupied.cumsum(0) - 1).clamp(min=0)
        middle = shares.cumsum(0) - shares / 2
        return (middle * self.num_bins).long().clamp(max=self.num_bins - 1)

    def _weighted(self):
        """Returns histograms (num_codes + 1, 1 + num_replicates, num_bins); last, positives."""
        num_codes = 2 ** self.labels.shape[1]
        counts = self.counts.view(-1, self.num_bins)
        one, other = torch.triu_indices(len(self.labels), len(self.labels), device=counts.device)
        codes = torch.empty_like(one)
        for identities in torch.arange(len(self.labels), device=counts.device).split(256):
            inside = (one >= identities[0]) & (one <= identities[-1])
            shared = agreement(self.labels, identities)
            codes[inside] = shared[one[inside] - identities[0], other[inside]]
        codes[one == other] = num_codes
        result = self.weights.new_zeros(num_codes + 1, len(self.weights), self.num_bins)
        for code in range(num_codes + 1):
            for pairs in (codes == code).nonzero().squeeze(1).split(2048):
                weights = self.weights[:, one[pairs]]
                if code < num_codes:
                    weights = weights * self.weights[:, other[pairs]]
                result[code] += weights @ counts[pairs].double()
        return result
