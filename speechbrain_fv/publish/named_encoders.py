"""The encoders that a training's precomputed vectors came from: checked, and put into the model."""

from pathlib import Path

import numpy as np
import torch
import yaml

from speechbrain_fv.data.manifests import load_manifests
from speechbrain_fv.data.schema import check_columns
from speechbrain_fv.files import read_table
from speechbrain_fv.inference.clips import face_loader, voice_loader
from speechbrain_fv.names import names_of
from speechbrain_fv.publish.check import training_vectors
from speechbrain_fv.settings import reads
from speechbrain_fv.settings.loading import load_hparams
from speechbrain_fv.training.images import use_own_images

MODALITIES = ("face", "voice")
HEADS = {
    f"!new:speechbrain_fv.encoders.{name}": name for name in ("VectorNetwork", "CanonicalNetwork")
}


class NamedEncoders:
    """What a YAML on ``encoders.yaml`` names, with its weights.

    Arguments
    ---------
    path : path
        The YAML.
    run_folder : path
        Output folder of a training on precomputed vectors.

    Attributes
    ----------
    modalities : list of str
        Those with an encoder.
    checked : dict
        By modality the number of samples and the least cosine, after `check`.

    Raises
    ------
    ValueError
        If the YAML is none, or the training was not on vectors.
    """

    def __init__(self, path, run_folder):
        self.path, self.run_folder = Path(path), Path(run_folder)
        _, self.hparams, text = load_hparams([str(path)], reads.ENCODERS)
        self.modalities = [name for name in MODALITIES if self.hparams[f"{name}_encoder"]]
        if "face" in self.modalities:
            text = use_own_images(self.hparams, text)
        root = yaml.compose(text, yaml.SafeLoader)
        self.nodes = {key.value: value for key, value in root.value}
        self.manifests = load_manifests(self.run_folder / "manifests")
        self.checked = {}
        if "keys" not in self.manifests.preparation["options"] or not self.modalities:
            raise ValueError(
                f"{path}: expected a training on precomputed vectors, and an encoder of one of its "
                f"modalities, got {run_folder}"
            )

    @torch.no_grad()
    def check(self):
        """Compares what the encoders make of the sample clips with the vectors of the training.

        Raises
        ------
        ValueError
            If a sample cannot be read, has no vector, or its vector is another.
        """
        samples = Path(self.hparams["samples"])
        table = check_columns(read_table(samples), ["clip"], samples)
        clips = names_of(table["clip"], f"{samples}: clip")
        options = self.manifests.preparation["options"]
        for modality in self.modalities:
            vectors = training_vectors(options, modality)
            column = "face" if modality == "face" else "wav"
            named = (
                []
                if column not in table
                else [
                    (clip, samples.parent / file)
                    for clip, file in zip(clips, table[column], strict=True)
                    if file
                ]
            )
            if not named:
                raise ValueError(
                    f"{samples}: expected a column {column!r} with at least one file, to check the "
                    f"{modality} encoder"
                )
            cosines = []
            for clip, file in named:
                if clip not in vectors:
                    raise ValueError(
                        f"{samples}: clip {clip!r} has no vector in {options['embeddings']}"
                    )
                cosines.append(self._cosine(modality, file, vectors[clip]))
                self._check_cosine(cosines[-1], modality, file, samples, clip)
            self.checked[modality] = {
                "num_samples": len(cosines),
                "least_cosine": round(min(cosines), 6),
            }

    def _cosine(self, modality, file, vector):
        reader = self.hparams["corpus"][f"{modality}_reader"]
        if modality == "face":
            load = face_loader(reader)
        else:
            load = voice_loader(reader, self.hparams["remove_silence"])
        prepared = load(file)[0]
        lens = (torch.ones(1),) if modality == "voice" else ()
        encoder = self.hparams[f"{modality}_encoder"].eval()
        found = encoder.features_of(prepared[None], *lens)[0].double().numpy()
        if found.shape != vector.shape:
            raise ValueError(
                f"{self.path}: {modality}: expected an encoder of vectors of width {len(vector)}, "
                f"as the training read, got {len(found)}"
            )
        vector = vector.astype(np.float64)
        return float(found @ vector / np.linalg.norm(found) / np.linalg.norm(vector))

    def _check_cosine(self, cosine, modality, file, samples, clip):
        if not cosine >= self.hparams["least_cosine"]:
            raise ValueError(
                f"{samples}: clip {clip!r}: the {modality} encoder makes of {file} a vector whose "
                f"cosine with the training's is {cosine:.4f}, expected at least "
                f"{self.hparams['least_cosine']}; name the encoder, the weights and the reader "
                "that the vectors came from"
            )

    @property
    def facts(self):
        """What a model's config.json says of its encoders."""
        facts = {"encoders_checked": self.checked}
        if "voice" in self.modalities:
            facts["remove_silence"] = bool(self.hparams["remove_silence"])
        return facts

    def put_into(self, parts):
        """Puts encoders and readers into the nodes of a run's YAML, in front of its networks."""
        for modality in self.modalities:
            encoder = parts[f"{modality}_encoder"]
            own = {key.value: value for key, value in self.nodes[f"{modality}_encoder"].value}
            entries = {key.value: value for key, value in encoder.value}
            head = entries["network"]
            if head.tag not in HEADS:
                raise ValueError(
                    f"{self.run_folder}: {modality}: expected a VectorNetwork or CanonicalNetwork, "
                    f"got {head.tag}"
                )
            entries["network"] = yaml.MappingNode(
                "!new:speechbrain_fv.encoders.FrozenNetwork",
                [
                    (_text("network"), own["network"]),
                    (_text("head"), yaml.ScalarNode(f"!name:{head.tag[5:]}", "")),
                    *head.value,
                ],
            )
            for name in ("features", "normalize"):
                if name in own:
                    entries[name] = own[name]
            encoder.value = [(_text(name), value) for name, value in entries.items()]
            corpus = {key.value: value for key, value in self.nodes["corpus"].value}
            parts["corpus"][f"{modality}_reader"] = corpus[f"{modality}_reader"]

    def state_of(self, name, state):
        """Returns the state of a module with its encoder in front, of the one that was trained."""
        modality = name.removesuffix("_encoder")
        if modality not in self.modalities:
            return state
        frozen = self.hparams[name].frozen_network.state_dict()
        return {
            **{
                f"network.head.{key[8:]}" if key.startswith("network.") else key: value
                for key, value in state.items()
            },
            **{f"network.network.{key}": value for key, value in frozen.items()},
        }


def _text(value):
    return yaml.ScalarNode("tag:yaml.org,2002:str", value)
