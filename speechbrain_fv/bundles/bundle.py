"""A published model, read back."""

import hashlib
import json
import math
from pathlib import Path
from typing import NamedTuple

import torch
from huggingface_hub.utils.sha import sha_fileobj
from hyperpyyaml import load_hyperpyyaml

from speechbrain_fv.bundles.calibration import Calibration
from speechbrain_fv.bundles.layout import (
    CONFIG_FILE,
    FILES,
    HPARAMS_FILE,
    MAX_TEXT_BYTES,
    WEIGHTS_FILE,
)
from speechbrain_fv.bundles.messages import in_one_line
from speechbrain_fv.bundles.safe_yaml import check_model_yaml, construct, sketch
from speechbrain_fv.bundles.sketch import SPARE_ELEMENTS, check_parts
from speechbrain_fv.bundles.weights import check_weights, load_weights
from speechbrain_fv.readers import ImageReader, SpeechReader

MODULES = ("face_encoder", "voice_encoder", "cmwr")
MODALITIES = ("face", "voice")
READERS = {"face_reader": ImageReader, "voice_reader": SpeechReader}
MAX_SIZES = {"image_size": 2048, "resize": 4096, "num_samples": 10**7, "sample_rate": 10**6}
"""Of the readers: pixels, samples, Hz; more would fill the memory with a single clip."""

MAX_LOG_ODDS = 10**6
"""Of the calibration's line; probabilities are 0 or 1 far below."""

FORMAT = 1


class Bundle(NamedTuple):
    """A published model, read back.

    modules : dict of str to torch.nn.Module, with the names of `MODULES`
    readers : dict of str to reader, with the names of `READERS`; none for precomputed vectors
    config : dict, see `read_config`
    calibration : Calibration
    version : str, the first 16 hexadecimal digits of a hash over YAML and weights
    """

    modules: dict
    readers: dict
    config: dict
    calibration: Calibration
    version: str


def load_bundle(folder, trust_remote_code=False):
    """Returns the `Bundle` in a folder; nothing of it is run unless the caller trusts it.

    Arguments
    ---------
    folder : path
    trust_remote_code : bool
        Whether the YAML may run whatever it names, as SpeechBrain's own loading does.

    Returns
    -------
    Bundle

    Raises
    ------
    ValueError
        If a file is missing or unusable, the YAML names what is not allowed, the weights are not
        exactly those of its modules, or the encoders do not give embeddings of the width K.
    """
    folder = Path(folder)
    config = read_config(folder / CONFIG_FILE)
    path, weights = folder / HPARAMS_FILE, folder / WEIGHTS_FILE
    text = _read_text(path)
    if trust_remote_code:
        hparams = _trusting(text, path)
    else:
        root = check_model_yaml(text, str(path))
        # First without memory: a few characters can ask for more than any machine has.
        max_elements = SPARE_ELEMENTS + _num_bytes(weights)  # a weight takes at least one
        check_weights(_modules(sketch(root, str(path), max_elements), path), weights)
        hparams = construct(root, str(path))
    modules = _modules(hparams, path)
    if hparams.get("embedding_dim") != config["embedding_dim"]:
        raise ValueError(
            f"{path}: embedding_dim: expected {config['embedding_dim']} as in {CONFIG_FILE}, got "
            f"{hparams.get('embedding_dim')!r}"
        )
    load_weights(modules, weights)
    readers = _readers(hparams, config, path)
    for modality in MODALITIES:
        _try_out(modality, modules, readers, config["embedding_dim"], path)
    return Bundle(
        modules,
        readers,
        config,
        Calibration(**config["calibration"]),
        model_version(folder),
    )


def model_version(folder):
    """Returns a name for a bundle's YAML and weights: embeddings of equal names can be compared."""
    digest = hashlib.sha256()
    for name in (HPARAMS_FILE, WEIGHTS_FILE):
        with open(Path(folder, name), "rb") as file:
            digest.update(sha_fileobj(file))
    return digest.hexdigest()[:16]


def read_config(path):
    """Returns the content of a config.json, checked.

    Returns
    -------
    config : dict
        ``format``, ``name`` (str), ``embedding_dim`` (K), ``face_input`` ("image" or "vector"),
        ``voice_input`` ("speech" or "vector"), ``sample_rate`` in Hz, ``remove_silence`` (bool),
        ``calibration`` (``slope``, ``intercept``, ``threshold``), ``error_rates`` (by stratum),
        ``training_data`` and what else the export noted.

    Raises
    ------
    ValueError
        If it is no JSON, of another format, or a value is missing or out of range.
    """
    text = _read_text(path)
    try:
        config = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a readable JSON ({error})") from error
    for name, (valid, expected) in _EXPECTED.items():
        value = config.get(name) if isinstance(config, dict) else None
        if not valid(value):
            got = f"a {type(value).__name__}" if isinstance(value, dict | list) else repr(value)
            raise ValueError(f"{path}: {name}: expected {expected}, got {in_one_line(got)}")
    config["calibration"] = {key: float(config["calibration"][key]) for key in Calibration._fields}
    return config


def _refuse_constant(name):
    raise ValueError(f"{name} is no number of JSON")


def _is_number(value, least, most):
    return type(value) in (int, float) and least <= value <= most


def _is_calibration(value):
    return (
        isinstance(value, dict)
        and _is_number(value.get("slope"), 0, MAX_LOG_ODDS)
        and _is_number(value.get("intercept"), -MAX_LOG_ODDS, MAX_LOG_ODDS)
        and _is_number(value.get("threshold"), -1, 1)
    )


def _are_error_rates(value):
    return isinstance(value, dict) and all(
        rates is None or _are_rates(rates) for rates in value.values()
    )


def _are_rates(value):
    return isinstance(value, dict) and all(
        _is_rate(value.get(name)) and _is_interval(value.get(f"{name}_interval"))
        for name in ("false_accept", "false_reject")
    )


def _is_rate(value):
    return value is None or _is_number(value, 0, 1)


def _is_interval(value):
    return value is None or (
        isinstance(value, list) and len(value) == 2 and all(map(_is_rate, value))
    )


def _is_count(value):
    return type(value) is int and 0 < value <= 10**6


def _is_name(value):
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= 200


_EXPECTED = {
    "format": (lambda value: value == FORMAT, f"{FORMAT}; update speechbrain_fv to read others"),
    "name": (_is_name, "a text of one line, at most 200 characters"),
    "embedding_dim": (_is_count, "a number of dimensions"),
    "face_input": (lambda value: value in ("image", "vector"), "'image' or 'vector'"),
    "voice_input": (lambda value: value in ("speech", "vector"), "'speech' or 'vector'"),
    "sample_rate": (lambda value: value is None or _is_count(value), "a rate in Hz, or null"),
    "remove_silence": (lambda value: isinstance(value, bool), "true or false"),
    "calibration": (_is_calibration, "a finite slope, intercept and threshold"),
    "error_rates": (_are_error_rates, "error rates by stratum"),
}


def _read_text(path):
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise ValueError(f"{path}: expected at most {MAX_TEXT_BYTES} bytes")
        return path.read_text(encoding="utf-8-sig")  # some editors write a byte order mark
    except FileNotFoundError:
        raise ValueError(
            f"{path}: not found; a bundle has the files {', '.join(FILES)}, and recipes/publish.py "
            "makes one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error


def _trusting(text, path):
    try:
        return load_hyperpyyaml(text)
    except Exception as error:  # whatever the YAML runs may raise
        raise ValueError(f"{path}: {error}") from error


def _num_bytes(path):
    return path.stat().st_size if path.is_file() else 0


def _modules(hparams, path):
    modules = hparams.get("modules")
    if not isinstance(modules, dict) or set(modules) != set(MODULES):
        raise ValueError(f"{path}: modules: expected a mapping with {', '.join(MODULES)}")
    for name, module in modules.items():
        if not isinstance(module, torch.nn.Module):
            raise ValueError(f"{path}: {name}: expected a torch module, got {_kind(module)}")
    try:
        check_parts(modules.values())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return {name: modules[name] for name in MODULES}


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
            return  # a network of another kind, whose vectors have a width nobody tells
    elif modality == "face":
        shape = 3, reader.image_size, reader.image_size
    else:
        shape = (reader.num_samples,)
    clip = torch.linspace(-1, 1, math.prod(shape)).sin().view(1, *shape)
    states = [(part, part.training) for module in modules.values() for part in module.modules()]
    for part, _ in states:
        part.training = False
    try:
        lens = (torch.ones(1),) if modality == "voice" else ()
        embedding = modules["cmwr"](encoder(clip, *lens))
        if embedding.shape != (1, embedding_dim):
            raise ValueError(
                f"expected the shape (1, {embedding_dim}), got {tuple(embedding.shape)}"
            )
        if not embedding.isfinite().all():
            raise ValueError("it holds NaN or infinity")
    except Exception as error:  # whatever networks raise that do not fit their inputs
        raise ValueError(
            f"{path}: no embedding of a {modality} comes of it ({in_one_line(error)})"
        ) from error
    finally:
        for part, training in states:
            part.training = training
