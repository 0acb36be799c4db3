"""Frozen encoders: run once per clip, to the result of running them in every step; published."""

import json
import re
import runpy
import shutil

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform
from timm.models import save_for_hf

from speechbrain_fv.corpora.joined import JoinedReader
from speechbrain_fv.data.manifests import load_manifests
from speechbrain_fv.data.readers import ImageReader
from speechbrain_fv.encoders import FrozenNetwork, VectorNetwork, VoiceEncoder, timm_network
from speechbrain_fv.inference import FaceVoiceAssociation
from speechbrain_fv.settings.documents import load_yaml
from speechbrain_fv.training.features import FrozenFeatures, weights_digest
from speechbrain_fv.training.images import use_own_images
from tests.paths import HPARAMS, ROOT
from tests.processes import recipe, run_forked
from tests.small_runs import parameters

FACE = "--face=!include:face/timm.yaml {model: test_resnet, freeze: True}"
VOICE = "--voice=!include:voice/dimnet.yaml {freeze: True}"
VOICE_HEAD = "--voice=!include:voice/frozen.yaml {encoder: !include:voice/dimnet.yaml {}}"
PLAIN = ", face_reader: {augment: False}, voice_reader: {augment: False}"


def train(folder, name, *options, reading=""):
    """Returns the finished process of a training in folder/name on a small embedded corpus."""
    corpus = (
        "--corpus=!include:corpora/embedded.yaml {num_identities: 12, generation_workers: 1, "
        f"cache_folder: {folder}, image_size: 32, resize: 36, clip_seconds: 0.5{reading}}}"
    )
    small = ("--num_clusters=[2]", "--batch_size=8", "--steps_per_epoch=2", "--number_of_epochs=2")
    rest = ("--draw_figures=False", f"--output_folder={folder / name}")
    command = recipe("train", HPARAMS / "bipcm_fst.yaml", corpus, *small, *rest, *options)
    return run_forked(command)


def kept(folder):
    return f"--frozen_features={{cache_folder: {folder}, batch_size: 7}}"


def counts(result):
    """Returns how many features a training computed and found, face and voice."""
    text = result.stderr + result.stdout
    computed = re.findall(r"(face|voice) features: computed (\d+) at [\d.]+ clips/s, (\d+)", text)
    found = re.findall(r"(face|voice) features: all (\d+) are in", text)
    numbers = {modality: (int(number), int(there)) for modality, number, there in computed}
    return {**numbers, **{modality: (0, int(there)) for modality, there in found}}


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """The folder of a training on features computed once, and its process."""
    folder = tmp_path_factory.mktemp("frozen")
    result = train(folder, "once", FACE, VOICE, kept(folder), reading=PLAIN)
    assert result.returncode == 0, result.stderr
    return folder, result


def test_once_per_clip_gives_the_result_of_every_step(once):
    folder, result = once
    assert counts(result) == {"face": (60, 0), "voice": (60, 0)}
    each = train(folder, "each", FACE, VOICE, "--frozen_features=null", reading=PLAIN)
    assert each.returncode == 0, each.stderr
    assert not counts(each)
    for name, first in parameters(folder / "once").items():
        second = parameters(folder / "each")[name]
        if name == "optimizer":
            continue
        for key, value in first.items():
            torch.testing.assert_close(value, second[key], atol=2e-5, rtol=1e-4, msg=key)
    reports = [json.loads((folder / n / "report.json").read_text()) for n in ("once", "each")]
    aucs = [report["verification"]["U"]["auc"] for report in reports]
    assert aucs[0] == pytest.approx(aucs[1], abs=0.02)  # of few pairs, of which one may swap
    vectors = [np.load(folder / n / "embeddings_test.npz") for n in ("once", "each")]
    for modality in ("face", "voice"):
        np.testing.assert_allclose(*(v[modality] for v in vectors), atol=1e-4)


def test_the_network_is_not_run_again_unless_its_files_change(once, tmp_path):
    folder, _ = once
    shutil.copytree(folder, tmp_path / "again")
    folder = tmp_path / "again"
    options = (FACE, VOICE, kept(folder), "--seed=1234")
    (store,) = (folder / "features").glob("face-*")
    content = bytearray((store / "vectors.f32").read_bytes())
    content[1] ^= 4
    (store / "vectors.f32").write_bytes(content)
    result = train(folder, "other", *options, reading=PLAIN)
    assert result.returncode == 0, result.stderr
    # The copy has other paths, and files of the same content are the same.
    assert counts(result) == {"face": (1, 59), "voice": (0, 60)}
    # One clip alone rounds otherwise than among others.
    curves = [pd.read_csv(folder / name / "train_curves.csv") for name in ("other", "once")]
    np.testing.assert_allclose(*(curve.value for curve in curves), rtol=1e-3, atol=1e-3)


def test_a_head_of_vectors_and_the_weights_own_images_end_in_a_bundle_that_takes_files(
    tmp_path, capsys
):
    """A vision transformer whose configuration has an odd size, mean and deviation."""
    torch.manual_seed(1)
    network = timm.create_model("test_vit", num_classes=3, img_size=48)
    source = tmp_path / "source"
    save_for_hf(network, source, safe_serialization=True)
    config = json.loads((source / "config.json").read_text())
    own = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_pct": 0.8}
    config["pretrained_cfg"] |= own | {"interpolation": "bilinear", "input_size": [3, 48, 48]}
    (source / "config.json").write_text(json.dumps(config))
    face = (
        "--face=!include:face/frozen.yaml {encoder: !include:face/timm.yaml "
        f'{{model: "local-dir:{source}", pretrained: True}}}}'
    )
    views = f"--frozen_features={{cache_folder: {tmp_path}, num_views: 2}}"
    result = train(tmp_path, "run", face, VOICE_HEAD, views)
    assert result.returncode == 0, result.stderr
    assert "image_size 48, resize 60, mean [0.1, 0.2, 0.3], std [0.4, 0.5, 0.6]" in result.stdout
    num_train = len(load_manifests(tmp_path / "run" / "manifests").faces["train"])
    assert counts(result)["face"] == (60 + 2 * num_train, 0)

    main = runpy.run_path(str(ROOT / "recipes" / "publish.py"))["main"]
    with pytest.raises(ValueError, match="as they come from weights of source, whose"):
        main([str(tmp_path / "run"), "--repo=owner/small"])
    main([str(tmp_path / "run"), "--repo=owner/small", "--license=mit"])
    assert "Loaded again" in capsys.readouterr().out
    shutil.rmtree(source)
    model = FaceVoiceAssociation.from_hparams(tmp_path / "run" / "bundle")
    assert model.readers["face_reader"].image_size == 48
    assert str(tmp_path) not in (tmp_path / "run" / "bundle" / "hyperparams.yaml").read_text()
    inner = model.mods.face_encoder.network.network
    assert torch.equal(inner.pos_embed, network.pos_embed)

    # The network is fed what timm's own transform makes of the file.
    table = load_manifests(tmp_path / "run" / "manifests").faces["test"]
    seen = []
    inner.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.encode_face_files(table.image.iloc[0])
    transform = create_transform(
        (3, 48, 48), mean=own["mean"], std=own["std"], crop_pct=0.8, interpolation="bilinear"
    )
    expected = transform(Image.open(table.image.iloc[0]).convert("RGB"))
    assert (seen[0][0] - expected).abs().max() < 2 / 255 / 0.4  # two levels of a pixel


def test_weights_decide_which_features_are_kept():
    first, second = timm_network("test_resnet"), timm_network("test_resnet")
    assert weights_digest(first) != weights_digest(second)
    second.load_state_dict(first.state_dict())
    assert weights_digest(first) == weights_digest(second)
    buffer = next(buffer for name, buffer in second.named_buffers() if "running_mean" in name)
    buffer[0] += 1e-3
    assert weights_digest(first) != weights_digest(second)


def test_a_frozen_network_behind_a_head_stays_as_it_is():
    network = FrozenNetwork(timm_network("test_resnet"), VectorNetwork, output_dim=8).train()
    before = {key: value.clone() for key, value in network.network.state_dict().items()}
    network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    after = network.network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(p.grad is None for p in network.network.parameters())
    assert all(p.grad is not None for p in network.head.parameters() if p.requires_grad)


def test_published_voice_weights_go_to_the_network_in_front_of_the_head(tmp_path):
    source = torch.nn.Linear(5, 6)
    torch.save(source.state_dict(), tmp_path / "embedding_model.ckpt")

    class Net(torch.nn.Linear):
        def forward(self, x, lens):
            return super().forward(x)

    with pytest.raises(ValueError, match="input_dim: expected the width of the output of Net"):
        FrozenNetwork(Net(5, 6), VectorNetwork)
    network = FrozenNetwork(Net(5, 6), VectorNetwork, input_dim=6, output_dim=4)
    encoder = VoiceEncoder(network, 4, 4, pretrained=str(tmp_path))
    assert torch.equal(encoder.frozen_network.weight, source.weight)
    x = torch.randn(2, 7, 5)
    features = encoder.features_of(x, torch.ones(2))
    torch.testing.assert_close(features, source(x).mean(dim=1))
    expected = encoder.eval()(x, torch.ones(2))
    encoder.takes_features = True
    torch.testing.assert_close(encoder(features, torch.ones(2)), expected)


def test_settings_of_kept_features_are_checked():
    with pytest.raises(ValueError, match="num_views: expected a whole number of at least 0"):
        FrozenFeatures(num_views=-1)
    with pytest.raises(ValueError, match="batch_size: expected"):
        FrozenFeatures(batch_size=0)


def test_a_model_to_start_from_has_the_network_whose_features_are_kept(once):
    """Else the features were those of one network, and the published model another."""
    folder, _ = once
    free = ("--face=!include:face/timm.yaml {model: test_resnet}", VOICE, kept(folder))
    assert train(folder, "tuned", *free, reading=PLAIN).returncode == 0
    start = f"--init_from={folder / 'tuned'}"
    refused = train(folder, "on", start, FACE, VOICE, kept(folder), "--lr=2e-3", reading=PLAIN)
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert "the frozen network of face_encoder has other weights there" in line
    start = f"--init_from={folder / 'once'}"
    again = train(folder, "on", start, FACE, VOICE, kept(folder), "--lr=2e-3", reading=PLAIN)
    assert again.returncode == 0, again.stderr


def test_images_of_a_joined_corpus_are_as_the_weights_ask():
    network = timm_network("test_resnet")
    network.image_settings = {
        **{"image_size": 48, "resize": 48, "mean": [0.5] * 3, "std": [0.5] * 3},
        **{"interpolation": "bicubic", "crop": "center"},
    }
    parts = {name: {"face_reader": ImageReader(image_size=32, resize=36)} for name in "ab"}
    hparams = {
        "face_encoder": torch.nn.ModuleDict({"network": network}),
        "corpus": {"face_reader": JoinedReader(parts, "face_reader")},
    }
    hparams["face_encoder"].network = network
    text = "corpus: {parts: {a: {face_reader: {image_size: 32}}, b: {face_reader: {resize: 36}}}}"
    resolved = load_yaml(use_own_images(hparams, text), "the settings")
    for name in "ab":
        reader = parts[name]["face_reader"]
        assert (reader.image_size, reader.resize) == (48, 48)
        assert resolved["corpus"]["parts"][name]["face_reader"]["image_size"] == 48
