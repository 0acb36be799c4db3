"""Exact metrics of cross-modal association: AUC, EER, 1:N matching, average precision.

Nothing is sampled: each metric follows from how many negatives score below a positive and how
many tie with it. The counts are taken in chunks: no more than ``chunk_size`` scores exist at once.
A score is the cosine of two embeddings, in [-1, 1]; higher means the same person.

A *stratum* is a group number for each clip: a negative is allowed when both clips carry the same
group. Group -1 (unknown) is allowed nowhere. Positives are the pairs of one identity, whatever the
group.
"""

from speechbrain_fv.metrics.ranking import (
    QueryScores,
    chance_average_precision,
    score_queries,
    win_probabilities,
)
from speechbrain_fv.metrics.scores import CHUNK_SIZE, SCORE_STEP, cosine_scores, unit_rows
from speechbrain_fv.metrics.verification import (
    PooledCounts,
    area_under_curve,
    count_pooled,
    equal_error_rate,
)

__all__ = [
    "CHUNK_SIZE",
    "SCORE_STEP",
    "PooledCounts",
    "QueryScores",
    "area_under_curve",
    "chance_average_precision",
    "cosine_scores",
    "count_pooled",
    "equal_error_rate",
    "score_queries",
    "unit_rows",
    "win_probabilities",
]
