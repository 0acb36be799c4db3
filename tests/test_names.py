"""One rule for the names of people and clips, in CSVs, arrays, folders and lists."""

import unicodedata

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.corpora.own_data import read_clips
from speechbrain_fv.corpora.precomputed import load_vectors, prepare_embeddings
from speechbrain_fv.data.manifests import load_manifests
from speechbrain_fv.data.readers import EmbeddingReader
from speechbrain_fv.data.schema import check_identities
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.files import read_table
from speechbrain_fv.names import check_look_alikes, look_alike, name_of, names_of
from speechbrain_fv.protocols.clip_names import ExactNames
from speechbrain_fv.protocols.leakage import check_leakage, read_train_identities
from speechbrain_fv.protocols.strata import check_metadata
from speechbrain_fv.search.ids import id_list
from speechbrain_fv.search.sources import in_folder, in_npz

COMPOSED, APART = "Zoë", unicodedata.normalize("NFD", "Zoë")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (APART, COMPOSED),
        (f"\u00a0{COMPOSED}\t", COMPOSED),
        (7, "7"),
        (np.int64(-7), "-7"),
        (np.uint8(200), "200"),
        ("007", "007"),
        (APART.encode(), COMPOSED),
        (np.bytes_(b" a "), "a"),
        ("a  b", "a  b"),
        ("Ann", "Ann"),
    ],
)
def test_a_name_has_one_form(given, name):
    assert name_of(given) == name
    assert name_of(name_of(given)) == name


@pytest.mark.parametrize("given", [1.0, np.float32(2), True, None, "Zoë".encode("cp1252"), ["a"]])
def test_other_types_are_no_names(given):
    with pytest.raises(ValueError, match="ids: expected text"):
        names_of([given], "ids")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *[("Ann", "ann"), ("ann lee", "Ann  Lee"), ("7", "007"), ("0", "00")],
        *[("straße", "STRASSE"), ("\uff21nn", "Ann"), ("\ufb01", "FI")],
        *[(COMPOSED.upper(), COMPOSED), ("ann\u200b", "ann")],
    ],
)
def test_names_that_a_person_takes_for_one_look_alike(one, other):
    assert look_alike(one) == look_alike(other)
    with pytest.raises(ValueError, match="differ only") as error:
        check_look_alikes([one, "x", other], "clips.csv")
    assert repr(one) in str(error.value) and repr(other) in str(error.value)


def test_other_names_do_not():
    check_look_alikes(["ann", "bob", "p1", "p01", "10", "1", "zoe", COMPOSED, "a_b", "a b"], "x")


def write(folder, names, clips=None, ids=None):
    """A CSV and an .npz of two clips a person; returns their paths."""
    table = pd.DataFrame({"clip": clips, "identity": np.repeat(names, 2)})
    table.to_csv(folder / "clips.csv", index=False)
    vectors = np.random.default_rng(0).normal(size=(len(ids), 3))
    np.savez(folder / "vectors.npz", clip=ids, face=vectors, voice=vectors)
    return folder / "clips.csv", folder / "vectors.npz"


@pytest.mark.parametrize(
    "ids",
    [
        np.arange(8),
        np.arange(8, dtype=np.uint16),
        np.arange(8).astype("S"),
        np.arange(8).astype(str),
        np.array([f" {n} " for n in range(8)]),
    ],
)
def test_ids_of_any_type_find_their_vectors(tmp_path, ids):
    """An array of integers passed the preparation and was KeyError: '0' in training."""
    csv, npz = write(tmp_path, list("abcd"), [str(n) for n in range(8)], ids)
    prepare_embeddings(tmp_path / "manifests", csv, npz, "face", "voice")
    manifests = load_manifests(tmp_path / "manifests")
    reader = EmbeddingReader(str(npz), "clip", "face")
    vectors = np.load(npz)["face"]
    for table in manifests.faces.values():
        for clip in table.ID:
            assert reader(clip, None).numpy() == pytest.approx(vectors[int(clip)], rel=1e-6)


def test_leading_zeros_make_other_clips_and_the_report_says_so(tmp_path):
    csv, npz = write(tmp_path, list("abcd"), [f"{n:03}" for n in range(8)], np.arange(8))
    with pytest.raises(ValueError, match="clip is not in the embeddings, which have '0'"):
        prepare_embeddings(tmp_path / "manifests", csv, npz, "face", "voice")


def test_ids_that_are_one_name_are_refused(tmp_path):
    np.savez(tmp_path / "v.npz", clip=[APART, COMPOSED], v=np.eye(2))
    with pytest.raises(ValueError, match="names Zoë more than once"):
        load_vectors(tmp_path / "v.npz", "clip", ["v"])
    np.savez(tmp_path / "v.npz", clip=[0.5, 1.5], v=np.eye(2))
    with pytest.raises(ValueError, match="clip: expected text, whole numbers or bytes, got 0.5"):
        load_vectors(tmp_path / "v.npz", "clip", ["v"])


def test_people_of_a_csv(tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text(f"identity,face\n{APART},a.jpg\n {COMPOSED} ,b.jpg\n")
    assert read_clips(path).identity.tolist() == [COMPOSED] * 2
    path.write_text("identity,face\nAnn,a.jpg\nBob,b.jpg\nANN,c.jpg\n")
    with pytest.raises(ValueError, match=r"clips.csv: identities 'Ann' and 'ANN' differ only"):
        read_clips(path)
    with pytest.raises(ValueError, match="'01' and '1' differ only"):
        check_identities(pd.DataFrame({"identity": ["01", "1"], "split": "train"}), "x.csv")


def test_people_of_embeddings_metadata_and_training(tmp_path):
    eye = np.eye(2)
    embeddings = Embeddings(eye, eye, [APART, 7], [COMPOSED.encode(), b"7"], [1, 2], [b"a", b"b"])
    assert embeddings.identities == ["7", COMPOSED]
    assert embeddings.face_id.tolist() == ["1", "2"]
    with pytest.raises(ValueError, match="embeddings: identities '.nn' and '.nn' differ only"):
        Embeddings(eye, eye, ["Ann", "bob"], ["ann", "bob"])
    table = pd.DataFrame({"identity": [f"{APART} ", "7"], "gender": ["f", "m"]})
    assert check_metadata(table, embeddings.identities).gender.tolist() == ["m", "f"]
    (tmp_path / "trained.txt").write_text(f"{APART.upper()}\nbob\n")
    trained = read_train_identities(tmp_path / "trained.txt")
    report = check_leakage(trained, embeddings, allow_leakage=True)
    assert report["identities"] == [COMPOSED]


def test_clips_of_lists_folders_and_galleries(tmp_path):
    assert ExactNames().keys([APART, "a", "A"], "face").tolist() == [COMPOSED, "a", "A"]
    (tmp_path / f"{APART}.jpg").write_bytes(b"")
    files, _ = in_folder(tmp_path)
    assert [clip.id for clip in files["face"]] == [f"{COMPOSED}.jpg"]
    assert files["face"][0].path.exists()
    assert id_list([APART]) == [COMPOSED]
    np.savez(tmp_path / "v.npz", face=np.eye(2), face_id=np.arange(2))
    assert in_npz(tmp_path / "v.npz")["face_ids"] == ["0", "1"]


TABLE = "identity,face\nZoë,a.jpg\nann,b.jpg\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLE.replace(",", ";").encode(), "separated by commas, got semicolons; save it with"),
        (TABLE.replace(",", "\t").encode(), "separated by commas, got tabs"),
        (TABLE.replace(",", "|").encode(), "separated by commas, got vertical bars"),
        (TABLE.encode("utf-16"), "expected text in UTF-8, got what looks like UTF-16"),
        (
            TABLE.encode() + bytes(20),
            "line 4: expected text, got a zero byte, as an interrupted copy",
        ),
        (b"identity, face ,wav,face\n", "the column 'face' stands there twice; rename one"),
        (b"identity" + b",a" * 1000, "expected at most 1000 columns, got 1001; keep"),
        (b"PK\3\4\0\0", "got an archive or a spreadsheet; unpack it, or save the sheet as CSV"),
        (TABLE.encode("utf-16-le"), "got what looks like UTF-16; save it in UTF-8"),
        (TABLE.encode("cp1252"), r"line 2: expected text in UTF-8, got byte 0xeb, as Windows-1252"),
        (TABLE.replace(",", ";").replace("a.jpg", "a,b.jpg").encode(), "got semicolons"),
    ],
)
def test_other_tables_are_told_by_name(tmp_path, content, message):
    (tmp_path / "clips.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / "clips.csv")


def test_tables_that_are_right_are_read(tmp_path):
    (tmp_path / "clips.csv").write_bytes(TABLE.encode("utf-8-sig").replace(b"\n", b"\r\n"))
    assert read_table(tmp_path / "clips.csv").identity.tolist() == ["Zoë", "ann"]
    (tmp_path / "one.csv").write_text("identity\nann;bob\n")
    assert read_table(tmp_path / "one.csv").identity.tolist() == ["ann;bob"]
    with pytest.raises(ValueError, match="separated by tabs, got commas"):
        read_table(tmp_path / "clips.csv", separator="\t")
