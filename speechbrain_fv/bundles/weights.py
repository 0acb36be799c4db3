"""The weights of a bundle: one safetensors file, loaded strictly."""

import os
from contextlib import contextmanager

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch.nn.parameter import is_lazy

from speechbrain_fv.files import replacing
from speechbrain_fv.messages import in_one_line

NUM_NAMED = 3  # keys a message names

MAX_HEADER_BYTES = 4_000_000
"""Of names, types and shapes; a tensor's takes about a hundred, and much more in memory."""


def save_weights(modules, path):
    """Writes weights and buffers of modules, whole or not at all.

    Arguments
    ---------
    modules : dict of str to torch.nn.Module
        The names become the first part of the keys.
    path : path
        A .safetensors file.
    """
    state = {key: value.detach().cpu().clone() for key, value in _state(path, modules).items()}
    with replacing(path) as file:
        file.write(to_bytes(state, metadata={"format": "pt"}))


def check_weights(modules, path):
    """Raises ValueError unless the header of a file lists the weights of the modules.

    Arguments and errors are those of `load_weights`; the modules may be on the meta device, and no
    weight is read.
    """
    with _opened(path) as file:
        _check_header(path, _state(path, modules), file)


def load_weights(modules, path):
    """Puts the weights of a file into modules: all of them, and nothing else.

    Arguments
    ---------
    modules : dict of str to torch.nn.Module
    path : path
        A .safetensors file; pickles are never read.

    Raises
    ------
    ValueError
        If the file is absent, truncated or no safetensors, a weight is missing, extra, of another
        shape or type, or not finite.

    Example
    -------
    >>> path = getfixture("tmp_path") / "model.safetensors"
    >>> layer = torch.nn.Linear(2, 1)
    >>> save_weights({"layer": layer}, path)
    >>> load_weights({"layer": layer}, path)
    """
    wanted = _state(path, modules)
    with _opened(path) as file:
        _check_header(path, wanted, file)
        for key, own in wanted.items():
            _copy(path, key, own, file.get_tensor(key))


@contextmanager
def _opened(path):
    try:
        _check_header_size(path)
        with safe_open(os.fspath(path), framework="pt", device="cpu") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{path}: not a readable safetensors file ({error}); fetch or export the model again"
        ) from error


def _check_header_size(path):
    if os.path.getsize(path) < 8:
        return
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > MAX_HEADER_BYTES:
        raise ValueError(
            f"{path}: not a readable safetensors file of a model (its header has {size:,} bytes, "
            f"expected at most {MAX_HEADER_BYTES:,})"
        )


def _state(path, modules):
    state = {
        f"{name}.{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    for key, value in state.items():
        if not isinstance(value, torch.Tensor) or is_lazy(value):
            key = in_one_line(key)
            raise ValueError(f"{path}: {key}: expected a weight whose shape the YAML tells")
    return state


def _check_header(path, wanted, file):
    """Raises ValueError where the names or shapes in a file are not those of the model."""
    found = set(file.keys())
    if found != set(wanted):
        missing, extra = sorted(set(wanted) - found), sorted(found - set(wanted))
        raise ValueError(
            f"{path}: not the weights of this model; missing {in_one_line(missing[:NUM_NAMED])}, "
            f"extra {in_one_line(extra[:NUM_NAMED])} ({len(missing)} and {len(extra)} in all)"
        )
    for key, own in wanted.items():
        shape = tuple(file.get_slice(key).get_shape())
        if shape != tuple(own.shape):
            raise ValueError(
                f"{path}: {in_one_line(key)} has the shape {shape}, the model's is "
                f"{tuple(own.shape)}"
            )


def _copy(path, key, own, value):
    key = in_one_line(key)
    if value.dtype != own.dtype:
        raise ValueError(f"{path}: {key} is {value.dtype}, the model's is {own.dtype}")
    if not torch.isfinite(value).all():
        raise ValueError(f"{path}: {key} holds NaN or infinity")
    with torch.no_grad():
        own.copy_(value)
