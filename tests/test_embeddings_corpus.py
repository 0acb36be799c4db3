"""Precomputed embeddings: from an .npz and a CSV to manifests, and every mistake in them."""

import numpy as np
import pandas as pd
import pytest
from hyperpyyaml import load_hyperpyyaml

from speechbrain_fv.corpora.precomputed import prepare_embeddings
from speechbrain_fv.data.manifests import load_manifests
from tests.paths import HPARAMS, REAL_PAIRS

CLIPS = [f"clip{number}" for number in range(20)]


def clips(**columns):
    table = pd.DataFrame({"clip": CLIPS, "identity": [f"p{number // 2}" for number in range(20)]})
    return table.assign(**columns)


def vectors(**arrays):
    generator = np.random.default_rng(0)
    tables = {
        "clip": np.array(CLIPS),
        "face": generator.standard_normal((20, 4), np.float32),
        "voice": generator.standard_normal((20, 6), np.float32),
    }
    return {name: array for name, array in (tables | arrays).items() if array is not None}


def prepare(folder, table, arrays, **options):
    table.to_csv(folder / "clips.csv", index=False)
    np.savez(folder / "vectors.npz", **arrays)
    options = {"face_key": "face", "voice_key": "voice"} | options
    prepare_embeddings(
        folder / "manifests", folder / "clips.csv", folder / "vectors.npz", **options
    )
    return load_manifests(folder / "manifests")


def with_row(table, row, value):
    table = table.copy()
    table[row] = value
    return table


def test_every_clip_is_a_face_and_a_voice(tmp_path):
    manifests = prepare(tmp_path, clips(gender="f"), vectors())
    faces = pd.concat(manifests.faces.values())
    voices = pd.concat(manifests.voices.values())
    assert sorted(faces.ID) == sorted(voices.ID) == sorted(CLIPS)
    assert set(faces.image) == set(voices.wav) == {str(tmp_path / "vectors.npz")}
    assert manifests.identities.split.value_counts().to_dict() == {
        "train": 6,
        "test": 2,
        "valid": 2,
    }
    assert set(manifests.identities.gender) == {"f"}


def test_a_clip_is_a_video_unless_the_csv_names_them(tmp_path):
    manifests = prepare(tmp_path, clips(), vectors())
    for tables in (manifests.faces, manifests.voices):
        table = pd.concat(tables.values())
        assert table.video.tolist() == table.ID.tolist()
    named = clips(video=[f"v{number // 4}" if number < 16 else "" for number in range(20)])
    expected = dict(zip(named["clip"], named.video, strict=True))
    expected |= {f"clip{n}": f"p{n // 2}/v{n // 4}" for n in range(16)}  # of two people each
    manifests = prepare(tmp_path, named, vectors())
    for tables in (manifests.faces, manifests.voices):
        table = pd.concat(tables.values())
        assert dict(zip(table.ID, table.video, strict=True)) == expected


TOO_LONG = "vector is so long that its square is infinite in 32 bits; scale all vectors"


def test_unusable_vectors_are_left_out(tmp_path):
    arrays = vectors()
    arrays["face"] = with_row(arrays["face"], 3, np.nan)
    arrays["face"] = with_row(arrays["face"], 9, 1e30)  # finite, but its norm is not
    arrays["voice"] = with_row(arrays["voice"], 5, 0.0)
    arrays["voice"][7, 2] = np.inf
    for name in arrays:
        arrays[name] = arrays[name][:-1]
    manifests = prepare(tmp_path, clips(), arrays, max_excluded_share=0.15)
    excluded = pd.read_csv(tmp_path / "manifests" / "excluded.csv")
    assert excluded.values.tolist() == [
        ["clip3", "face", "p1", "vector has values that are not finite"],
        ["clip9", "face", "p4", TOO_LONG],
        ["clip19", "face", "p9", "clip is not in the embeddings"],
        ["clip5", "voice", "p2", "vector is zero"],
        ["clip7", "voice", "p3", "vector has values that are not finite"],
        ["clip19", "voice", "p9", "clip is not in the embeddings"],
    ]
    assert sum(map(len, manifests.faces.values())) == 17
    assert sum(map(len, manifests.voices.values())) == 17


def test_too_many_unusable_vectors_stop(tmp_path):
    arrays = vectors()
    arrays["face"] = with_row(arrays["face"], slice(0, 2), 0)
    with pytest.raises(ValueError, match=r"2 of 20 face files \(10.0%\).*clip0: vector is zero"):
        prepare(tmp_path, clips(), arrays)


def test_more_vectors_than_clips_are_fine(tmp_path):
    assert prepare(tmp_path, clips()[:16], vectors()).preparation["num_excluded"] == 0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (vectors(voice=None), "no array voice; available: clip, face; set ids_key"),
        (vectors(voice=np.ones((19, 6))), r"voice must hold one vector .* \(20, dim\)"),
        (vectors(face=np.ones(20)), r"face must hold one vector of numbers per clip.* \(20,\)"),
        (vectors(face=np.ones((20, 0))), "face must hold one vector of numbers per clip"),
        (vectors(face=np.full((20, 2), "x")), "face must hold one vector of numbers per clip"),
        (vectors(clip=np.array([*CLIPS[1:], "clip1"])), "clip names clip1 more than once"),
        (vectors(clip=np.ones((20, 2))), r"clip must have shape \(num_clips,\), got \(20, 2\)"),
        (vectors(clip=np.array(CLIPS, object)), "Object arrays .*expected an .npz of numbers"),
    ],
)
def test_mistakes_in_the_npz_are_named(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path, clips(), arrays)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (clips().drop(columns="clip"), "missing column clip"),
        (clips(clip="clip0"), "clip clip0 listed more than once"),
        (clips(gender=["f", "m"] * 10), "identity 'p0' has more than one gender"),
        (clips(split=["train", "test"] * 10), "identity 'p0' has more than one split"),
    ],
)
def test_mistakes_in_the_csv_are_named(tmp_path, table, message):
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path, table, vectors())


def embedded(**arrays):
    """What `speechbrain-fv embed` writes of a CSV: 16 faces of 8 people, 12 voices of 6 of them."""
    generator = np.random.default_rng(0)
    tables = {}
    for modality, count, dim in (("face", 16, 4), ("voice", 12, 6)):
        tables |= {
            modality: generator.standard_normal((count, dim), np.float32),
            f"{modality}_id": np.array([f"{modality}{number}" for number in range(count)]),
            f"{modality}_identity": np.array([f"p{number // 2}" for number in range(count)]),
        }
    return {name: array for name, array in (tables | arrays).items() if array is not None}


SEPARATE = {"face_ids_key": "face_id", "voice_ids_key": "voice_id"}


def test_the_file_of_embed_says_whose_the_clips_are(tmp_path):
    """There may be more faces than voices; a CSV of people, not of clips, tells their labels."""
    people = pd.DataFrame({"identity": [f"p{n}" for n in range(9)], "gender": ["f", "m", "f"] * 3})
    manifests = prepare(tmp_path, people, embedded(), **SEPARATE)
    for modality, tables in (("face", manifests.faces), ("voice", manifests.voices)):
        table = pd.concat(tables.values())
        assert sorted(table.ID) == sorted(f"{modality}{number}" for number in range(12))
        assert (
            table.spk_id == "p" + (table.ID.str[len(modality) :].astype(int) // 2).map(str)
        ).all()
        assert set(table.video) == {""}
    genders = dict(zip(people.identity, people.gender, strict=True))
    assert dict(zip(manifests.identities.identity, manifests.identities.gender, strict=True)) == {
        f"p{n}": genders[f"p{n}"] for n in range(6)
    }
    assert manifests.preparation["one_sided_identities"] == ["p6", "p7"]
    np.savez(tmp_path / "vectors.npz", **embedded())
    prepare_embeddings(tmp_path / "n", None, tmp_path / "vectors.npz", "face", "voice", **SEPARATE)
    assert set(load_manifests(tmp_path / "n").identities.gender) == {""}


def test_faces_and_voices_that_lie_row_by_row_are_pairs(tmp_path):
    pairs = {key: embedded()[f"face{key}"][:12] for key in ("_id", "_identity")}
    arrays = embedded(
        **{
            f"{modality}{key}": rows
            for key, rows in pairs.items()
            for modality in ("face", "voice")
        },
        face=embedded()["face"][:12],
    )
    np.savez(tmp_path / "vectors.npz", **arrays)
    prepare_embeddings(tmp_path / "n", None, tmp_path / "vectors.npz", "face", "voice", **SEPARATE)
    faces = pd.concat(load_manifests(tmp_path / "n").faces.values())
    assert (faces.video == faces.ID).all()


def test_a_clip_of_the_csv_may_be_a_face_a_voice_or_nothing(tmp_path):
    ids = [*embedded()["face_id"], *embedded()["voice_id"], "nothing"]
    table = pd.DataFrame({"clip": ids, "identity": ["p" + str(n % 6) for n in range(len(ids))]})
    options = SEPARATE | {"max_excluded_share": 0.1}
    manifests = prepare(tmp_path, table, embedded(face_identity=None), **options)
    assert sum(map(len, manifests.faces.values())) == 16
    excluded = pd.read_csv(tmp_path / "manifests" / "excluded.csv")
    assert excluded[["path", "modality"]].values.tolist() == [
        ["nothing", "face"],
        ["nothing", "voice"],
    ]


@pytest.mark.parametrize(
    ("table", "arrays", "message"),
    [
        (
            None,
            embedded(face_identity=None),
            r"face_identity: expected 16 names, one per face, got",
        ),
        (None, embedded(voice_identity=np.array(["p"])), r"voice_identity: .* the shape \(1,\)"),
        (pd.DataFrame({"identity": ["p0"]}), embedded(), "no row for p1, p2, .* add one row for"),
        (None, embedded(face_identity=np.array(["P0", *["p0"] * 15])), "'p0' differ only in case"),
    ],
)
def test_mistakes_in_the_people_are_named(tmp_path, table, arrays, message):
    np.savez(tmp_path / "vectors.npz", **arrays)
    if table is not None:
        table.to_csv(tmp_path / "people.csv", index=False)
    csv = table if table is None else tmp_path / "people.csv"
    with pytest.raises(ValueError, match=message):
        prepare_embeddings(tmp_path, csv, tmp_path / "vectors.npz", "face", "voice", **SEPARATE)


def test_without_a_csv_the_names_must_be_of_each_modality(tmp_path):
    np.savez(tmp_path / "vectors.npz", **vectors())
    with pytest.raises(
        ValueError, match="clips_csv: expected a CSV with the columns clip and iden"
    ):
        prepare_embeddings(tmp_path, None, tmp_path / "vectors.npz", "face", "voice")


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_file_that_is_no_npz_is_named(tmp_path, content):
    clips().to_csv(tmp_path / "clips.csv", index=False)
    file = tmp_path / "vectors.npz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"vectors.npz: .*(expected an .npz|not found)"):
        prepare_embeddings(tmp_path / "manifests", tmp_path / "clips.csv", file, "face", "voice")


def test_a_single_array_is_no_npz(tmp_path):
    clips().to_csv(tmp_path / "clips.csv", index=False)
    np.save(tmp_path / "vectors.npy", np.ones((20, 4)))
    with pytest.raises(ValueError, match=r"expected an \.npz of numbers and text"):
        prepare_embeddings(tmp_path, tmp_path / "clips.csv", tmp_path / "vectors.npy", "f", "v")


def test_a_second_run_does_nothing_and_a_changed_file_prepares_again(tmp_path):
    prepare(tmp_path, clips(), vectors())
    report = tmp_path / "manifests" / "preparation.json"
    written = report.stat().st_mtime_ns
    arguments = [tmp_path / "manifests", tmp_path / "clips.csv", tmp_path / "vectors.npz"]
    prepare_embeddings(*arguments, "face", "voice")
    assert report.stat().st_mtime_ns == written
    np.savez(tmp_path / "vectors.npz", **vectors(extra=np.ones(1)))
    prepare_embeddings(*arguments, "face", "voice")
    assert report.stat().st_mtime_ns > written


@pytest.mark.skipif(not REAL_PAIRS.is_dir(), reason=f"{REAL_PAIRS} is not on this machine")
def test_the_include_prepares_real_embeddings(tmp_path):
    options = {
        "clips_csv": str(REAL_PAIRS / "manifest.csv"),
        "embeddings": str(REAL_PAIRS / "embeddings.npz"),
        "face_key": "face_sface128",
        "voice_key": "voice_ge2e256",
    }
    with (HPARAMS / "corpora" / "embeddings.yaml").open() as stream:
        corpus = load_hyperpyyaml(stream, options)
    corpus["prepare"](manifest_folder=tmp_path)
    counts = load_manifests(tmp_path).preparation["splits"]
    assert [counts[split]["num_voices"] for split in counts] == [763, 96, 94]
