"""Encoders: pixels, samples or precomputed vectors -> embeddings of width K.

The contracts: ``face_encoder(images) -> (B, K)``, ``voice_encoder(wavs, wav_lens) -> (B, K)``.
The network inside is swapped through YAML.
"""

from speechbrain_fv.encoders.blocks import SharedTrunk, SideBySide, UnitBranch
from speechbrain_fv.encoders.canonical import CanonicalNetwork
from speechbrain_fv.encoders.face import FaceEncoder
from speechbrain_fv.encoders.frozen import FrozenNetwork
from speechbrain_fv.encoders.ge2e import GE2E
from speechbrain_fv.encoders.onnx_network import OnnxNetwork
from speechbrain_fv.encoders.vectors import VectorNetwork
from speechbrain_fv.encoders.voice import DimnetVoice, LayerMean, VoiceEncoder, Xvector

__all__ = [
    "GE2E",
    "CanonicalNetwork",
    "DimnetVoice",
    "FaceEncoder",
    "FrozenNetwork",
    "LayerMean",
    "OnnxNetwork",
    "SharedTrunk",
    "SideBySide",
    "UnitBranch",
    "VectorNetwork",
    "VoiceEncoder",
    "Xvector",
    "timm_network",
]


def __getattr__(name):
    """Returns `timm_network` when it is asked for: importing timm takes a second."""
    if name != "timm_network":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from speechbrain_fv.encoders.timm_models import timm_network

    return timm_network
