"""MAV-Celeb, versions v1 to v4, from media: people who speak two languages each.

A model is trained on people who speak one language and tested on others in that language (heard)
and in the other (unheard). The people of the published test clips are withheld: these clips are
prepared as those of a challenge, and people of the training part are held out for a test of ours.
"""

import hashlib
import logging
import os

import pandas as pd

from speechbrain_fv.corpora.mavceleb_layout import (
    FOLDERS,
    language_of,
    list_clips,
    version_of,
)
from speechbrain_fv.corpora.mavceleb_lists import read_pairs
from speechbrain_fv.corpora.repeats import at_once_if_unchanged
from speechbrain_fv.corpora.voxceleb_layout import roots
from speechbrain_fv.data.manifests import cache_key, is_prepared, write_manifests
from speechbrain_fv.data.schema import (
    EXCLUDED_COLUMNS,
    SPLITS,
    check_columns,
    format_speech,
    named,
)
from speechbrain_fv.data.selection import keep_clips
from speechbrain_fv.data.splits import check_people
from speechbrain_fv.files import read_table
from speechbrain_fv.names import name_of

logger = logging.getLogger(__name__)

CHALLENGE_ROWS = 2  # form of the rows of a challenge: folders of an older form are prepared again


@at_once_if_unchanged
def prepare_mavceleb(
    manifest_folder,
    folder,
    scanner,
    version,
    heard=None,
    train_lists=(),
    test_lists=None,
    people_csv=None,
    held_out=(0.1, 0.15),
    least_people=2,
):
    """Write the manifests of MAV-Celeb.

    Arguments
    ---------
    manifest_folder : path
        Where to write; nothing is done when it is up to date.
    folder : path or list of path
        With the folders `voices` and `faces` anywhere below, see `mavceleb_layout`.
    scanner : Scanner
        Which files are usable. Rates may differ from file to file.
    version : str
        "v1", "v2", "v3" or "v4".
    heard : str, optional
        The language to train and to validate on; the test people are heard in both. None: both.
    train_lists : path or sequence of path
        Published train lists: only the clips that they name are trained on, and their pairs are
        written to `pairs_train.csv`, for `samplers.ListedSampler`. Without, all clips are.
    test_lists : dict of str to path, optional
        Name to test list: the clips that they name are prepared as those of a challenge.
    people_csv : path, optional
        CSV with a column identity and labels such as gender; `split` there replaces `held_out`.
    held_out : tuple of two float
        Shares of the people for validation and for test. The people are sorted by the SHA-256 of
        version and name, as "v1/id0001"; the first are for validation, the next for test. So a
        person stays where it is when others are missing, up to rounding.
    least_people : int
        People with a face and a voice that every split must have.

    Raises
    ------
    ValueError
        If a path or a list is wrong (with file and line), a language is none of the version, a
        split has too few people, a clip of a test list is missing or cannot be read, or too many
        files are unusable (`Scanner`).
    """
    public, folders = version_of(version), roots(folder, "folder")
    train_lists = [train_lists] if isinstance(train_lists, str | os.PathLike) else train_lists
    if heard is not None and language_of(heard, version) is None:
        raise ValueError(
            f"heard: expected a language of {version}, {' or '.join(public.languages)}, got "
            f"{heard!r}"
        )
    clips, others = list_clips(folders, version)
    training = [read_pairs(file, version) for file in train_lists]
    tests = {name: read_pairs(file, version) for name, file in (test_lists or {}).items()}
    lists = [*train_lists, *(test_lists or {}).values(), *([people_csv] if people_csv else [])]
    options = {
        "folders": [str(path) for path in folders],
        "version": version,
        "heard": heard,
        "lists": [os.path.abspath(file) for file in lists],
        "held_out": list(held_out),
        **scanner.criteria,
    }
    if tests:
        options["challenge_rows"] = CHALLENGE_ROWS
    key = cache_key(options, [*lists, *clips.path])
    if is_prepared(manifest_folder, key):
        return
    labelled = clips[clips.identity != ""]
    identities = split_people(labelled.identity.unique(), version, held_out, people_csv)
    labelled = labelled[labelled.identity.isin(identities.identity)]
    kept, pairs, missing = _listed(labelled, training, identities)
    faces, voices = manifest_rows(kept)
    keep = heard and {split: {"language": heard} for split in ("train", "valid")}
    faces, voices, left_out = keep_clips(faces, voices, identities, keep, folder)
    complete = set(faces.spk_id) & set(voices.spk_id)
    check_people(identities, complete, least_people, ", ".join(map(str, folders)))
    share = _share_missing(missing, training)
    if share > scanner.max_excluded_share:
        raise ValueError(
            f"{len(missing)} clips of the train lists ({share:.1%}) are not on disk, more than "
            f"max_excluded_share = {scanner.max_excluded_share:g}; first: "
            f"{missing.reason.iloc[0]}; complete the folder, or raise max_excluded_share"
        )
    faces, voices, excluded = scanner.select(faces, voices, manifest_folder)
    notes = {
        "people": {"expected": public.num_train, "found": int(labelled.identity.nunique())},
        "languages": {name: int((labelled.language == name).sum()) for name in public.languages},
        "other_files": len(others),
        "left_out": left_out,
        "missing_listed": len(missing),
    }
    if notes["people"]["expected"] != notes["people"]["found"]:
        logger.warning(
            "mavceleb %s: expected %d people with labels, found %d",
            version,
            *notes["people"].values(),
        )
    if pairs is not None:
        pairs = pairs[pairs.face.isin(faces.ID) & pairs.voice.isin(voices.ID)]
        pairs = pairs.drop_duplicates()
    write_manifests(
        manifest_folder,
        faces,
        voices,
        identities,
        f"mavceleb_{version}",
        key,
        options,
        pd.concat([excluded, missing], ignore_index=True),
        notes,
        challenge_rows(clips, tests, scanner) if tests else None,
        pairs,
    )


def split_people(people, version, held_out, people_csv=None):
    """Who is for training, validation and test, with the labels of a CSV.

    Arguments
    ---------
    people : iterable of str
    version : str
    held_out : tuple of two float
        Shares for validation and test, each above 0 and together below 1; two people at least, of
        fewer than six one.
    people_csv : path, optional
        See `prepare_mavceleb`.

    Returns
    -------
    pandas.DataFrame
        Columns identity, split and those of the CSV.

    Example
    -------
    >>> people = [f"id{number:04d}" for number in range(20)]
    >>> split_people(people, "v1", (0.1, 0.15)).split.value_counts().to_dict()
    {'train': 15, 'test': 3, 'valid': 2}
    """
    if len(held_out) != 2 or min(held_out) <= 0 or sum(held_out) >= 1:
        raise ValueError(
            f"held_out: expected shares for validation and test, above 0 and together below 1, got "
            f"{list(held_out)}"
        )
    names = sorted({*people}, key=lambda name: _digest(f"{version}/{name}"))
    least = min(2, len(names) // 3)
    num_valid, num_test = (max(least, round(share * len(names))) for share in held_out)
    splits = ["valid"] * num_valid + ["test"] * num_test
    splits += ["train"] * (len(names) - len(splits))
    table = pd.DataFrame({"identity": names, "split": splits[: len(names)]}).sort_values("identity")
    if not people_csv:
        return table.reset_index(drop=True)
    labels = check_columns(read_table(people_csv), ["identity"], people_csv)
    labels["identity"] = labels.identity.map(lambda name: name_of(name).lower())
    repeated = labels.identity.duplicated()
    if repeated.any():
        raise ValueError(
            f"{people_csv}, line {labels.index[repeated][0] + 2}: identity "
            f"{labels.identity[repeated].iloc[0]!r} is listed twice; keep one line"
        )
    if "split" in labels.columns:
        known = labels[labels.identity.isin(names)]
        wrong = known.index[~known.split.isin(SPLITS)]
        if len(wrong):
            raise ValueError(
                f"{people_csv}, line {wrong[0] + 2}: split must be one of {', '.join(SPLITS)}, got "
                f"{known.split[wrong[0]]!r}"
            )
        table = table.drop(columns="split")
        return table.merge(known, on="identity").reset_index(drop=True)
    return table.merge(labels, on="identity", how="left").fillna("").reset_index(drop=True)


def manifest_rows(clips):
    """Face rows and voice rows of a table of clips, as `Scanner.select` takes them."""
    tables = []
    for modality, column in (("face", "image"), ("voice", "wav")):
        rows = clips[clips.modality == modality].rename(
            columns={"path": column, "identity": "spk_id"}
        )
        tables.append(rows[["ID", column, "spk_id", "video", "language"]])
    return tables


def challenge_rows(clips, tests, scanner):
    """The face rows and voice rows of all clips that test lists name.

    Every key needs a score: a clip that is missing or cannot be read is an error, with file and
    line. One that is short, small or quiet is kept, and counted in the log. A voice in which no
    speech is found counts as speech throughout.

    Arguments
    ---------
    clips : pandas.DataFrame
        From `mavceleb_layout.list_clips`.
    tests : dict of str to ListedPairs
    scanner : Scanner

    Returns
    -------
    tuple of two pandas.DataFrame
        A clip whose person is withheld has the ID `voices/<Language>/<file>` or
        `faces/<Language>/<file>`, which says the modality, as a list names it.
    """
    by_key = {(row.modality, _stem(row.ID)): row for row in clips.itertuples()}
    found, lines = {}, {}
    for listed in tests.values():
        for row in listed.table.itertuples():
            for modality in ("voice", "face"):
                key = (modality, getattr(row, f"{modality}_key"))
                if key not in by_key:
                    raise ValueError(
                        f"{listed.file}, line {row.line}: {getattr(row, modality)} is not on disk; "
                        "every key needs a score; complete the folder"
                    )
                found[key] = by_key[key]
                lines.setdefault(by_key[key].path, f"{listed.file}, line {row.line}")
    table = pd.DataFrame(found.values()).drop(columns="Index")
    table["ID"] = [_challenge_id(row) for row in table.itertuples()]
    table = table.assign(identity="")
    faces, voices = manifest_rows(table)
    facts = {"face": scanner.scan(faces.image, "face"), "voice": scanner.scan(voices.wav, "voice")}
    for path, of_file in (item for known in facts.values() for item in known.items()):
        if "error" in of_file:
            raise ValueError(f"{lines[path]}: {path}: {of_file['error']}; every key needs a score")
    if scanner.detect:
        faces = faces.assign(image=[facts["face"][path]["crop"] for path in faces.image])
    known = facts["voice"]
    voices = voices.assign(
        start=0,
        stop=[known[path]["num_samples"] for path in voices.wav],
        speech=[format_speech(known[path]["speech"] or []) for path in voices.wav],
        duration=[known[path]["num_samples"] / known[path]["rate"] for path in voices.wav],
    )
    silent = [path for path in voices.wav if known[path]["level_db"] is None]
    if silent:
        logger.warning(
            "mavceleb: %d voices of the test lists are silent: %s", len(silent), named(silent)
        )
    return faces, voices


def _listed(clips, training, identities):
    """The clips to take, the listed pairs as IDs, and the listed clips that are missing.

    Lists restrict the training people's clips; those of others are all taken.
    """
    missing = pd.DataFrame(columns=EXCLUDED_COLUMNS)
    if not training:
        return clips, None, missing
    names = {
        modality: dict(zip(rows.ID.map(_stem), rows.ID, strict=True))
        for modality, rows in clips.groupby("modality")
    }
    absent, pairs = [], []
    for listed in training:
        table = listed.table
        for modality in ("face", "voice"):
            ids = table[f"{modality}_key"].map(names.get(modality, {}))
            table = table.assign(**{f"{modality}_id": ids})
            gone = table[ids.isna()].drop_duplicates(f"{modality}_key")
            absent += [
                (row[modality], modality, "", f"{listed.file}, line {row['line']}: not on disk")
                for row in gone.to_dict("records")
            ]
        pairs.append(table[table.face_id.notna() & table.voice_id.notna() & (table.label != 0)])
    pairs = pd.concat(pairs)
    pairs = pd.DataFrame({"face": pairs.face_id, "voice": pairs.voice_id})
    people = identities.identity[identities.split == "train"]
    taken = clips.ID.isin({*pairs.face, *pairs.voice}) | ~clips.identity.isin(people)
    missing = pd.DataFrame(absent, columns=EXCLUDED_COLUMNS)
    return clips[taken], pairs, missing


def _share_missing(missing, training):
    """The share of the listed clips that are not on disk."""
    listed = [listed.table[f"{m}_key"] for listed in training for m in ("face", "voice")]
    return len(missing) / max(1, sum(column.nunique() for column in listed))


def _challenge_id(clip):
    """Returns the ID of a clip of a challenge, which `parse_name` reads.

    Without the first folder, face and voice 00000 of a language would have one name.
    """
    if clip.identity:
        return clip.ID
    folder = next(name for name, modality in FOLDERS.items() if modality == clip.modality)
    ending = os.path.splitext(clip.ID)[1]
    return f"{folder}/{clip.language}/{os.path.splitext(os.path.basename(clip.path))[0]}{ending}"


def _stem(clip):
    return os.path.splitext(clip)[0]


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()
