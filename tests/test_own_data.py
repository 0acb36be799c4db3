"""Own data: from a CSV to manifests, and every mistake a CSV can hold."""

import logging

import pandas as pd
import pytest
from hyperpyyaml import load_hyperpyyaml

from speechbrain_fv.corpora import own_data, scan
from speechbrain_fv.corpora.own_data import prepare_own_data
from speechbrain_fv.corpora.scan import Scanner
from speechbrain_fv.data.manifests import load_manifests
from tests.media import write_face, write_voice
from tests.paths import HPARAMS, REAL_PAIRS

REAL = REAL_PAIRS / "manifest.csv"
NAMES = ("ann", "bob", "cat", "dan", "eve")
SPLIT_OF = dict(zip(NAMES, ("train", "train", "train", "valid", "test"), strict=True))


@pytest.fixture
def folder(tmp_path):
    """Two faces and two voices of five people."""
    for seed, name in enumerate(NAMES):
        for clip in range(2):
            write_face(tmp_path / "face" / f"{name}{clip}.jpg", seed=2 * seed + clip)
            write_voice(tmp_path / "voice" / f"{name}{clip}.wav", seconds=1.2, seed=2 * seed + clip)
    return tmp_path


def rows(**columns):
    table = pd.DataFrame(
        {
            "identity": name,
            "face": f"face/{name}{clip}.jpg",
            "wav": f"voice/{name}{clip}.wav",
            "split": SPLIT_OF[name],
        }
        for name in NAMES
        for clip in range(2)
    )
    return table.assign(**columns)


def prepare(folder, table, **options):
    table.to_csv(folder / "clips.csv", index=False)
    scanner = Scanner(str(folder / "cache"), vad=False, num_workers=0)
    scanner = options.pop("scanner", scanner)
    prepare_own_data(folder / "manifests", folder / "clips.csv", scanner, **options)
    return load_manifests(folder / "manifests")


def test_pairs_with_splits_and_labels(folder):
    manifests = prepare(folder, rows(gender=["f", ""] * 5, age="30", seconds=1.2))
    faces, voices = manifests.faces["valid"], manifests.voices["valid"]
    assert faces.ID.tolist() == ["face/dan0.jpg", "face/dan1.jpg"]
    assert voices.ID.tolist() == ["voice/dan0.wav", "voice/dan1.wav"]
    assert faces.image.tolist() == [str(folder / name) for name in faces.ID]
    assert voices.stop.tolist() == [19200, 19200]
    people = manifests.identities.set_index("identity")
    assert people.split.to_dict() == SPLIT_OF
    assert people.gender.tolist() == ["f"] * 5
    assert people.age.tolist() == ["30"] * 5
    assert people.nationality.tolist() == [""] * 5


def test_labels_that_mean_the_same_are_one_group(folder):
    """m, M and male were three groups, and a person with two of them was an error."""
    labels = {
        "gender": ["m", "M", "male", " Male ", "F", "female", "f", "", "Other", "other"],
        "nationality": ["UK", "uk", "uk", "Uk", "New Zealand", "new  zealand", "", "", "é", "É"],
        "age": ["30"] * 10,
    }
    people = prepare(folder, rows(**labels)).identities
    assert people.gender.tolist() == ["m", "m", "f", "f", "Other"]
    assert people.nationality.tolist() == ["UK", "UK", "New Zealand", "", "é"]


def test_rows_with_one_modality_and_the_name_voice(folder):
    table = rows().drop(columns="split")
    table.loc[::2, "face"] = ""
    table.loc[1::2, "wav"] = ""
    manifests = prepare(folder, table.rename(columns={"wav": "voice"}))
    assert sum(map(len, manifests.faces.values())) == 5
    assert sum(map(len, manifests.voices.values())) == 5


def test_clip_names_are_ids(folder):
    manifests = prepare(folder, rows(clip=[f"c{number}" for number in range(10)]))
    assert manifests.faces["test"].ID.tolist() == ["c8", "c9"]
    assert manifests.voices["test"].ID.tolist() == ["c8", "c9"]


def test_a_face_repeated_for_several_voices_is_one(folder):
    table = rows()
    table["face"] = [f"face/{name}0.jpg" for name in table.identity]
    manifests = prepare(folder, table)
    assert len(manifests.faces["train"]) == 3
    assert len(manifests.voices["train"]) == 6
    assert manifests.faces["valid"].video.tolist() == ["face/dan0.jpg"]
    assert manifests.voices["valid"].video.tolist() == ["face/dan0.jpg"] * 2


def videos(manifests):
    """The videos of all faces and of all voices, by ID."""
    return [
        pd.concat(tables.values()).set_index("ID").video.to_dict()
        for tables in (manifests.faces, manifests.voices)
    ]


def test_a_row_with_both_is_a_video_unless_the_csv_names_them(folder):
    table = rows()
    table.loc[0, "wav"] = table.loc[9, "face"] = ""
    faces, voices = videos(prepare(folder, table))
    assert faces["face/ann0.jpg"] == voices["voice/eve1.wav"] == ""
    assert faces["face/ann1.jpg"] == voices["voice/ann1.wav"] == "face/ann1.jpg"
    clips = [f"c{number}" for number in range(10)]
    faces, voices = videos(prepare(folder, table.assign(clip=clips)))
    assert list(faces) == clips[:9] and list(voices) == clips[1:]
    assert faces == {clip: clip for clip in faces} | {"c0": ""}
    assert voices == {clip: clip for clip in voices} | {"c9": ""}
    named = table.assign(clip=clips, video=["", "v", "v", "", "x", "x", "y", "z", "", "w"])
    faces, voices = videos(prepare(folder, named))
    expected = ["", "ann/v", "bob/v", "", "x", "x", "y", "z", "", "w"]
    assert list(faces.values()) == expected[:9] and list(voices.values()) == expected[1:]


def test_a_file_keeps_the_video_that_any_of_its_rows_names(folder):
    table = rows(video=["", "v"] * 5)
    table["face"] = [f"face/{name}0.jpg" for name in table.identity]
    faces, voices = videos(prepare(folder, table))
    assert faces["face/ann0.jpg"] == voices["voice/ann1.wav"] == "ann/v"
    assert voices["voice/ann0.wav"] == ""


def test_random_splits_follow_the_seed_and_never_share_an_identity(folder):
    table = rows().drop(columns="split")
    first = prepare(folder, table, seed=1).identities
    assert first.equals(prepare(folder, table[::-1], seed=1).identities)
    seeds = [prepare(folder, table, seed=seed).identities.split.tolist() for seed in range(5)]
    assert len({tuple(splits) for splits in seeds}) > 1
    assert all(set(splits) == {"train", "valid", "test"} for splits in seeds)


def test_broken_and_missing_files_are_counted_skips(folder, caplog):
    (folder / "voice" / "ann0.wav").write_bytes(b"")
    (folder / "face" / "bob1.jpg").write_bytes((folder / "face" / "bob1.jpg").read_bytes()[:200])
    (folder / "voice" / "bob1.wav").unlink()
    scanner = Scanner(str(folder / "cache"), vad=False, num_workers=0, max_excluded_share=0.2)
    with caplog.at_level(logging.INFO):
        manifests = prepare(folder, rows(), scanner=scanner)
    assert manifests.preparation["num_excluded"] == 3
    assert "3 files left out" in caplog.text
    report = pd.read_csv(folder / "manifests" / "excluded.csv")
    assert report.modality.tolist() == ["face", "voice", "voice"]
    assert report.identity.tolist() == ["bob", "ann", "bob"]
    assert report.reason[2] == "not found; check the path"
    assert len(manifests.voices["train"]) == 4


def test_too_many_broken_files_stop_with_the_report(folder):
    (folder / "voice" / "ann0.wav").unlink()
    with pytest.raises(ValueError, match=r"1 of 10 voice files .*ann0.wav: not found.*excluded"):
        prepare(folder, rows())


def test_a_second_run_does_nothing_and_a_change_reads_one_file(folder, monkeypatch):
    prepare(folder, rows())
    reads = []
    writes = []
    real_facts, real_write = scan.voice_facts, own_data.write_manifests
    monkeypatch.setattr(
        scan, "voice_facts", lambda path, vad: reads.append(path) or real_facts(path, vad)
    )
    monkeypatch.setattr(
        own_data, "write_manifests", lambda *args: writes.append(1) or real_write(*args)
    )
    scanner = Scanner(str(folder / "cache"), vad=False, num_workers=0)
    prepare_own_data(folder / "manifests", folder / "clips.csv", scanner)
    assert (reads, writes) == ([], [])
    write_voice(folder / "voice" / "eve1.wav", seconds=3.0)
    prepare_own_data(folder / "manifests", folder / "clips.csv", scanner)
    assert (reads, writes) == ([str(folder / "voice" / "eve1.wav")], [1])
    stricter = Scanner(str(folder / "cache"), min_seconds=1.1, vad=False, num_workers=0)
    prepare_own_data(folder / "manifests", folder / "clips.csv", stricter)
    assert (len(reads), writes) == (1, [1, 1])


def with_cell(column, row, value):
    table = rows(gender="f", clip=[f"c{number}" for number in range(10)])
    table.loc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (rows()[:0], "clips.csv: no rows below the header"),
        (rows().drop(columns="identity"), "missing column identity"),
        (rows().drop(columns=["face", "wav"]), "expected a column face, wav or both, got"),
        (rows(voice="x"), "columns wav and voice mean the same"),
        (
            rows().drop(columns="wav"),
            "split 'train': expected at least 1 identities",
        ),
        (with_cell("identity", 3, ""), "line 5: identity is empty"),
        (with_cell("clip", 3, ""), "line 5: clip is empty"),
        (with_cell("clip", 3, "c1"), r"clip c1 listed more than once \(line 3, 5\)"),
        (
            with_cell("split", 3, "dev"),
            "line 5: split must be one of .* got 'dev'",
        ),
        (with_cell("split", 3, ""), "line 5: split must be one of .* got ''"),
        (
            with_cell("split", 3, "test"),
            r"identity 'bob' has more than one split: 'train' \(line 4\), 'test' \(line 5\)",
        ),
        (with_cell("gender", 3, "m"), r"'bob' has more than one gender: 'f' \(line 4\), 'm'"),
        (with_cell("face", 3, "./face/ann0.jpg"), r"face/ann0.jpg' belongs to .* \(line 2, 5\)"),
        (
            rows(video=list("abcdefghij"), face=[f"face/{name}0.jpg" for name in rows().identity]),
            r"face/ann0.jpg' belongs to more than one video \(line 2, 3\); give it one",
        ),
    ],
)
def test_mistakes_in_the_csv_are_named(folder, table, message):
    with pytest.raises(ValueError, match=message):
        prepare(folder, table)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "not found; check the path"), (b"", "not a readable CSV"), (b"\xff\xfe\0", "UTF-16")],
)
def test_a_csv_that_is_none_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "clips.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        prepare_own_data(tmp_path / "manifests", tmp_path / "clips.csv", Scanner())


def test_the_include_prepares(folder):
    rows().to_csv(folder / "clips.csv", index=False)
    options = {"clips_csv": str(folder / "clips.csv"), "cache_folder": str(folder / "cache")}
    options |= {"vad": False, "scan_workers": 0, "least_people": 1}
    with (HPARAMS / "corpora" / "own_data.yaml").open() as stream:
        corpus = load_hyperpyyaml(stream, options)
    corpus["prepare"](manifest_folder=folder / "manifests")
    assert load_manifests(folder / "manifests").preparation["corpus"] == "own_data"


def test_too_few_people_are_told_before_files_are_read(folder):
    with pytest.raises(
        ValueError, match="'valid': expected at least 2 identities .* 1 of 5 in all"
    ):
        prepare(folder, rows().drop(columns="split"), least_people=2)
    assert not (folder / "cache").exists() and not (folder / "manifests").exists()


@pytest.mark.skipif(not REAL.is_file(), reason=f"{REAL} is not on this machine")
def test_real_pairs(tmp_path):
    """Real faces and talkers: nearly all of the first 60 files are usable."""
    table = pd.read_csv(REAL)[:60]
    for column in ("face", "voice"):
        table[column] = [str(REAL.parent / name) for name in table[column]]
    scanner = Scanner(str(tmp_path / "cache"), num_workers=0)
    manifests = prepare(tmp_path, table, scanner=scanner)
    assert sum(map(len, manifests.faces.values())) > 55
    voices = pd.concat(manifests.voices.values())
    assert len(voices) > 55
    assert (voices.speech != "").all()
