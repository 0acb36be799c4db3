"""Feature packs: the forms of the field, and every mistake in them."""

import pickle
import shlex

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_fv.corpora.feature_packs import read_pack


class Exploit:
    """A pickle of it makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_csv_without_header_is_numbers_and_a_label(tmp_path):
    """As FLAG shares ECAPA's vectors: 192 columns, and the label as pandas writes a float."""
    vectors = np.random.default_rng(0).standard_normal((5, 192)).astype(np.float32)
    lines = [
        ",".join([*map(repr, map(float, row)), label])
        for row, label in zip(vectors, ["3", "3.0", "11", "id0007", " id0007 "], strict=True)
    ]
    (tmp_path / "voices.csv").write_text("\n".join(lines))
    pack = read_pack(tmp_path / "voices.csv", "voice")
    assert pack.ids == ["1", "2", "3", "4", "5"]
    assert pack.identities == ["3", "3", "11", "id0007", "id0007"]
    np.testing.assert_array_equal(pack.vectors, vectors)
    assert pack.vectors.dtype == np.float32


def test_4096_columns(tmp_path):
    np.savetxt(
        tmp_path / "faces.csv", np.hstack([np.eye(4, 4096), [[1], [1], [2], [3]]]), "%g", ","
    )
    pack = read_pack(tmp_path / "faces.csv", "face")
    np.testing.assert_array_equal(pack.vectors, np.eye(4, 4096))
    assert pack.identities == ["1", "1", "2", "3"]


def test_numbers_that_are_not_finite_are_kept_for_the_preparation_to_list(tmp_path):
    (tmp_path / "faces.csv").write_text("1,nan,a\ninf,2,b\n")
    assert np.isfinite(read_pack(tmp_path / "faces.csv", "face").vectors).tolist() == [
        [True, False],
        [False, True],
    ]


@pytest.mark.parametrize(
    "text, message",
    [
        ("f0,f1,label\n1,2,a\n", "line 1: expected the first number of a vector, got 'f0'.*header"),
        ("", "line 1: expected numbers and a label separated by commas, got ''"),
        ("1;2;a\n", "line 1: expected numbers and a label separated by commas, got '1;2;a'"),
        ("1,2,a\n1,2,3,a\n", "line 2: expected 3 cells, 2 numbers and a label, .* got 4"),
        ("1,2,a\n1,2,a\n1,2\n", "line 3: expected 3 cells, .* got 2"),
        ("1,2,a\n\n1,2,a\n", "line 2: expected 3 cells, .* got 0"),
        ("1,2,a\n1,x,a\n", "line 2, column 2: expected a number, got 'x'"),
        ("1,2,a\n1,,a\n", "line 2, column 2: expected a number, got ''"),
        ("1,2,a\n1,2, \n", "line 2: expected a label in column 3, got nothing"),
        ("1,2,Ann\n1,2,ann\n", "identities 'Ann' and 'ann' differ only in case"),
        (b"1,2,Zo\xeb\n", "line 1: expected text in UTF-8"),
        ("1,2,a\n".encode("utf-16"), "expected text in UTF-8, got what looks like UTF-16"),
    ],
)
def test_mistakes_in_a_csv_name_the_line(tmp_path, text, message):
    path = tmp_path / "faces.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=f"faces.csv.*{message}"):
        read_pack(path, "face")


def test_a_tree_of_npy_is_people_and_clips(tmp_path):
    for name, array in (
        ("ann/v1/0.npy", np.full(3, 1.0)),
        ("ann/v1/1.npy", np.full((1, 3), 2, np.float16)),
        ("bob/0.npy", np.full((2, 3), 3, np.int64)),
        (".hidden/0.npy", np.full(3, 9.0)),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / name, array)
    (tmp_path / "README.txt").write_text("who is who")
    pack = read_pack(tmp_path, "face")
    assert pack.ids == ["ann/v1/0", "ann/v1/1", "bob/0#0", "bob/0#1"]
    assert pack.identities == ["ann", "ann", "bob", "bob"]
    assert pack.vectors[:, 0].tolist() == [1, 2, 3, 3] and pack.vectors.shape == (4, 3)


def test_a_folder_and_a_file_of_npy_name_nobody(tmp_path):
    (tmp_path / "flat").mkdir()
    for name in "ba":
        np.save(tmp_path / "flat" / f"{name}.npy", np.ones(2))
    assert read_pack(tmp_path / "flat", "face")[::2] == (["a", "b"], None)
    np.save(tmp_path / "all.npy", np.eye(2))
    assert read_pack(tmp_path / "all.npy", "face")[::2] == (["0", "1"], None)


@pytest.mark.parametrize(
    "name, array, message",
    [
        ("ann/2.npy", np.ones(4), "ann/2.npy: expected vectors of width 3, as in .*1.npy, got 4"),
        ("2.npy", np.ones(3), r"/2.npy: expected it in the folder of a person, as ann/1.npy"),
        ("ann/2.npy", np.ones((2, 2, 3)), r"expected a vector, shape \(dim,\), got \(2, 2, 3\)"),
        ("ann/2.npy", np.array(["x"]), "ann/2.npy: expected an array of numbers, got <U1"),
        ("ann/2.npy", np.array({"a": 1}, object), "ann/2.npy: holds pickled objects, and reading"),
        ("ann/2.npy", None, "ann/2.npy: not a readable .npy"),
    ],
)
def test_mistakes_in_a_tree_name_the_file(tmp_path, name, array, message):
    (tmp_path / "ann").mkdir()
    np.save(tmp_path / "ann" / "1.npy", np.ones(3))
    if array is None:
        (tmp_path / name).write_bytes((tmp_path / "ann" / "1.npy").read_bytes()[:-7])
    else:
        np.save(tmp_path / name, array, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        read_pack(tmp_path, "face")


def test_a_folder_without_npy_and_an_absent_file(tmp_path):
    with pytest.raises(ValueError, match="expected .npy files in it or in folders below, found no"):
        read_pack(tmp_path, "face")
    with pytest.raises(ValueError, match="a.csv: not found; expected the voice vectors"):
        read_pack(tmp_path / "a.csv", "voice")
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(ValueError, match="a.mat: expected face vectors in an .npz.*ends in .mat"):
        read_pack(tmp_path / "a.mat", "face")


@pytest.mark.parametrize("name", ["faces.pkl", "faces.pickle", "faces.csv", "faces.npy", "f.npz"])
def test_a_pickle_is_refused_and_never_read(tmp_path, name):
    """Whatever its name; numpy's own reader is told not to unpickle what an .npz or .npy holds."""
    made = tmp_path / "made"
    path = tmp_path / name
    if name == "f.npz":
        np.savez(path, face=np.array([Exploit(made)], object), face_id=["a"])
    else:
        path.write_bytes(pickle.dumps({"a.jpg": Exploit(made)}))
    with pytest.raises(
        ValueError, match=f"{name}: .*pickle.*reading it would run.*convert it once"
    ):
        read_pack(path, "face")
    assert not made.exists()


def test_files_of_torch_are_pickles_too(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "faces.npz")
    with pytest.raises(ValueError, match="faces.npz: a pickle, and reading it would run"):
        read_pack(tmp_path / "faces.npz", "face")


PICKLED = {"ann/1.jpg": np.ones(3), "bob/1.jpg": np.zeros(3)}
OBJECTS = np.empty(2, object)
OBJECTS[:] = [*PICKLED.values()]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("it's $HOME.pkl", lambda path: path.write_bytes(pickle.dumps(PICKLED))),
        ("z.npz", lambda path: path.write_bytes(pickle.dumps(PICKLED))),
        ("z.npy", lambda path: np.save(path, np.array(PICKLED, object))),
        (
            "a.npz",
            lambda path: np.savez(path, face=OBJECTS, face_id=np.array([*PICKLED], object)),
        ),
        *(
            (
                name,
                lambda path: torch.save(
                    {key: torch.from_numpy(value) for key, value in PICKLED.items()}, path
                ),
            )
            for name in ("z.pt", "t.npz")
        ),
    ],
)
def test_the_safe_way_that_is_told_works(tmp_path, monkeypatch, name, write):
    """What the message says is run, in the folder of the file; then the pack is read."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(ValueError) as refused:
        read_pack(tmp_path / name, "face")
    told = "python -c" + str(refused.value).split("python -c")[1]
    exec(shlex.split(told)[2], {})
    (made,) = {*tmp_path.iterdir()} - {tmp_path / name}
    pack = read_pack(made, "face")
    assert pack.ids == list(PICKLED) and pack.identities is None
    np.testing.assert_array_equal(pack.vectors, [*PICKLED.values()])
    assert (tmp_path / name).read_bytes() == before


def test_a_header_of_pandas_is_no_clip_and_two_numbers_are(tmp_path):
    table = pd.DataFrame(np.ones((2, 4))).assign(label="ann")
    table.to_csv(tmp_path / "f.csv", index=False)
    with pytest.raises(ValueError, match="f.csv, line 1: .* the numbers 0, 1, ..., 3, .*header=Fa"):
        read_pack(tmp_path / "f.csv", "face")
    (tmp_path / "g.csv").write_text("0,1,ann\n1,0,bob\n")
    assert len(read_pack(tmp_path / "g.csv", "face").vectors) == 2


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"face": np.ones((2, 3))}, "expected the arrays face and face_id, found face; rename"),
        ({"face": np.ones(2), "face_id": ["a", "b"]}, r"face: expected numbers of shape .*\(2,\)"),
        ({"face": np.ones((2, 3)), "face_id": ["a"]}, r"face_id: expected 2 names.* \(1,\)"),
        ({"face": np.ones((2, 3)), "face_id": ["a", "a"]}, "face_id names a more than once"),
        (
            {"face": np.ones((2, 3)), "face_id": ["a", "b"], "face_identity": ["p"]},
            r"face_identity: expected 2 names",
        ),
    ],
)
def test_mistakes_in_an_npz_name_the_array(tmp_path, arrays, message):
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(ValueError, match=f"e.npz: {message}"):
        read_pack(tmp_path / "e.npz", "face")
