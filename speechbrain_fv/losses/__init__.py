"""Losses, one file per family; a YAML names the ones it trains with.

A loss is a `Loss`: it declares its terms and what it needs, and is called with a `Batch`. It
returns its terms and its monitors, two dictionaries of scalars: terms are unweighted and trained,
monitors are only logged.

Docstrings name what each paper has and every departure, but one, which all share: encoders, inputs,
optimiser, learning rate, batch and number of steps are the training's, equal for all methods, and
not the paper's.
"""

from speechbrain_fv.losses.agreement_scores import BilinearAgreement, PredictedAgreement
from speechbrain_fv.losses.base import Batch, Loss, Needs, TrainingEmbeddings, TrainingSet
from speechbrain_fv.losses.candidate import CandidateLoss
from speechbrain_fv.losses.cmpc import CMPCLoss
from speechbrain_fv.losses.contrastive import EmbeddingNormLoss, InfoNCELoss, SupConLoss
from speechbrain_fv.losses.curriculum import CurriculumContrastiveLoss
from speechbrain_fv.losses.discriminators import LinearDiscriminator, PrototypeDiscriminator
from speechbrain_fv.losses.fop import FOPLoss
from speechbrain_fv.losses.identity import IdentityLoss
from speechbrain_fv.losses.moving_center import MovingCenterLoss
from speechbrain_fv.losses.objective import LossWeights, Objective
from speechbrain_fv.losses.pseudo_label import PseudoLabelLoss
from speechbrain_fv.losses.ranking import BidirectionalRankingLoss, LearnableCenterLoss
from speechbrain_fv.losses.ssos import SSOSLoss
from speechbrain_fv.losses.triplet import DistanceRatioLoss, VoiceAnchoredTripletLoss
from speechbrain_fv.losses.wrapped import OnPart, Renamed, WrappedLoss

__all__ = [
    "Batch",
    "BidirectionalRankingLoss",
    "BilinearAgreement",
    "CMPCLoss",
    "CandidateLoss",
    "CurriculumContrastiveLoss",
    "DistanceRatioLoss",
    "EmbeddingNormLoss",
    "FOPLoss",
    "IdentityLoss",
    "InfoNCELoss",
    "LearnableCenterLoss",
    "LinearDiscriminator",
    "Loss",
    "LossWeights",
    "MovingCenterLoss",
    "Needs",
    "Objective",
    "OnPart",
    "PredictedAgreement",
    "PrototypeDiscriminator",
    "PseudoLabelLoss",
    "Renamed",
    "SSOSLoss",
    "SupConLoss",
    "TrainingEmbeddings",
    "TrainingSet",
    "VoiceAnchoredTripletLoss",
    "WrappedLoss",
]
