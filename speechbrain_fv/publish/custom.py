"""The interface of this model for SpeechBrain's own loader; needs the package speechbrain-fv.

from speechbrain.inference.interfaces import foreign_class

model = foreign_class(source, pymodule_file="custom.py", classname="FaceVoiceAssociation")
"""

from speechbrain_fv.inference import FaceVoiceAssociation

CustomInterface = FaceVoiceAssociation
"""The class that foreign_class looks for unless it is told another."""

__all__ = ["CustomInterface", "FaceVoiceAssociation"]
