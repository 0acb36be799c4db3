"""Scores of a user's own, for the tests."""

import torch

from speechbrain_fv.scores import CandidateScore, PairScore, VectorScore, unit


class OneSided(PairScore):
    """As `references.scores.one_sided`: face and voice have different parts."""

    def forward(self, face, voice):
        return 3 * face[:, 0] * voice[:, 1] - face[:, 1] + 2 * voice[:, 0] ** 2


class SecretCosine(PairScore):
    """The cosine, as a method's own classifier of pairs would give it."""

    def forward(self, face, voice):
        return (unit(face) * unit(voice)).sum(dim=1)


class Stretched(VectorScore):
    """The inner product of what a weight of its own makes of the face, and the voice."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[2.0, 1.0], [0.0, -1.0]]))

    def face_vectors(self, face):
        return face @ self.weight

    def voice_vectors(self, voice):
        return voice


class CosineOfCandidates(CandidateScore):
    """Ranks candidates by their cosines."""

    def forward(self, probe, candidates, direction):
        rows = unit(candidates.flatten(0, 1)).view_as(candidates)
        return (unit(probe)[:, None] * rows).sum(dim=2)


class Placed(CandidateScore):
    """Ranks by integers, the first place before others where a face looks for its voice."""

    def forward(self, probe, candidates, direction):
        scores = (probe[:, None] * candidates).sum(dim=2)
        scores[:, 0] += 1 if direction == "F-V" else 0
        return scores


class AlwaysTheFirst(CandidateScore):
    """Takes the first candidate, whoever it is."""

    def forward(self, probe, candidates, direction):
        return -torch.arange(candidates.shape[1]).expand(candidates.shape[:2]).to(probe)
