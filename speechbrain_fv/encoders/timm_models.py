"""Face networks of timm, with their weights and what these say of the images they take."""

import difflib
import math
from pathlib import Path

import timm
from timm.data import resolve_model_data_config
from timm.models import load_model_config_from_hf, parse_model_name
from timm.models._hub import load_model_config_from_path

from speechbrain_fv.encoders.common import load_strictly

IMAGES = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")
"""What timm's configurations say of images; `input_size` is channels, height and width."""

OF_CORPUS = "corpus"


def timm_network(model, checkpoint=None, pretrained=False, images=None, model_args=None):
    """Returns a timm model without its classifier; nothing is downloaded unless asked for.

    Arguments
    ---------
    model : str
        Any name that `timm.list_models()` knows, with or without the tag of its weights, such as
        resnet34 or vit_base_patch32_clip_224.openai; or, with `pretrained`, ``hf-hub:owner/name``
        of the Hugging Face hub, or ``local-dir:folder`` as timm's ``save_for_hf`` writes it.
    checkpoint : str, optional
        Local file of weights (.safetensors, .pth), or such a folder; a classifier is left out.
    pretrained : bool
        Whether to take the weights that the name stands for, from the hub or, with
        HF_HUB_OFFLINE=1, from the hub's cache.
    images : str or dict, optional
        How images are read: by default as the weights say, or "corpus", as the corpus says. A
        mapping replaces some of the `IMAGES` that the weights say. Without weights it is "corpus".
    model_args : dict, optional
        Further arguments of the model, such as img_size.

    Returns
    -------
    network : torch.nn.Module
        Images (B, 3, H, W) -> features (B, network.head_hidden_size). Its `image_settings` are
        arguments of an `ImageReader`, or None for those of the corpus.

    Raises
    ------
    ValueError
        If timm has no such model, the weights are not to be had or of another network, or they ask
        for images of another kind.

    Example
    -------
    >>> network = timm_network("test_vit", images={"mean": [0.1, 0.2, 0.3]})
    >>> network.image_settings["image_size"], network.image_settings["mean"]
    (160, [0.1, 0.2, 0.3])
    """
    images = _checked_images(images)
    args = dict(model_args or {})
    source = _source(model)
    if source and not (pretrained or checkpoint):
        raise ValueError(
            f"face model: {model} names weights; add pretrained: True, which may download them"
        )
    if source and checkpoint:
        raise ValueError(f"face model: expected {model} or a checkpoint, got both")
    if pretrained and checkpoint:
        raise ValueError("face model: expected pretrained or a checkpoint, got both")
    folder = f"local-dir:{checkpoint}" if checkpoint and Path(checkpoint).is_dir() else None
    if folder:
        _check_architecture(model, checkpoint)
    wanted = folder or model
    if not source:
        _check_known(model)
    if isinstance(images, dict) and "input_size" in images:
        args |= _sized(wanted, images["input_size"][1], source or folder)
    network = _created(wanted, bool(source or folder or pretrained), args)
    if checkpoint and not folder:
        _load(network, checkpoint)
    has_weights = bool(source or pretrained or checkpoint)
    network.image_settings = None
    if isinstance(images, dict) or (has_weights and images != OF_CORPUS):
        network.image_settings = image_settings(network, images or {})
    return network


def image_settings(network, images=None):
    """Returns the arguments of an `ImageReader` that a timm model's configuration asks for.

    Arguments
    ---------
    network : torch.nn.Module
        Of timm.
    images : dict, optional
        Replaces entries of its configuration.

    Raises
    ------
    ValueError
        If images are not square, not of three channels, or cut out in another way than offered.
    """
    config = {**resolve_model_data_config(network), **(images or {})}
    built_for = getattr(getattr(network, "patch_embed", None), "img_size", None)
    if built_for and "input_size" not in (images or {}):  # the configuration may not know
        config["input_size"] = config["input_size"][0], *built_for
    channels, height, width = config["input_size"]
    if channels != 3 or height != width:
        raise ValueError(
            f"face model: expected one that takes square images of 3 channels, got "
            f"{tuple(config['input_size'])}; set images: {{input_size: [3, N, N]}}, or take another"
        )
    if config["crop_mode"] not in ("center", "squash"):
        raise ValueError(
            f"face model: its images are cut in the mode {config['crop_mode']!r}, expected center "
            "or squash; set images: {crop_mode: center}"
        )
    return {
        "image_size": int(height),
        "resize": math.floor(height / config["crop_pct"]),
        "mean": [float(value) for value in config["mean"]],
        "std": [float(value) for value in config["std"]],
        "interpolation": config["interpolation"],
        "crop": config["crop_mode"],
    }


def describe_model(model, checkpoint=None):
    """Returns the name and arguments by which timm makes a model without any source.

    Arguments
    ---------
    model, checkpoint
        As for `timm_network`.

    Returns
    -------
    name : str
    model_args : dict

    Raises
    ------
    ValueError
        If the source is not there.
    """
    source = _source(model)
    if source is None and not (checkpoint and Path(checkpoint).is_dir()):
        return model, {}
    place = parse_model_name(model)[1] if source else checkpoint
    try:
        read = load_model_config_from_hf if source == "hf-hub" else load_model_config_from_path
        _, name, args = read(place)
    except Exception as error:  # of the hub's client, of many kinds
        raise ValueError(f"{place}: the model's config.json is not to be had ({error})") from error
    return name, dict(args or {})


def _source(model):
    """Returns "hf-hub" or "local-dir" of a name with a source, else None."""
    if ":" not in model:
        return None
    try:
        return parse_model_name(model)[0]
    except ValueError as error:
        raise ValueError(f"face model: {error}") from error


def _check_known(model):
    if not timm.is_model(model):
        if "/" in model:
            raise ValueError(
                f"face model: timm knows no {model!r}; write hf-hub:{model} for one of the hub, or "
                f"local-dir:{model} for a folder, with pretrained: True"
            )
        close = difflib.get_close_matches(model, timm.list_models(), n=5)
        raise ValueError(f"face model: timm knows no {model!r}; similar ones: {close}")


def _check_architecture(model, folder):
    found, _ = describe_model(model, folder)
    if model.split(".")[0] != found.split(".")[0]:
        raise ValueError(
            f"{folder}: holds the weights of {found}, the model is {model}; set model: {found}"
        )


def _sized(model, size, has_source):
    """Returns the argument that makes a network for images of another size, where it needs one."""
    name = describe_model(model)[0] if has_source else model
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return {"img_size": size} if config and config.fixed_input_size else {}


def _created(model, pretrained, args):
    try:
        return timm.create_model(model, pretrained=pretrained, num_classes=0, **args)
    except Exception as error:  # of timm, of torch and of the hub's client, of many kinds
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if not pretrained:
            raise ValueError(f"face model: timm makes no {model} ({reason})") from error
        raise ValueError(
            f"face model: no weights of {model} ({reason}); a network connection, with "
            "HF_HUB_OFFLINE=1 the hub's cache, or a local file as checkpoint has them"
        ) from error


def _load(network, checkpoint):
    if not Path(checkpoint).is_file():
        raise ValueError(f"face checkpoint: no file {checkpoint}")
    try:
        state = timm.models.load_state_dict(checkpoint, weights_only=True)
    except Exception as error:  # of torch, pickle and safetensors
        raise ValueError(f"{checkpoint}: no file of weights ({error})") from error
    heads = network.default_cfg["classifier"] or ()
    heads = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    kept = {key: value for key, value in state.items() if not key.startswith(heads)}
    try:
        load_strictly(network, kept, checkpoint)
    except RuntimeError as error:  # shapes
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{checkpoint}: not the weights of this network; {reason}") from error


def _checked_images(images):
    if images is None or images == OF_CORPUS:
        return images
    if not isinstance(images, dict):
        raise ValueError(f"images: expected 'corpus' or a mapping, got {images!r}")
    for name in images:
        if name not in IMAGES:
            raise ValueError(f"images: expected {', '.join(IMAGES)}, got {name!r}")
    size = images.get("input_size")
    if size is not None and not (isinstance(size, list | tuple) and len(size) == 3):
        raise ValueError(f"images: expected input_size as [3, height, width], got {size!r}")
    return dict(images)
