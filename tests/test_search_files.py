"""Files of a gallery: a save that stops anywhere, damaged and made-up files, other models."""

import hashlib
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from speechbrain_fv.search import Gallery, coded, store
from speechbrain_fv.shipped import install_command
from tests.paths import ROOT

faiss = pytest.importorskip("faiss")
VERSION = "a" * 64


def gallery_of(count, kind="exact", seed=0):
    rng = np.random.default_rng(seed)
    return Gallery.from_embeddings(VERSION, rng.normal(size=(count, 8)), kind=kind)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A folder with a gallery of each kind; tests that change one copy it first."""
    folder = tmp_path_factory.mktemp("galleries")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coded, "TRAINED_ON", 64)
        for kind in ("exact", "coded"):
            gallery = gallery_of(300, kind)
            gallery.add_voice("ann", np.ones(8))
            gallery.remove(["face 3", "face 299"])
            gallery.save(folder / kind)
    return folder


# Each line of output is what a reader finds after a save that was killed at some point. Children
# are forked before any thread of faiss or torch runs.
KILLED = """
import os, random, signal, sys, time
import numpy as np
from speechbrain_fv.search import Gallery, coded

coded.TRAINED_ON = 1000
folder = sys.argv[1]
rng = np.random.default_rng(0)

def gallery(count, kind):
    return Gallery.from_embeddings("v", rng.normal(size=(count, 64)), kind=kind)

def stop_at(point):
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        if event in ("open", "os.rename", "os.remove", "os.listdir", "fcntl.flock", "os.scandir"):
            if any(folder in str(argument) for argument in arguments) or event == "fcntl.flock":
                seen += 1
                if seen == point:
                    os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

def child(work):
    if not (number := os.fork()):
        try:
            work()
        finally:
            os._exit(0)
    return number

new = gallery(40_000, "exact")
for point in range(1, 60):
    stop = lambda: (stop_at(point), new.save(folder))
    _, status = os.waitpid(child(stop), 0)
    print(os.WTERMSIG(status), len(Gallery.load(folder, "v", verify=True)), len(os.listdir(folder)))
    if not status:
        break
    gallery(7, "exact").save(folder)
    print(0, len(Gallery.load(folder, "v", verify=True)), len(os.listdir(folder)))
gallery(7, "exact").save(folder)
new = gallery(20_000, "coded")
for _ in range(12):
    number = child(lambda: new.save(folder))
    time.sleep(random.uniform(0, 0.06))
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    print(9, len(Gallery.load(folder, "v", verify=True)), 0)
    gallery(7, "exact").save(folder)
"""


def test_a_killed_save_leaves_the_old_gallery_or_the_new_one(tmp_path):
    """SIGKILL before each opening, renaming and deleting of a save, then at random times."""
    Gallery.from_embeddings("v", np.random.default_rng(0).normal(size=(7, 64))).save(tmp_path)
    files = len(os.listdir(tmp_path))
    result = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    lines = [tuple(map(int, line.split())) for line in result.stdout.splitlines()]
    points, at_random = lines[:-12], lines[-12:]
    killed, resaved, last = points[:-1:2], points[1::2], points[-1]
    assert last == (0, 40_000, files)  # one save ran to its end
    assert len(killed) > 20 and all(signal == 9 for signal, *_ in killed)
    assert {count for _, count, _ in killed} == {7, 40_000}
    assert max(number for *_, number in killed) > files  # some left files behind,
    assert set(resaved) == {(0, 7, files)}  # which the next save deleted
    assert {count for _, count, _ in at_random} <= {7, 20_000}


def test_a_full_disk_leaves_the_old_gallery(tmp_path):
    """No file may grow beyond 50 kB: the vectors of 3000 do, the ids do not."""
    gallery_of(5).save(tmp_path)
    before = sorted(os.listdir(tmp_path))
    code = f"""
import resource, numpy as np
from speechbrain_fv.search import Gallery
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
vectors = np.random.default_rng(0).normal(size=(3000, 8))
for kind in ("exact", "coded"):
    try:
        Gallery.from_embeddings({VERSION!r}, vectors, kind=kind).save({str(tmp_path)!r})
    except OSError as error:
        print(error.strerror, len(Gallery.load({str(tmp_path)!r}, {VERSION!r}, verify=True)))
        assert {str(tmp_path)!r} in str(error)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == 2 * "File too large 5\n", result.stderr
    assert sorted(os.listdir(tmp_path)) == before


def test_galleries_are_whole_while_others_save(tmp_path):
    """A reader among two writers always finds one gallery, ids and vectors of one save."""
    galleries = [gallery_of(50 + 10 * n, seed=n) for n in range(4)]
    query = np.random.default_rng(9).normal(size=8)
    expected = {len(g): g.query_voice(query, 9) for g in galleries}
    galleries[0].save(tmp_path)
    failures = []

    def write(own):
        try:
            for turn in range(25):
                own[turn % 2].save(tmp_path)
        except Exception as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(galleries[n : n + 2],)) for n in (0, 2)]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        gallery = Gallery.load(tmp_path, VERSION)
        hits = gallery.query_voice(query, 9)
        assert hits.ids == expected[len(gallery)].ids
        seen.add(len(gallery))
    assert not failures and len(seen) > 1


def test_of_several_that_add_at_once_none_is_forgotten(tmp_path):
    """Each loads, adds and saves; the last to save dropped what the others had added."""
    gallery_of(5).save(tmp_path)
    failures = []

    def add(name):
        try:
            for turn in range(6):
                with store.changing(tmp_path):
                    gallery = Gallery.load(tmp_path, VERSION)
                    gallery.add_voice(f"{name} {turn}", np.ones(8))
                    gallery.save(tmp_path)
        except Exception as error:
            failures.append(error)

    adders = [threading.Thread(target=add, args=(name,)) for name in ("ann", "bob", "cem")]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join()
    assert not failures
    assert len(Gallery.load(tmp_path, VERSION).voice_ids) == 18
    with pytest.raises(ValueError, match="no gallery is there"), store.changing(tmp_path / "no"):
        pass


def test_other_files_stay_and_the_folder_of_the_gallery_itself_can_be_saved_to(tmp_path):
    (tmp_path / "face-vectors.npy").write_text("mine")
    gallery_of(5).save(tmp_path)
    gallery = Gallery.load(tmp_path, VERSION)
    gallery.add_face("one more", np.ones(8))
    gallery.save(tmp_path)
    assert gallery.query_voice(np.ones(8), 1).ids == ["one more"]
    assert Gallery.load(tmp_path, VERSION).query_voice(np.ones(8), 1).ids == ["one more"]
    assert (tmp_path / "face-vectors.npy").read_text() == "mine"
    assert len(os.listdir(tmp_path)) == 8  # three of each modality, the manifest, and that one


@pytest.mark.parametrize("kind", ["exact", "coded"])
def test_a_mapped_gallery_changes_without_its_files(kind, saved):
    before = {path: path.read_bytes() for path in (saved / kind).iterdir()}
    mapped = Gallery.load(saved / kind, VERSION)
    read = Gallery.load(saved / kind, VERSION, mmap=False)
    maps = Path("/proc/self/maps").read_text()
    in_maps = {path.name.split("-")[1] for path in before if str(path) in maps}
    assert in_maps == {"ids", "offsets", "vectors"}
    queries = np.random.default_rng(1).normal(size=(5, 8))
    for gallery in (mapped, read):
        gallery.add_face(["x", "y"], queries[:2])
        gallery.remove(["face 7"])
        gallery.compact()
    first, second = (gallery.query_voice(queries, 9) for gallery in (mapped, read))
    assert first.ids == second.ids and first.ids[0][0] == "x"
    assert {path: path.read_bytes() for path in (saved / kind).iterdir()} == before


def test_a_gallery_of_another_model_version_is_refused(saved):
    class Model:
        version, embedding_dim = "b" * 64, 8

    for model in (Model, "b" * 64):
        with pytest.raises(ValueError, match=f"version '{VERSION}', the model is version 'bbb"):
            Gallery.load(saved / "exact", model)


def test_no_gallery(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ValueError, match="no gallery is there"):
            Gallery.load(folder, VERSION)


# Damage: the manifest.


def _set(*path):
    """A change of a manifest: the value that the last item names, at the path before it."""
    *way, key, value = path

    def change(manifest):
        for name in way:
            manifest = manifest[name]
        manifest[key] = value

    return change


FILES = ("face", "files")


@pytest.mark.parametrize(
    "change, message",
    [
        (_set("format", 2), "format 2, this version of the package reads 1"),
        (_set("embedding_dim", "8"), "entries are missing or of the wrong type"),
        (_set("embedding_dim", -8), "entries are missing or of the wrong type"),
        (_set("embedding_dim", 4), "width 4"),
        (_set("kind", "pickle"), "entries are missing or of the wrong type"),
        (_set("face", None), "entries are missing or of the wrong type"),
        (_set("face", "rows", 299.0), "entries are missing or of the wrong type"),
        (_set("face", "rows", 297), "297 vectors"),
        (_set("face", "removed", 1), "expected .*removed"),
        (_set("face", "kind", "hnsw"), "expected .*index"),
        (_set(*FILES, "codes", {"name": "x", "size": 1}), "lists .* for face, expected"),
        (_set(*FILES, {}), "lists .* for face, expected"),
        (_set(*FILES, "more", {"name": "x", "size": 1}), "lists .* for face, expected"),
        (_set(*FILES, "ids", "name", "../../secret.npy"), r"unusable file '\.\./\.\./secret"),
        (_set(*FILES, "ids", "name", "/etc/passwd"), "unusable file '/etc/passwd'"),
        (_set(*FILES, "ids", "name", ["x"]), "unusable file"),
        (_set(*FILES, "ids", "name", f"face-ids-{'0' * 64}.npy"), "the file is missing"),
        (_set(*FILES, "ids", "name", f"face-ids-{'0' * 64}.npy\n"), "unusable file"),
        (_set(*FILES, "ids", "size", 10), "expected 10 bytes"),
        (_set(*FILES, "ids", "size", None), "unusable file"),
    ],
)
def test_damaged_manifests_are_refused(change, message, saved, tmp_path):
    shutil.copytree(saved / "exact", tmp_path / "copy")
    path = tmp_path / "copy" / "gallery.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=message):
        Gallery.load(tmp_path / "copy", VERSION)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"format": 1}' + " " * 70_000])
def test_manifests_that_are_none_are_refused_and_nothing_is_deleted(
    text, saved, tmp_path, monkeypatch
):
    shutil.copytree(saved / "exact", tmp_path / "copy")
    (tmp_path / "copy" / "gallery.json").write_text(text)
    with pytest.raises(ValueError, match="not a gallery's manifest"):
        Gallery.load(tmp_path / "copy", VERSION)
    files = sorted(os.listdir(tmp_path / "copy"))
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", _refuse)
        with pytest.raises(OSError, match="full"):
            gallery_of(5).save(tmp_path / "copy")
    assert sorted(os.listdir(tmp_path / "copy")) == files
    gallery_of(5).save(tmp_path / "copy")  # replaces it
    assert len(Gallery.load(tmp_path / "copy", VERSION)) == 5
    assert len(os.listdir(tmp_path / "copy")) == 7


def _refuse(descriptor):
    raise OSError("the disk is full")


# Damage: the data.


def _rewritten(folder, part, content):
    """Puts content in the place of a data file of the faces, with a manifest that agrees."""
    path = folder / "gallery.json"
    manifest = json.loads(path.read_text())
    entry = manifest["face"]["files"][part]
    (folder / entry["name"]).write_bytes(content)
    entry["size"] = len(content)
    path.write_text(json.dumps(manifest))


def _data(folder, part):
    manifest = json.loads((folder / "gallery.json").read_text())
    return folder / manifest["face"]["files"][part]["name"]


def _npy(array, allow_pickle=False):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["exact", "coded"])
def test_truncated_and_changed_data_are_refused(kind, saved, tmp_path):
    for part in json.loads((saved / kind / "gallery.json").read_text())["face"]["files"]:
        folder = tmp_path / part
        shutil.copytree(saved / kind, folder)
        content = bytearray(_data(folder, part).read_bytes())
        content[-1] ^= 1
        _data(folder, part).write_bytes(content)
        with pytest.raises(ValueError, match="the content is not what was saved"):
            Gallery.load(folder, VERSION, verify=True)
        _data(folder, part).write_bytes(content[:-1])
        with pytest.raises(ValueError, match=rf"the file is {len(content) - 1} bytes long"):
            Gallery.load(folder, VERSION)
        for cut in (0, 4, 40, len(content) // 2, len(content) - 1):
            _rewritten(folder, part, bytes(content[:cut]))
            for mmap in (True, False):
                with pytest.raises(ValueError, match=folder.name):
                    Gallery.load(folder, VERSION, mmap=mmap)
        _data(folder, part).unlink()
        with pytest.raises(ValueError, match="the file is missing"):
            Gallery.load(folder, VERSION)


class _Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("part", ["vectors", "ids", "offsets"])
def test_pickles_are_never_loaded(part, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved / "exact", tmp_path / "copy")
    objects = np.empty(2, object)
    objects[:] = _Bomb()
    for content in (pickle.dumps(_Bomb()), _npy(objects, allow_pickle=True)):
        _rewritten(tmp_path / "copy", part, content)
        for mmap in (True, False):
            with pytest.raises(ValueError, match="not a usable .npy file"):
                Gallery.load(tmp_path / "copy", VERSION, mmap=mmap)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "part, array, message",
    [
        ("vectors", np.ones((298, 7), np.float32), r"the files hold \(298, 7\)"),
        ("vectors", np.ones((299, 8), np.float32), r"the files hold \(299, 8\)"),
        ("vectors", np.ones((298, 8)), "expected float32 with 2 axes"),
        ("vectors", np.ones(298 * 8, np.float32), "expected float32 with 2 axes"),
        ("offsets", np.arange(299) * 1000, "do not cut their text"),
        ("offsets", np.arange(299, dtype=np.int32), "expected int64 with 1 axes"),
        ("ids", np.zeros(3, np.uint8), "do not cut their text"),
    ],
)
def test_parts_that_do_not_fit_are_refused(part, array, message, saved, tmp_path):
    shutil.copytree(saved / "exact", tmp_path / "copy")
    _rewritten(tmp_path / "copy", part, _npy(array))
    with pytest.raises(ValueError, match=message):
        Gallery.load(tmp_path / "copy", VERSION)


def test_codes_that_do_not_fit_are_refused_and_others_lead_nowhere_else(
    saved, tmp_path, monkeypatch
):
    """Bytes that are no codes of these vectors give worse candidates, but of this gallery."""
    monkeypatch.setattr(coded, "CANDIDATES", 20)
    for part, array in (("codes", np.zeros(10, np.uint8)), ("centroids", np.ones(9, np.float32))):
        shutil.copytree(saved / "coded", tmp_path / part)
        _rewritten(tmp_path / part, part, _npy(array))
        with pytest.raises(ValueError, match="expected centroids and codes of shapes"):
            Gallery.load(tmp_path / part, VERSION)
    size = len(np.load(_data(saved / "coded", "codes")))
    shutil.copytree(saved / "coded", tmp_path / "copy")
    codes = np.random.default_rng(0).integers(256, size=size).astype(np.uint8)
    _rewritten(tmp_path / "copy", "codes", _npy(codes))
    index = Gallery.load(tmp_path / "copy", VERSION).shelves["face"].index
    rows = index.search(np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32), 1)
    assert rows.min() >= 0 and rows.max() < 298


# Galleries of earlier versions, which held their vectors in an index of faiss.


def _older(folder, kind, vectors, removed=()):
    """Saves faces as earlier versions did, in an index of faiss."""
    dim = vectors.shape[1]
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
    else:
        quantizer = faiss.IndexFlatIP(dim)
        index = faiss.IndexIVFFlat(quantizer, dim, 5, faiss.METRIC_INNER_PRODUCT)
        index.set_direct_map_type(faiss.DirectMap.Array)
        index.train(vectors)
    index.add(vectors)
    gallery = Gallery.from_embeddings(VERSION, vectors)
    gallery.save(folder)
    path = folder / "gallery.json"
    manifest = json.loads(path.read_text())
    manifest["kind"] = manifest["face"]["kind"] = kind
    manifest["face"] |= {"removed": len(removed), "trained_on": len(vectors)}
    contents = {"index": faiss.serialize_index(index).tobytes()}
    if len(removed):
        contents["removed"] = _npy(np.array(removed))
    for part, content in contents.items():
        suffix = "faiss" if part == "index" else "npy"
        name = f"face-{part}-{hashlib.sha256(content).hexdigest()}.{suffix}"
        (folder / name).write_bytes(content)
        manifest["face"]["files"][part] = {"name": name, "size": len(content)}
    (folder / manifest["face"]["files"].pop("vectors")["name"]).unlink()
    path.write_text(json.dumps(manifest))
    return gallery


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_galleries_of_earlier_versions_become_exact(kind, tmp_path, monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    removed = [3, 299] if kind == "hnsw" else []
    expected = _older(tmp_path, kind, vectors, removed)
    expected.remove([f"face {row}" for row in removed])
    gallery = Gallery.load(tmp_path, VERSION, verify=True)
    assert (gallery.kind, gallery.shelves["face"].index.kind) == ("auto", "exact")
    assert gallery.query_voice(vectors, 9).ids == expected.query_voice(vectors, 9).ids
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match=re.escape(install_command("search"))):
        Gallery.load(tmp_path, VERSION)
    gallery.save(tmp_path)  # as galleries are saved now
    assert Gallery.load(tmp_path, VERSION).face_ids == gallery.face_ids
    assert not list(tmp_path.glob("*.faiss"))


@pytest.mark.parametrize("rows", [[0], [-1, 5], [5, 5], [3, 300]])
def test_damaged_lists_of_removed_rows_are_refused(rows, tmp_path):
    _older(tmp_path, "hnsw", np.eye(300, 8, dtype=np.float32) + 1, [3, 299])
    _rewritten(tmp_path, "removed", _npy(np.array(rows)))
    with pytest.raises(ValueError, match="the list of removed rows is damaged"):
        Gallery.load(tmp_path, VERSION)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_damaged_indices_of_earlier_versions_are_refused(kind, tmp_path):
    _older(tmp_path, kind, np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32))
    whole = _data(tmp_path, "index").read_bytes()
    flat = faiss.IndexFlatIP(8)
    flat.add(np.ones((300, 8), np.float32))
    for content, message in (
        (whole[:-1], "not a usable index"),
        (b"", "not a usable index"),
        (faiss.serialize_index(flat).tobytes(), "it holds a IndexFlat"),
    ):
        _rewritten(tmp_path, "index", content)
        with pytest.raises(ValueError, match=message):
            Gallery.load(tmp_path, VERSION)
    _rewritten(tmp_path, "index", whole)
    manifest = json.loads((tmp_path / "gallery.json").read_text())
    manifest["face"]["rows"] = 299
    (tmp_path / "gallery.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="expected 299 vectors of width 8"):
        Gallery.load(tmp_path, VERSION)
    assert faiss.get_deserialization_vector_byte_limit() == 2**40  # as faiss had it
