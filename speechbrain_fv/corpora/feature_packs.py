"""Readers of feature packs: vectors that others computed, in the forms that the field shares.

Each reader returns a `FeaturePack`: one vector per clip, the clip's name, and where the pack tells
it who the person is. Nothing is unpickled. A pack is

- a CSV without header: the numbers of a vector, then a label, as FLAG (4,096 or 192 columns and the
  label) and FAME (4,096 or 512) share them; a clip's name is the number of its line,
- a folder of `.npy` files, one per clip or several clips in the rows of one, the folders of the
  first level being the people: `<identity>/<video>/<clip>.npy`,
- an `.npy` of shape (num_clips, dim); a clip's name is the number of its row, from 0,
- an `.npz` of `speechbrain-fv embed`: `face` and `face_id`, `voice` and `voice_id`, and optionally
  `face_identity` and `voice_identity`.
"""

import csv
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from speechbrain_fv.arrays import read_array, read_arrays
from speechbrain_fv.corpora.pickles import refusal, refuse_pickle
from speechbrain_fv.data.schema import clip_names
from speechbrain_fv.files import decoded
from speechbrain_fv.messages import progress_bar
from speechbrain_fv.names import check_look_alikes, name_of, names_of


class FeaturePack(NamedTuple):
    """Vectors of one modality.

    ids : list of N str
        Names of the clips, each once.
    vectors : numpy.ndarray of float32, shape (N, D)
        May hold zeros or numbers that are not finite, which a preparation leaves out and lists.
    identities : list of N str, or None
        Who it is, where the pack tells.
    """

    ids: list
    vectors: np.ndarray
    identities: list | None


def read_pack(path, modality):
    """Returns the `FeaturePack` of a file or a folder, whatever its form.

    Arguments
    ---------
    path : path
        See the module. The suffix tells the form; a folder is one of `.npy` files.
    modality : str
        "face" or "voice": which arrays of an `.npz` are read, and for messages.

    Raises
    ------
    ValueError
        If there is nothing there, it has another form, is a pickle, or is damaged. The message
        names the file and the line, row or array.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: not found; expected the {modality} vectors; check the path")
    if path.is_dir():
        pack = read_npy_folder(path)
    else:
        refuse_pickle(path, modality)
        readers = {".csv": read_headerless_csv, ".txt": read_headerless_csv, ".npy": read_npy}
        suffix = path.suffix.lower()
        if suffix == ".npz":
            pack = read_embedded(path, modality)
        elif suffix in readers:
            pack = readers[suffix](path)
        else:
            raise ValueError(
                f"{path}: expected {modality} vectors in an .npz, an .npy, a CSV without header or "
                f"a folder of .npy, got a file that ends in {suffix or 'nothing'}; convert it"
            )
    if pack.identities is not None:
        check_look_alikes(pack.identities, path)
    return pack


def read_headerless_csv(path):
    """Returns the `FeaturePack` of a CSV without header: numbers, and a label in the last column.

    A label that is a whole number, such as 7, 07.0 or 7.0, is its digits, "7"; any other is a name.
    The clip in line 3 of the file is called "3".

    Arguments
    ---------
    path : path
        All lines have equally many cells, at least two, separated by commas.

    Raises
    ------
    ValueError
        If the file is empty, has a header, or a line with another number of cells, with what is no
        number, or without a label.

    Example
    -------
    >>> path = getfixture("tmp_path") / "faces.csv"
    >>> _ = path.write_text("0.5,1,id0001\\n0,2,id0002\\n")
    >>> read_headerless_csv(path)[::2]
    (['1', '2'], ['id0001', 'id0002'])
    """
    num_columns = _num_columns(path)
    kinds = dict.fromkeys(range(num_columns - 1), np.float32) | {num_columns - 1: str}
    try:
        table = pd.read_csv(
            path,
            header=None,
            dtype=kinds,
            keep_default_na=False,
            na_values={column: ["nan", "NaN"] for column in range(num_columns - 1)},
            index_col=False,
            skip_blank_lines=False,
        )
        if table.shape[1] != num_columns or table.iloc[:, -1].isna().any():
            raise ValueError("ragged")
        labels = [_label(label) for label in table.pop(num_columns - 1)]
        if "" in labels:
            raise ValueError("no label")
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(_faulty_line(path, num_columns) or f"{path}: {error}") from None
    ids = [str(line) for line in range(1, len(table) + 1)]
    return FeaturePack(ids, table.to_numpy(np.float32), labels)


def read_npy(path):
    """Returns the `FeaturePack` of an `.npy` of shape (num_clips, dim), which names nobody."""
    vectors = _load_npy(path)
    if vectors.ndim != 2:
        raise ValueError(
            f"{path}: expected an array of shape (num_clips, dim), got {vectors.shape}; stack one "
            "vector per clip"
        )
    return FeaturePack([str(row) for row in range(len(vectors))], vectors, None)


def read_npy_folder(folder):
    """Returns the `FeaturePack` of the `.npy` files in a folder and the folders below it.

    A file holds a vector (D,) or (1, D), and is then the clip with the name of its path below the
    folder without `.npy`; or several (N, D), which are the clips "<name>#0", "<name>#1" and so on.
    With folders below, the first of them says who it is; without, the pack names nobody.

    Arguments
    ---------
    folder : path

    Raises
    ------
    ValueError
        If there is no `.npy`; if some lie in a folder of a person and others in none; or if a file
        is none, has another shape, or vectors of another width.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "ann").mkdir()
    >>> np.save(folder / "ann" / "1.npy", np.ones(4))
    >>> read_npy_folder(folder)[::2]
    (['ann/1'], ['ann'])
    """
    files = _npy_files(folder)
    deep = [file for file in files if len(file.relative_to(folder).parts) > 1]
    if deep and len(deep) < len(files):
        flat = next(file for file in files if file.parent == folder)
        raise ValueError(
            f"{flat}: expected it in the folder of a person, as {deep[0].relative_to(folder)}; "
            "move it, or take the other files out of their folders"
        )
    ids, people, vectors = [], [], []
    for file in progress_bar(files, desc=f"reading {folder}", unit="file", disable=None):
        rows = np.atleast_2d(_load_npy(file))
        if rows.ndim != 2 or not rows.size:
            raise ValueError(f"{file}: expected a vector, shape (dim,), got {rows.shape}")
        if vectors and rows.shape[1] != vectors[0].shape[1]:
            raise ValueError(
                f"{file}: expected vectors of width {vectors[0].shape[1]}, as in {files[0]}, got "
                f"{rows.shape[1]}; one pack holds the vectors of one network"
            )
        below = file.relative_to(folder).with_suffix("")
        name = name_of(below.as_posix())
        ids += [name] if len(rows) == 1 else [f"{name}#{row}" for row in range(len(rows))]
        people += [name_of(below.parts[0])] * len(rows)
        vectors.append(rows)
    return FeaturePack(ids, np.concatenate(vectors), people if deep else None)


def read_embedded(path, modality):
    """Returns the `FeaturePack` of one modality of an `.npz`, as `speechbrain-fv embed` writes it.

    Arguments
    ---------
    path : path
        Arrays `face` (N, D) and `face_id` (N,), and optionally `face_identity` (N,); or of voices.
    modality : str
        "face" or "voice".

    Raises
    ------
    ValueError
        If the file is no `.npz`, an array is absent, holds objects or has another shape, or a clip
        is named twice.
    """
    names = (modality, f"{modality}_id", f"{modality}_identity")
    try:
        arrays, found = read_arrays(path, names)
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        raise ValueError(refusal(path, modality, "holds pickled objects", "npz")) from None
    if modality not in arrays or names[1] not in arrays:
        raise ValueError(
            f"{path}: expected the arrays {names[0]} and {names[1]}, found {', '.join(found)}; "
            "rename them, or take corpora/embeddings.yaml, which is told their names"
        )
    vectors, ids = arrays[modality], arrays[names[1]]
    identities = arrays.get(names[2])
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: {modality}: expected numbers of shape (num_clips, dim), got {vectors.dtype} "
            f"of shape {vectors.shape}"
        )
    for name in names[1:]:
        if name in arrays and arrays[name].shape != (len(vectors),):
            raise ValueError(
                f"{path}: {name}: expected {len(vectors)} names, one per vector of {modality}, got "
                f"the shape {arrays[name].shape}"
            )
    ids = clip_names(ids, path, names[1])
    if identities is not None:
        identities = names_of(identities, f"{path}: {names[2]}")
    return FeaturePack(ids, vectors.astype(np.float32), identities)


def _load_npy(path):
    try:
        array = read_array(path)
    except (ValueError, OSError) as error:
        if "pickle" in str(error) and "Object" in str(error):
            raise ValueError(refusal(path, "face", "holds pickled objects", "npy")) from None
        raise ValueError(
            f"{error}; it is damaged or of another form, write it again with numpy.save"
        ) from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.ndim == 0:
        kind = getattr(array, "dtype", type(array).__name__)
        raise ValueError(f"{path}: expected an array of numbers, got {kind}")
    return array.astype(np.float32)


def _npy_files(folder):
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = (name for name in names if not name.startswith("."))
        files += [Path(parent, name) for name in shown if name.lower().endswith(".npy")]
    if not files:
        raise ValueError(f"{folder}: expected .npy files in it or in folders below, found none")
    return sorted(files)


def _num_columns(path):
    """The number of cells in the first line of a CSV of vectors, which is checked."""
    with open(path, "rb") as file:
        first = decoded(file.readline(), path)
    cells = next(csv.reader([first]), [])
    if len(cells) < 2:
        raise ValueError(
            f"{path}, line 1: expected numbers and a label separated by commas, got "
            f"{first.strip()[:40]!r}; give one line per clip, without a header"
        )
    if not _is_number(cells[0]):
        raise ValueError(
            f"{path}, line 1: expected the first number of a vector, got {cells[0]!r}; if that is "
            "a header, take it out; if it is the label, move it behind the numbers"
        )
    # Of two numbers, 0 and 1, it may well be a vector.
    if len(cells) > 3 and cells[:-1] == [str(number) for number in range(len(cells) - 1)]:
        raise ValueError(
            f"{path}, line 1: expected a vector, got the numbers 0, 1, ..., {len(cells) - 2}, as "
            "pandas writes for a header; take the line out, or write with header=False"
        )
    return len(cells)


def _faulty_line(path, num_columns):
    """What is wrong with the first line of a CSV that cannot be used, or "" if none is found."""
    text = decoded(Path(path).read_bytes(), path)
    for line, cells in enumerate(csv.reader(text.splitlines()), start=1):
        where = f"{path}, line {line}"
        if len(cells) != num_columns:
            return (
                f"{where}: expected {num_columns} cells, {num_columns - 1} numbers and a label, as "
                f"in line 1, got {len(cells)}; correct the line"
            )
        for column, cell in enumerate(cells[:-1], start=1):
            if not _is_number(cell):
                return f"{where}, column {column}: expected a number, got {cell!r}; correct it"
        if not cells[-1].strip():
            return f"{where}: expected a label in column {num_columns}, got nothing; fill it in"
    return ""


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _label(text):
    """A label as a name: of a whole number, written as pandas or numpy may, its digits."""
    text = text.strip()
    try:
        value = float(text)
    except ValueError:
        return name_of(text)
    whole = math.isfinite(value) and value.is_integer() and abs(value) < 2**53
    return str(int(value)) if whole and set(text) - set("0123456789") else name_of(text)
