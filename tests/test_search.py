"""Galleries against a search one cosine after the other: ties, changes, files, sources."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from speechbrain_fv.evaluation.embeddings import Embeddings, save_embeddings
from speechbrain_fv.inference import FaceVoiceAssociation
from speechbrain_fv.media.images import reads_heic
from speechbrain_fv.search import Gallery, choose_kind, coded, exact, index, sources
from speechbrain_fv.search.ids import Ids
from speechbrain_fv.shipped import install_command
from tests.media import write_face, write_voice
from tests.paths import ROOT
from tests.references.search import best

pytest.importorskip("faiss")
KINDS = ("exact", "coded")
VERSION = "a" * 64


@pytest.fixture
def codes_for_few(monkeypatch):
    """Small galleries have codes too, and are searched by them."""
    monkeypatch.setattr(coded, "TRAINED_ON", 64)
    monkeypatch.setattr(coded, "CANDIDATES", 50)


def people(count, dim=8, seed=0):
    """Vectors of any length, every fifth one the same, as float32 of shape (count, dim)."""
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    vectors[::5] = vectors[0]
    return vectors


def assert_same(hits, entries, queries, k):
    """Asserts that hits are those of the reference, scores within rounding."""
    for ids, scores, query in zip(hits.ids, hits.scores.tolist(), queries, strict=True):
        expected = best(entries, query, k)
        assert scores == pytest.approx([score for _, score in expected], abs=1e-6)
        assert ids == [name for name, _ in expected]


@pytest.mark.parametrize("kind", KINDS)
def test_gallery_equals_the_reference_through_changes_and_files(
    kind, tmp_path, monkeypatch, codes_for_few
):
    """Forty random changes, each followed by queries; galleries go through files on the way."""
    monkeypatch.setattr(exact, "CHUNK", 50)
    rng = np.random.default_rng(1)
    gallery, entries, number = Gallery(VERSION, 8, kind), [], 0
    for step in range(40):
        if len(entries) < 40 or rng.random() < 0.6:
            vectors = rng.normal(size=(rng.integers(1, 60), 8))
            vectors[1::9] = entries[0][1] if entries else vectors[0]
            names = [f"é {number + i}" for i in range(len(vectors))]
            number += len(names)
            gallery.add_face(names, vectors * 10.0 ** rng.integers(-3, 4))
            entries += zip(names, vectors, strict=True)
        else:
            gone = rng.choice(len(entries), rng.integers(1, 20), replace=False)
            gallery.remove([entries[i][0] for i in gone])
            entries = [entry for i, entry in enumerate(entries) if i not in gone]
        if step % 5 == 4:
            gallery.save(tmp_path)
            gallery = Gallery.load(tmp_path, VERSION, mmap=step % 10 == 9, verify=True)
        assert len(gallery) == len(entries) and gallery.face_ids == [name for name, _ in entries]
        queries = np.stack([rng.normal(size=8), entries[0][1]])
        k = min(len(entries), 12)
        assert_same(gallery.query_voice(queries, k), entries, queries, k)
    assert gallery.shelves["face"].index.kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_one_query_has_the_same_result_alone_and_in_any_batch(kind, codes_for_few):
    vectors, queries = people(6000, 32)[5:], people(300, 32, seed=1)
    gallery = Gallery.from_embeddings(VERSION, voice=vectors, kind=kind)
    ids, scores = gallery.query_face(queries, k=7)
    for row in range(0, 300, 17):
        alone = gallery.query_face(torch.from_numpy(queries[row]), k=7)
        assert alone.ids == ids[row] and torch.equal(alone.scores, scores[row])
    scaled = gallery.query_face(queries[:9] * 1000.0, k=7)
    assert scaled.ids == ids[:9] and torch.allclose(scaled.scores, scores[:9], atol=1e-6)


@pytest.mark.parametrize("spread", [0.7, 3.0])
def test_a_coded_gallery_finds_nearly_all_also_for_queries_far_from_it(spread, monkeypatch):
    """A voice lies far from every face; inverted lists found 0.58 of the best for such queries."""
    monkeypatch.setattr(coded, "TRAINED_ON", 4096)
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(600, 32))
    vectors = centres[rng.integers(600, size=12000)] + 0.7 * rng.normal(size=(12000, 32))
    queries = centres[:100] + spread * rng.normal(size=(100, 32))
    exact = Gallery.from_embeddings(VERSION, vectors, kind="exact").query_voice(queries, 10).ids
    gallery = Gallery.from_embeddings(VERSION, vectors, kind="coded")
    monkeypatch.setattr(coded.ExactIndex, "search", None)  # only the codes are asked
    found = gallery.query_voice(queries, 10).ids
    assert np.mean([len({*a} & {*b}) for a, b in zip(exact, found, strict=True)]) >= 9.8
    monkeypatch.undo()
    # Where many are asked for, all are compared.
    many = gallery.query_voice(queries[:2], 12000)
    assert all(len(set(ids)) == 12000 for ids in many.ids)
    assert (many.scores.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("dim", [7, 8])
def test_codes_are_the_same_however_the_vectors_came(dim, codes_for_few, tmp_path):
    """At once or in parts, through a file or not; also of a width that is odd."""
    vectors = people(3000, dim)
    whole = coded.CodedIndex(vectors)
    whole.encode()
    parts = coded.CodedIndex(
        vectors, coded.restored_codes(whole.centroids, np.zeros(0, np.uint8), 0, dim)
    )
    parts.encode()
    np.testing.assert_array_equal(whole.packed_codes, parts.packed_codes)
    restored = coded.restored_codes(whole.centroids, whole.packed_codes.copy(), 3000, dim)
    expected = whole.codes.search(vectors[:50], 20)[1]
    np.testing.assert_array_equal(restored.search(vectors[:50], 20)[1], expected)
    half = whole.kept(np.arange(3000) < 1500)
    np.testing.assert_array_equal(half.centroids, whole.centroids)
    assert half.codes.ntotal == len(half) == 1500


def test_removed_vectors_are_not_found_by_their_codes(codes_for_few):
    """All near the query are removed, so that the codes offer none that is left."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(9000, 8))
    vectors[:1000] = [1.0] * 8 + 0.01 * rng.normal(size=(1000, 8))
    gallery = Gallery.from_embeddings(VERSION, vectors, kind="coded")
    gallery.remove([f"face {row}" for row in range(1000)])
    assert len(gallery.shelves["face"].index) == 9000
    entries = [(f"face {row}", vectors[row]) for row in range(1000, 9000)]
    queries = np.stack([np.ones(8), vectors[2000]])
    assert_same(gallery.query_voice(queries, 5), entries, queries, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_data_gives_the_same_files(kind, codes_for_few, tmp_path):
    names = []
    for copy in ("first", "second"):
        gallery = Gallery.from_embeddings(VERSION, people(2000), people(50), kind=kind)
        gallery.save(tmp_path / copy)
        names.append(sorted(os.listdir(tmp_path / copy)))
    # Three of each modality, and the manifest; centroids and codes of the many faces.
    assert names[0] == names[1] and len(names[0]) == (7 if kind == "exact" else 9)


def test_k_beyond_the_gallery_returns_all():
    gallery = Gallery.from_embeddings(VERSION, people(5))
    ids, scores = gallery.query_voice(people(3), k=100)
    assert scores.shape == (3, 5) and all(len(set(line)) == 5 for line in ids)
    assert len(gallery.query_voice(people(1)[0], k=100).ids) == 5


@pytest.mark.parametrize(
    "query, k, message",
    [
        (np.ones(8), 0, "k: expected a whole number of at least 1"),
        (np.ones(8), 1.5, "k: expected"),
        (np.ones(8), True, "k: expected"),
        (np.ones(7), 1, r"shape \(B, 8\), got \(1, 7\); waveforms and images"),
        (np.ones((2, 2, 8)), 1, "a file, a list of files, or embeddings"),
        (np.empty((0, 8)), 1, r"got \(0, 8\)"),
        (np.array([1.0] * 7 + [np.nan]), 1, "row 0 holds NaN or infinity"),
        (np.array([[1.0] * 8, [np.inf] * 8]), 1, "row 1 holds NaN or infinity"),
        (np.zeros(8), 1, "row 0 is zero and has no direction"),
        (np.array(["a"] * 8), 1, "a file, a list of files, or embeddings"),
        ([[1.0], [1.0, 2.0]], 1, "a file, a list of files, or embeddings"),
        ("voice.wav", 1, "files need a model"),
    ],
)
def test_unusable_queries_are_refused(query, k, message):
    gallery = Gallery.from_embeddings(VERSION, people(5))
    with pytest.raises(ValueError, match=message):
        gallery.query_voice(query, k)
    with pytest.raises(ValueError, match="has no voices; add some"):
        gallery.query_face(np.ones(8), 1)


@pytest.mark.parametrize(
    "ids, vectors, message",
    [
        (["x", "face 1"], np.ones((2, 8)), "'face 1' is already in the gallery"),
        (["x", "y", "x"], np.ones((3, 8)), "'x' is given twice"),
        (["x", ""], np.ones((2, 8)), "text that is not empty, got ''"),
        (["x", 3], np.ones((2, 8)), "text that is not empty, got 3"),
        (["x", "\udcff"], np.ones((2, 8)), "is no Unicode text"),
        (3, np.ones((1, 8)), "text that is not empty, got 3"),
        (None, np.ones((1, 8)), "text that is not empty, got None"),
        (["x"], np.ones((2, 8)), "got 1 ids and 2 embeddings"),
        (["x"], np.ones((1, 9)), r"expected numbers of shape \(N, 8\)"),
        (["x", "y"], np.array([[1.0] * 8, [0.0] * 8]), "vector of id 'y' is zero"),
        (["x", "y"], np.array([[1.0] * 8, [np.nan] * 8]), "vector of id 'y' holds NaN"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_added_when_something_is_wrong(ids, vectors, message, kind):
    gallery = Gallery.from_embeddings(VERSION, people(5), kind=kind)
    with pytest.raises(ValueError, match=message):
        gallery.add_face(ids, vectors)
    assert gallery.face_ids == [f"face {row}" for row in range(5)] and "x" not in gallery
    assert gallery.query_voice(np.ones(8), 9).scores.shape == (5,)


def test_ids_are_unique_within_a_modality_and_removed_from_both():
    gallery = Gallery.from_embeddings(VERSION, people(3), people(2), ["a", "b", "c"], ["a", "d"])
    with pytest.raises(ValueError, match="1 of 2 ids are not in the gallery, the first is 'e'"):
        gallery.remove(["a", "e"])
    for ids in (3, None, [["a"]]):
        with pytest.raises(ValueError, match="expected text that is not empty, got"):
            gallery.remove(ids)
    assert len(gallery) == 5 and "a" in gallery
    gallery.remove(["a", "a"])
    assert "a" not in gallery and (gallery.face_ids, gallery.voice_ids) == (["b", "c"], ["d"])
    gallery.remove(["b", "c", "d"])
    gallery.add_face("a", np.ones(8))
    assert gallery.query_voice(np.ones(8)).ids == ["a"]


def test_directions_are_kept_whatever_the_length():
    """A float32 norm would overflow at 1e30 and vanish at 1e-30."""
    vectors = np.eye(8) + 0.1
    scale = np.logspace(-300, 300, 8)[:, None]
    gallery = Gallery.from_embeddings(VERSION, vectors * scale)
    ids, scores = gallery.query_voice(vectors * scale[::-1], 1)
    assert ids == [[f"face {row}"] for row in range(8)]
    assert scores.flatten().tolist() == pytest.approx([1] * 8)
    many = people(1000)
    scores = Gallery.from_embeddings(VERSION, many).query_voice(many, 1).scores
    assert scores.max() <= 1


def test_rule_of_size(monkeypatch, codes_for_few):
    monkeypatch.setattr(index, "EXACT_UNTIL", 100)
    gallery, seen = Gallery(VERSION, 8), []
    vectors = people(600)
    for start, count in ((0, 100), (100, 1), (101, 499)):
        names = [f"{row}" for row in range(start, start + count)]
        gallery.add_voice(names, vectors[start : start + count])
        seen.append(gallery.shelves["voice"].index.kind)
    assert seen == ["exact", "coded", "coded"]
    for left in (300, 40, 1):
        gallery.remove(gallery.voice_ids[left:])
        gallery.compact()
        assert (len(gallery), gallery.shelves["voice"].index.kind) == (left, "coded")
        entries = list(zip(gallery.voice_ids, vectors, strict=False))
        assert_same(gallery.query_face(vectors[:3], 9), entries, vectors[:3], min(9, left))
    assert [choose_kind(100), choose_kind(101), choose_kind(1, "coded")] == [
        *("exact", "coded", "coded")
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_removed_vectors_leave_the_index_at_a_fifth(kind, tmp_path, codes_for_few):
    gallery = Gallery.from_embeddings(VERSION, people(100), kind=kind)
    shelf = gallery.shelves["face"]
    gallery.remove([f"face {row}" for row in range(20)])
    assert (len(shelf.index), len(gallery)) == (100, 80)
    gallery.remove(["face 20"])
    assert len(shelf.index) == len(gallery) == 79
    gallery.remove(["face 21"])
    assert (len(shelf.index), len(gallery)) == (79, 78)
    gallery.save(tmp_path)
    saved = Gallery.load(tmp_path, VERSION).shelves["face"]
    assert len(saved.index) == len(saved) == len(shelf.index) == 78
    if kind == "coded":
        assert saved.index.codes.ntotal == 78


def test_many_ids_are_compact():
    names = [f"folder {row % 7}/é {row}.jpg" for row in range(100_000)]
    ids = Ids.of(names)
    text = sum(len(name.encode()) for name in names)
    assert ids.text.nbytes + ids.offsets.nbytes == text + 8 * 100_001
    assert [ids[0], ids[99_999]] == [names[0], names[99_999]]
    with pytest.raises(IndexError):
        ids[100_000]


def test_faiss_is_needed_only_for_approximate_search(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match=re.escape(install_command("search"))):
        Gallery.from_embeddings(VERSION, people(50), kind="coded")
    gallery = Gallery.from_embeddings(VERSION, people(50))
    gallery.save(tmp_path)
    assert len(Gallery.load(tmp_path, VERSION).query_voice(np.ones(8), 3).ids) == 3


def test_faiss_works_when_it_is_imported_before_torch():
    """Each brings its own OpenMP. In the other tests torch is first; here both have two threads."""
    code = """
import faiss, numpy as np, torch
from speechbrain_fv.search import Gallery, coded
coded.TRAINED_ON = coded.CANDIDATES = 300
torch.set_num_threads(2), faiss.omp_set_num_threads(2)
x = np.random.default_rng(0).normal(size=(6000, 32))
for kind in ("exact", "coded", "exact"):
    gallery = Gallery.from_embeddings("v", x, kind=kind)
    assert gallery.query_voice(x[:200], 1).ids == [[f"face {row}"] for row in range(200)]
    torch.randn(500, 500) @ torch.randn(500, 500)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# Where embeddings come from.


@pytest.fixture(scope="session")
def model(bundle_folder):
    return FaceVoiceAssociation.from_hparams(bundle_folder)


@pytest.fixture
def media(tmp_path):
    """Three faces and two voices; a text, a hidden file and a hidden folder beside them."""
    folder = tmp_path / "media"
    for seed, name in enumerate(("ann.jpg", "more/bob.JPEG", "more/cem.png")):
        write_face(folder / name, seed)
    write_voice(folder / "ann.wav", seed=1)
    write_voice(folder / "more" / "bob.flac", seed=2, rate=44100, channels=2)
    for name in (".hidden.jpg", ".cache/x.jpg", "note.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no face")
    return folder


def test_nothing_of_a_folder_disappears(model, media, caplog):
    """A folder from a phone made a gallery without the HEIC and M4A in it, and said nothing."""
    write_face(media / "dan.jfif.jpg", seed=7)
    (media / "dan.jfif.jpg").rename(media / "dan.jfif")
    write_face(media / "eve.jpg", seed=8)
    (media / "eve.jpg").rename(media / "more" / "no_suffix")
    (media / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (media / "phone.m4a").write_bytes(b"\0\0\0\x1cftypM4A \0\0\2\0" + bytes(100))
    (media / "noise.raw").write_bytes(bytes(range(256)) * 100)
    (media / "empty.bin").touch()
    for junk in ("._ann.jpg", ".DS_Store", "more/Thumbs.db", "desktop.ini"):
        (media / junk).write_bytes(b"\0\5\x16\7" * 100)
    with caplog.at_level("WARNING", logger="speechbrain_fv"):
        gallery = Gallery.from_folder(model, media)
    assert gallery.face_ids == ["ann.jpg", "dan.jfif", "more/bob.JPEG", "more/cem.png"]
    reasons = {name: reason for _, name, reason in gallery.skipped}
    expected = {
        "empty.bin": "empty file",
        "more/no_suffix": "a face, though its name does not say so; let it end in .jpg",
        "noise.raw": "neither an image nor audio that can be read",
        "phone.heic": "HEIC, the photos of iPhones",
        "phone.m4a": "MP4 or M4A (AAC), which is not read",
    }
    if reads_heic():  # a face then, though a broken one
        del expected["phone.heic"]
    assert list(reasons) == list(expected)
    for name, reason in expected.items():
        assert reasons[name].startswith(f"{media / name}: {reason}")
    assert f"{media}: {len(expected)} files are not used" in caplog.text


def test_folder(model, media):
    gallery = Gallery.from_folder(model, media)
    assert gallery.face_ids == ["ann.jpg", "more/bob.JPEG", "more/cem.png"]
    assert gallery.voice_ids == ["ann.wav", "more/bob.flac"] and gallery.skipped == []
    voice, faces = media / "ann.wav", [media / name for name in gallery.face_ids]
    ranking = model.match_files(voice, faces)
    ids, scores = gallery.query_voice(voice)
    assert ids == [gallery.face_ids[i] for i in ranking.indices.tolist()]
    assert scores.tolist() == pytest.approx(ranking.scores.tolist(), abs=1e-5)
    assert gallery.query_voice(voice.read_bytes()).ids == ids
    with open(voice, "rb") as file:
        assert gallery.query_voice([voice.read_bytes(), file]).ids == [ids, ids]
    several = gallery.query_face(faces, k=1)
    assert several.scores.shape == (3, 1)
    embedding = model.encode_voice_files([voice])
    assert gallery.query_voice(embedding).ids == [ids]
    weights = model.mods.requires_grad_(True)  # as with freeze_params=False
    assert Gallery.from_folder(model, media).query_voice(voice).ids == ids
    weights.requires_grad_(False)
    tracked = [row.requires_grad_() for row in embedding]
    assert gallery.query_voice(tracked).ids == [ids]
    gallery.add_face("copy", faces[0])
    found = dict(zip(*map(list, gallery.query_voice(voice, 4)), strict=True))
    assert float(found["copy"]) == pytest.approx(float(found["ann.jpg"]), abs=1e-6)


def test_broken_files_are_errors_or_listed(model, media, monkeypatch):
    monkeypatch.setattr(sources, "CHUNK", 2)
    (media / "more" / "dan.jpg").write_bytes(b"no image")
    (media / "eve.wav").write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"dan\.jpg.*on_error='skip'"):
        Gallery.from_folder(model, media)
    gallery = Gallery.from_folder(model, media, on_error="skip")
    assert [entry[:2] for entry in gallery.skipped] == [
        ("face", "more/dan.jpg"),
        ("voice", "eve.wav"),
    ]
    assert "dan.jpg" in gallery.skipped[0].reason and len(gallery) == 5
    whole = [name for name in gallery.face_ids if name != "more/dan.jpg"]
    alone = model.encode_face_files([media / name for name in whole])
    stored = gallery.shelves["face"].index.take(np.arange(3))
    unit = torch.nn.functional.normalize(alone, dim=1).numpy()
    np.testing.assert_allclose(stored, unit, atol=1e-5)
    for path in media.rglob("[a-z]*.*"):
        path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="none of 7 files can be used; the first"):
        Gallery.from_folder(model, media, on_error="skip")
    with pytest.raises(ValueError, match="on_error: expected raise or skip"):
        Gallery.from_folder(model, media, on_error="ignore")


def test_csv(model, media):
    csv = media / "list.csv"
    csv.write_text(
        "id, face, wav, note\nann, ann.jpg, ann.wav, x\nbob, more/bob.JPEG,,\n"
        f"eve,,{media / 'more' / 'bob.flac'},\n"
    )
    gallery = Gallery.from_csv(model, csv, kind="coded")
    assert (gallery.face_ids, gallery.voice_ids) == (["ann", "bob"], ["ann", "eve"])
    folder = Gallery.from_folder(model, media)
    expected = dict(zip(*map(list, folder.query_voice(media / "ann.wav")), strict=True))
    found = dict(zip(*map(list, gallery.query_voice(media / "ann.wav")), strict=True))
    assert float(found["bob"]) == pytest.approx(float(expected["more/bob.JPEG"]), abs=1e-5)
    csv.write_text("id,face\nann,ann.jpg\nbob,missing.jpg\n")
    with pytest.raises(ValueError, match=r"list\.csv, line 3: .*missing\.jpg"):
        Gallery.from_csv(model, csv)
    gallery = Gallery.from_csv(model, csv, on_error="skip")
    assert gallery.skipped[0].id == "bob" and "line 3" in gallery.skipped[0].reason


@pytest.mark.parametrize(
    "text, message",
    [
        ("name,face\na,b.jpg\n", "expected the columns id, and face or wav"),
        ("id,other\na,b.jpg\n", "expected the columns id, and face or wav"),
        ("id,face\n", "no rows below the header"),
        ("id,face\na,x.jpg\n,y.jpg\n", "line 3: id is empty"),
        ("id,face\na,x.jpg\nb,x.jpg\na,y.jpg\n", "line 4: id 'a' was given in line 2"),
        ("id,face,wav\na,x.jpg,\nb,,\n", "line 3: neither face nor wav"),
        ("id,face,wav\na,x.jpg,,y.jpg\nb,z.jpg,\n", "more cells than the header"),
    ],
)
def test_errors_in_a_csv_name_the_line(text, message, tmp_path):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        Gallery.from_csv(_NoModel, tmp_path / "list.csv", on_error="skip")


class _NoModel:
    """What a CSV that is refused needs of a model."""

    version, embedding_dim = VERSION, 8


def test_folders_without_media_are_refused(tmp_path):
    (tmp_path / "note.txt").write_text("no face")
    with pytest.raises(ValueError, match="no image and no recording there"):
        Gallery.from_folder(_NoModel, tmp_path)
    with pytest.raises(ValueError, match="not a folder"):
        Gallery.from_folder(_NoModel, tmp_path / "absent")


@contextmanager
def nobody(folder):
    """Acts in a folder as somebody who may not read everything, as root may."""
    folder.chmod(0o755)
    before, root = os.getcwd(), os.geteuid() == 0
    os.chdir(folder)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        os.chdir(before)


def test_folders_that_cannot_be_read_are_not_passed_over(media):
    """A gallery lacked what was in them without a word."""
    (media / "more").chmod(0)
    with (
        nobody(media.parent),
        pytest.raises(ValueError, match=r"media/more: the folder cannot be read \(Permission"),
    ):
        Gallery.from_folder(_NoModel, "media")
    (media / "more").chmod(0o755)


def test_file_of_embeddings(tmp_path):
    vectors, who = people(6), list("aabbcc")
    save_embeddings(
        tmp_path / "named.npz", Embeddings(vectors, vectors, who, who, [*"123456"], [*"123456"])
    )
    gallery = Gallery.from_npz(VERSION, tmp_path / "named.npz")
    assert gallery.face_ids == gallery.voice_ids == [*"123456"]
    np.savez(tmp_path / "faces.npz", face=vectors)
    gallery = Gallery.from_npz(VERSION, tmp_path / "faces.npz")
    assert gallery.face_ids == [f"face {row}" for row in range(6)]
    assert_same(
        gallery.query_voice(vectors[:2], 4),
        list(zip(gallery.face_ids, vectors, strict=True)),
        vectors[:2],
        4,
    )
    np.savez(tmp_path / "objects.npz", face=np.array([{}], object))
    np.savez(tmp_path / "others.npz", x=vectors)
    np.savez(tmp_path / "bytes.npz", face=vectors, face_id=np.array([b"\xff"] * 6))
    (tmp_path / "text.npz").write_text("no archive")
    for name, message in (
        ("objects", "allow_pickle"),
        ("others", "an array face or voice"),
        ("text", "expected an .npz"),
        ("bytes", "face_id: expected text"),
        ("absent", "No such file"),
    ):
        with pytest.raises(ValueError, match=rf"{name}\.npz.*{message}"):
            Gallery.from_npz(VERSION, tmp_path / f"{name}.npz")
    with pytest.raises(ValueError, match="got neither"):
        Gallery.from_embeddings(VERSION)
    for ids in ("ab", 3):  # text was taken for a list of letters
        with pytest.raises(ValueError, match="got 1 ids and 2|not empty, got 3"):
            Gallery.from_embeddings(VERSION, vectors[:2], face_ids=ids)
    with pytest.raises(ValueError, match="kind: expected auto, exact, coded, got 'pq'"):
        Gallery.from_embeddings(VERSION, vectors, kind="pq")
