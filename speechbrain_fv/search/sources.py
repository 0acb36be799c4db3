"""Where the embeddings of a gallery come from: a folder, a CSV, a file of embeddings."""

import os
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from speechbrain_fv.arrays import read_arrays
from speechbrain_fv.files import read_table
from speechbrain_fv.media.kinds import SUFFIXES, media_in, why_unused
from speechbrain_fv.messages import progress_bar
from speechbrain_fv.names import check_look_alikes, name_of, names_of
from speechbrain_fv.scores.averaging import averaged

COLUMNS = {"face": "face", "voice": "wav"}
CHUNK = 512  # files per call of the model, which has batches of its own


class Model(Protocol):
    """What a gallery needs of a `FaceVoiceAssociation`, which can take its place."""

    version: str
    embedding_dim: int


class Media(NamedTuple):
    """A file that is to become an embedding.

    id : str
    path : Path
    where : str
        For messages: the line of the CSV, or "".
    """

    id: str
    path: Path
    where: str = ""


class Skipped(NamedTuple):
    """A file that was left out.

    modality : str
        "face" or "voice"; "" for a file of which neither is known.
    id : str
    reason : str
        Names the file.
    """

    modality: str
    id: str
    reason: str


def in_folder(folder):
    """Returns the images and recordings in a folder and the folders below it, and what is neither.

    They are told by the suffixes in `SUFFIXES`. Hidden files and folders, files that systems
    leave behind (._ann.jpg, .DS_Store, Thumbs.db, desktop.ini) and texts are passed over; every
    other file is named, such as HEIC without the extra, M4A, or an image without a suffix.

    Returns
    -------
    files : dict
        {"face": list of Media, "voice": list of Media}, sorted by id.
    unused : list of Skipped
        Sorted by id.

    Raises
    ------
    ValueError
        If there is no such folder, or no image and no recording below it; or a folder below it
        cannot be read.
    """
    folder = Path(folder)
    found, others = media_in(folder)
    files = {
        modality: [Media(name_of(path.relative_to(folder).as_posix()), path) for path in paths]
        for modality, paths in found.items()
    }
    unused = [
        Skipped("", name_of(path.relative_to(folder).as_posix()), why_unused(path))
        for path in others
    ]
    unused.sort(key=lambda skipped: skipped.id)
    if not any(files.values()):
        listed = ", ".join(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
        others = f"; {len(unused)} other files, the first: {unused[0].reason}" if unused else ""
        raise ValueError(f"{folder}: no image and no recording there ({listed}){others}")
    return {modality: sorted(listed) for modality, listed in files.items()}, unused


def in_csv(csv):
    """Returns {"face": list of Media, "voice": list of Media} of a CSV; see `Gallery.from_csv`.

    The ids are in the column `id` or `clip`. Of the clips of a corpus, which has the column
    `identity`, the paths are the ids where there is neither, and a path may be in several rows.

    Raises
    ------
    ValueError
        If a column is missing, or a line has no id, an earlier one's id, or no file.
    """
    csv = Path(csv)
    table, name_column, columns = _table_of(csv)
    files, first_lines = {modality: [] for modality in SUFFIXES}, {}
    for line, row in enumerate(table.to_dict("records"), start=2):
        where = f"{csv}, line {line}"
        given = {modality: row[column] for modality, column in columns.items() if row[column]}
        if name_column:
            _check_new(name_of(row[name_column]), name_column, where, line, first_lines)
        if not given:
            raise ValueError(f"{where}: neither face nor wav names a file; fill one in")
        for modality, path in given.items():
            name = name_of(row[name_column] if name_column else path)
            if not name_column:
                if (modality, name) in first_lines:
                    continue
                first_lines[modality, name] = line
            files[modality].append(Media(name, csv.parent / path, where))
    return files


def _table_of(csv):
    """Returns the rows of a CSV of files, the column of their ids or None, and those of files."""
    table = read_table(csv)
    table = table.apply(lambda column: column.str.strip())
    table = table.rename(columns={"voice": "wav"}) if "wav" not in table else table
    columns = {name: column for name, column in COLUMNS.items() if column in table}
    name_column = next((name for name in ("id", "clip") if name in table), None)
    if not columns or (name_column is None and "identity" not in table):
        raise ValueError(
            f"{csv}: expected the columns id, and face or wav or both, found "
            f"{', '.join(table.columns)}; add them"
        )
    if table.empty:
        raise ValueError(f"{csv}: no rows below the header; list at least one file")
    return table, name_column, columns


def _check_new(name, column, where, line, first_lines):
    """Raises ValueError for a name that is empty or was given before; else notes its line."""
    if not name:
        raise ValueError(f"{where}: {column} is empty; fill in the cell")
    if name in first_lines:
        raise ValueError(
            f"{where}: {column} {name!r} was given in line {first_lines[name]}; give every row its "
            "own"
        )
    first_lines[name] = line


def identities_in(csv):
    """Returns {id: identity} of a CSV of `in_csv`; nothing where it has no column `identity`.

    Raises
    ------
    ValueError
        If an identity is empty, two look alike, or a file belongs to two.
    """
    table, name_column, columns = _table_of(csv)
    if "identity" not in table:
        return {}
    for line, identity in enumerate(table["identity"], start=2):
        if not identity.strip():
            raise ValueError(f"{csv}, line {line}: identity is empty; fill in the cell")
    identities = table["identity"].map(name_of)
    check_look_alikes(identities, csv)
    known = {}
    for column in [name_column] if name_column else columns.values():
        for line, (name, identity) in enumerate(zip(table[column], identities, strict=True), 2):
            if name and known.setdefault(name_of(name), identity) != identity:
                raise ValueError(
                    f"{csv}, line {line}: {name!r} belongs to {identity!r} and to "
                    f"{known[name_of(name)]!r}; give it one identity"
                )
    return known


def people_in(source, files):
    """Returns {id: person} of the files of a folder or a CSV.

    Arguments
    ---------
    source : path
        In a folder, each folder of the first level is a person; a CSV tells by its column identity.
    files : dict
        From `in_folder` or `in_csv`.

    Raises
    ------
    ValueError
        If a file lies in no folder of a person, or the CSV has no such column.
    """
    if not Path(source).is_dir():
        people = identities_in(source)
        if not people:
            raise ValueError(f"{source}: people: expected the column identity; add it")
        return people
    for clip in (clip for listed in files.values() for clip in listed):
        if "/" not in clip.id:
            raise ValueError(
                f"{clip.path}: people: expected it in the folder of a person; move it into one"
            )
    return {clip.id: clip.id.split("/")[0] for listed in files.values() for clip in listed}


def by_person(vectors, people, weights=None, score=None):
    """Returns one embedding per person, the average of those of the clips.

    Arguments
    ---------
    vectors : array of shape (N, K)
    people : sequence of N str
        Whose each is.
    weights : sequence of N numbers, optional
    score : Score, optional

    Returns
    -------
    names : list of P str, sorted
    embeddings : array of shape (P, K), float32
    """
    names, owners = np.unique(np.array(people, dtype=str), return_inverse=True)
    means = averaged(vectors, owners, names, weights, score)
    return names.tolist(), means.astype(np.float32)


def in_npz(path):
    """Returns arrays of an .npz under the names that `Gallery.from_embeddings` takes.

    Raises
    ------
    ValueError
        If the file is no .npz, holds pickled objects, or neither `face` nor `voice`.
    """
    names = {"face": "face", "voice": "voice", "face_id": "face_ids", "voice_id": "voice_ids"}
    try:
        arrays, found = read_arrays(path, names)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}; check the path") from error
    if not {"face", "voice"} & set(arrays):
        raise ValueError(f"{path}: expected an array face or voice, found {found}")
    for ids in ("face_id", "voice_id"):
        if ids in arrays:
            arrays[ids] = names_of(arrays[ids].ravel(), f"{path}: {ids}")
    return {names[name]: array for name, array in arrays.items()}


def encode(model, modality, files, on_error, detect_faces, measured=None):
    """Returns the embeddings of files.

    Arguments
    ---------
    model : FaceVoiceAssociation
    modality : str
        "face" or "voice".
    files : list of Media
    on_error : str
        "raise" or "skip"; see `Gallery.from_folder`.
    detect_faces : bool or None
        None: as in the model's training.
    measured : list, optional
        Where the weight of each file with an embedding is added, see `encode_face_files`.

    Returns
    -------
    ids : list of N str
    embeddings : array of shape (N, K), float32
    skipped : list of Skipped

    Raises
    ------
    ValueError
        If `on_error` is another, or with "raise" a file cannot be used.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error: expected raise or skip, got {on_error!r}")
    asked = detect_faces is not None and modality == "face"
    options = {"detect_faces": detect_faces} if asked else {}
    if measured is not None:
        options["measured"] = measured
    ids, skipped, count = [], [], 0
    embeddings = np.empty((len(files), model.embedding_dim), np.float32)
    run = _encoder(model, modality)
    with progress_bar(total=len(files), desc=f"{modality}s", unit="file", disable=None) as progress:
        for start in range(0, len(files), CHUNK):
            chunk = files[start : start + CHUNK]
            unusable = []
            vectors = run([str(file.path) for file in chunk], skipped=unusable, **options)
            reasons = dict(unusable)
            for file in chunk:
                reason = reasons.get(str(file.path))
                if reason is None:
                    ids.append(file.id)
                    continue
                reason = f"{file.where}: {reason}" if file.where else reason
                if on_error == "raise":
                    raise ValueError(f"{reason}; correct it, or build with on_error='skip'")
                skipped.append(Skipped(modality, file.id, reason))
            embeddings[count : len(ids)] = _plain(vectors)
            count = len(ids)
            progress.update(len(chunk))
    return ids, embeddings[:count], skipped


def embeddings_of(model, modality, given):
    """Returns embeddings of a user's faces or voices, and whether a single one was given.

    Arguments
    ---------
    model : FaceVoiceAssociation or None
    modality : str
    given : path, bytes, open file, or list of B of these; or embeddings (K,) or (B, K)

    Returns
    -------
    embeddings : array of shape (B, K)
    single : bool

    Raises
    ------
    ValueError
        If it is something else, a file cannot be used, or there is no model for files.
    """
    single = _is_file(given)
    files = [given] if single else given
    if isinstance(files, list | tuple) and all(map(_is_file, files)):
        if model is None:
            raise ValueError(
                f"{modality}: files need a model, and this gallery was given only its version; "
                "pass the model to the gallery, or embeddings here"
            )
        return _plain(_encoder(model, modality)(list(files))), single
    vectors = as_array(modality, given)
    return np.atleast_2d(vectors), vectors.ndim == 1


def _is_file(given):
    """Whether something is the path of a file, its bytes, or a file that is open."""
    return isinstance(given, str | os.PathLike | bytes | bytearray) or hasattr(given, "read")


def as_array(modality, vectors, axes=(1, 2)):
    """Returns an array or a tensor on any device as an array; ValueError for anything else."""
    several = isinstance(vectors, list | tuple)
    try:
        array = np.asarray([_plain(row) for row in vectors] if several else _plain(vectors))
    except ValueError:  # rows of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "fiu" or array.ndim not in axes:
        files = "" if axes == (2,) else "a file, a list of files, or "
        raise ValueError(
            f"{modality}: expected {files}embeddings (B, K), got {type(vectors).__name__} of "
            f"shape {array.shape}"
        )
    return array


def _plain(vectors):
    """Returns a tensor on any device as an array, without its gradient; anything else as given."""
    if not isinstance(vectors, torch.Tensor):
        return vectors
    vectors = vectors.detach().cpu()
    return (vectors.float() if vectors.dtype == torch.bfloat16 else vectors).numpy()


def _encoder(model, modality):
    return model.encode_face_files if modality == "face" else model.encode_voice_files
