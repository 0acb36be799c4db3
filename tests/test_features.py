"""Kept features: what is there is sound, whatever happened to process, disk and files."""

import os
import pickle
import resource

import numpy as np
import pytest
import torch

from speechbrain_fv.data.digests import FileDigests
from speechbrain_fv.data.features import (
    ABOUT_FILE,
    INDEX_FILE,
    VECTORS_FILE,
    FeatureReader,
    FeatureStore,
    row_name,
)

NAMES = [row_name("clip", number) for number in range(50)]
VECTORS = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)


def filled(folder, about="one", rows=range(50)):
    """Returns a store after it was asked for these rows; counts what it had to compute."""
    store = FeatureStore(folder, {"weights": about})
    with store.filling():
        there = store.rows([NAMES[row] for row in rows])
        missing = [row for row in rows if NAMES[row] not in there]
        for start in range(0, len(missing), 16):
            batch = missing[start : start + 16]
            store.add([NAMES[row] for row in batch], VECTORS[batch])
    store.computed = len(missing)
    return store


def check(store, rows=range(50)):
    """Every row is there with its own vector, as a new process finds it."""
    store = FeatureStore(store.folder, store.about)
    places = store.rows(NAMES)
    assert set(places) == {NAMES[row] for row in rows}
    vectors = store.vectors()
    assert isinstance(vectors, np.memmap)
    for row in rows:
        np.testing.assert_array_equal(vectors[places[NAMES[row]]], VECTORS[row])


def test_rows_are_computed_once_and_added_to(tmp_path):
    assert filled(tmp_path / "s", rows=range(20)).computed == 20
    assert filled(tmp_path / "s", rows=range(20)).computed == 0
    store = filled(tmp_path / "s")
    assert store.computed == 30
    check(store)


@pytest.mark.parametrize(("vectors", "index"), [(16 * 28, 0), (13, 0), (16 * 28, 100), (0, 0)])
def test_what_a_killed_process_left_behind_is_overwritten(tmp_path, vectors, index):
    """It dies between the vectors and their entries, or inside of either."""
    store = filled(tmp_path / "s", rows=range(20))
    for name, size in ((VECTORS_FILE, vectors), (INDEX_FILE, index % 36)):
        with open(store.folder / name, "ab") as file:
            file.write(os.urandom(size))
    again = filled(tmp_path / "s")
    assert again.computed == 30
    check(again)


def test_vectors_that_are_missing_at_the_end_are_computed_again(tmp_path):
    store = filled(tmp_path / "s")
    os.truncate(store.folder / VECTORS_FILE, 30 * 28 + 5)
    again = filled(tmp_path / "s")
    assert again.computed == 20
    check(again)


@pytest.mark.parametrize(
    ("name", "position"), [(VECTORS_FILE, 28 * 3 + 2), (INDEX_FILE, 36 * 3 + 33)]
)
def test_a_changed_byte_costs_its_row_alone(tmp_path, name, position, caplog):
    store = filled(tmp_path / "s")
    content = bytearray((store.folder / name).read_bytes())
    content[position] ^= 1
    (store.folder / name).write_bytes(content)
    again = filled(tmp_path / "s")
    assert again.computed == 1
    assert "1 damaged rows are computed again" in caplog.text
    check(again)
    assert filled(tmp_path / "s").computed == 0


@pytest.mark.parametrize("damage", ["other", "about", "no about"])
def test_features_of_other_weights_are_never_used(tmp_path, damage, caplog):
    store = filled(tmp_path / "s", about="other" if damage == "other" else "one")
    if damage == "about":
        (store.folder / ABOUT_FILE).write_text("{")
    elif damage == "no about":
        (store.folder / ABOUT_FILE).unlink()
    again = filled(tmp_path / "s", rows=range(10))
    assert again.computed == 10
    assert "another network or reader" in caplog.text
    check(again, range(10))


def test_a_full_disk_leaves_what_was_there_and_the_next_run_goes_on(tmp_path):
    store = filled(tmp_path / "s", rows=range(20))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20 * 28 + 100, hard))
    try:
        with pytest.raises(ValueError, match=r"cannot be kept \(File too large\); free space"):
            filled(tmp_path / "s")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert (store.folder / VECTORS_FILE).stat().st_size == 20 * 28
    check(store, range(20))
    again = filled(tmp_path / "s")
    assert again.computed == 30
    check(again)


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="features cannot be kept .*choose another cache_folder"):
        filled(tmp_path / "file" / "s")


def test_a_reader_draws_among_the_views_and_travels_to_workers(tmp_path):
    store = filled(tmp_path / "s")
    reader = FeatureReader(store, {"a": (4, 5, 6), "b": (7,)})
    reader("a", None)
    reader = pickle.loads(pickle.dumps(reader))
    assert torch.equal(reader("a", None), torch.from_numpy(VECTORS[4]))
    drawn = {tuple(reader("a", draw).tolist()) for draw in range(20)}
    assert drawn == {tuple(VECTORS[5].tolist()), tuple(VECTORS[6].tolist())}
    assert torch.equal(reader("b", 3), torch.from_numpy(VECTORS[7]))


def test_a_file_is_read_again_when_it_has_changed(tmp_path):
    file = tmp_path / "clip.wav"
    file.write_bytes(b"one")
    keeper = tmp_path / "files.jsonl"
    first = FileDigests(keeper).of([str(file)])
    keeper.write_bytes(keeper.read_bytes() + b'["torn')
    assert FileDigests(keeper).of([str(file)]) == first
    file.write_bytes(b"other")
    assert FileDigests(keeper).of([str(file)]) != first
    file.unlink()
    with pytest.raises(ValueError, match="cannot be read although the preparation could"):
        FileDigests(keeper).of([str(file)])
