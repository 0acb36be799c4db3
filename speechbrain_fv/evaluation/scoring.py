"""A score and embeddings, made ready for the metrics."""

import numpy as np
import torch

from speechbrain_fv import metrics
from speechbrain_fv.metrics.listed import inner_products
from speechbrain_fv.metrics.scores import to_integers
from speechbrain_fv.scores import CandidateScore, VectorScore, frozen, is_cosine

MODALITIES = {"F": "face", "V": "voice"}


class Comparison:
    """Compares the faces and the voices of a set of embeddings by a score.

    Arguments
    ---------
    embeddings : Embeddings
    score : Score, optional
        `Cosine` by default.
    device : str or torch.device

    Attributes
    ----------
    score : Score
        A frozen copy.

    Raises
    ------
    ValueError
        If the score is none.

    Example
    -------
    >>> from speechbrain_fv.evaluation.embeddings import Embeddings
    >>> people = Embeddings(np.eye(2), 2 * np.eye(2), ["ann", "bob"], ["ann", "bob"])
    >>> [rows.tolist() for rows, _, _ in Comparison(people).blocks()]
    [[[1.0, 0.0], [0.0, 1.0]]]
    """

    def __init__(self, embeddings, score=None, device="cpu"):
        self.score = frozen(score, device)
        self.embeddings = embeddings
        self.given = {
            modality: torch.as_tensor(
                np.ascontiguousarray(getattr(embeddings, modality)), device=device
            )
            for modality in MODALITIES.values()
        }
        self._fitted, self._prepared = None, {}
        if isinstance(self.score, VectorScore):
            with torch.no_grad():
                self._fitted = self.score.fitted(*self.given.values())

    def clips(self, modality):
        """Returns the `metrics.Clips` of "face" or "voice", whose comparison is the score."""
        identities = self.embeddings.identities
        who = np.searchsorted(identities, getattr(self.embeddings, f"{modality}_identity"))
        vectors = self.given[modality]
        who = torch.as_tensor(who, device=vectors.device)
        return self.grouped(modality, vectors, who, len(identities))

    def grouped(self, modality, vectors, identity, num_identities):
        """Returns `metrics.sort_clips` of embeddings of "face" or "voice"."""
        compare = {} if self._fitted else {"compare": self._compare[modality]}
        return metrics.sort_clips(
            vectors, identity, num_identities, self.prepare(modality), **compare
        )

    @torch.no_grad()
    def prepared(self, modality):
        """Returns all embeddings of "face" or "voice" as `values` and `listed` take them.

        They are made once, and kept.
        """
        if modality not in self._prepared:
            self._prepared[modality] = self.prepare(modality)(self.given[modality])
        return self._prepared[modality]

    def prepare(self, modality):
        """Returns a function of embeddings (num_clips, dim) that makes rows to compare."""
        if self._fitted is None:
            return torch.Tensor.double
        return self._fitted.face if modality == "face" else self._fitted.voice

    @property
    def _compare(self):
        """Functions that give the table of pairs as whole numbers, the rows' modality first."""
        return {
            "face": lambda face, voice: to_integers(self.score.table(face, voice)),
            "voice": lambda voice, face: to_integers(self.score.table(face, voice)).T.contiguous(),
        }

    def listed(self, probe):
        """Returns the function of `metrics.listed.pair_scores` for probes of a modality."""
        if self._fitted:
            return inner_products

        def compare(probes, candidates):
            probes = probes[:, None].expand_as(candidates).flatten(0, 1)
            sides = (probes, candidates.flatten(0, 1))
            scores = self.score.pairs(*(sides if probe == "face" else sides[::-1]))
            return (scores / (1 + scores.abs())).view(candidates.shape[:2])

        return compare

    def blocks(self):
        """Yields the scores (num_rows, num_voices) of some faces, and the identities of both.

        The clips are those of `clips`, in its order; identities are numbers. The scores are the
        score's own values.
        """
        faces, voices = self.clips("face"), self.clips("voice")
        sizes = len(faces.vectors), len(voices.vectors)
        for rows in metrics.row_blocks(*sizes, metrics.CHUNK_SIZE, "cpu"):
            yield (
                self.values(faces.vectors[rows], voices.vectors),
                faces.identity[rows],
                voices.identity,
            )

    def ends(self):
        """Returns between which two numbers all scores lie: -1 and 1 for cosines."""
        if is_cosine(self.score):
            return -1.0, 1.0
        ends = [(scores.min(), scores.max()) for scores, _, _ in self.blocks() if scores.numel()]
        low, high = float(min(low for low, _ in ends)), float(max(high for _, high in ends))
        return (low, high) if low < high else (low - 1.0, high + 1.0)

    @torch.no_grad()
    def values(self, faces, voices):
        """Returns the scores (num_faces, num_voices) of rows of `prepared`, float64."""
        if self._fitted is None:
            return self.score.table(faces, voices)
        inner = faces @ voices.T
        return self.score.value(inner if self._fitted.factor == 1 else inner * self._fitted.factor)

    def rank(self, direction):
        """Returns the function of `metrics.candidates` for a direction, of a `CandidateScore`."""
        return lambda probes, candidates: self.score.rank(probes, candidates, direction)

    @property
    def ranks(self):
        """Whether the score ranks candidates and tells nothing of a pair."""
        return isinstance(self.score, CandidateScore)
