"""How a face and a voice are compared: higher means the same person.

A score is one of three kinds, by what a method can say of a face and a voice:

- `VectorScore`: an inner product of two vectors orders all pairs. `Cosine`, `InnerProduct` and
  `NegativeL2` are such scores.
- `PairScore`: a network tells of one pair how well it fits.
- `CandidateScore`: a network ranks a fixed number of candidates, and tells nothing of one pair.

`Score.unable` tells what a score cannot do. A comparison runs in a `frozen` copy, in float64.
"""

from speechbrain_fv.scores.base import DIRECTIONS, TASKS, Score
from speechbrain_fv.scores.networks import (
    CandidateNetwork,
    CandidateScore,
    PairNetwork,
    PairScore,
    TripleClassifier,
)
from speechbrain_fv.scores.ready import by_name, frozen, is_cosine, with_weights
from speechbrain_fv.scores.vectors import (
    Cosine,
    Fitted,
    InnerProduct,
    NegativeL2,
    VectorScore,
    unit,
)

__all__ = [
    "DIRECTIONS",
    "TASKS",
    "CandidateNetwork",
    "CandidateScore",
    "Cosine",
    "Fitted",
    "InnerProduct",
    "NegativeL2",
    "PairNetwork",
    "PairScore",
    "Score",
    "TripleClassifier",
    "VectorScore",
    "by_name",
    "frozen",
    "is_cosine",
    "unit",
    "with_weights",
]
