"""Losses, one file per family; a YAML names the ones it trains with.

A loss is a module called as ``loss(face, voice, targets, generator)``. It returns its terms and its
monitors, two dictionaries of scalars: terms are unweighted and trained, monitors are only logged.
"""

from speechbrain_fv.losses.contrastive import InfoNCELoss
from speechbrain_fv.losses.identity import IdentityLoss
from speechbrain_fv.losses.objective import LossWeights, Objective
from speechbrain_fv.losses.pseudo_label import (
    BilinearAgreement,
    LinearDiscriminator,
    PredictedAgreement,
    PrototypeDiscriminator,
    PseudoLabelLoss,
)

__all__ = [
    "BilinearAgreement",
    "IdentityLoss",
    "InfoNCELoss",
    "LinearDiscriminator",
    "LossWeights",
    "Objective",
    "PredictedAgreement",
    "PrototypeDiscriminator",
    "PseudoLabelLoss",
]
