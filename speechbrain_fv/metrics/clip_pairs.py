"""Verification where attributes of the clips, such as language, restrict who is compared.

An attribute of a person is the same for all clips of it, and `verification.count_pairs` restricts
the negatives by it. One of a clip is not: here each pair of clips is asked, in blocks of faces with
all voices.
"""

import torch

from speechbrain_fv.metrics.pair_replicates import PairReplicates
from speechbrain_fv.metrics.scores import CHUNK_SIZE, SCORE_STEP, add_ones_, row_blocks
from speechbrain_fv.metrics.verification import PooledCounts


class ClipStratum:
    """Which pairs of clips a stratum compares.

    Arguments
    ---------
    negatives : tuple of two torch.Tensor of shape (num_faces,) and (num_voices,), int64
        A pair of two people is compared if face and voice have the same code; -1 is unknown, and
        agrees with no other. Rows in the order of the `Clips`.
    positives : tuple of two torch.Tensor, optional
        The same for pairs of one person; None compares all.

    Example
    -------
    >>> codes = torch.tensor([0, 1]), torch.tensor([1, 1])
    >>> people = torch.tensor([0, 1]), torch.tensor([0, 1])
    >>> ClipStratum(codes).compared(slice(0, 2), *people)
    tensor([[ True, False],
            [ True,  True]])
    """

    def __init__(self, negatives, positives=None):
        self.negatives, self.positives = negatives, positives

    def compared(self, rows, face_identity, voice_identity):
        """Returns bool (num_rows, num_voices): whether these faces meet each voice."""
        same = face_identity[rows, None] == voice_identity
        wanted = self._agree(self.negatives, rows)
        if self.positives is None:
            return same | wanted
        return torch.where(same, self._agree(self.positives, rows), wanted)

    @staticmethod
    def _agree(codes, rows):
        face, voice = codes
        face = face[rows, None]
        return (face == voice) & (face >= 0)


def count_clip_pairs(faces, voices, stratum, chunk_size=CHUNK_SIZE, weights=None):
    """Returns the `PooledCounts` of the pairs that a stratum compares, exactly.

    Arguments
    ---------
    faces, voices : Clips
    stratum : ClipStratum
    chunk_size : int
        Scores held at once, >= 1. It bounds the memory beside the positive scores, and changes no
        result.
    weights : torch.Tensor of shape (num_replicates, num_identities), int64, optional
        Of the bootstrap, see `bootstrap.draw_weights`.

    Returns
    -------
    counts : PooledCounts
    replicates : ClipPairReplicates or None
        None without weights, or without a positive.
    """
    blocks = list(
        row_blocks(len(faces.vectors), len(voices.vectors), chunk_size, faces.vectors.device)
    )
    identities = faces.identity, voices.identity
    positives = [faces.identity.new_empty(0)]
    for rows in blocks:
        same = faces.identity[rows, None] == voices.identity
        if same.any():
            kept = same & stratum.compared(rows, *identities)
            positives.append(faces.compare(faces.vectors[rows], voices.vectors)[kept])
    thresholds, num_positives = torch.cat(positives).unique(return_counts=True)
    replicates = None
    if weights is not None and len(thresholds):
        replicates = ClipPairReplicates(weights, faces, voices, thresholds)
    spaces = thresholds.new_zeros(2 * len(thresholds) + 1)
    for rows in blocks:
        kept = stratum.compared(rows, *identities)
        scores = faces.compare(faces.vectors[rows], voices.vectors)
        if replicates:
            replicates.add(scores, rows, kept)
        of_two = kept & (faces.identity[rows, None] != voices.identity)
        negatives = scores[of_two]
        # Below threshold i lies space 2 i, with it ties space 2 i + 1.
        place = torch.searchsorted(thresholds, negatives)
        upto = torch.searchsorted(thresholds, negatives, right=True)
        add_ones_(spaces, place + upto)
    upto = spaces.cumsum(0)
    counts = PooledCounts(
        thresholds * SCORE_STEP,
        num_positives,
        upto[:-1:2],
        spaces[1::2],
        int(upto[-1]),
    )
    return counts, replicates


class ClipPairReplicates(PairReplicates):
    """AUC and EER of bootstrap replicates over people, of the pairs that a stratum compares.

    Arguments
    ---------
    weights : torch.Tensor of shape (num_replicates, num_identities), int64
    faces, voices : Clips
    thresholds : torch.Tensor of shape (num_thresholds,), int64, the distinct positive scores
    """

    def __init__(self, weights, faces, voices, thresholds):
        self._positives = thresholds
        labels = torch.empty(weights.shape[1], 0, dtype=torch.int64, device=weights.device)
        super().__init__(weights, faces, voices, labels)

    def positives(self):
        """Returns the scores that the bins are laid over."""
        return self._positives

    def add(self, scores, rows, kept):
        """Counts the `integer_scores` (num_rows, num_voices) of the pairs that are kept."""
        identity, index = self.faces.identity[rows].unique_consecutive(return_inverse=True)
        everyone = torch.arange(len(self.labels), device=scores.device)
        start = (self._pair(identity[:, None], everyone) * self.num_bins)[:, self.voices.identity]
        bins = self.bin_of_cell[self._cell(scores[kept])]
        add_ones_(self.counts, bins.add_(start[index][kept]))
