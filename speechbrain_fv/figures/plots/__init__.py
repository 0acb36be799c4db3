"""Reports, curves and what `analysis` makes of embeddings -> figures; never loads a model.

One file per family: `results`, `training`, `scores`, `groups`, `retrieval`, `embedding_map`,
`contact_sheet`; their common look is in `style`. `run_figures` draws all that the files of a run
allow.
"""

from speechbrain_fv.figures.plots.contact_sheet import SeenClips, contact_sheet_figure
from speechbrain_fv.figures.plots.embedding_map import embedding_map_figure
from speechbrain_fv.figures.plots.groups import group_figure
from speechbrain_fv.figures.plots.results import (
    LEAST_ACCEPTED,
    has_values,
    matching_figure,
    plot_report,
    roc_figure,
    verification_figure,
)
from speechbrain_fv.figures.plots.retrieval import Tile, retrieval_figure
from speechbrain_fv.figures.plots.scores import histogram_figure
from speechbrain_fv.figures.plots.training import (
    agreement_figure,
    comparison_figure,
    plot_comparison,
    plot_training,
    training_figure,
)

__all__ = [
    "LEAST_ACCEPTED",
    "SeenClips",
    "Tile",
    "agreement_figure",
    "comparison_figure",
    "contact_sheet_figure",
    "embedding_map_figure",
    "group_figure",
    "has_values",
    "histogram_figure",
    "matching_figure",
    "plot_comparison",
    "plot_report",
    "plot_training",
    "retrieval_figure",
    "roc_figure",
    "training_figure",
    "verification_figure",
]
