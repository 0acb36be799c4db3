"""Every YAML loads, fits together, and says nothing that nobody reads."""

import pytest
import torch

from speechbrain_fv.losses import Batch, TrainingSet
from speechbrain_fv.settings import reads
from speechbrain_fv.settings.documents import load_yaml, read_document
from speechbrain_fv.settings.keys import parse_path, references, unread
from speechbrain_fv.settings.loading import load_hparams, resolve_hparams
from speechbrain_fv.settings.merging import merge
from speechbrain_fv.settings.references import Findings, put_in_place
from tests.paths import HPARAMS

OTHERS = (
    *("ablations.yaml", "evaluate.yaml", "train.yaml", "encoders.yaml"),
    *("comparison.yaml", "comparison_light.yaml", "comparison_vectors.yaml"),
    *("embed_face.yaml", "embed_voice.yaml"),
)
METHODS = sorted(path.name for path in HPARAMS.glob("*.yaml") if path.name not in OTHERS)
INCLUDES = sorted(path.relative_to(HPARAMS) for path in HPARAMS.glob("*/*.yaml"))
CORPUS = "--corpus={clips_csv: c.csv, embeddings: e.npz, face_key: f, voice_key: v}"
VECTORS = {  # methods of precomputed vectors
    "bipcm_plus_vectors.yaml": CORPUS,
    "flag.yaml": "--folder=d",
    "ridge_cca.yaml": CORPUS,
}
SLOTS = {"corpora": "corpus", "protocols": "lists"}


@pytest.mark.parametrize(
    "name", [*METHODS, "ablations.yaml", "evaluate.yaml", "comparison.yaml", "encoders.yaml"]
)
def test_every_key_of_a_method_is_read(name):
    declared = {
        "ablations.yaml": reads.ABLATE,
        "evaluate.yaml": reads.EVALUATE,
        "comparison.yaml": reads.COMPARE,
        "encoders.yaml": reads.ENCODERS,
    }
    options = ["--embeddings=e.npz"] if name == "evaluate.yaml" else []
    options += [VECTORS[name]] if name in VECTORS else []
    options += ["--samples=s.csv"] if name == "encoders.yaml" else []
    resolve_hparams([str(HPARAMS / name), *options], declared.get(name, reads.TRAIN))


@pytest.mark.parametrize("path", INCLUDES, ids=str)
def test_every_key_of_an_include_is_read_by_some_method(path):
    slot = SLOTS.get(path.parent.name, path.parent.name)
    read = set()
    for name in ["evaluate.yaml"] if slot == "lists" else METHODS:
        document = read_document(HPARAMS / name)
        entry = load_yaml(f"{slot}: !include:{HPARAMS / path}", name)
        merge(document.tree, entry)
        findings = Findings(reads=references(document.tree))
        put_in_place(document, findings)
        read |= findings.reads
    declared = {parse_path(name) for name in (*reads.TRAIN, *reads.EVALUATE)}
    entries = [(slot, key) for key in read_document(HPARAMS / path).tree]
    assert unread(entries, (read | declared) - {(slot,)}, document.tree) is None


@pytest.mark.parametrize("voice", ["dimnet", "ecapa", "xvector", "resnet"])
@pytest.mark.parametrize("method", [name for name in METHODS if name not in VECTORS])
def test_every_method_builds_with_every_voice(method, voice, tmp_path):
    _, hparams, _ = load_hparams(
        [
            str(HPARAMS / method),
            f"--voice=!include:voice/{voice}.yaml",
            "--face=!include:face/timm.yaml {model: resnet10t}",
            f"--output_folder={tmp_path}",
        ],
        reads.TRAIN,
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
        ],
        reads.TRAIN,
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
        [str(HPARAMS / "bipcm_fst.yaml"), override, f"--output_folder={tmp_path}"],
        reads.TRAIN,
    )
    loss = hparams["objective"]["self_learning"]
    parts = {type(loss.discriminator).__name__, type(loss.agreement).__name__}
    assert expected in parts
