"""Precomputed embeddings: an .npz with a face vector and a voice vector for every clip."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from speechbrain_fv.corpora.own_data import (
    further_columns,
    identity_table,
    one_spelling,
    read_clips,
)
from speechbrain_fv.corpora.scan import report_excluded
from speechbrain_fv.data.manifests import cache_key, is_prepared, write_manifests
from speechbrain_fv.data.schema import EXCLUDED_COLUMNS, check_columns, named
from speechbrain_fv.data.selection import keep_clips
from speechbrain_fv.data.splits import Folds
from speechbrain_fv.files import read_arrays
from speechbrain_fv.names import look_alike, names_of


def prepare_embeddings(
    manifest_folder,
    clips_csv,
    embeddings,
    face_key,
    voice_key,
    ids_key="clip",
    max_excluded_share=0.05,
    shares=(0.7, 0.1, 0.2),
    seed=0,
    folds=None,
    keep=None,
):
    """Write the manifests of a study on frozen features; every clip is a face and a voice.

    The manifests keep their columns although there are no media files: `image` and `wav` name
    the .npz, `ID` is the clip to look up in it, and a voice has duration 1 s, start 0, stop 1.
    Clips that are only in the .npz are not used.

    Arguments
    ---------
    manifest_folder : path
        Where to write; nothing is done when it is up to date.
    clips_csv : path
        CSV with the columns `clip` and `identity`, and optionally `video`, `split`, `gender`,
        `nationality`, `age`, as in `prepare_own_data`, which also says which labels are one group.
        Without `video` every clip is one. A column `language` serves to make the folds alike.
    embeddings : path
        The .npz: `ids_key` names the clips (num_clips,), `face_key` holds (num_clips, face_dim)
        and `voice_key` (num_clips, voice_dim) numbers.
    face_key, voice_key, ids_key : str
        Names of arrays in the .npz.
    max_excluded_share : float
        Largest share in [0, 1] of clips that may lack a usable vector, per modality.
    shares : tuple of three float
        Shares of identities for train, valid and test; used without a `split` column.
    seed : int
        Seed of that random split.
    folds : Folds, optional
        Cross-validation over people in place of the split.
    keep : dict, optional
        Which clips a split keeps, by their attributes, as ``{"train": {"language": "English"}}``;
        see `selection.keep_clips`.

    Raises
    ------
    ValueError
        If a file is absent or malformed, an array is missing or has the wrong shape, a clip is
        listed twice, rows of an identity contradict each other, or too many clips are unusable.
    """
    clips_csv, embeddings = (Path(os.path.abspath(path)) for path in (clips_csv, embeddings))
    folds = folds or Folds()
    options = {
        "clips_csv": clips_csv,
        "embeddings": embeddings,
        "keys": [ids_key, face_key, voice_key],
        "max_excluded_share": max_excluded_share,
        "shares": list(shares),
        "seed": seed,
        **folds.options,
        **({"keep": keep} if keep else {}),
    }
    key = cache_key(options, [clips_csv, embeddings])
    if is_prepared(manifest_folder, key):
        return
    clips = check_columns(read_clips(clips_csv), ["clip", "identity"], clips_csv)
    if "video" not in clips.columns:
        clips["video"] = clips["clip"]
    identities = identity_table(clips, clips_csv, shares, seed, folds)
    clips = clips[clips.identity.isin(identities.identity)]
    ids, vectors = load_vectors(embeddings, ids_key, (face_key, voice_key))
    absent = _absent(ids)
    faults = {
        modality: clips["clip"].map(dict(zip(ids, vector_faults(table), strict=True)))
        for modality, table in zip(("face", "voice"), vectors, strict=True)
    }
    faults = {
        modality: reasons.where(reasons.notna(), clips["clip"].map(absent))
        for modality, reasons in faults.items()
    }
    excluded = pd.concat([_excluded_rows(clips, *item) for item in faults.items()])
    num_rows = dict.fromkeys(faults, len(clips))
    report_excluded(excluded, num_rows, max_excluded_share, manifest_folder)
    usable = {modality: clips[reasons == ""] for modality, reasons in faults.items()}
    source = str(embeddings)
    further = {name: one_spelling(clips[name], name) for name in further_columns(clips)}
    faces = pd.DataFrame(
        {
            "ID": usable["face"]["clip"],
            "image": source,
            "spk_id": usable["face"].identity,
            "video": usable["face"].video,
            **{name: labels[usable["face"].index] for name, labels in further.items()},
        }
    )
    voices = pd.DataFrame(
        {
            "ID": usable["voice"]["clip"],
            "duration": 1.0,
            "wav": source,
            "start": 0,
            "stop": 1,
            "spk_id": usable["voice"].identity,
            "video": usable["voice"].video,
            **{name: labels[usable["voice"].index] for name, labels in further.items()},
        }
    )
    faces, voices, left_out = keep_clips(faces, voices, identities, keep, clips_csv)
    write_manifests(
        manifest_folder,
        faces,
        voices,
        identities,
        "embeddings",
        key,
        options,
        excluded,
        {"left_out": left_out} if left_out else None,
    )


def load_vectors(file, ids_key, vector_keys):
    """The clip names and vector tables of an .npz.

    Arguments
    ---------
    file : path
        The .npz; nothing in it is unpickled.
    ids_key : str
        Name of the array of clip names.
    vector_keys : sequence of str
        Names of the vector tables.

    Returns
    -------
    tuple of (list of str, list of numpy.ndarray (num_clips, dim))
        Clip names, then the tables in the order of `vector_keys`.

    Raises
    ------
    ValueError
        If the file is no .npz, an array is absent, holds objects or has the wrong shape, or a
        clip is named twice.
    """
    wanted = (ids_key, *vector_keys)
    try:
        arrays, available = read_arrays(file, wanted)
    except FileNotFoundError:
        raise ValueError(f"{file}: not found; check the path.") from None
    missing = [key for key in wanted if key not in arrays]
    if missing:
        raise ValueError(
            f"{file}: no array {named(missing)}; available: {', '.join(available)}; set ids_key, "
            f"face_key and voice_key to these."
        )
    ids, *tables = (arrays[key] for key in wanted)
    if ids.ndim != 1:
        raise ValueError(f"{file}: {ids_key} must have shape (num_clips,), got {ids.shape}.")
    for key, table in zip(vector_keys, tables, strict=True):
        if table.ndim != 2 or len(table) != len(ids) or table.dtype.kind not in "fiu":
            raise ValueError(
                f"{file}: {key} must hold one vector of numbers per clip, shape ({len(ids)}, dim), "
                f"got {table.dtype} {table.shape}; {ids_key} and {key} must have equal lengths."
            )
    ids = names_of(ids, f"{file}: {ids_key}")
    repeated = pd.Series(ids)[pd.Series(ids).duplicated()].unique()
    if len(repeated):
        raise ValueError(
            f"{file}: {ids_key} names {named(repeated)} more than once; keep one vector per clip."
        )
    return ids, tables


def vector_faults(table):
    """Why each vector is unusable; "" for those that are usable.

    Arguments
    ---------
    table : numpy.ndarray, (num_clips, dim)
        Vectors.

    Returns
    -------
    list of str

    Example
    -------
    >>> vector_faults(np.array([[1.0, 0.0], [0.0, 0.0], [np.nan, 1.0]]))
    ['', 'vector is zero', 'vector has values that are not finite']
    """
    finite = np.isfinite(table).all(axis=1)
    zero = ~table.any(axis=1)
    not_finite = "vector has values that are not finite"
    return np.select([~finite, zero], [not_finite, "vector is zero"], "").tolist()


def _absent(ids):
    """Returns a function that says of a clip why it has no vector, with an id that looks alike."""
    similar = {look_alike(name): name for name in ids}

    def reason(clip):
        other = similar.get(look_alike(clip))
        hint = f", which have {other!r}; write both the same" if other else ""
        return f"clip is not in the embeddings{hint}"

    return reason


def _excluded_rows(clips, modality, reasons):
    rows = clips[reasons != ""]
    return pd.DataFrame(
        {
            "path": rows["clip"],
            "modality": modality,
            "identity": rows.identity,
            "reason": reasons[reasons != ""],
        },
        columns=EXCLUDED_COLUMNS,
    )
