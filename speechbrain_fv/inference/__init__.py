"""A published model, used: `FaceVoiceAssociation`."""

from speechbrain_fv.inference.association import FaceVoiceAssociation
from speechbrain_fv.inference.results import Ranking, Verification

__all__ = ["FaceVoiceAssociation", "Ranking", "Verification"]
