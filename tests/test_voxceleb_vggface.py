"""VoxCeleb1 + VGGFace: a small folder in the real layout, the named splits, SpeechBrain's CSVs."""

import json
import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hyperpyyaml import load_hyperpyyaml
from speechbrain.dataio.dataset import DynamicItemDataset

from speechbrain_fv.corpora.scan import Scanner
from speechbrain_fv.corpora.voxceleb_vggface import prepare_voxceleb_vggface
from speechbrain_fv.data.manifests import load_manifests
from tests.media import write_face, write_voice
from tests.paths import HPARAMS
from tests.test_voxceleb_splits import META, PINS

# One of these identities is not on disk.
ABSENT = "id11250"
SPLIT_OF = {
    "id10003": "valid",
    "id10134": "valid",
    "id10270": "test",
    "id10309": "test",
    "id10317": "train",
    "id11249": "train",
    "id11250": "train",
    "id11251": "train",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two stills, two frames and three voices of every identity but one; a stranger's face."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "vox1_meta.csv").write_text(META)
    (folder / "identity_splits.txt").write_text(PINS)
    for seed, row in enumerate(pd.read_csv(folder / "vox1_meta.csv", sep="\t").itertuples()):
        identity, name = row[1], row[2]
        if identity == ABSENT:
            continue
        faces, voices = folder / "faces" / name, folder / "vox1" / "wav" / identity
        for number in range(2):
            write_face(faces / f"0000{number}.jpg", seed=10 * seed + number)
            write_face(faces / "1.6" / "vid_A-1" / f"{number}.jpg", seed=10 * seed + number + 5)
        for number, video in enumerate(("vid_A-1", "vid_A-1", "vid--B")):
            write_voice(voices / video / f"0000{number}.wav", seconds=1.5, seed=10 * seed + number)
        for path in (faces / "._00000.jpg", voices / "vid_A-1" / "._00000.wav"):
            path.write_bytes(b"\0\5\x16\7")  # as macOS leaves beside each file on other disks
    write_face(folder / "faces" / "Nobody_Known" / "0.jpg")
    return folder


@pytest.fixture
def copy(corpus, tmp_path):
    """The corpus, for tests that change it."""
    return Path(shutil.copytree(corpus, tmp_path / "corpus"))


def prepare(corpus, folder, share=0.05, **options):
    scanner = Scanner(str(folder / "cache"), vad=False, num_workers=0, max_excluded_share=share)
    options = {"allow_missing_identities": True, **options}
    prepare_voxceleb_vggface(
        folder / "manifests",
        corpus / "vox1",
        corpus / "faces",
        corpus / "vox1_meta.csv",
        scanner,
        **options,
    )
    return load_manifests(folder / "manifests")


def test_splits_labels_stills_and_frames(corpus, tmp_path):
    manifests = prepare(corpus, tmp_path)
    people = manifests.identities.set_index("identity")
    assert people.split.to_dict() == {k: v for k, v in SPLIT_OF.items() if k != ABSENT}
    assert people.loc["id11251", ["gender", "nationality", "age"]].tolist() == ["f", "Colombia", ""]
    assert manifests.preparation["splits"]["train"] == {
        "num_identities": 3,
        "num_faces": 12,
        "num_voices": 9,
    }
    faces = manifests.faces["test"]
    assert faces.ID[:4].tolist() == [
        "id10270--00000.jpg",
        "id10270--00001.jpg",
        "id10270--1.6--vid_A-1--0.jpg",
        "id10270--1.6--vid_A-1--1.jpg",
    ]
    assert faces.image[0] == str(corpus / "faces" / "Eartha_Kitt" / "00000.jpg")
    assert faces.video[:4].tolist() == ["", "", "id10270/vid_A-1", "id10270/vid_A-1"]
    assert "name" not in manifests.identities.columns
    voices = manifests.voices["test"]
    assert voices.ID[:3].tolist() == [
        "id10270--vid--B--00002",
        "id10270--vid_A-1--00000",
        "id10270--vid_A-1--00001",
    ]
    assert voices.stop.tolist() == [24000] * 6
    videos = ["id10270/vid--B", "id10270/vid_A-1", "id10270/vid_A-1"]  # names of several people
    assert voices.video[:3].tolist() == videos


def test_what_is_missing_and_how_counts_differ_is_said(corpus, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        notes = prepare(corpus, tmp_path).preparation["notes"]
    assert notes["identities"]["train"] == {"published": 924, "listed": 4, "on_disk": 3}
    assert notes["missing_faces"] == notes["missing_voices"] == [ABSENT]
    assert notes["unknown_face_folders"] == ["Nobody_Known"]
    assert "dimnet, train: 3 of 924 published identities are on disk" in caplog.text
    assert f"missing voices: 1 ({ABSENT})" in caplog.text


def test_broken_files_are_counted_and_leave_their_identity_in(copy, tmp_path):
    voices = copy / "vox1" / "wav"
    jpeg = copy / "faces" / "Zoe_Saldana" / "00000.jpg"
    jpeg.write_bytes(jpeg.read_bytes()[:200])
    (voices / "id11249" / "vid_A-1" / "00000.wav").write_bytes(b"")
    soundfile.write(voices / "id10003" / "vid_A-1" / "00000.wav", np.zeros(24000), 16000)
    write_voice(voices / "id10309" / "vid_A-1" / "00000.wav", seconds=0.4)
    manifests = prepare(copy, tmp_path, share=0.2)
    report = pd.read_csv(tmp_path / "manifests" / "excluded.csv").sort_values("identity")
    assert report.identity.tolist() == ["id10003", "id10309", "id11249", "id11249"]
    reasons = " ".join(report.reason)
    for reason in ("silent", "too short: 0.40 s", "empty file", "no image that can be read"):
        assert reason in reasons
    assert manifests.preparation["splits"]["train"]["num_faces"] == 11
    assert len(manifests.identities) == 7
    with pytest.raises(ValueError, match=r"3 of 21 voice files \(14.3%\) are unusable"):
        prepare(copy, tmp_path, share=0.1)


def test_pins_split_comes_from_the_users_list(corpus, tmp_path):
    manifests = prepare(
        corpus, tmp_path, split="pins", pins_split_file=corpus / "identity_splits.txt"
    )
    people = manifests.identities.set_index("identity").split
    assert people["id10003"] == "test" and people["id10001"] == "train"
    assert Counter(people) == {"train": 4, "valid": 2, "test": 2}
    assert manifests.preparation["notes"]["identities"]["test"]["published"] == 250


def test_ages_are_added(corpus, tmp_path):
    (tmp_path / "age.csv").write_text("identity,age\nid10003,41\n")
    people = prepare(corpus, tmp_path, age_csv=tmp_path / "age.csv").identities
    assert people.set_index("identity").age["id10003"] == "41"
    assert (people.age == "").sum() == 6


def test_speechbrain_reads_our_voices_and_we_read_them_back(corpus, tmp_path):
    manifests = prepare(corpus, tmp_path)
    files = [tmp_path / "manifests" / f"voices_{split}.csv" for split in manifests.voices]
    dataset = DynamicItemDataset.from_csv(files[0], output_keys=["id", "wav", "stop", "spk_id"])
    assert len(dataset) == 9
    assert {item["spk_id"] for item in dataset} == {"id10317", "id11249", "id11251"}
    again = prepare(corpus, tmp_path / "again", voice_csvs=files)
    for split, voices in manifests.voices.items():
        pd.testing.assert_frame_equal(again.voices[split], voices)


def test_segments_of_speechbrain_are_kept(corpus, tmp_path):
    """Its default rows are pieces of a file: ID with start and end, samples in start and stop."""
    rows = [
        {
            "ID": f"{identity}--vid_A-1--00000_{part * 0.7:.1f}_{part * 0.7 + 0.7:.1f}",
            "duration": 1.5,
            "wav": corpus / "vox1" / "wav" / identity / "vid_A-1" / "00000.wav",
            "start": 11200 * part,
            "stop": 11200 * (part + 1),
            "spk_id": identity,
        }
        for identity in [*sorted(SPLIT_OF), "id10001"]
        if identity != ABSENT
        for part in range(2)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "voices.csv", index=False)
    scanner = Scanner(str(tmp_path / "cache"), min_seconds=0.5, vad=False, num_workers=0)
    folders = (tmp_path / "manifests", corpus / "vox1", corpus / "faces", corpus / "vox1_meta.csv")
    prepare_voxceleb_vggface(
        *folders,
        scanner,
        voice_csvs=[tmp_path / "voices.csv"],
        allow_missing_identities=True,
    )
    voices = load_manifests(tmp_path / "manifests").voices["valid"]
    assert voices.video.tolist() == [f"{name}/vid_A-1" for name in voices.spk_id]
    assert voices.start.tolist() == [0, 11200] * 2
    assert voices.stop.tolist() == [11200, 22400] * 2


# Stands in for a checkout: SpeechBrain's package does not contain its recipes.
SPEECHBRAIN_SCRIPT = """
import csv, glob, os, soundfile

def prepare_voxceleb(
    data_folder, save_folder, verification_pairs_file, splits=["train", "dev", "test"],
    split_ratio=[90, 10], seg_dur=3.0, amp_th=5e-04, source=None, split_speaker=False,
    random_segment=False, skip_prep=False,
):
    assert splits == ["train"] and split_ratio == [100, 0] and random_segment
    assert open(verification_pairs_file).read() == ""
    with open(os.path.join(save_folder, "train.csv"), "w") as file:
        writer = csv.writer(file)
        writer.writerow(["ID", "duration", "wav", "start", "stop", "spk_id"])
        for wav in glob.glob(os.path.join(data_folder, "wav", "**", "*.wav"), recursive=True):
            samples, rate = soundfile.read(wav)
            speaker, video, name = wav.split("/")[-3:]
            audio_id = "--".join([speaker, video, name.split(".")[0]])
            writer.writerow([audio_id, len(samples) / rate, wav, 0, len(samples), speaker])
"""


@pytest.fixture
def checkout(tmp_path):
    script = tmp_path / "speechbrain" / "recipes" / "VoxCeleb" / "voxceleb_prepare.py"
    script.parent.mkdir(parents=True)
    script.write_text(SPEECHBRAIN_SCRIPT)
    return tmp_path / "speechbrain"


@pytest.mark.parametrize("by_environment", [False, True])
def test_preparation_of_speechbrain_gives_the_same_voices(
    corpus, checkout, tmp_path, monkeypatch, by_environment
):
    ours = prepare(corpus, tmp_path / "ours")
    if by_environment:
        monkeypatch.setenv("SPEECHBRAIN_ROOT", str(checkout))
    root = None if by_environment else checkout
    theirs = prepare(corpus, tmp_path / "theirs", speechbrain_root=root)
    assert theirs.preparation["options"]["speechbrain_root"] == str(checkout)
    for split, voices in ours.voices.items():
        pd.testing.assert_frame_equal(theirs.voices[split], voices)


def test_a_script_that_fails_is_one_error_with_the_remedy(copy, checkout, tmp_path):
    (copy / "vox1" / "wav" / "id10003" / "vid_A-1" / "00000.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"voxceleb_prepare.py failed: .* Leave speechbrain_root"):
        prepare(copy, tmp_path, speechbrain_root=checkout)


def test_a_second_run_does_nothing_and_changes_prepare_again(copy, tmp_path):
    def key():
        prepare(copy, tmp_path)
        report = tmp_path / "manifests" / "preparation.json"
        return json.loads(report.read_text())["key"], report.stat().st_mtime_ns

    first = key()
    assert key() == first
    write_voice(copy / "vox1" / "wav" / "id10003" / "new" / "00001.wav")
    assert key()[0] != first[0]
    second = key()
    (copy / "faces" / "Zoe_Saldana" / "00001.jpg").unlink()
    assert key()[0] != second[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "random"}, "split: expected dimnet or pins, got 'random'"),
        ({"split": "pins"}, "pins_split_file: needed for split = pins"),
        ({"split": "pins", "pins_split_file": "nowhere.txt"}, "nowhere.txt: No such file"),
        ({"speechbrain_root": "nowhere"}, "speechbrain_root nowhere: no recipes/VoxCeleb"),
        ({"voice_csvs": ["nowhere.csv"]}, r"nowhere\.csv: not found"),
        ({"age_csv": "nowhere.csv"}, r"nowhere\.csv: not found"),
    ],
)
def test_wrong_options_are_named(corpus, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        prepare(corpus, tmp_path, **options)


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (1, "voxceleb_folder .*nowhere/vox1: not a folder; check the path"),
        (2, "vggface_folder .*nowhere/faces: not a folder; check the path"),
        (3, "vox1_meta.csv: not found"),
    ],
)
def test_wrong_paths_are_named(corpus, tmp_path, position, message):
    names = ["manifests", "vox1", "faces", "vox1_meta.csv"]
    folders = [tmp_path / names[0], *(corpus / name for name in names[1:])]
    folders[position] = tmp_path / "nowhere" / names[position]
    with pytest.raises(ValueError, match=message):
        prepare_voxceleb_vggface(*folders, Scanner(str(tmp_path), vad=False, num_workers=0))


@pytest.mark.parametrize("line", ["id10003,1\nid10003,2", "id99999,30"])
def test_wrong_ages_are_named(corpus, tmp_path, line):
    (tmp_path / "age.csv").write_text(f"identity,age\n{line}\n")
    with pytest.raises(ValueError, match=r"age.csv, line \d: expected every identity"):
        prepare(corpus, tmp_path, age_csv=tmp_path / "age.csv")


def test_the_include_prepares(corpus, tmp_path):
    options = {
        "voxceleb_folder": str(corpus / "vox1"),
        "vggface_folder": str(corpus / "faces"),
        "meta_csv": str(corpus / "vox1_meta.csv"),
        "cache_folder": str(tmp_path / "cache"),
        "allow_missing_identities": True,
        "vad": False,
        "scan_workers": 0,
    }
    with (HPARAMS / "corpora" / "voxceleb_vggface.yaml").open() as stream:
        parts = load_hyperpyyaml(stream, options)
    parts["prepare"](manifest_folder=tmp_path / "manifests")
    assert len(load_manifests(tmp_path / "manifests").identities) == 7


def test_other_numbers_of_people_than_the_split_has_are_a_question(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"got train 3 of 924, .*allow_missing_identities: True"):
        prepare(corpus, tmp_path, allow_missing_identities=False)
    assert not (tmp_path / "manifests").exists()
