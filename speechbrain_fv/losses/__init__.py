"""Losses, one file per family; a YAML names the ones it trains with.

A loss is a `Loss`: it declares its terms and what it needs, and is called with a `Batch`. It
returns its terms and its monitors, two dictionaries of scalars: terms are unweighted and trained,
monitors are only logged.
"""

from speechbrain_fv.losses.agreement_scores import BilinearAgreement, PredictedAgreement
from speechbrain_fv.losses.base import (
    Batch,
    Loss,
    Needs,
    Renamed,
    TrainingEmbeddings,
    TrainingSet,
)
from speechbrain_fv.losses.contrastive import InfoNCELoss
from speechbrain_fv.losses.curriculum import CurriculumContrastiveLoss
from speechbrain_fv.losses.discriminators import LinearDiscriminator, PrototypeDiscriminator
from speechbrain_fv.losses.identity import IdentityLoss
from speechbrain_fv.losses.objective import LossWeights, Objective
from speechbrain_fv.losses.pseudo_label import PseudoLabelLoss

__all__ = [
    "Batch",
    "BilinearAgreement",
    "CurriculumContrastiveLoss",
    "IdentityLoss",
    "InfoNCELoss",
    "LinearDiscriminator",
    "Loss",
    "LossWeights",
    "Needs",
    "Objective",
    "PredictedAgreement",
    "PrototypeDiscriminator",
    "PseudoLabelLoss",
    "Renamed",
    "TrainingEmbeddings",
    "TrainingSet",
]
