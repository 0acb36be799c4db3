"""`embed` with networks in place of a published model: their vectors, and a training on them."""

import json
import re
import shlex

import numpy as np
import pytest
import soundfile
import timm
import torch
from safetensors.torch import save_file

from speechbrain_fv.commands import main
from speechbrain_fv.data.readers import ImageReader
from speechbrain_fv.inference.encoders import FileEncoder
from tests.media import write_face, write_voice
from tests.paths import ROOT
from tests.processes import recipe, run_forked

FACE_SETTINGS = ("image_size=32", "resize=36")
VOICE = "voice/dimnet.yaml"
VOICE_SETTINGS = ("clip_seconds=0.5", "remove_silence=False")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights of a small network, as it might come from somewhere."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "resnet10t.safetensors"
    save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def face(weights):
    return f"face/timm.yaml {{model: resnet10t, checkpoint: {weights}}}"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A CSV as a corpus has it: no ids; ann's face stands in two rows."""
    folder, rows = tmp_path_factory.mktemp("clips"), []
    for person in range(8):
        for clip in range(2):
            write_face(folder / f"{person}.jpg", seed=person)
            write_voice(folder / f"{person}_{clip}.wav", 1.1 + clip, seed=10 * person + clip)
            rows.append(f"p{person},{person}.jpg,{person}_{clip}.wav")
    (folder / "clips.csv").write_text("\n".join(["identity,face,wav", *rows]))
    return folder


def embed(*arguments):
    return main(["embed", "--quiet", *map(str, arguments)])


def test_vectors_are_those_of_the_network(face, weights, clips):
    """By timm alone: the network's output, for images read as evaluation reads them."""
    encoder = FileEncoder("face", face, FACE_SETTINGS)
    network = timm.create_model("resnet10t", num_classes=0).eval()
    network.load_state_dict(timm.models.load_state_dict(str(weights)))
    files = sorted(clips.glob("*.jpg"))[:3]
    images = torch.stack([ImageReader(32, 36)(str(file), None) for file in files])
    with torch.no_grad():
        expected = network(images)
    found = encoder.encode_face_files(files)
    assert encoder.embedding_dim == found.shape[1] == 512
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_voices_too(clips):
    encoder = FileEncoder("voice", VOICE, VOICE_SETTINGS)
    path = clips / "3_1.wav"
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16000 and len(samples) > 8000
    offset = (len(samples) - 8000) // 2
    wav = torch.from_numpy(samples[offset : offset + 8000])[None]
    inside = encoder.encoder
    with torch.no_grad():
        features = inside.normalize(inside.features(wav), torch.ones(1))
        expected = inside.network(features, torch.ones(1))
    measured = []
    found = encoder.encode_voice_files([path, path], measured=measured)
    torch.testing.assert_close(found, expected.expand(2, -1), rtol=0, atol=1e-5)
    assert measured == [0.5, 0.5]


def test_the_version_names_settings_and_weights(face, tmp_path):
    first, again = (FileEncoder("face", face, FACE_SETTINGS).version for _ in range(2))
    torch.manual_seed(2)
    others = tmp_path / "others.safetensors"
    save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), others)
    other = f"face/timm.yaml {{model: resnet10t, checkpoint: {others}}}"
    assert first == again
    assert first != FileEncoder("face", other, FACE_SETTINGS).version
    assert first != FileEncoder("face", face, ("image_size=40", "resize=40")).version


def test_random_weights_are_told(caplog):
    FileEncoder("face", "face/timm.yaml {model: resnet10t}", FACE_SETTINGS)
    assert "--face_encoder: checkpoint" in caplog.text and "they are random" in caplog.text


def test_embed_writes_what_training_reads(face, clips, tmp_path, capsys):
    output = tmp_path / "e.npz"
    encoders = ["--face_encoder", face, "--voice_encoder", VOICE]
    settings = ["--face_settings", *FACE_SETTINGS, "--voice_settings", *VOICE_SETTINGS]
    code = embed(clips / "clips.csv", "--output", output, *encoders, *settings, "--json")
    shown = capsys.readouterr()
    assert code == 0, shown.err
    data = json.loads(shown.out)
    assert (data["num_faces"], data["num_voices"]) == (8, 16)
    assert (data["face_dim"], data["voice_dim"]) == (512, 256)
    with np.load(output) as arrays:
        assert arrays["face_id"].tolist() == [f"{person}.jpg" for person in range(8)]
        assert arrays["voice_identity"].tolist() == [f"p{number // 2}" for number in range(16)]
        assert arrays["voice_weight"].tolist() == [0.5] * 16
    assert data["train"].startswith("speechbrain-fv train bipcm_fst.yaml --corpus=")
    command = shlex.split(data["train"])[2:]
    result = run_forked(
        recipe(
            "train",
            ROOT / "hparams" / command[0],
            *command[1:],
            f"--output_folder={tmp_path / 'run'}",
            *("--num_clusters=[2]", "--batch_size=8", "--steps_per_epoch=2"),
            *("--number_of_epochs=1", "--draw_figures=False"),
        )
    )
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["num_voices"] == 2 * report["num_faces"]
    assert report["people"]["clips"]["voice"]["most"] == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "expected either --model, or --face_encoder or --voice_encoder or both"),
        (["--model=m", "--face_encoder=f"], "expected either --model, or --face_encoder or"),
        (
            ["--voice_encoder", VOICE],
            "0.jpg: a face, and no --face_encoder; name one",
        ),
        (["--face_encoder=face/nothing.yaml"], "face/nothing.yaml"),
        (
            ["--face_encoder=face/timm.yaml {model: resnet10t}", "--face_settings", "image_sise=9"],
            "image_sise.*did you mean 'image_size'",
        ),
        (["--face_encoder=face/timm.yaml {model: resnet99}"], "timm knows no 'resnet99'"),
    ],
)
def test_mistakes_are_one_line(clips, tmp_path, capsys, arguments, message):
    output = tmp_path / "e.npz"
    assert embed(clips / "0.jpg", "--output", output, *arguments) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and not output.exists()
    assert re.search(message, error), error


def test_a_file_of_two_people_is_refused(clips, tmp_path, capsys, face):
    (tmp_path / "clips.csv").write_text(
        f"identity,face\nann,{clips / '0.jpg'}\nbob,{clips / '0.jpg'}\n"
    )
    output = tmp_path / "e.npz"
    assert embed(tmp_path / "clips.csv", "--output", output, "--face_encoder", face) == 2
    assert "line 3: " in (error := capsys.readouterr().err) and "belongs to 'bob' and to" in error
