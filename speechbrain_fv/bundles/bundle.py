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
from speechbrain_fv.bundles.safe_yaml import check_model_yaml, construct
from speechbrain_fv.bundles.weights import check_weights, load_weights
from speechbrain_fv.readers import ImageReader, SpeechReader

MODULES = ("face_encoder", "voice_encoder", "cmwr")
READERS = ("face_reader", "voice_reader")
MAX_SIZES = {"image_size": 2048, "resize": 4096, "num_samples": 10**7, "sample_rate": 10**6}
"""Of the readers: pixels, samples, Hz; more would fill the memory with a single clip."""

FORMAT = 1


class Bundle(NamedTuple):
    """A published model, read back.

    modules : dict of str to torch.nn.Module, with the names of `MODULES`
    readers : dict of str to reader, with the names of `READERS`; empty for precomputed vectors
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
        If a file is missing or unusable, the YAML names what is not allowed, or the weights are
        not exactly those of its modules.
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
        check_weights(_modules(construct(root, str(path), "meta"), path), weights)
        hparams = construct(root, str(path))
    modules = _modules(hparams, path)
    if hparams.get("embedding_dim") != config["embedding_dim"]:
        raise ValueError(
            f"{path}: embedding_dim: expected {config['embedding_dim']} as in {CONFIG_FILE}, got "
            f"{hparams.get('embedding_dim')!r}"
        )
    load_weights(modules, weights)
    return Bundle(
        modules,
        _readers(hparams, config, path),
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
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a readable JSON ({error})") from error
    for name, (valid, expected) in _EXPECTED.items():
        value = config.get(name) if isinstance(config, dict) else None
        if not valid(value):
            raise ValueError(f"{path}: {name}: expected {expected}, got {value!r}"[:500])
    config["calibration"] = {key: float(config["calibration"][key]) for key in Calibration._fields}
    return config


def _is_calibration(value):
    return (
        isinstance(value, dict)
        and all(
            isinstance(value.get(key), int | float) and math.isfinite(value[key])
            for key in Calibration._fields
        )
        and value["slope"] >= 0
        and abs(value["threshold"]) <= 1
    )


def _is_count(value):
    return type(value) is int and 0 < value <= 10**6


_EXPECTED = {
    "format": (lambda value: value == FORMAT, f"{FORMAT}; update speechbrain_fv to read others"),
    "name": (lambda value: isinstance(value, str), "a text"),
    "embedding_dim": (_is_count, "a number of dimensions"),
    "face_input": (lambda value: value in ("image", "vector"), "'image' or 'vector'"),
    "voice_input": (lambda value: value in ("speech", "vector"), "'speech' or 'vector'"),
    "sample_rate": (lambda value: value is None or _is_count(value), "a rate in Hz, or null"),
    "remove_silence": (lambda value: isinstance(value, bool), "true or false"),
    "calibration": (_is_calibration, "a finite slope, intercept and threshold"),
    "error_rates": (lambda value: isinstance(value, dict), "error rates by stratum"),
}


def _read_text(path):
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise ValueError(f"{path}: expected at most {MAX_TEXT_BYTES} bytes")
        return path.read_text(encoding="utf-8")
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


def _modules(hparams, path):
    modules = hparams.get("modules")
    if not isinstance(modules, dict) or set(modules) != set(MODULES):
        raise ValueError(f"{path}: modules: expected a mapping with {', '.join(MODULES)}")
    for name, module in modules.items():
        if not isinstance(module, torch.nn.Module):
            raise ValueError(f"{path}: {name}: expected a torch module, got {module!r}"[:500])
    return {name: modules[name] for name in MODULES}


def _readers(hparams, config, path):
    """Returns the readers of images and speech that the configuration asks for."""
    names = [
        name
        for name, kind in zip(READERS, (config["face_input"], config["voice_input"]), strict=True)
        if kind != "vector"
    ]
    for name in names:
        if not isinstance(hparams.get(name), ImageReader | SpeechReader):
            raise ValueError(f"{path}: {name}: expected a reader, got {hparams.get(name)!r}"[:500])
        for size, most in MAX_SIZES.items():
            if not 0 < getattr(hparams[name], size, 1) <= most:
                raise ValueError(f"{path}: {name}: expected {size} from 1 to {most}")
    return {name: hparams[name] for name in names}
