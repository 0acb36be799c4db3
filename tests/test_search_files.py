"""Files of a gallery: a save that stops anywhere, damaged and made-up files, other models."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from speechbrain_fv.search import Gallery, store
from tests.paths import ROOT

pytest.importorskip("faiss")
VERSION = "a" * 64


def gallery_of(count, kind="exact", seed=0):
    rng = np.random.default_rng(seed)
    return Gallery.from_embeddings(VERSION, rng.normal(size=(count, 8)), kind=kind)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A folder with a gallery of each kind; tests that change one copy it first."""
    folder = tmp_path_factory.mktemp("galleries")
    for kind in ("exact", "ivf", "hnsw"):
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
from speechbrain_fv.search import Gallery

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
new = gallery(20_000, "ivf")
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
    """No file may grow beyond 50 kB: vectors and indices of 3000 do, the ids do not."""
    gallery_of(5).save(tmp_path)
    before = sorted(os.listdir(tmp_path))
    code = f"""
import resource, numpy as np
from speechbrain_fv.search import Gallery
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
vectors = np.random.default_rng(0).normal(size=(3000, 8))
for kind in ("exact", "ivf", "hnsw"):
    try:
        Gallery.from_embeddings({VERSION!r}, vectors, kind=kind).save({str(tmp_path)!r})
    except OSError as error:
        print(error, len(Gallery.load({str(tmp_path)!r}, {VERSION!r}, verify=True)))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == 3 * "[Errno 27] File too large 5\n", result.stderr
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


@pytest.mark.parametrize("kind", ["exact", "ivf", "hnsw"])
def test_a_mapped_gallery_changes_without_its_files(kind, saved):
    before = {path: path.read_bytes() for path in (saved / kind).iterdir()}
    mapped = Gallery.load(saved / kind, VERSION)
    read = Gallery.load(saved / kind, VERSION, mmap=False)
    maps = Path("/proc/self/maps").read_text()
    in_maps = {path.name.split("-")[1] for path in before if str(path) in maps}
    assert in_maps == {"ids", "offsets", "vectors" if kind == "exact" else "index"}
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


@pytest.mark.parametrize("kind", ["exact", "ivf", "hnsw"])
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


@pytest.mark.parametrize("rows", [[0], [-1, 5], [5, 5], [3, 300]])
def test_damaged_lists_of_removed_rows_are_refused(rows, saved, tmp_path):
    shutil.copytree(saved / "hnsw", tmp_path / "copy")
    _rewritten(tmp_path / "copy", "removed", _npy(np.array(rows)))
    with pytest.raises(ValueError, match="the list of removed rows is damaged"):
        Gallery.load(tmp_path / "copy", VERSION)


def test_indices_of_another_kind_or_size_are_refused(saved, tmp_path):
    import faiss

    shutil.copytree(saved / "hnsw", tmp_path / "copy")
    _rewritten(tmp_path / "copy", "index", _data(saved / "ivf", "index").read_bytes())
    with pytest.raises(ValueError, match="it holds no IndexHNSWFlat"):
        Gallery.load(tmp_path / "copy", VERSION)
    gallery_of(200, "hnsw").save(tmp_path / "smaller")
    _rewritten(tmp_path / "copy", "index", _data(tmp_path / "smaller", "index").read_bytes())
    with pytest.raises(ValueError, match="expected 300 vectors of width 8, it holds"):
        Gallery.load(tmp_path / "copy", VERSION)
    assert faiss.get_deserialization_vector_byte_limit() == 2**40  # as faiss had it


MADE_UP = """
import random, sys
from pathlib import Path
import numpy as np
from speechbrain_fv.search.faiss_files import read_index
import resource
resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
sources = {"ivf": Path(sys.argv[1]), "hnsw": Path(sys.argv[2])}
counts = {"ivf": 298, "hnsw": 300}
rng, found = random.Random(0), {"ivf": [0, 0], "hnsw": [0, 0]}
queries = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
for number in range(800):
    kind = rng.choice(("ivf", "hnsw"))
    source, count = sources[kind], counts[kind]
    changed = bytearray(content := source.read_bytes())
    for _ in range(rng.choice((1, 3))):
        ends = rng.randrange(300), len(content) - 1 - rng.randrange(300)
        changed[rng.choice((*ends, rng.randrange(len(content))))] = rng.randrange(256)
    path = source.with_name("changed")
    path.unlink(missing_ok=True)
    path.write_bytes(changed)
    try:
        index = read_index(path, kind, 8, count, 300, mmap=number % 2 == 0)
    except ValueError:
        found[kind][0] += 1
        continue
    rows = index.search(queries, 5), index.search(queries, 200)
    index.take(np.arange(count))
    assert all(part.max() < count for part in rows)
    found[kind][1] += 1
print(*found["ivf"], *found["hnsw"])
"""


def test_changed_indices_are_refused_or_searched_but_never_crash(saved, tmp_path):
    """faiss itself follows whatever numbers a file holds; a crash would end this process."""
    for kind in ("ivf", "hnsw"):
        shutil.copy(_data(saved / kind, "index"), tmp_path / kind)
    result = subprocess.run(
        [sys.executable, "-c", MADE_UP, tmp_path / "ivf", tmp_path / "hnsw"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert min(map(int, result.stdout.split())) > 50  # of both, refused ones and searched ones
