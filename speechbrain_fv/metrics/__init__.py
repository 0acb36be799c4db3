"""Exact metrics of cross-modal association: AUC, EER, 1:N matching, average precision.

Nothing is sampled: each metric follows from how many negatives score below a positive and how
many tie with it. The counts are taken in chunks: no more than ``chunk_size`` scores exist at once.
A score tells of a face and a voice, higher meaning the same person; here it is a whole number of
steps within [-1, 1], of the cosine unless the `Clips` bring another comparison.

A *stratum* is a set of attributes: a negative is allowed when the labels of both identities are
known and equal in each of them. Positives are the pairs of one identity, whatever its labels.
"""

from speechbrain_fv.metrics.bootstrap import INTERVAL, band, draw_weights, interval
from speechbrain_fv.metrics.closed_forms import chance_average_precision, win_probabilities
from speechbrain_fv.metrics.pair_replicates import PairReplicates
from speechbrain_fv.metrics.query_replicates import QueryReplicates
from speechbrain_fv.metrics.ranking import (
    MeanPrecisions,
    QueryScores,
    Ranking,
    Strata,
    mean_precisions,
    score_queries,
)
from speechbrain_fv.metrics.scores import (
    CHUNK_SIZE,
    SCORE_STEP,
    Clips,
    integer_scores,
    row_blocks,
    sort_clips,
    to_integers,
)
from speechbrain_fv.metrics.verification import (
    PairCounts,
    PooledCounts,
    area_under_curve,
    count_pairs,
    equal_error_rate,
    roc_points,
)
from speechbrain_fv.metrics.workers import each

__all__ = [
    "CHUNK_SIZE",
    "INTERVAL",
    "SCORE_STEP",
    "Clips",
    "MeanPrecisions",
    "PairCounts",
    "PairReplicates",
    "PooledCounts",
    "QueryReplicates",
    "QueryScores",
    "Ranking",
    "Strata",
    "area_under_curve",
    "band",
    "chance_average_precision",
    "count_pairs",
    "draw_weights",
    "each",
    "equal_error_rate",
    "integer_scores",
    "interval",
    "mean_precisions",
    "roc_points",
    "row_blocks",
    "score_queries",
    "sort_clips",
    "to_integers",
    "win_probabilities",
]
