"""Bundles: what an export writes, and what a load refuses."""

import json
import os
import shutil
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from speechbrain_fv.bundles import sketch
from speechbrain_fv.bundles.bundle import load_bundle
from speechbrain_fv.bundles.config import CAUTIONS, read_config
from speechbrain_fv.inference import FaceVoiceAssociation
from speechbrain_fv.publish.check import check_bundle
from speechbrain_fv.publish.export import NEEDED, export_bundle
from tests.small_runs import DIM, train, write_corpus


@pytest.fixture
def copied(bundle_folder, tmp_path):
    """A copy of the bundle whose files a test may replace."""
    return shutil.copytree(bundle_folder, tmp_path / "copy")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_an_export_holds_the_model_and_nothing_of_labels_or_training(bundle_folder):
    state = load_file(bundle_folder / "model.safetensors")
    assert {key.split(".")[0] for key in state} == {"face_encoder", "voice_encoder", "cmwr"}
    config = json.loads((bundle_folder / "config.json").read_text())
    assert config["training_data"]["corpus"] == "embedded"
    assert config["caution"] == CAUTIONS["embedded"]
    assert config["image_size"] == 32 and config["sample_rate"] == 16000
    assert config["error_rates"]["U"]["num_positives"] == 100
    people = "p0000", "Dorland"
    for name in ("hyperparams.yaml", "config.json"):
        text = (bundle_folder / name).read_text()
        assert not [
            word
            for word in (*people, "gender", "identit", "/")
            if word in text.replace("num_identities", "").replace("owner/small", "")
        ]


def test_a_fresh_process_finds_the_embeddings_of_the_training(bundle_folder, media_run):
    differences = check_bundle(bundle_folder, media_run)
    assert max(differences["face"], differences["voice"]) <= 1e-6


def test_a_bundle_that_differs_from_the_training_is_found_out(copied, media_run):
    path = copied / "model.safetensors"
    state = load_file(path)
    state["cmwr.alpha"] += 1e-3
    save_file(state, path)
    with pytest.raises(ValueError, match=r"embeddings differ from those of the training by up to"):
        check_bundle(copied, media_run)
    path.unlink()
    with pytest.raises(ValueError, match=r"could not be loaded again: .*model\.safetensors"):
        check_bundle(copied, media_run)


@pytest.mark.parametrize("missing", NEEDED)
def test_an_unfinished_training_is_not_exported(missing, media_run, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for path in media_run.iterdir():
        if path.name != missing:
            os.symlink(path, run / path.name)
    with pytest.raises(ValueError, match=f"no {missing}; expected the output folder of a finished"):
        export_bundle(run, tmp_path, "owner/name")


def test_a_model_on_precomputed_vectors_is_exported_and_used(tmp_path):
    options = ("--num_clusters=[2]", "--steps_per_epoch=2", "--number_of_epochs=1")
    result = train(write_corpus(tmp_path, clips_each=2), tmp_path / "run", *options)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "bundle"
    folder.mkdir()
    config = export_bundle(tmp_path / "run", folder, "owner/vectors")
    assert config["face_input"] == config["voice_input"] == "vector"
    differences = check_bundle(folder, tmp_path / "run")
    assert differences["num_faces"] > 0
    model = FaceVoiceAssociation.from_hparams(folder)
    with pytest.raises(ValueError, match="precomputed vectors, not image files"):
        model.encode_face_files("a.jpg")
    with pytest.raises(ValueError, match="pass them to encode_voice first"):
        model.verify(model.encode_face(torch.ones(1, DIM)), torch.ones(1, DIM))
    with pytest.raises(ValueError, match="pass them to encode_voice first"):
        model.match(torch.ones(DIM), torch.ones(3, DIM))
    with pytest.raises(ValueError, match=f"expected width {DIM}, got 5"):
        model.encode_face(torch.ones(1, 5))
    expected = model.encode_voice(torch.arange(2.0 * DIM).view(2, DIM))
    rows = np.arange(2.0 * DIM).reshape(2, DIM)
    for given in (rows, list(rows), list(torch.tensor(rows)), rows.astype(">f8")):
        torch.testing.assert_close(model.encode_voice(given), expected, rtol=0, atol=2e-6)
    for given in (None, "a", [], ["a"], torch.ones(0, DIM), rows.astype(int), 1e300 * rows):
        with pytest.raises(ValueError, match="^voice: expected .*vectors"):
            model.encode_voice(given)


HOSTILE_LINES = [
    "trap: !apply:os.system ['touch {mark}']",
    'trap: (!!python/object/apply:os.system ["touch {mark}"])',
    "trap: !!python/object/apply:os.system ['touch {mark}']",
]


@pytest.mark.parametrize("line", HOSTILE_LINES)
def test_code_in_the_yaml_is_not_run_unless_trusted(line, copied, tmp_path):
    mark = tmp_path / "mark"
    with open(copied / "hyperparams.yaml", "a", encoding="utf-8") as file:
        file.write(line.format(mark=mark) + "\n")
    with pytest.raises(ValueError, match=r"hyperparams\.yaml, line \d+: .*trust_remote_code=True"):
        FaceVoiceAssociation.from_hparams(copied)
    assert not mark.exists()
    FaceVoiceAssociation.from_hparams(copied, trust_remote_code=True)
    assert mark.exists()


def test_a_network_that_hides_in_an_allowed_place_is_refused(copied):
    edit(copied / "hyperparams.yaml", "model: resnet10t", "model: hf-hub:stranger/net")
    with pytest.raises(ValueError, match=r"line \d+: 'hf-hub:stranger/net' looks like a file"):
        load_bundle(copied)


def test_a_larger_network_than_the_weights_is_refused_before_it_takes_memory(copied):
    edit(copied / "hyperparams.yaml", "model: resnet10t", "model: eva_giant_patch14_560")
    with pytest.raises(
        ValueError, match=r"line \d+: .*timm_network: .*its construction makes tensors"
    ):
        load_bundle(copied)


def test_another_network_than_that_of_the_weights_is_refused(copied):
    edit(copied / "hyperparams.yaml", "model: resnet10t", "model: resnet18")
    with pytest.raises(ValueError, match="not the weights of this model"):
        load_bundle(copied)


def test_python_files_beside_the_yaml_are_not_imported(copied, tmp_path):
    for name in ("custom.py", "speechbrain.py", "torch.py", "yaml.py"):
        (copied / name).write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\n")
    FaceVoiceAssociation.from_hparams(copied)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 2),
        ("embedding_dim", "256"),
        ("embedding_dim", -1),
        ("face_input", "video"),
        ("voice_input", None),
        ("sample_rate", 1e99),
        ("remove_silence", "yes"),
        ("calibration", {"slope": 1, "intercept": 0}),
        ("calibration", {"slope": "1", "intercept": 0, "threshold": 0}),
        ("calibration", {"slope": -1, "intercept": 0, "threshold": 0}),
        ("calibration", {"slope": 1, "intercept": 0, "threshold": 2}),
        ("calibration", {"slope": 10**400, "intercept": 0, "threshold": 0}),
        ("calibration", {"slope": 1, "intercept": True, "threshold": 0}),
        ("name", "owner/\x1b[2Jname"),
        ("name", "n" * 201),
        ("caution", "two\nlines"),
        ("error_rates", []),
        ("error_rates", {"U": []}),
        ("error_rates", {"U": {"false_accept": "0.1"}}),
        ("error_rates", {"U": {"false_reject": 2}}),
        ("error_rates", {"G": {"false_accept": 0.1, "false_accept_interval": ["a", "b"]}}),
        ("error_rates", {"G": {"false_accept": 0.1, "false_accept_interval": [0.1]}}),
    ],
)
def test_a_configuration_of_another_kind_is_refused(key, value, copied):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {key: value}))
    with pytest.raises(ValueError, match=rf"config\.json: {key}: expected"):
        load_bundle(copied)


def test_the_caution_of_invented_people_does_not_depend_on_the_age_of_a_bundle(copied):
    """Older bundles do not state it; a model of other people has none."""
    path = copied / "config.json"
    config = json.loads(path.read_text())
    assert read_config(path) == config
    del config["caution"]
    path.write_text(json.dumps(config))
    found = read_config(path)
    assert list(found)[:3] == ["format", "name", "caution"]
    assert found == config | {"caution": CAUTIONS["embedded"]}
    config["training_data"]["corpus"] = "own_data"
    path.write_text(json.dumps(config))
    assert "caution" not in read_config(path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "[" * 100000, '{"format": NaN}', "\xff", '{"format": 1, "more": Infinity}'],
)
def test_a_configuration_that_is_none_is_one_error(text, copied):
    (copied / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"config\.json"):
        load_bundle(copied)


@pytest.mark.parametrize(
    ("old", "new", "size"),
    [
        ("resize: 36", "resize: 100000", "resize"),
        ("clip_seconds: 0.5", "clip_seconds: 99999.0", "num_samples"),
    ],
)
def test_readers_that_would_fill_the_memory_are_refused(old, new, size, copied):
    edit(copied / "hyperparams.yaml", old, new)
    with pytest.raises(ValueError, match=f"_reader: expected {size} from 1 to"):
        load_bundle(copied)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("image_size: 32", "image_size: 0", "image_size: expected a number of pixels, got 0"),
        ("image_size: 32", "image_size: '32'", "image_size: expected a number of pixels, got '32'"),
        ("resize: 36", "resize: 36.5", "resize: expected a number of pixels, got 36.5"),
        ("clip_seconds: 0.5", "clip_seconds: half", "clip_seconds: expected a number above 0"),
        ("clip_seconds: 0.5", "clip_seconds: -0.5", "clip_seconds: expected a number above 0"),
        (
            "sample_rate: 16000",
            "sample_rate: 8000",
            "sample_rate: expected 16000 as in config.json",
        ),
        ("sample_rate: 16000", "sample_rate: [1]", "sample_rate: expected a whole number of Hz"),
        ("face_reader:", "voice_reader: 1\nother:", "'voice_reader' stands there twice"),
    ],
)
def test_readers_that_do_not_fit_the_model_are_refused_when_it_is_loaded(old, new, reason, copied):
    edit(copied / "hyperparams.yaml", old, new)
    with pytest.raises(ValueError, match=rf"hyperparams\.yaml.*{reason}"):
        load_bundle(copied)


def test_a_reader_of_images_where_the_configuration_says_vectors_is_refused(copied):
    edit(copied / "config.json", '"face_input": "image"', '"face_input": "vector"')
    with pytest.raises(ValueError, match="face_reader: expected none for vectors, got a ImageRead"):
        load_bundle(copied)


def test_a_device_that_the_yaml_names_is_refused(copied):
    """What is copied to the device meta is lost."""
    layer = "!new:torch.nn.Sequential [!new:torch.nn.Linear [1, 1, false, meta]]"
    edit(copied / "hyperparams.yaml", "face_encoder: *id001", f"face_encoder: {layer}")
    state = load_file(copied / "model.safetensors")
    state = {key: value for key, value in state.items() if not key.startswith("face_encoder")}
    save_file(state | {"face_encoder.0.weight": torch.ones(1, 1)}, copied / "model.safetensors")
    with pytest.raises(ValueError, match=r"face_encoder: expected .* on the CPU, got meta"):
        load_bundle(copied)


def test_readers_in_each_others_place_are_refused(copied):
    edit(copied / "hyperparams.yaml", "face_reader:", "other:")
    edit(copied / "hyperparams.yaml", "voice_reader:", "face_reader:")
    with pytest.raises(ValueError, match="face_reader: expected a ImageReader, got a SpeechReader"):
        load_bundle(copied)


def test_encoders_of_another_width_are_refused_when_the_model_is_loaded(copied):
    for name in ("hyperparams.yaml", "config.json"):
        text = (copied / name).read_text()
        key = "embedding_dim: 256" if name.endswith("yaml") else '"embedding_dim": 256'
        (copied / name).write_text(text.replace(key, key.replace("256", "128"), 1))
    with pytest.raises(
        ValueError, match=r"no embedding of a face comes of it .*expected the shape"
    ):
        load_bundle(copied)


def test_weights_that_give_no_finite_embedding_are_refused(copied):
    state = load_file(copied / "model.safetensors")
    state["voice_encoder.projection.0.running_var"].fill_(-1)
    save_file(state, copied / "model.safetensors")
    with pytest.raises(ValueError, match=r"no embedding of a voice comes of it .*NaN or infinity"):
        load_bundle(copied)


def test_a_file_of_the_system_without_an_end_is_not_read(copied):
    (copied / "config.json").unlink()
    (copied / "config.json").symlink_to("/proc/self/pagemap")
    with pytest.raises(ValueError, match=r"config\.json: expected 1 to \d+ bytes, got 0"):
        load_bundle(copied)


def test_files_as_windows_saves_them_are_read(copied):
    for name in ("hyperparams.yaml", "config.json"):
        text = (copied / name).read_text().replace("\n", "\r\n")
        (copied / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    load_bundle(copied)


def test_features_that_would_fill_the_memory_are_refused_when_the_model_is_loaded(copied):
    """A frame for every sample, each of a window of seconds."""
    edit(copied / "hyperparams.yaml", "hop_length: 10", "hop_length: 0.0625\n    n_fft: 20000")
    with pytest.raises(
        ValueError, match=r"no embedding of a voice comes of it \(it makes a tensor"
    ):
        load_bundle(copied)


TOO_MUCH = {
    "a tensor of": torch.nn.Upsample(scale_factor=300),
    "tensors of more than": torch.nn.Sequential(*50 * [torch.nn.Upsample(size=3000)]),
    "multiplications in one operation": torch.nn.Conv2d(3, 3, 201, padding=100),
    "windows of a pooling": torch.nn.AvgPool2d(199, stride=1, padding=99),
}


@pytest.mark.parametrize("fault", TOO_MUCH)
def test_a_trial_begins_nothing_that_would_take_all_memory_or_time(fault):
    clip = torch.zeros(1, 3, 512, 512)
    begin = time.thread_time()
    with torch.no_grad(), sketch.trying(num_bytes=0), pytest.raises(ValueError, match=fault):
        TOO_MUCH[fault](clip)
    assert time.thread_time() - begin < 20


def test_a_trial_of_endless_small_operations_is_stopped():
    late = pytest.raises(ValueError, match=r"takes more than 0\.1 seconds")
    with sketch.trying(num_bytes=0, max_seconds=0.1), late:
        torch.nn.GRU(4, 4)(torch.zeros(100_000, 4))


def test_a_trial_leaves_the_modules_as_they_were_made(bundle_folder):
    modules = load_bundle(bundle_folder).modules
    state = load_file(bundle_folder / "model.safetensors")
    for name, module in modules.items():
        assert not any(part.training for part in module.modules())
        for key, value in module.state_dict().items():
            assert torch.equal(value, state[f"{name}.{key}"])


@pytest.mark.parametrize("old", ["voice_encoder: *", "face_reader: !new"])
def test_a_part_that_is_missing_is_named(old, copied):
    edit(copied / "hyperparams.yaml", old, f"other_{old}")
    with pytest.raises(ValueError, match=r"hyperparams\.yaml: (modules|face_reader)"):
        load_bundle(copied)


def test_a_folder_that_is_no_bundle_names_what_is_missing(copied, tmp_path):
    (copied / "config.json").unlink()
    with pytest.raises(ValueError, match=r"no config\.json; expected a bundle"):
        FaceVoiceAssociation.from_hparams(copied)
    with pytest.raises(ValueError, match="no such folder"):
        FaceVoiceAssociation.from_hparams(tmp_path / "nowhere")


def test_the_embedding_width_is_that_of_the_modules(copied):
    edit(copied / "config.json", '"embedding_dim": 256', '"embedding_dim": 128')
    with pytest.raises(ValueError, match="embedding_dim"):
        load_bundle(copied)
