"""From the output folder of a training to a bundle: the best checkpoint, and what it is worth."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import torch
import yaml

from speechbrain_fv.bundles.bundle import MODULES, READERS, model_version
from speechbrain_fv.bundles.config import CAUTIONS, FORMAT
from speechbrain_fv.bundles.layout import (
    CODE_FILE,
    CONFIG_FILE,
    HPARAMS_FILE,
    REPORT_FILE,
    WEIGHTS_FILE,
)
from speechbrain_fv.bundles.safe_yaml import (
    FETCHING,
    PRETRAINER,
    REMEDY,
    check_model_yaml,
    construct,
)
from speechbrain_fv.bundles.weights import save_weights
from speechbrain_fv.data.manifests import load_manifests
from speechbrain_fv.encoders import OnnxNetwork
from speechbrain_fv.encoders.timm_models import describe_model
from speechbrain_fv.evaluation.calibration import error_rates, fit_calibration
from speechbrain_fv.evaluation.embeddings import load_embeddings
from speechbrain_fv.evaluation.report import load_metadata, load_report
from speechbrain_fv.files import replacing
from speechbrain_fv.scores import Cosine, Score, is_cosine
from speechbrain_fv.training.checkpoints import AtomicCheckpointer

NEEDED = (
    *("hyperparams.yaml", "report.json", "embeddings_valid.npz", "embeddings_test.npz"),
    *("metadata_test.csv", "manifests", "save"),
)
"""What a finished training leaves in its output folder, and the export reads."""


def export_bundle(run_folder, bundle_folder, name, encoders=None):
    """Writes a bundle without its card, and returns its configuration.

    Arguments
    ---------
    run_folder : path
        Output folder of recipes/train.py.
    bundle_folder : path
        An existing folder.
    name : str
        Of the model, such as "owner/name".
    encoders : NamedEncoders, optional
        Those that the precomputed vectors of the training came from, checked.

    Returns
    -------
    config : dict
        The content of config.json.

    Raises
    ------
    ValueError
        If the training is not finished, or its model cannot be loaded without running code that
        the YAML names.
    """
    run_folder, bundle_folder = Path(run_folder), Path(bundle_folder)
    for needed in NEEDED:
        if not (run_folder / needed).exists():
            raise ValueError(
                f"{run_folder}: no {needed}; expected the output folder of a finished training. "
                "The training command, given again, completes it"
            )
    parts = _model_parts(run_folder / HPARAMS_FILE)
    if encoders is not None:
        encoders.put_into(parts)
    text = yaml.serialize(_selection(parts), width=100)
    try:
        hparams = construct(check_model_yaml(text, HPARAMS_FILE), HPARAMS_FILE)
    except ValueError as error:
        reason = str(error).removesuffix(f"; {REMEDY}")
        raise ValueError(
            f"{run_folder}: its model cannot be published, since nobody could load it without "
            f"running what it names: {reason}; take a class of speechbrain_fv, or share the code "
            "and the training's folder"
        ) from error
    score = hparams.get("score", Cosine())
    if not isinstance(score, Score):
        raise ValueError(f"{run_folder}: score: expected one of speechbrain_fv.scores")
    modules = dict(hparams["modules"])
    if score.state_dict():
        modules["score"] = score
    _load_best_checkpoint(modules, run_folder / "save", encoders)
    with replacing(bundle_folder / HPARAMS_FILE) as file:
        file.write(text.encode())
    save_weights(modules, bundle_folder / WEIGHTS_FILE)
    report = load_report(run_folder)
    with replacing(bundle_folder / REPORT_FILE) as file:
        file.write(json.dumps(report, allow_nan=False, indent=1).encode())
    data = _training_data(run_folder)
    caution = CAUTIONS.get(data["corpus"])
    config = {
        "format": FORMAT,
        "name": name,
        **({"caution": caution} if caution else {}),
        "speechbrain_interface": "FaceVoiceAssociation",  # by which the hub tells models apart
        "package": f"speechbrain_fv {version('speechbrain-fv')}",
        **_inputs(hparams, run_folder),
        **_calibrated(run_folder, score),
        "training_data": data,
        **(encoders.facts if encoders else {}),
        "version": model_version(bundle_folder),
    }
    shutil.copyfile(Path(__file__).with_name(CODE_FILE), bundle_folder / CODE_FILE)
    with replacing(bundle_folder / CONFIG_FILE) as file:
        file.write(json.dumps(config, allow_nan=False, indent=2).encode())
    return config


def _model_parts(path):
    """Returns the nodes of a run's YAML by name; nothing is constructed."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
        parts = {key.value: value for key, value in root.value}
        parts["corpus"] = {key.value: value for key, value in parts["corpus"].value}
    except (yaml.YAMLError, AttributeError, KeyError, OSError) as error:
        raise ValueError(f"{path}: not the settings of a training ({error})") from error
    return parts


def _selection(parts):
    """Returns the node of a bundle's YAML: the model and its readers, nothing of the training."""
    _describe_source(parts["voice_encoder"])
    _describe_timm(parts["face_encoder"])
    for name in ("face_encoder", "voice_encoder"):
        _describe_onnx(parts[name])
    for node in (parts[name] for name in MODULES):
        _without_sources(node)
    modules = _mapping({name: parts[name] for name in MODULES})
    readers = {
        name: parts["corpus"][name] for name in READERS if not _reads_vectors(parts["corpus"][name])
    }
    chosen = {name: parts[name] for name in ("embedding_dim", *MODULES)}
    if "score" in parts and not _is_cosine(parts["score"]):
        _without_sources(parts["score"])
        chosen["score"] = parts["score"]
    loadables = {name: chosen[name] for name in (*MODULES, "score") if name in chosen}
    pretrainer = _mapping({"loadables": _mapping(loadables)}, f"!new:{PRETRAINER}")
    return _mapping(chosen | readers | {"modules": modules, "pretrainer": pretrainer})


def _is_cosine(node):
    """Whether a node is the score that a bundle without one has."""
    return node.tag == "!new:speechbrain_fv.scores.Cosine" and not node.value


def _mapping(nodes, tag="tag:yaml.org,2002:map"):
    return yaml.MappingNode(tag, [(_text(name), node) for name, node in nodes.items()])


def _text(value):
    return yaml.ScalarNode("tag:yaml.org,2002:str", value)


def _reads_vectors(node):
    return node.tag.endswith("EmbeddingReader")


def _describe_source(node):
    """Replaces networks that SpeechBrain fetches with transformers by ones of the same sizes."""
    if not isinstance(node, yaml.MappingNode):
        return
    if node.tag not in _FETCHED:
        for _, value in node.value:
            _describe_source(value)
        return
    options = {key.value: value.value for key, value in node.value}
    if options.get("output_all_hiddens", "false").lower() != "false":
        raise ValueError("a voice network with output_all_hiddens cannot be published")
    from speechbrain_fv.encoders.transformer import describe_source

    try:
        description = describe_source(options["source"], options["save_path"])
    except OSError as error:
        raise ValueError(
            f"{options['source']}: expected the source that the training's voice network came "
            f"from, whose sizes a published model needs ({error}); publish where the training ran"
        ) from error
    kept = [pair for pair in node.value if pair[0].value == "output_norm"]
    node.tag = "!new:speechbrain_fv.encoders.transformer.SpeechTransformer"
    node.value = [*yaml.compose(yaml.safe_dump(description)).value, *kept]


_FETCHED = tuple(
    f"!new:speechbrain.integrations.huggingface.{path}"
    for path in ("wav2vec2.Wav2Vec2", "hubert.HuBERT", "wavlm.WavLM")
)


def _describe_timm(node):
    """Replaces names of the hub and folders by those of timm's own, which need no source."""
    if not isinstance(node, yaml.MappingNode):
        return
    options = {key.value: value for key, value in node.value}
    if node.tag != _TIMM:
        for value in options.values():
            _describe_timm(value)
        return
    given = yaml.SafeLoader("")
    model, checkpoint, args = (
        given.construct_object(options[name], deep=True) if name in options else None
        for name in ("model", "checkpoint", "model_args")
    )
    name, own_args = describe_model(model, checkpoint)
    described = {"model": name, "model_args": own_args | (args or {})}
    described["model_args"].pop("num_classes", None)
    if not described["model_args"]:
        del described["model_args"]
    kept = [(key, value) for key, value in node.value if key.value not in ("model", "model_args")]
    node.value = [*yaml.compose(yaml.safe_dump(described, sort_keys=False)).value, *kept]


def _describe_onnx(node):
    """Adds the sizes without which the network of an ONNX file is not made from its bytes."""
    if not isinstance(node, yaml.MappingNode):
        return
    for _, value in node.value:
        _describe_onnx(value)
    if node.tag == "!new:speechbrain_fv.encoders.OnnxNetwork":
        arguments = yaml.SafeLoader("").construct_mapping(
            yaml.MappingNode("tag:yaml.org,2002:map", node.value), deep=True
        )
        try:
            network = OnnxNetwork(**arguments)
        except ValueError as error:
            raise ValueError(f"{error}; publish where the training ran") from error
        described = {"size": network.size, "num_features": network.num_features}
        kept = [(key, value) for key, value in node.value if key.value not in described]
        node.value = [*kept, *yaml.compose(yaml.safe_dump(described)).value]


_TIMM = "!apply:speechbrain_fv.encoders.timm_network"


def _without_sources(node):
    """Empties the arguments that name other weights: a bundle has its own."""
    if isinstance(node, yaml.MappingNode):
        kept = [(key, value) for key, value in node.value if key.value not in FETCHING]
        node.value = kept
        for _, value in kept:
            _without_sources(value)


def _load_best_checkpoint(modules, save_folder, encoders=None):
    checkpoint = AtomicCheckpointer(save_folder).find_best()
    if checkpoint is None:
        raise ValueError(f"{save_folder}: no checkpoint; train first")
    for name, module in modules.items():
        path = checkpoint.path / f"{name}.ckpt"
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            module.load_state_dict(encoders.state_of(name, state) if encoders else state)
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{path}: not the weights of this run's {name} ({error})") from error


def _inputs(hparams, run_folder):
    """Returns what the model takes, for config.json."""
    face, voice = (hparams.get(name) for name in READERS)
    manifests = load_manifests(run_folder / "manifests")
    voices, asked = manifests.voices["train"], manifests.preparation["options"]
    least = {"min_face_pixels": face, "min_seconds": voice, "min_level_db": voice}
    return {
        "embedding_dim": int(hparams["embedding_dim"]),
        "face_input": "image" if face else "vector",
        "voice_input": "speech" if voice else "vector",
        "image_size": face and face.image_size,
        "face_crop": asked.get("detect") if face else None,
        "sample_rate": voice and voice.sample_rate,
        "clip_seconds": voice and voice.num_samples / voice.sample_rate,
        "remove_silence": bool(voice and (voices.speech != "").any()),
        **{name: asked.get(name) for name, reader in least.items() if reader},
    }


def _calibrated(run_folder, score):
    """Returns the calibration on the validation split and its error rates on the test split.

    Both are None where the score gives a pair none. Another score than the cosine is named.
    """
    name = {} if is_cosine(score) else {"score": score.name}
    if score.unable("verification"):
        return {**name, "calibration": None, "error_rates": None}
    valid = load_embeddings(run_folder / "embeddings_valid.npz")
    calibration = fit_calibration(valid, score)
    rates = error_rates(
        load_embeddings(run_folder / "embeddings_test.npz"),
        load_metadata(run_folder / "metadata_test.csv"),
        calibration.threshold,
        score=score,
    )
    return {**name, "calibration": calibration._asdict(), "error_rates": rates}


def _training_data(run_folder):
    """Returns the name of the corpus and the counts of its splits."""
    preparation = load_manifests(run_folder / "manifests").preparation
    return {"corpus": preparation["corpus"], "splits": preparation["splits"]}
