"""Manifests: round trip, validation, cache key, splits, SpeechBrain's own reader."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from speechbrain.dataio.dataset import DynamicItemDataset

from speechbrain_fv.data.manifests import (
    SPLITS,
    cache_key,
    is_prepared,
    load_manifests,
    without_training_identities,
    write_manifests,
)
from speechbrain_fv.data.schema import parse_speech
from speechbrain_fv.data.splits import split_identities
from speechbrain_fv.files import read_table, write_table

SPLIT_OF = {"ann": "train", "bob": "train", "cat": "valid", "dan": "test"}


def corpus():
    """Faces, voices and identities of four people with two clips each."""
    names = [f"{name}-{clip}" for name in SPLIT_OF for clip in range(2)]
    owners = [name.split("-")[0] for name in names]
    faces = pd.DataFrame({"ID": names, "image": "/faces/x.jpg", "spk_id": owners})
    voices = pd.DataFrame({"ID": names, "duration": 2.0, "wav": "/voices/x.wav"})
    voices = voices.assign(start=0, stop=32000, spk_id=owners, speech="10:500;600:32000")
    identities = pd.DataFrame(SPLIT_OF.items(), columns=["identity", "split"]).assign(gender="f")
    return faces, voices, identities


def write(folder, faces, voices, identities):
    return write_manifests(folder, faces, voices, identities, "toy", "key", {"seed": 1})


def test_what_is_written_is_read(tmp_path):
    faces, voices, identities = corpus()
    preparation = write(tmp_path, faces, voices, identities)
    manifests = load_manifests(tmp_path)
    assert manifests.preparation == preparation
    assert preparation["splits"]["train"] == {
        "num_identities": 2,
        "num_faces": 4,
        "num_voices": 4,
    }
    together = pd.concat(manifests.voices.values(), ignore_index=True)
    pd.testing.assert_frame_equal(together, voices.assign(video=""), check_dtype=False)
    assert together.start.dtype == np.int64
    assert manifests.identities.gender.tolist() == ["f"] * 4
    assert manifests.identities.age.tolist() == [""] * 4


def test_speechbrain_reads_the_voices(tmp_path):
    write(tmp_path, *corpus())
    dataset = DynamicItemDataset.from_csv(tmp_path / "voices_train.csv")
    dataset.set_output_keys(["id", "wav", "start", "stop", "duration", "spk_id"])
    assert dataset[0]["id"] == "ann-0"
    assert dataset[0]["duration"] == 2.0
    assert (int(dataset[0]["start"]), int(dataset[0]["stop"])) == (0, 32000)


def test_voices_of_speechbrain_are_accepted_without_speech(tmp_path):
    write(tmp_path, *corpus())
    for split in SPLITS:
        table = pd.read_csv(tmp_path / f"voices_{split}.csv").drop(columns="speech")
        table.to_csv(tmp_path / f"voices_{split}.csv", index=False)
    assert load_manifests(tmp_path).voices["test"].speech.tolist() == ["", ""]


def test_videos_are_kept_and_speechbrain_reads_beside_them(tmp_path):
    faces, voices, identities = corpus()
    videos = [f"{name}-{video}" for name, video in zip(faces.spk_id, "xxxyxyxy", strict=True)]
    write(tmp_path, faces.assign(video=videos), voices.assign(video=[*videos[:-1], ""]), identities)
    manifests = load_manifests(tmp_path)
    assert pd.concat(manifests.faces.values()).video.tolist() == videos
    assert pd.concat(manifests.voices.values()).video.tolist() == [*videos[:-1], ""]
    for kind in ("faces", "voices"):
        dataset = DynamicItemDataset.from_csv(tmp_path / f"{kind}_train.csv")
        dataset.set_output_keys(["id", "spk_id", "video"])
        assert [item["video"] for item in dataset] == videos[:4]


def test_a_name_for_videos_of_several_identities_is_told_apart(tmp_path):
    """Corpora number the videos of each person from 0; a name of one person stays."""
    faces, voices, identities = corpus()
    write(
        tmp_path,
        faces.assign(video=["0", "own", "0", "", "1", "1", "2", "2"]),
        voices.assign(video=["0", "0", "0", "own", "1", "2", "2", ""]),
        identities,
    )
    manifests = load_manifests(tmp_path)
    faces, voices = (
        pd.concat(tables.values()).video.tolist() for tables in (manifests.faces, manifests.voices)
    )
    assert faces == ["ann/0", "ann/own", "bob/0", "", "1", "1", "dan/2", "dan/2"]
    assert voices == ["ann/0", "ann/0", "bob/0", "bob/own", "1", "cat/2", "dan/2", ""]


def test_a_video_of_two_identities_is_rejected(tmp_path):
    write(tmp_path, *corpus())
    for kind, video in (("faces", "v"), ("voices", "v")):
        table = pd.read_csv(tmp_path / f"{kind}_train.csv", keep_default_na=False)
        table.loc[table.spk_id == ("ann" if kind == "faces" else "bob"), "video"] = video
        write_table(table, tmp_path / f"{kind}_train.csv")
    with pytest.raises(ValueError, match="video v in rows of more than one identity; name it 'id"):
        load_manifests(tmp_path)


def test_manifests_without_videos_load_and_are_prepared_again(tmp_path):
    """Earlier versions wrote no such column, under the same key."""
    write(tmp_path, *corpus())
    for kind in ("faces", "voices"):
        for split in SPLITS:
            table = pd.read_csv(tmp_path / f"{kind}_{split}.csv", keep_default_na=False)
            assert is_prepared(tmp_path, "key") == (kind == "faces" and split == "train")
            table.drop(columns="video").to_csv(tmp_path / f"{kind}_{split}.csv", index=False)
    manifests = load_manifests(tmp_path)
    for tables in (manifests.faces, manifests.voices):
        assert (pd.concat(tables.values()).video == "").all()
    write(tmp_path, *corpus())
    assert is_prepared(tmp_path, "key")


def test_further_labels_of_identities_are_kept(tmp_path):
    faces, voices, identities = corpus()
    write(tmp_path, faces, voices, identities.assign(language=["Urdu", "", "Urdu", "English"]))
    identities = load_manifests(tmp_path).identities
    names = ["identity", "split", "gender", "nationality", "age", "language"]
    assert identities.columns.tolist() == names
    assert identities.language.tolist() == ["Urdu", "", "Urdu", "English"]


def test_identities_with_one_modality_are_left_out_and_counted(tmp_path):
    faces, voices, identities = corpus()
    preparation = write(tmp_path, faces[faces.spk_id != "bob"], voices, identities)
    assert preparation["one_sided_identities"] == ["bob"]
    manifests = load_manifests(tmp_path)
    assert "bob" not in set(manifests.identities.identity)
    assert "bob" not in set(manifests.voices["train"].spk_id)


def broken(column, row, value):
    def change(faces, voices, identities):
        voices[column] = voices[column].astype(object)
        voices.loc[row, column] = value
        return faces, voices, identities

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (broken("ID", 1, "ann-0"), "duplicate ID ann-0"),
        (broken("spk_id", 2, "eve"), "line 4: spk_id 'eve' is not in identities.csv"),
        (broken("start", 0, "zero"), "line 2: start must be a whole number of samples, got 'zero'"),
        (broken("stop", 3, 12.5), "line 5: stop must be a whole number of samples, got 12.5"),
        (broken("duration", 3, "x"), "line 5: duration must be seconds"),
        (broken("stop", 3, 0), "line 5: expected samples 0 <= start < stop, got start 0"),
        (broken("speech", 1, "9:5"), "line 3: speech segments must be in order"),
        (broken("speech", 1, "0:99999"), "line 3: speech segments must be in order"),
        (broken("speech", 1, "a:b"), "line 3: speech: expected 'start:stop;start:stop'"),
        (lambda f, v, i: (f.drop(columns="image"), v, i), "missing column image"),
        (lambda f, v, i: (f, v, i.assign(split="train")), "split 'valid' is empty"),
        (lambda f, v, i: (f, v, i.assign(split="dev")), "split must be one of train, valid, test"),
        (
            lambda f, v, i: (f, v, pd.concat([i, i[:1].assign(split="test")])),
            r"more than once, with their splits: ann \(test\+train\)",
        ),
    ],
)
def test_broken_manifests_are_rejected(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path, *change(*corpus()))
    assert not is_prepared(tmp_path, "key")


def test_a_leak_between_files_is_rejected(tmp_path):
    """Splits edited by hand must not put one person on both sides."""
    write(tmp_path, *corpus())
    test = pd.read_csv(tmp_path / "faces_test.csv")
    train = pd.read_csv(tmp_path / "faces_train.csv")
    write_table(pd.concat([test, train[:1].assign(ID="again")]), tmp_path / "faces_test.csv")
    with pytest.raises(ValueError, match=r"two splits: ann \(faces_test.csv, identities.csv: tr"):
        load_manifests(tmp_path)


def test_a_duplicate_over_two_files_is_rejected(tmp_path):
    write(tmp_path, *corpus())
    test = pd.read_csv(tmp_path / "faces_test.csv")
    write_table(test.assign(ID=["ann-0", "dan-1"]), tmp_path / "faces_test.csv")
    with pytest.raises(ValueError, match="duplicate ID ann-0"):
        load_manifests(tmp_path)


def test_loading_without_a_preparation_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"preparation.json: not found; run the corpus prep"):
        load_manifests(tmp_path / "nowhere")


def test_is_prepared_asks_for_the_key_and_every_file(tmp_path):
    assert not is_prepared(tmp_path, "key")
    write(tmp_path, *corpus())
    assert is_prepared(tmp_path, "key")
    assert not is_prepared(tmp_path, "other")
    (tmp_path / "faces_valid.csv").unlink()
    assert not is_prepared(tmp_path, "key")


def test_an_interrupted_write_is_not_prepared(tmp_path, monkeypatch):
    write(tmp_path, *corpus())

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(json, "dumps", stop)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, *corpus())
    assert not is_prepared(tmp_path, "key")


def test_cache_key_follows_options_and_files(tmp_path):
    file = tmp_path / "a.wav"
    file.write_bytes(b"1234")
    key = cache_key({"seed": 1}, [file])
    assert key == cache_key({"seed": 1}, [str(file)])
    assert key != cache_key({"seed": 2}, [file])
    assert key != cache_key({"seed": 1})
    os.utime(file, ns=(1, 1))
    touched = cache_key({"seed": 1}, [file])
    assert touched != key
    file.write_bytes(b"12345")
    os.utime(file, ns=(1, 1))
    assert cache_key({"seed": 1}, [file]) != touched
    file.unlink()
    assert len(cache_key({"seed": 1}, [file])) == 64


@pytest.mark.parametrize("num_identities", [3, 4, 10, 57, 1000])
@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.2), (0.34, 0.33, 0.33), (0.02, 0.49, 0.49)])
def test_every_identity_gets_one_split_and_no_split_is_empty(num_identities, shares):
    names = [f"p{number}" for number in range(num_identities)]
    splits = split_identities(reversed(names + names), shares, seed=3)
    assert sorted(splits) == sorted(names)
    counts = [list(splits.values()).count(split) for split in SPLITS]
    assert min(counts) >= min(2, num_identities // 3)
    assert np.abs(np.array(counts) - np.array(shares) * num_identities).max() <= 2
    assert splits == split_identities(names, shares, seed=3)


def test_another_seed_splits_otherwise():
    names = [f"p{number}" for number in range(50)]
    assert split_identities(names, seed=0) != split_identities(names, seed=1)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (0.9, -0.1, 0.2)])
def test_wrong_shares_are_rejected(shares):
    with pytest.raises(ValueError, match="shares: expected three positive numbers"):
        split_identities("abcdef", shares)


def test_too_few_identities_are_rejected():
    with pytest.raises(ValueError, match="at least 3"):
        split_identities(["a", "b", "a"])


@pytest.mark.parametrize("text", ["5", "1:2:3", "1-2", ";x"])
def test_unreadable_speech_is_rejected(text):
    with pytest.raises(ValueError, match="speech: expected"):
        parse_speech(text)


def test_training_identities_are_left_out_nested_and_by_seed(tmp_path):
    names = [f"p{number:02}" for number in range(14)]
    splits = dict.fromkeys(names[:10], "train") | {names[10]: "valid", names[11]: "valid"}
    splits |= {names[12]: "test", names[13]: "test"}
    owners = [name for name in names for _ in range(2)]
    ids = [f"{name}-{clip}" for clip, name in enumerate(owners)]
    faces = pd.DataFrame({"ID": ids, "image": "x.jpg", "spk_id": owners})
    voices = pd.DataFrame({"ID": ids, "duration": 2.0, "wav": "x.wav"})
    voices = voices.assign(start=0, stop=32000, spk_id=owners, speech="")
    write(tmp_path, faces, voices, pd.DataFrame(splits.items(), columns=["identity", "split"]))
    whole = load_manifests(tmp_path)
    assert without_training_identities(whole, 0, seed=1) is whole
    kept = {}
    for number in (3, 8):
        part = without_training_identities(whole, number, seed=1)
        kept[number] = set(part.identities.identity[part.identities.split == "train"])
        assert len(kept[number]) == 10 - number
        for tables in (part.faces, part.voices):
            assert set(tables["train"].spk_id) == kept[number]
            assert len(tables["train"]) == 2 * (10 - number)
            assert len(tables["valid"]) == len(tables["test"]) == 4
        assert part.preparation["key"] != whole.preparation["key"]
    assert kept[8] < kept[3]
    other = without_training_identities(whole, 8, seed=2).identities
    assert set(other.identity[other.split == "train"]) != kept[8]
    for number in (-1, 9):
        with pytest.raises(ValueError, match=rf"expected 0 to 8, .* got {number}"):
            without_training_identities(whole, number)


@pytest.mark.parametrize("line, got", [("bob,b.jpg", 2), ("bob", 1), ('bob,"b,c.jpg"', 2)])
def test_rows_that_are_cut_off_are_refused(tmp_path, line, got):
    """They were filled with empty cells, as if the clip had no voice."""
    table = tmp_path / "clips.csv"
    table.write_text(f"identity,face,wav\nann,a.jpg,a.wav\n\n{line}\n")
    with pytest.raises(ValueError, match=rf"clips.csv, line 4: expected 3 cells, .* got {got}"):
        read_table(table)
    table.write_text(f"identity,face,wav\nann,a.jpg,\n\n{line},{',' * (2 - got)}\n")
    assert read_table(table).wav.tolist() == ["", ""]
