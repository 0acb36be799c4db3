"""Every YAML loads, fits together, and says nothing that nobody reads."""

import re

import pytest
import torch
from speechbrain.utils.run_opts import RunOptions

from speechbrain_fv.losses import Batch, TrainingSet
from speechbrain_fv.settings.script import load_hparams
from tests.paths import HPARAMS, ROOT

OTHERS = ("ablations.yaml", "evaluate.yaml")
METHODS = sorted(path.name for path in HPARAMS.glob("*.yaml") if path.name not in OTHERS)
INCLUDES = sorted(path.relative_to(HPARAMS) for path in HPARAMS.glob("*/*.yaml"))
SCRIPTS = [ROOT / "recipes" / f"{name}.py" for name in ("ablate", "evaluate", "train")]
SOURCES = "".join(path.read_text() for path in [*SCRIPTS, *(ROOT / "speechbrain_fv").rglob("*.py")])
METHOD_TEXT = "".join((HPARAMS / name).read_text() for name in METHODS)


def keys(text):
    """Top-level keys of a YAML text, less those that hyperpyyaml drops."""
    return [key for key in re.findall(r"^(\w+):", text, re.M) if not key.startswith("__")]


def read_by_scripts(key):
    return re.search(rf'hparams\["{key}"\]|hparams\.{key}\b', SOURCES)


@pytest.mark.parametrize("name", [*METHODS, *OTHERS])
def test_every_key_of_a_method_is_read(name):
    text = (HPARAMS / name).read_text()
    run_options = vars(RunOptions())
    unread = [
        key
        for key in keys(text)
        if f"<{key}" not in text and not read_by_scripts(key) and key not in run_options
    ]
    assert not unread


@pytest.mark.parametrize("path", INCLUDES, ids=str)
def test_every_key_of_an_include_is_read(path):
    text = (HPARAMS / path).read_text()
    slot = {"corpora": "corpus", "protocols": "lists"}.get(path.parent.name, path.parent.name)
    unread = [
        key
        for key in keys(text)
        if f"<{key}>" not in text
        and f"<{slot}[{key}]>" not in METHOD_TEXT
        and not re.search(rf'\["{slot}"\]\["{key}"\]', SOURCES)
        and not (slot == "corpus" and key in ("face_reader", "voice_reader"))  # by f-string
        and not (slot == "lists" and key == "trials")  # by resolve_lists
    ]
    assert not unread


@pytest.mark.parametrize("voice", ["dimnet", "ecapa", "xvector", "resnet"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_builds_with_every_voice(method, voice, tmp_path):
    _, hparams, _ = load_hparams(
        [
            str(HPARAMS / method),
            f"--voice=!include:voice/{voice}.yaml",
            "--face=!include:face/timm.yaml {model: resnet10t}",
            f"--output_folder={tmp_path}",
        ]
    )
    modules = hparams["modules"]
    face = modules["face_encoder"](torch.randn(2, 3, 32, 32))
    voice = modules["voice_encoder"](0.1 * torch.randn(2, 8000), torch.ones(2))
    assert modules["cmwr"](torch.cat([face, voice])).shape == (4, hparams["embedding_dim"])


@pytest.mark.parametrize("num_clusters", [[8], [32], [64], [8, 32], [8, 64], [32, 64], [8, 32, 64]])
def test_every_set_of_q_is_one_override(num_clusters, tmp_path):
    _, hparams, _ = load_hparams(
        [
            str(HPARAMS / "bipcm_fst.yaml"),
            f"--num_clusters={num_clusters}",
            "--face=!include:face/timm.yaml {model: resnet10t}",
            f"--output_folder={tmp_path}",
        ]
    )
    face, voice = torch.randn(2, 64, hparams["embedding_dim"])
    hparams["objective"].build(TrainingSet({"identity": 3}))
    targets = {"identity": torch.arange(64) % 3}
    batch = Batch(face, voice, targets, targets, generator=torch.Generator())
    terms, monitors = hparams["objective"](batch)
    assert {f"agreement_q{q}" for q in num_clusters} < set(monitors)
    assert torch.isfinite(hparams["loss_weights"](terms, 10**6))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "--discriminator=!new:speechbrain_fv.losses.LinearDiscriminator "
            "{embedding_dim: !ref <embedding_dim>, num_clusters: !ref <num_clusters>}",
            "LinearDiscriminator",
        ),
        (
            "--agreement=!new:speechbrain_fv.losses.BilinearAgreement "
            "{embedding_dim: !ref <embedding_dim>, num_clusters: !ref <num_clusters>}",
            "BilinearAgreement",
        ),
    ],
)
def test_the_other_readings_are_one_override(override, expected, tmp_path):
    _, hparams, _ = load_hparams(
        [str(HPARAMS / "bipcm_fst.yaml"), override, f"--output_folder={tmp_path}"]
    )
    loss = hparams["objective"]["self_learning"]
    parts = {type(loss.discriminator).__name__, type(loss.agreement).__name__}
    assert expected in parts
