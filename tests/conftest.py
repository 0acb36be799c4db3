"""What all tests share: threads, signals, a meta file, a training on media, its bundle."""

import json
import os
import signal

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported; children inherit it
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.paths import HPARAMS
from tests.processes import recipe, run_forked
from tests.voxceleb import META


@pytest.fixture
def interruptible():
    """A suite started in the background ignores interrupts, and its children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def meta_csv(tmp_path):
    """VoxCeleb's meta file, of three people."""
    (tmp_path / "vox1_meta.csv").write_text(META)
    return tmp_path / "vox1_meta.csv"


@pytest.fixture(scope="session")
def tiny_transformers(tmp_path_factory):
    """Local folders of random wav2vec 2.0 and WavLM models, small enough for a CPU step."""
    transformers = pytest.importorskip("transformers", reason="needs the extra transformers")
    shape = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "conv_dim": (8, 8),
        "conv_stride": (20, 16),
        "conv_kernel": (20, 16),
        "num_feat_extract_layers": 2,
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        "mask_time_length": 2,
    }
    folders = {}
    for name, model in (("wav2vec2", "Wav2Vec2"), ("wavlm", "WavLM")):
        folder = tmp_path_factory.mktemp(name)
        config = getattr(transformers, f"{model}Config")(**shape)
        getattr(transformers, f"{model}Model")(config).save_pretrained(folder)
        transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
        folders[name] = str(folder)
    return folders


def train_on_media(folder, *more):
    """Returns the output folder of a finished training on a small embedded corpus."""
    options = [
        "--corpus=!include:corpora/embedded.yaml {num_identities: 20, generation_workers: 1, "
        f"cache_folder: {folder}, image_size: 32, resize: 36, clip_seconds: 0.5}}",
        "--face=!include:face/timm.yaml {model: resnet10t}",
        f"--output_folder={folder / 'run'}",
        "--num_clusters=[2]",
        "--batch_size=16",
        "--steps_per_epoch=3",
        "--number_of_epochs=2",
        "--draw_figures=False",
        *more,
    ]
    result = run_forked(recipe("train", HPARAMS / "bipcm_fst.yaml", *options))
    assert result.returncode == 0, result.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def media_run(tmp_path_factory):
    """The output folder of a finished training on images and speech."""
    return train_on_media(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="session")
def bundle_folder(media_run, tmp_path_factory):
    """The bundle of that training; tests that change it copy it first."""
    # Here, not above: they import torch, which takes seconds in every process of pytest.
    from speechbrain_fv.publish.card import model_card
    from speechbrain_fv.publish.card_settings import read_settings
    from speechbrain_fv.publish.export import export_bundle

    folder = tmp_path_factory.mktemp("bundle")
    config = export_bundle(media_run, folder, "owner/small")
    report = json.loads((folder / "report.json").read_text())
    settings = read_settings(media_run, None, None)
    (folder / "README.md").write_text(model_card(report, config, settings))
    return folder
