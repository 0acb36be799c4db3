"""Files whose headers tell of more than they hold are refused before anything is read."""

import tracemalloc
import zipfile

import numpy as np
import pytest

from speechbrain_fv.arrays import MAX_INFLATED_BYTES, read_array, read_arrays
from speechbrain_fv.corpora.feature_packs import read_pack
from speechbrain_fv.evaluation.embeddings import load_embeddings


def header(shape, dtype="<f4"):
    """The header of an .npy, without what it announces."""
    start = np.lib.format.magic(1, 0)
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}"
    text = text.ljust(127 - len(start) - 2) + "\n"
    return start + len(text).to_bytes(2, "little") + text.encode()


def write_npz(path, compression=zipfile.ZIP_STORED, **members):
    """An .npz of raw members; a number stands for so many zeros after the header."""
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive:
        for name, (head, rest) in members.items():
            with archive.open(f"{name}.npy", "w") as file:
                file.write(head)
                for _ in range(rest // 2**20):
                    file.write(bytes(2**20))
    return path


def refused_without_memory(read, path, match):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=match) as error:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()
    assert str(path) in str(error.value)


def test_kilobytes_that_stand_for_gigabytes(tmp_path):
    """300 MB of zeros compress to little over one, and inflate wherever the file is read."""
    size = MAX_INFLATED_BYTES + 2**20
    bomb = {"face": (header((size // 4, 1)), size)}
    path = write_npz(tmp_path / "bomb.npz", zipfile.ZIP_DEFLATED, **bomb)
    assert path.stat().st_size < size / 100
    for read in (load_embeddings, read_arrays, lambda path: read_pack(path, "face")):
        refused_without_memory(read, path, "inflate to")


@pytest.mark.parametrize("shape", [(2**40, 256), (2**62, 2**62), (3,)])
def test_a_header_that_tells_of_more_than_was_stored(tmp_path, shape):
    head = header(shape)
    path = write_npz(tmp_path / "lies.npz", face=(head, 0))
    refused_without_memory(load_embeddings, path, r"face.npy: its header tells of float32")
    (tmp_path / "lies.npy").write_bytes(head)
    refused_without_memory(read_array, tmp_path / "lies.npy", "its header tells of float32")


def test_a_header_that_tells_of_less_shifts_no_rows(tmp_path):
    path = write_npz(tmp_path / "lies.npz", face=(header((2**10, 255)), 2**20))
    refused_without_memory(read_arrays, path, "1,044,480 bytes, and 1,048,576 follow")


def test_a_file_that_was_cut_off_is_told_as_such(tmp_path):
    np.savez(tmp_path / "v.npz", face=np.ones((9, 9)))
    content = (tmp_path / "v.npz").read_bytes()
    (tmp_path / "v.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="v.npz: damaged or cut off .*; copy it again"):
        read_arrays(tmp_path / "v.npz")


def test_arrays_beyond_the_memory(tmp_path):
    """A file of zeros may have holes, and be larger than the memory."""
    path = tmp_path / "sparse.npy"
    with open(path, "wb") as file:
        file.write(header((2**40, 1)))
        file.truncate(2**42 + 128)
    refused_without_memory(read_array, path, "expected at most this machine's")


def test_names_of_one_length_may_compress(tmp_path):
    """Padded names hold mostly zeros; below the limit every ratio is read."""
    names = np.array([f"clip{n}" for n in range(10_000)], dtype="<U200")
    np.savez_compressed(tmp_path / "names.npz", names=names, more=np.zeros((1000, 1000)))
    arrays, found = read_arrays(tmp_path / "names.npz")
    assert (arrays["names"] == names).all() and found == ["more", "names"]
    assert arrays["more"].shape == (1000, 1000)
