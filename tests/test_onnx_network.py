"""ONNX files as frozen encoders: what they compute, what they refuse, and in a published model."""

import json
import pickle
import runpy
import shutil

import numpy as np
import pytest
import torch
from speechbrain.inference.interfaces import foreign_class, pretrained_from_hparams

from speechbrain_fv.bundles.weights import load_weights, save_weights
from speechbrain_fv.encoders import OnnxNetwork
from speechbrain_fv.encoders.onnx_network import bounded
from speechbrain_fv.inference import FaceVoiceAssociation
from tests.onnx_files import bomb_file, face_file, integer_file, two_outputs_file, voice_file
from tests.paths import ROOT

pytest.importorskip("onnxruntime", reason="needs the extra onnx")
IMAGES = torch.randn(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_a_face_file_computes_what_torch_does(tmp_path, layout, batch, channels):
    expected = face_file(tmp_path / "f.onnx", layout=layout, batch=batch)
    network = OnnxNetwork(str(tmp_path / "f.onnx"), layout=layout, channels=channels)
    assert network.num_features == 6
    images = IMAGES if channels == "RGB" else IMAGES.flip(1)
    torch.testing.assert_close(network(images), expected(IMAGES), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layout", ["NTF", "NFT"])
def test_a_voice_file_gives_frames(tmp_path, layout):
    expected = voice_file(tmp_path / "v.onnx", layout=layout)
    network = OnnxNetwork(str(tmp_path / "v.onnx"), layout=layout, num_features=5)
    x = torch.randn(2, 30, 20)
    torch.testing.assert_close(network(x, torch.ones(2)), expected(x), atol=1e-6, rtol=1e-5)
    with pytest.raises(ValueError, match="refuses features, .*of the shape"):
        network(torch.randn(2, 30, 19))
    narrow = OnnxNetwork(str(tmp_path / "v.onnx"), layout=layout, num_features=7)
    with pytest.raises(ValueError, match="expected vectors of width 7, got 5; correct"):
        narrow(x)


def test_the_bytes_are_weights(tmp_path):
    face_file(tmp_path / "f.onnx")
    network = pickle.loads(pickle.dumps(OnnxNetwork(str(tmp_path / "f.onnx"))))
    save_weights({"network": network}, tmp_path / "w.safetensors")
    (tmp_path / "f.onnx").unlink()
    again = OnnxNetwork(size=network.size, num_features=6)
    load_weights({"network": again}, tmp_path / "w.safetensors")
    assert torch.equal(again(IMAGES), network(IMAGES))
    with pytest.raises(ValueError, match="no ONNX network can be made"):
        OnnxNetwork(size=[0, 10])(IMAGES)


def write(kind, path):
    if kind == "text":
        path.write_text("no network")
    elif kind == "voice":
        voice_file(path)
    elif kind == "one channel":
        face_file(path, channels=1)
    elif kind == "two":
        two_outputs_file(path)
    elif kind == "integers":
        integer_file(path)
    elif kind != "absent":
        face_file(path)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("absent", {}, r"no ONNX file can be read there \(No such file"),
        ("text", {}, "no ONNX network can be made of the file"),
        (
            "voice",
            {},
            r"expected one input of images.*NCHW\), got x tensor\(float\) .*; set layout",
        ),
        ("two", {}, "output: expected one of mean, most, got null"),
        ("integers", {}, r"of floats, got image tensor\(int64\)"),
        ("one channel", {}, "of 3 channels, got image"),
        ("face", {"layout": "NTF"}, r"expected one input of features.*; set layout"),
        ("face", {"layout": "NHWC"}, "of 3 channels"),
        ("face", {"output": "x"}, "output: expected one of features, got x"),
        (
            "face",
            {"images": {"image_size": 32}},
            r"refuses images.*\(1, 3, 32, 32\).*set image_size and resize",
        ),
        ("face", {"layout": "CHW"}, "layout: expected one of NCHW"),
        ("face", {"channels": "rgb"}, "channels: expected RGB or BGR"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, kind, options, message):
    path = tmp_path / "f.onnx"
    write(kind, path)
    with pytest.raises(ValueError, match=message) as caught:
        OnnxNetwork(str(path), **options)
    assert "\n" not in str(caught.value)


def test_what_a_stranger_s_file_takes_is_bounded(tmp_path):
    bomb_file(tmp_path / "bomb.onnx")
    content = np.fromfile(tmp_path / "bomb.onnx", np.uint8)
    network = OnnxNetwork(size=[0, len(content)], num_features=3)
    network.file.copy_(torch.from_numpy(content))
    with bounded([network], 20, 10**9), pytest.raises(ValueError, match="refuses images"):
        network(IMAGES[:1])


@pytest.mark.parametrize("head", [True, False])
def test_a_published_model_has_the_file_in_it(tmp_path, head, capsys):
    from tests.test_frozen import train

    face_file(tmp_path / "f.onnx")
    voice_file(tmp_path / "v.onnx")
    face = f"!include:face/onnx.yaml {{checkpoint: {tmp_path}/f.onnx, image_size: 24, resize: 28}}"
    voice = (
        f"!include:voice/onnx.yaml {{checkpoint: {tmp_path}/v.onnx, n_mels: 20, network_dim: 5}}"
    )
    if head:
        face, voice = (
            f"!include:{modality}/frozen.yaml {{encoder: {each}}}"
            for modality, each in (("face", face), ("voice", voice))
        )
    options = (f"--face={face}", f"--voice={voice}")
    result = train(tmp_path, "run", *options, f"--frozen_features={{cache_folder: {tmp_path}}}")
    assert result.returncode == 0, result.stderr
    assert "face features: computed 60" in result.stdout
    main = runpy.run_path(str(ROOT / "recipes" / "publish.py"))["main"]
    main([str(tmp_path / "run"), "--repo=owner/small", "--license=mit"])
    assert "Loaded again" in capsys.readouterr().out
    for name in ("f.onnx", "v.onnx"):
        (tmp_path / name).unlink()
    bundle = tmp_path / "run" / "bundle"
    assert json.loads((bundle / "config.json").read_text())["face_input"] == "image"
    model = FaceVoiceAssociation.from_hparams(bundle)
    images = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    wavs = 0.1 * torch.randn(2, 16000)
    embeddings = [model.encode_face(images), model.encode_voice(wavs)]
    for other in (
        foreign_class(str(bundle), pymodule_file="custom.py", classname="FaceVoiceAssociation"),
        pretrained_from_hparams(FaceVoiceAssociation, str(bundle)),
    ):
        assert torch.equal(other.encode_face(images), embeddings[0])
        assert torch.equal(other.encode_voice(wavs), embeddings[1])
    shutil.rmtree(tmp_path / "features")


def test_weights_beside_a_file_are_not_read(tmp_path, monkeypatch):
    """They are not in a published model, and a stranger's file could name any of this folder."""
    onnx = pytest.importorskip("onnx", reason="needs onnx to make files")
    face_file(tmp_path / "whole.onnx")
    model = onnx.load(str(tmp_path / "whole.onnx"))
    onnx.save_model(
        model,
        str(tmp_path / "split.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="expected one file with its weights inside"):
        OnnxNetwork("split.onnx", images={"image_size": 24, "resize": 24})(IMAGES)
