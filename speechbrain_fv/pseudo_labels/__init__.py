"""Pseudo-labels: what one batch of embeddings says about itself (Bi-Pcm, Eqs. 3, 4 and 7, Fig. 2).

Pure functions work on P sets of points at once and let no gradient through; `PseudoLabeler` adds
the only state there is, the running prototype. It knows three readings of how the clusters of faces
and voices belong together: shared, paired and separate.
"""

from speechbrain_fv.pseudo_labels.clustering import kmeans, rank_clusters, seed_centres
from speechbrain_fv.pseudo_labels.geometry import (
    canonical_order,
    canonical_pair_order,
    geometric_median,
    scale_columns,
)
from speechbrain_fv.pseudo_labels.labeler import PseudoLabeler

__all__ = [
    "PseudoLabeler",
    "canonical_order",
    "canonical_pair_order",
    "geometric_median",
    "kmeans",
    "rank_clusters",
    "scale_columns",
    "seed_centres",
]
