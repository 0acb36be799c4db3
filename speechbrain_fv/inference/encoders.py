"""Networks as they come with their weights, run on files: vectors to start a training from."""

import hashlib
import itertools
import logging

import torch

from speechbrain_fv.inference import clips
from speechbrain_fv.media.bounds import LEAST
from speechbrain_fv.media.face_detection import FaceDetector
from speechbrain_fv.settings.loading import load_hparams

logger = logging.getLogger(__name__)

YAMLS = {"face": "embed_face.yaml", "voice": "embed_voice.yaml"}
READS = {
    "face": ("encoder", "reader"),
    "voice": ("encoder", "reader", "remove_silence"),
}
SOURCES = ("checkpoint", "pretrained", "source")
"""Keys of the includes of networks that name weights."""


class FileEncoder:
    """A network of one modality, which takes files as a `FaceVoiceAssociation` does.

    Arguments
    ---------
    modality : str
        "face" or "voice".
    include : str
        What a training is given as --face or --voice, such as "face/timm.yaml {model: resnet34,
        checkpoint: resnet34.safetensors}"; "!include:" may stand in front.
    settings : sequence of str
        Further settings of hparams/embed_face.yaml or embed_voice.yaml, "key=value".
    device : str
        Where to compute.

    Attributes
    ----------
    version : str
        Names settings and weights. Only vectors of one version can be compared.
    embedding_dim : int
        Width of the vectors.

    Raises
    ------
    ValueError
        If the include or a setting is none, or the device cannot be used.
    """

    def __init__(self, modality, include, settings=(), device="cpu"):
        include = include if include.startswith("!include:") else f"!include:{include}"
        overrides = [f"--{modality}={include}", *(f"--{setting}" for setting in settings)]
        argv = [YAMLS[modality], *overrides, f"--device={device}"]
        _, hparams, resolved_yaml = load_hparams(argv, READS[modality])
        named = [name for name in SOURCES if name in hparams[modality]]
        if not any(hparams[modality][name] for name in named):
            logger.warning(
                "--%s_encoder: %s names no weights, so they are random; the vectors tell little",
                *(modality, " or ".join(named) or include),
            )
        self.modality, self.device = modality, device
        self.encoder, self.reader = hparams["encoder"].to(device).eval(), hparams["reader"]
        own_images = getattr(self.encoder.frozen_network, "image_settings", None)
        if own_images is not None:  # size, mean and so on, as the weights ask for them
            self.reader.configure(**own_images)
        self.remove_silence = hparams.get("remove_silence", False)
        self.version = _version(self.encoder, resolved_yaml)
        self.embedding_dim = self._width()

    def encode_face_files(
        self,
        paths,
        detect_faces=None,
        batch_size=64,
        skipped=None,
        measured=None,
        on_error="raise",
    ):
        """Returns the vectors of image files; see `FaceVoiceAssociation.encode_face_files`.

        Without `detect_faces` images are taken for crops of faces.
        """
        detector = FaceDetector() if detect_faces else None
        load = clips.face_loader(self.reader, detector, LEAST)
        return self._embed(clips.load_all(paths, load, on_error, skipped, measured), batch_size)

    def encode_voice_files(
        self, paths, batch_size=64, skipped=None, measured=None, on_error="raise"
    ):
        """Returns the vectors of audio files; see `FaceVoiceAssociation.encode_voice_files`."""
        load = clips.voice_loader(self.reader, self.remove_silence, LEAST)
        return self._embed(clips.load_all(paths, load, on_error, skipped, measured), batch_size)

    def _width(self):
        """Returns the width of the vectors, by the vector of noise."""
        if self.modality == "face":
            size = self.reader.image_size
            example = torch.rand(3, size, size)
        else:
            example = 0.1 * torch.randn(self.reader.num_samples)
        return self._embed([example], 1).shape[1]

    @torch.no_grad()
    def _embed(self, prepared, batch_size):
        parts, prepared = [], iter(prepared)
        while batch := list(itertools.islice(prepared, batch_size)):
            batch = torch.stack(batch).to(self.device)
            lens = (torch.ones(len(batch), device=self.device),) if self.modality == "voice" else ()
            with torch.device(self.device):  # SpeechBrain's features make tensors there
                parts.append(self.encoder.features_of(batch, *lens).float().cpu())
        return torch.cat(parts) if parts else torch.empty(0, self.embedding_dim)


def _version(encoder, resolved_yaml):
    """Returns the SHA-256 of the settings and the weights."""
    digest = hashlib.sha256(resolved_yaml.encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
