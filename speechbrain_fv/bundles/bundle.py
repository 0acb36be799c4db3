"""A published model, read back."""

import hashlib
import math
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from huggingface_hub.utils.sha import sha_fileobj
from hyperpyyaml import load_hyperpyyaml, resolve_references

from speechbrain_fv.bundles.config import read_config, read_text
from speechbrain_fv.bundles.layout import CONFIG_FILE, HPARAMS_FILE, WEIGHTS_FILE
from speechbrain_fv.bundles.safe_yaml import check_model_yaml, construct
from speechbrain_fv.bundles.sketch import (
    MAX_SECONDS,
    MAX_TENSOR,
    SPARE_ELEMENTS,
    check_parts,
    sketching,
    trying,
)
from speechbrain_fv.bundles.weights import check_weights, load_weights
from speechbrain_fv.data.readers import ImageReader, SpeechReader
from speechbrain_fv.encoders.onnx_network import bounded
from speechbrain_fv.evaluation.calibration import Calibration
from speechbrain_fv.messages import in_one_line
from speechbrain_fv.scores import CandidateScore, Cosine, Score, frozen

MODULES = ("face_encoder", "voice_encoder", "cmwr")
MODALITIES = ("face", "voice")
READERS = {"face_reader": ImageReader, "voice_reader": SpeechReader}
MAX_SIZES = {"image_size": 2048, "resize": 4096, "num_samples": 10**7, "sample_rate": 10**6}
"""Of the readers: pixels, samples, Hz; more would fill the memory with a single clip."""


class Bundle(NamedTuple):
    """A published model, read back.

    modules : dict of str to torch.nn.Module, with the names of `MODULES`; in evaluation mode
    score : Score, `frozen` on the CPU
    readers : dict of str to reader, with the names of `READERS`; none for precomputed vectors
    config : dict, see `config.read_config`
    calibration : Calibration, or None where the score gives a pair none
    version : str, the first 16 hexadecimal digits of a hash over YAML and weights
    """

    modules: dict
    score: Score
    readers: dict
    config: dict
    calibration: Calibration | None
    version: str

    @property
    def hparams(self):
        """All but the modules, as `of_hparams` takes it."""
        return {
            "embedding_dim": self.config["embedding_dim"],
            "score": self.score,
            **self.readers,
            "config": self.config,
            "version": self.version,
        }


def load_bundle(
    folder,
    trust_remote_code=False,
    hparams_file=HPARAMS_FILE,
    overrides=None,
    overrides_must_match=True,
):
    """Returns the `Bundle` in a folder; nothing of it is run unless the caller trusts it.

    Arguments
    ---------
    folder : path
    trust_remote_code : bool
        Whether the YAML may run whatever it names, as SpeechBrain's own loading does.
    hparams_file : str
        The YAML in the folder.
    overrides : dict or str, optional
        Entries of the YAML that are replaced, as SpeechBrain does; they are checked as it is.
    overrides_must_match : bool
        Whether an override of what the YAML does not have is an error.

    Returns
    -------
    Bundle

    Raises
    ------
    ValueError
        If a file is missing or unusable, the YAML or an override names what is not allowed, the
        weights are not exactly those of its modules, the encoders do not give embeddings of the
        width K, or the score does not compare these.
    """
    folder = Path(folder)
    config = read_config(folder / CONFIG_FILE)
    path, weights = folder / hparams_file, folder / WEIGHTS_FILE
    text = _with_present_names(read_text(path))
    if trust_remote_code:
        hparams = _trusting(text, path, overrides, overrides_must_match)
    else:
        root = _checked(text, path, overrides, overrides_must_match)
        # Constructed without memory first: a few characters can ask for more than a machine has.
        with sketching(SPARE_ELEMENTS + _num_bytes(weights)):  # a weight takes at least one
            sketched = construct(root, str(path))
        check_weights(_modules(sketched, path) | {"score": _score(sketched, config, path)}, weights)
        hparams = construct(root, str(path))
    modules = _modules(hparams, path)
    _check_width(hparams, config, path)
    score = _score(hparams, config, path)
    _check_device(modules | {"score": score}, path)
    load_weights(modules | {"score": score}, weights)
    for module in modules.values():
        module.eval()
    readers = _readers(hparams, config, path)
    for modality in MODALITIES:
        with nullcontext() if trust_remote_code else _bounded(modules, weights):
            _try_out(modality, modules, readers, config["embedding_dim"], path)
    score = frozen(score)
    with nullcontext() if trust_remote_code else trying(_num_bytes(weights)):
        _try_score(score, config["embedding_dim"], path)
    return Bundle(
        modules,
        score,
        readers,
        config,
        config["calibration"] and Calibration(**config["calibration"]),
        model_version(folder, hparams_file, overrides),
    )


@contextmanager
def _bounded(modules, weights):
    """Bounds a trial, also of the networks of ONNX files, which torch does not see into."""
    num_bytes = _num_bytes(weights)
    max_bytes = 4 * (10 * MAX_TENSOR + 4 * num_bytes)
    with trying(num_bytes), bounded(modules.values(), MAX_SECONDS, max_bytes):
        yield


def of_hparams(modules, hparams):
    """Returns the `Bundle` of what SpeechBrain's loaders, or `Bundle.hparams`, hand to a class.

    Arguments
    ---------
    modules : dict of str to torch.nn.Module
        With their weights.
    hparams : dict
        The objects of the YAML, among them a ``pretrainer`` that has loaded the weights; or else
        ``config`` and ``version``.

    Raises
    ------
    ValueError
        If something is missing, or the parts do not fit together.
    """
    hparams = {**(hparams or {}), "modules": modules}
    pretrainer = hparams.get("pretrainer")
    config, version = (
        hparams.get(name, getattr(pretrainer, name, None)) for name in ("config", "version")
    )
    if config is None or version is None:
        raise ValueError(
            "hparams: expected those of a bundle, whose pretrainer has loaded config.json and the "
            "weights; FaceVoiceAssociation.from_hparams and SpeechBrain's foreign_class make them"
        )
    modules = _modules(hparams, HPARAMS_FILE)
    loaded = getattr(pretrainer, "loadables", modules)
    for name in (*MODULES, *({"score"} & set(hparams) if pretrainer else ())):
        if loaded.get(name) is not (modules | hparams).get(name):
            raise ValueError(f"{HPARAMS_FILE}: pretrainer: it loads another {name} than is used")
    _check_width(hparams, config, HPARAMS_FILE)
    score = frozen(_score(hparams, config, HPARAMS_FILE))
    readers = _readers(hparams, config, HPARAMS_FILE)
    calibration = config["calibration"] and Calibration(**config["calibration"])
    return Bundle(modules, score, readers, config, calibration, version)


def model_version(folder, hparams_file=HPARAMS_FILE, overrides=None):
    """Returns a name for a bundle's YAML and weights; embeddings of one name can be compared."""
    digest = hashlib.sha256()
    for name in (hparams_file, WEIGHTS_FILE):
        with open(Path(folder, name), "rb") as file:
            digest.update(sha_fileobj(file))
    if overrides:
        digest.update(repr(overrides).encode())
    return digest.hexdigest()[:16]


def _with_present_names(text):
    """Returns a bundle's YAML in which names of earlier versions are replaced by today's."""
    return text.replace("!new:speechbrain_fv.readers.", "!new:speechbrain_fv.data.readers.")


def _trusting(text, path, overrides, must_match):
    try:
        return load_hyperpyyaml(text, overrides, must_match)
    except Exception as error:  # a trusted YAML may run anything
        raise ValueError(f"{path}: {error}") from error


def _checked(text, path, overrides, must_match):
    """Returns the root node of a YAML, checked as it is and again with its overrides."""
    root = check_model_yaml(text, str(path))
    if not overrides:
        return root
    try:  # of what was checked, written out again, so that no second parser reads the file
        text = resolve_references(yaml.serialize(root), overrides, must_match).getvalue()
    except Exception as error:  # overrides of any kind, which the caller wrote
        raise ValueError(f"{path}: overrides: {in_one_line(error)}") from error
    return check_model_yaml(text, f"{path} with overrides")


def _check_width(hparams, config, path):
    width, expected = hparams.get("embedding_dim"), config["embedding_dim"]
    if width != expected:
        raise ValueError(
            f"{path}: embedding_dim: expected {expected} as in {CONFIG_FILE}, got "
            f"{in_one_line(repr(width))}"
        )


def _num_bytes(path):
    return path.stat().st_size if path.is_file() else 0


def _modules(hparams, path):
    modules = hparams.get("modules")
    if not isinstance(modules, dict) or set(modules) != set(MODULES):
        raise ValueError(f"{path}: modules: expected a mapping with {', '.join(MODULES)}")
    for name, module in modules.items():
        if not isinstance(module, torch.nn.Module):
            raise ValueError(f"{path}: {name}: expected a torch module, got {_kind(module)}")
    _check_parts(modules.values(), path)
    return {name: modules[name] for name in MODULES}


def _check_parts(modules, path):
    try:
        check_parts(modules)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _score(hparams, config, path):
    """Returns the score of a model: the one that its YAML and its configuration name."""
    score = hparams.get("score", Cosine())
    if not isinstance(score, Score):
        raise ValueError(
            f"{path}: score: expected one of speechbrain_fv.scores, got {_kind(score)}"
        )
    _check_parts([score], path)
    name = config.get("score", Cosine().name)
    if score.name != name:
        raise ValueError(
            f"{path}: score: expected {in_one_line(name)} as in {CONFIG_FILE}, got "
            f"{in_one_line(score.name)}"
        )
    able = score.unable("verification") is None
    if able != (config["calibration"] is not None):
        raise ValueError(
            f"{path}: score: {in_one_line(score.name)} {'needs a' if able else 'has no'} "
            f"calibration in {CONFIG_FILE}"
        )
    return score


def _try_score(score, embedding_dim, path):
    """Raises ValueError unless a score compares embeddings of the width K."""
    clip = torch.linspace(-1, 1, embedding_dim, dtype=torch.float64).cos()[None]
    try:
        if isinstance(score, CandidateScore):
            candidates = clip[:, None].expand(-1, score.num_candidates, -1)
            for direction in score.directions:
                score.rank(clip, candidates, direction)
        else:
            score.pairs(clip, clip)
            score.table(clip, clip)
    except Exception as error:  # whatever networks raise that do not fit their inputs
        raise ValueError(f"{path}: score: {in_one_line(error)}") from error


def _check_device(modules, path):
    """Raises ValueError if the YAML puts a tensor elsewhere than where it is made by default."""
    for name, module in modules.items():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.device.type != "cpu":
                raise ValueError(
                    f"{path}: {name}: expected all of it on the CPU, got {tensor.device}; whoever "
                    "loads the model chooses the device"
                )


def _readers(hparams, config, path):
    """Returns the readers of images and speech that the configuration asks for."""
    readers = {}
    for modality, (name, reader) in zip(MODALITIES, READERS.items(), strict=True):
        found = hparams.get(name)
        if config[f"{modality}_input"] == "vector":
            if found is not None:
                raise ValueError(f"{path}: {name}: expected none for vectors, got {_kind(found)}")
            continue
        readers[name] = found
        if not isinstance(found, reader):
            raise ValueError(f"{path}: {name}: expected a {reader.__name__}, got {_kind(found)}")
        for size, most in MAX_SIZES.items():
            if not 0 < getattr(found, size, 1) <= most:
                raise ValueError(f"{path}: {name}: expected {size} from 1 to {most}")
    rate = readers["voice_reader"].sample_rate if "voice_reader" in readers else None
    if rate != config["sample_rate"]:
        raise ValueError(
            f"{path}: sample_rate: expected {config['sample_rate']} as in {CONFIG_FILE}, got {rate}"
        )
    return readers


def _kind(found):
    return "nothing" if found is None else f"a {type(found).__name__}"


@torch.no_grad()
def _try_out(modality, modules, readers, embedding_dim, path):
    """Raises ValueError unless a face or a voice becomes one finite embedding (1, K)."""
    encoder, reader = modules[f"{modality}_encoder"], readers.get(f"{modality}_reader")
    if reader is None:
        shape = (getattr(getattr(encoder, "network", None), "input_dim", None),)
        if shape == (None,):
            return  # the network does not tell the width of its vectors
    elif modality == "face":
        shape = 3, reader.image_size, reader.image_size
    else:
        shape = (reader.num_samples,)
    try:
        clip = torch.linspace(-1, 1, math.prod(shape)).sin().view(1, *shape)
        lens = (torch.ones(1),) if modality == "voice" else ()
        embedding = modules["cmwr"](encoder(clip, *lens))
        if embedding.shape != (1, embedding_dim):
            raise ValueError(
                f"expected the shape (1, {embedding_dim}), got {tuple(embedding.shape)}"
            )
        if not embedding.isfinite().all():
            raise ValueError("it holds NaN or infinity")
    except Exception as error:  # networks that do not fit their inputs raise errors of many kinds
        raise ValueError(
            f"{path}: no embedding of a {modality} comes of it ({in_one_line(error)})"
        ) from error
