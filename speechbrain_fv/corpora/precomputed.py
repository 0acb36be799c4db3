"""Precomputed embeddings: an .npz with a face vector and a voice vector for every clip."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from speechbrain_fv.arrays import read_arrays
from speechbrain_fv.corpora.faults import report_excluded
from speechbrain_fv.corpora.own_data import (
    further_columns,
    identity_table,
    one_spelling,
    read_clips,
)
from speechbrain_fv.data.manifests import cache_key, is_prepared, write_manifests
from speechbrain_fv.data.schema import EXCLUDED_COLUMNS, check_columns, clip_names, named
from speechbrain_fv.data.selection import keep_clips
from speechbrain_fv.data.splits import Folds
from speechbrain_fv.names import check_look_alikes, look_alike, names_of


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
    face_ids_key=None,
    voice_ids_key=None,
    keep=None,
):
    """Write the manifests of a study on frozen features.

    The manifests keep their columns although there are no media files: `image` and `wav` name
    the .npz, `ID` is the clip to look up in it, and a voice has duration 1 s, start 0, stop 1.
    Clips that are only in the .npz are not used.

    With one `ids_key` every clip is a face and a voice. With a key for each modality there may be
    more faces than voices, and a clip of the CSV is either or both. Then the CSV may also be one of
    people, without the column `clip`, or absent: the .npz says whose each clip is, in the arrays
    `face_identity` and `voice_identity`, as `speechbrain-fv embed` writes them.

    Arguments
    ---------
    manifest_folder : path
        Where to write; nothing is done when it is up to date.
    clips_csv : path or None
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
    face_ids_key, voice_ids_key : str, optional
        Names of the arrays that name the faces and the voices; `ids_key` by default.
    keep : dict, optional
        Which clips a split keeps, by their attributes, as ``{"train": {"language": "English"}}``;
        see `selection.keep_clips`.

    Raises
    ------
    ValueError
        If a file is absent or malformed, an array is missing or has the wrong shape, a clip is
        listed twice, rows of an identity contradict each other, or too many clips are unusable.
    """
    embeddings = Path(os.path.abspath(embeddings))
    clips_csv = clips_csv and Path(os.path.abspath(clips_csv))
    folds = folds or Folds()
    vector_keys = {"face": face_key, "voice": voice_key}
    ids_keys = {"face": face_ids_key or ids_key, "voice": voice_ids_key or ids_key}
    separate = ids_keys["face"] != ids_keys["voice"]
    options = {
        "clips_csv": clips_csv,
        "embeddings": embeddings,
        "keys": [ids_key, face_key, voice_key],
        "max_excluded_share": max_excluded_share,
        "shares": list(shares),
        "seed": seed,
        **folds.options,
        **({"keep": keep} if keep else {}),
        **({"ids_keys": list(ids_keys.values())} if separate else {}),
    }
    key = cache_key(options, [file for file in (clips_csv, embeddings) if file])
    if is_prepared(manifest_folder, key):
        return
    vectors = {m: load_vectors(embeddings, ids_keys[m], [vector_keys[m]]) for m in ids_keys}
    tables, people = _clips_of(clips_csv, embeddings, vectors, separate)
    identities = identity_table(people, clips_csv or embeddings, shares, seed, folds)
    usable, excluded = {}, []
    for modality, table in tables.items():
        table = table[table.identity.isin(identities.identity)]
        reasons = _faults(table["clip"], *vectors[modality])
        usable[modality] = table[reasons == ""]
        excluded.append(_excluded_rows(table, modality, reasons))
    num_rows = {
        modality: len(usable[modality]) + len(rows)
        for modality, rows in zip(usable, excluded, strict=True)
    }
    excluded = pd.concat(excluded)
    report_excluded(excluded, num_rows, max_excluded_share, manifest_folder)
    source = str(embeddings)
    faces = pd.DataFrame(
        {
            "ID": usable["face"]["clip"],
            "image": source,
            "spk_id": usable["face"].identity,
            "video": usable["face"].video,
            **_attributes(usable["face"]),
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
            **_attributes(usable["voice"]),
        }
    )
    faces, voices, left_out = keep_clips(faces, voices, identities, keep, clips_csv or embeddings)
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


def _attributes(clips):
    """Returns the attributes of the clips by name, those that mean the same spelled the same."""
    return {name: one_spelling(clips[name], name) for name in further_columns(clips)}


def _clips_of(clips_csv, embeddings, vectors, separate):
    """Returns the clips by modality, with their identity and video, and the rows of the people."""
    clips = clips_csv and read_clips(clips_csv)
    if clips is not None and (not separate or "clip" in clips.columns):
        clips = check_columns(clips, ["clip", "identity"], clips_csv)
        if "video" not in clips.columns:
            clips["video"] = clips["clip"]
        if not separate:
            return dict.fromkeys(vectors, clips), clips
        known = {modality: clips["clip"].isin(ids) for modality, (ids, _) in vectors.items()}
        nowhere = ~(known["face"] | known["voice"])
        return {modality: clips[rows | nowhere] for modality, rows in known.items()}, clips
    if not separate:
        raise ValueError(
            f"{embeddings}: clips_csv: expected a CSV with the columns clip and identity, got null"
        )
    names, found = read_arrays(embeddings, [f"{modality}_identity" for modality in vectors])
    tables = {}
    for modality, (ids, _) in vectors.items():
        owners = names.get(f"{modality}_identity")
        if owners is None or owners.shape != (len(ids),):
            got = found if owners is None else f"the shape {owners.shape}"
            raise ValueError(
                f"{embeddings}: {modality}_identity: expected {len(ids)} names, one per "
                f"{modality}, got {got}; embed a CSV with the column identity, or give clips_csv "
                "with the columns clip and identity"
            )
        owners = names_of(owners, f"{embeddings}: {modality}_identity")
        tables[modality] = pd.DataFrame({"clip": ids, "identity": owners})
    face, voice = tables.values()
    paired = face.equals(voice)  # row by row
    tables = {m: table.assign(video=table["clip"] if paired else "") for m, table in tables.items()}
    people = pd.concat(tables.values(), ignore_index=True)
    check_look_alikes(people.identity, embeddings)
    if clips is not None:
        unlisted = sorted({*people.identity} - {*clips.identity})
        if unlisted:
            raise ValueError(
                f"{clips_csv}: no row for {named(unlisted)}, whose clips are in {embeddings}; add "
                "one row for each person"
            )
        people = clips[clips.identity.isin(people.identity)]
    return tables, people


def _faults(clips, ids, tables):
    """Why the vector of each clip, a series of names, cannot be used; "" where it can."""
    faults = dict(zip(ids, vector_faults(tables[0]), strict=True))
    absent = _absent(ids)
    reasons = [faults[clip] if clip in faults else absent(clip) for clip in clips]
    return pd.Series(reasons, index=clips.index, dtype=str)


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
        is_table = table.ndim == 2 and len(table) == len(ids) and table.shape[1] > 0
        if not is_table or table.dtype.kind not in "fiu":
            raise ValueError(
                f"{file}: {key} must hold one vector of numbers per clip, shape ({len(ids)}, dim), "
                f"got {table.dtype} {table.shape}; {ids_key} and {key} must have equal lengths."
            )
    ids = clip_names(ids, file, ids_key)
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
    with np.errstate(over="ignore", invalid="ignore"):
        used = table.astype(np.float32, copy=False)
        power = np.einsum("nd,nd->n", used, used)
    faults = {
        "vector has values that are not finite": ~finite,
        "vector is zero": ~table.any(axis=1),
        "vector is so short that its square is 0 in 32 bits; scale all vectors": power == 0,
        "vector is so long that its square is infinite in 32 bits; scale all vectors": power
        > _MOST,
    }
    return np.select(list(faults.values()), list(faults), "").tolist()


_MOST = np.finfo(np.float32).max


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
