"""Manifests: the CSV files that every corpus preparation writes and that the pipeline reads.

A manifest folder holds, for each split, one row per face and one row per voice clip, then the
identities with their labels, the files left out, and `preparation.json`, written last::

    faces_{train,valid,test}.csv    ID,image,spk_id,video
    voices_{train,valid,test}.csv   ID,duration,wav,start,stop,spk_id,speech,video
    identities.csv                  identity,split,gender,nationality,age and any further label
    excluded.csv                    path,modality,identity,reason
    {faces,voices}_challenge.csv    clips of a challenge, whose identity (spk_id) is empty, if any
    pairs_train.csv                 face,voice: the pairs of a published train list, if any
    preparation.json                corpus, key, options, counts

The voices are SpeechBrain's VoxCeleb CSV plus `speech` and `video`. Further columns of faces and
voices, such as language, are attributes of the clips. Splits never share an identity.
A face and a voice of the same `video` were taken from one recording of one identity; it is empty
where that is not known, and absent from manifests of earlier versions, which are read all the same.
A name that a corpus gives to videos of several identities is written "identity/name".
"""

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from speechbrain_fv.data.schema import (
    EXCLUDED_COLUMNS,
    SPLITS,
    check_disjoint,
    check_duplicates,
    check_faces,
    check_identities,
    check_known,
    check_videos,
    check_voices,
    distinct_videos,
    named,
)
from speechbrain_fv.files import file_stamp, read_table, replacing, write_table

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
REPORT_FILE = "excluded.csv"
PREPARATION_FILE = "preparation.json"
PATH_COLUMNS = ("image", "wav")


@dataclass(frozen=True)
class Manifests:
    """The content of a manifest folder.

    Arguments
    ---------
    faces, voices : dict of str to pandas.DataFrame
        Split name to the rows of that split, with the columns of `FACE_COLUMNS`/`VOICE_COLUMNS`.
    identities : pandas.DataFrame
        One row per identity, columns `IDENTITY_COLUMNS` and further labels; an unknown label is an
        empty string.
    preparation : dict
        Corpus, key, options and counts.
    challenge : tuple of two pandas.DataFrame, optional
        Faces and voices of a challenge, whose people are not known.
    """

    faces: dict
    voices: dict
    identities: pd.DataFrame
    preparation: dict
    challenge: tuple | None = None


def cache_key(options, files=()):
    """The fingerprint of a preparation: it changes when an option or an input file changes.

    Arguments
    ---------
    options : dict
        Everything that shapes the result; values must be JSON types or paths.
    files : iterable of path
        Input files; each enters with its path, size in bytes and modification time in ns.

    Returns
    -------
    str
        64 hexadecimal digits (SHA-256), independent of the order of keys and files.

    Example
    -------
    >>> cache_key({"seed": 1, "vad": True}) == cache_key({"vad": True, "seed": 1})
    True
    """
    digest = hashlib.sha256()
    header = {"schema": SCHEMA_VERSION, "options": options}
    digest.update(json.dumps(header, sort_keys=True, default=str).encode())
    for path in sorted(str(file) for file in files):
        digest.update(f"\n{path}|{file_stamp(path)}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def content_key(manifests, files=()):
    """The fingerprint of what is trained on: who, which clips, in which splits and segments.

    Where files lie, and when they were written, plays no part: a corpus that was copied to another
    disk is the same. Nor do the contents of media files, which nobody reads twice.

    Arguments
    ---------
    manifests : Manifests
    files : iterable of path
        Files whose content is the data, such as precomputed vectors; every byte counts.

    Returns
    -------
    str
        64 hexadecimal digits (SHA-256).

    Raises
    ------
    OSError
        If such a file cannot be read.
    """
    digest = hashlib.sha256()
    tables = [table for kind in (manifests.faces, manifests.voices) for table in kind.values()]
    for table in [manifests.identities, *tables]:
        table = table.drop(columns=[name for name in PATH_COLUMNS if name in table.columns])
        digest.update(table.to_csv(index=False, lineterminator="\n").encode())
    for path in sorted(str(file) for file in files):
        with open(path, "rb") as file:
            for part in iter(lambda: file.read(2**20), b""):  # noqa: B023 (used at once)
                digest.update(part)
    return digest.hexdigest()


def is_prepared(manifest_folder, key):
    """Whether the folder holds complete manifests made under this key, with all their columns.

    Arguments
    ---------
    manifest_folder : path
        Folder of the manifests; it may not exist yet.
    key : str
        What `cache_key` returns for the present options and inputs.

    Returns
    -------
    bool
    """
    folder = Path(manifest_folder)
    try:
        preparation = json.loads((folder / PREPARATION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    names = ["identities.csv", REPORT_FILE]
    tables = [f"{kind}_{split}.csv" for kind in ("faces", "voices") for split in SPLITS]
    return (
        preparation.get("key") == key
        and all((folder / name).is_file() for name in [*names, *tables])
        and all(_has_videos(folder / name) for name in tables)
    )


def _has_videos(table):
    """Whether a CSV has the column that those of earlier versions lack."""
    with open(table, encoding="utf-8") as file:
        return "video" in file.readline().strip().split(",")


def write_manifests(
    manifest_folder,
    faces,
    voices,
    identities,
    corpus,
    key,
    options,
    excluded=None,
    notes=None,
    challenge=None,
    pairs=None,
):
    """Validate and write the manifests of a corpus; the split of a row is its identity's.

    Identities without a face or without a voice are left out and counted in `preparation.json`.

    Arguments
    ---------
    manifest_folder : path
        Where to write; made when absent, earlier manifests are replaced.
    faces, voices : pandas.DataFrame
        All clips of all splits, columns `FACE_COLUMNS` and `VOICE_COLUMNS`, paths absolute.
        `start` and `stop` are samples of the file, `duration` its seconds; `speech` and `video`
        may be absent.
    identities : pandas.DataFrame
        Columns `IDENTITY_COLUMNS`; missing label columns count as unknown, further ones are kept.
    corpus : str
        Name of the corpus.
    key : str
        What `cache_key` returned.
    options : dict
        The options of the preparation, kept for the record.
    excluded : pandas.DataFrame, optional
        Files left out, columns `EXCLUDED_COLUMNS`.
    notes : dict, optional
        What else the preparation has to say, in JSON types.
    challenge : tuple of two pandas.DataFrame, optional
        Faces and voices whose people are not known, to be embedded after the training.
    pairs : pandas.DataFrame, optional
        Columns face and voice: IDs of the pairs that a train list names.

    Returns
    -------
    dict
        What `preparation.json` now holds.

    Raises
    ------
    ValueError
        For missing columns, a duplicate ID, an identity in two splits or in none, an empty
        split, sample numbers that are not numbers, or a clip that ends before it starts.
    """
    folder = Path(manifest_folder)
    identities = check_identities(identities, folder / "identities.csv")
    faces = check_faces(faces, folder / "faces")
    voices = check_voices(voices, folder / "voices")
    faces, voices = distinct_videos(faces, voices)
    for frame, name in ((faces, "faces"), (voices, "voices")):
        check_duplicates([frame], name)
        check_known(frame, identities, folder / name)
    complete = set(faces.spk_id) & set(voices.spk_id)
    one_sided = sorted((set(faces.spk_id) | set(voices.spk_id)) - complete)
    identities = identities[identities.identity.isin(complete)]
    split_of = identities.set_index("identity").split
    frames = {
        (kind, split): frame[frame.spk_id.isin(complete) & (frame.spk_id.map(split_of) == split)]
        for kind, frame in (("faces", faces), ("voices", voices))
        for split in SPLITS
    }
    for split in SPLITS:
        if frames["faces", split].empty:
            raise ValueError(
                f"{folder}: split {split!r} is empty: no identity has both a face and a voice; "
                f"add such identities, or check the splits and {REPORT_FILE}."
            )
    if excluded is None:
        excluded = pd.DataFrame(columns=EXCLUDED_COLUMNS)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PREPARATION_FILE).unlink(missing_ok=True)
    for (kind, split), frame in frames.items():
        write_table(frame, folder / f"{kind}_{split}.csv")
    _write_optional(folder, challenge, pairs)
    write_table(identities, folder / "identities.csv")
    write_table(excluded[EXCLUDED_COLUMNS], folder / REPORT_FILE)
    preparation = {
        "corpus": corpus,
        "key": key,
        "options": json.loads(json.dumps(options, default=str)),
        "splits": {
            split: {
                "num_identities": int((identities.split == split).sum()),
                "num_faces": len(frames["faces", split]),
                "num_voices": len(frames["voices", split]),
            }
            for split in SPLITS
        },
        "num_excluded": len(excluded),
        "one_sided_identities": one_sided,
        "notes": notes or {},
    }
    with replacing(folder / PREPARATION_FILE) as file:
        file.write(json.dumps(preparation, indent=2, ensure_ascii=False).encode())
    for split, counts in preparation["splits"].items():
        texts = [f"{number} {name.removeprefix('num_')}" for name, number in counts.items()]
        logger.info("%s, %s: %s", corpus, split, ", ".join(texts))
    if len(excluded):
        logger.warning("%s: %d files left out, see %s", corpus, len(excluded), folder / REPORT_FILE)
    if one_sided:
        logger.warning(
            "%s: %d identities have no face or no voice and are left out: %s",
            corpus,
            len(one_sided),
            named(one_sided),
        )
    return preparation


CHALLENGE_FILES = ("faces_challenge.csv", "voices_challenge.csv")
PAIRS_FILE = "pairs_train.csv"


def _write_optional(folder, challenge, pairs):
    """Writes what not every corpus has; removes that of an earlier preparation."""
    tables = dict(
        zip((*CHALLENGE_FILES, PAIRS_FILE), (*(challenge or (None, None)), pairs), strict=True)
    )
    for (name, table), check in zip(tables.items(), (check_faces, check_voices, None), strict=True):
        (folder / name).unlink(missing_ok=True)
        if table is not None:
            write_table(check(table, folder / name) if check else table, folder / name)


def _load_challenge(folder):
    files = [folder / name for name in CHALLENGE_FILES]
    if not all(file.is_file() for file in files):
        return None
    checks = zip(files, (check_faces, check_voices), strict=True)
    tables = [check(read_table(file), file) for file, check in checks]
    for table, file in zip(tables, files, strict=True):
        check_duplicates([table], file)
    return tuple(tables)


def load_manifests(manifest_folder):
    """The validated manifests of a folder.

    Voice CSVs without a `speech` column, as SpeechBrain's VoxCeleb preparation writes them, are
    accepted: the whole clip then counts as speech. Without a `video` column no video is known.

    Arguments
    ---------
    manifest_folder : path
        Folder that a preparation wrote.

    Returns
    -------
    Manifests

    Raises
    ------
    ValueError
        If a file is absent or breaks the schema; the message names file, row and remedy.
    """
    folder = Path(manifest_folder)
    preparation_file = folder / PREPARATION_FILE
    if not preparation_file.is_file():
        raise ValueError(f"{preparation_file}: not found; run the corpus preparation first.")
    identities = check_identities(read_table(folder / "identities.csv"), folder / "identities.csv")
    tables = {"faces": {}, "voices": {}}
    for kind, check in (("faces", check_faces), ("voices", check_voices)):
        for split in SPLITS:
            file = folder / f"{kind}_{split}.csv"
            frame = check(read_table(file), file)
            if frame.empty:
                raise ValueError(f"{file}: no rows; prepare the corpus with a non-empty {split}.")
            check_known(frame, identities, file)
            tables[kind][split] = frame
        check_duplicates(tables[kind].values(), f"{folder / kind}_*.csv")
    check_disjoint(tables, identities, folder)
    check_videos(tables, folder)
    preparation = json.loads(preparation_file.read_text(encoding="utf-8"))
    return Manifests(
        tables["faces"], tables["voices"], identities, preparation, _load_challenge(folder)
    )


def without_training_identities(manifests, num_removed_identities, seed=0):
    """The manifests with fewer training identities, drawn from a seed (Bi-Pcm, Fig. 8).

    Under one seed, those removed are among those of every larger number. Validation and test stay.

    Arguments
    ---------
    manifests : Manifests
    num_removed_identities : int
        How many to leave out, at least 0 and at most all but two.
    seed : int
        Seed of the choice, at least 0.

    Returns
    -------
    Manifests
        The same for 0. Otherwise the key of the preparation changes: the data are others.

    Raises
    ------
    ValueError
        If the number is out of range.
    """
    if num_removed_identities == 0:
        return manifests
    identities = manifests.identities
    names = identities.identity[identities.split == "train"].to_numpy()
    if not 0 <= num_removed_identities <= len(names) - 2:
        raise ValueError(
            f"num_removed_identities: expected 0 to {len(names) - 2}, so that two of the "
            f"{len(names)} training identities remain, got {num_removed_identities}"
        )
    removed = np.random.default_rng(seed).permutation(names)[:num_removed_identities]
    faces, voices = (
        {**tables, "train": tables["train"][~tables["train"].spk_id.isin(removed)]}
        for tables in (manifests.faces, manifests.voices)
    )
    key = cache_key({"key": manifests.preparation["key"], "removed": sorted(removed)})
    return replace(
        manifests,
        faces=faces,
        voices=voices,
        identities=identities[~identities.identity.isin(removed)],
        preparation={**manifests.preparation, "key": key},
    )
