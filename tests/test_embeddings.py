"""Embeddings: what is refused, and the file that holds them."""

import zipfile

import numpy as np
import pytest

from speechbrain_fv.arrays import read_arrays
from speechbrain_fv.evaluation.embeddings import Embeddings, load_embeddings, save_embeddings
from tests.clips import THREE_PEOPLE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"face": [[1, 0, 0], [np.nan, 0, 0], [0, 0, 1]]}, "face: row 1 .*'b' holds NaN"),
        ({"voice": [[1, 0, 0], [0, 1, 0], [0, np.inf, 1]]}, "voice: row 2 .*infinity; 1 of 3"),
        ({"voice": np.zeros((3, 3))}, "voice: row 0 .*norm zero.*3 of 3 rows"),
        ({"face": np.eye(3, 4)}, "face has 4 values per clip, voice 3"),
        ({"face": np.ones(3)}, r"face: expected numbers of shape \(clips, dim\)"),
        ({"face": np.full((3, 3), "x")}, "face: expected numbers"),
        ({"face_identity": ["a", "b"]}, "face_identity: expected 3 names"),
        ({"voice_identity": ["a", "", "c"]}, "voice: row 1 .*empty identity"),
        ({"voice_identity": ["x", "y", "z"]}, "no identity has both"),
        ({"face_id": ["1.jpg", "2.jpg", "1.jpg"]}, "row 2 .1.jpg. .*repeats a face_id"),
        ({"voice_id": ["1.wav", "1.wav", "2.wav"]}, "row 1 .1.wav. .*repeats a voice_id"),
        ({"voice_id": ["1.wav"]}, "voice_id: expected 3 names"),
        ({"face": np.zeros((0, 3)), "face_identity": []}, "no identity has both"),
    ],
)
def test_bad_embeddings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Embeddings(**{**THREE_PEOPLE, **change})


def test_embeddings_survive_a_file(tmp_path):
    path = tmp_path / "new" / "E.npz"
    embeddings = Embeddings(**THREE_PEOPLE, face_id=["1", "2", "3"])
    save_embeddings(path, embeddings)
    loaded = load_embeddings(path)
    assert loaded.voice_id is None
    for name in (*THREE_PEOPLE, "face_id"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(embeddings, name))
    assert [file.name for file in path.parent.iterdir()] == ["E.npz"]


def test_bad_files_are_refused_by_name(tmp_path):
    path = tmp_path / "E.npz"
    np.savez(path, **{key: value for key, value in THREE_PEOPLE.items() if key != "voice"})
    with pytest.raises(ValueError, match=r"E.npz: arrays \['voice'\] are missing, found"):
        load_embeddings(path)
    np.savez(path, **{**THREE_PEOPLE, "face": np.zeros((3, 3))})
    with pytest.raises(ValueError, match=r"E.npz: face: row 0 .*norm zero"):
        load_embeddings(path)
    np.savez(path, **{**THREE_PEOPLE, "face_identity": np.array(["a", 1, None], dtype=object)})
    with pytest.raises(ValueError, match=r"E.npz: Object arrays cannot be loaded"):
        load_embeddings(path)
    for content in (b"", b"not a zip file", path.read_bytes()[:-40]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"E.npz: .*(expected an .npz|damaged or cut off)"):
            load_embeddings(path)
    with pytest.raises(FileNotFoundError):
        load_embeddings(tmp_path / "nowhere.npz")


def test_changed_bytes_are_one_error(tmp_path):
    """zlib, zipfile and numpy have errors of their own, which reached the user as tracebacks."""
    path, rng, refused = tmp_path / "E.npz", np.random.default_rng(0), 0
    np.savez_compressed(path, **{**THREE_PEOPLE, "face": rng.normal(size=(3, 40))})
    content = path.read_bytes()
    for _ in range(400):
        changed = np.frombuffer(content, np.uint8).copy()
        changed[rng.integers(len(content), size=2)] = rng.integers(256, size=2)
        path.write_bytes(changed.tobytes())
        try:
            read_arrays(path, list(THREE_PEOPLE))
        except ValueError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ")
    assert refused > 100
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("face", "no array")
    with pytest.raises(ValueError, match=r"E.npz: face is no array; write it with numpy.savez"):
        load_embeddings(path)
