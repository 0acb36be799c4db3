"""MAV-Celeb from feature files: the CSVs of FLAG and FAME, trees of `.npy`, `.npz`."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from speechbrain_fv.corpora.faults import report_excluded
from speechbrain_fv.corpora.feature_packs import read_pack
from speechbrain_fv.corpora.mavceleb import split_people
from speechbrain_fv.corpora.mavceleb_layout import language_of, parse_name, version_of
from speechbrain_fv.corpora.mavceleb_lists import read_pairs
from speechbrain_fv.corpora.precomputed import vector_faults
from speechbrain_fv.data.manifests import cache_key, is_prepared, write_manifests
from speechbrain_fv.data.schema import EXCLUDED_COLUMNS
from speechbrain_fv.data.selection import keep_clips
from speechbrain_fv.data.splits import check_people
from speechbrain_fv.files import replacing

MODALITIES = ("face", "voice")


def prepare_mavceleb_features(
    manifest_folder,
    vectors_file,
    version,
    train,
    test=None,
    heard=None,
    people_csv=None,
    held_out=(0.1, 0.15),
    max_excluded_share=0.05,
    least_people=2,
):
    """Write the manifests of MAV-Celeb's features, and their vectors as one `.npz`.

    Arguments
    ---------
    manifest_folder : path
        Where to write; nothing is done when it is up to date.
    vectors_file : path
        The `.npz` to write: `face` and `face_id`, `voice` and `voice_id`. Beside it lies a file
        `.key`, by which it is known whose it is.
    version : str
        "v1" to "v4".
    train : dict of str to dict
        Language to ``face`` and ``voice``, feature files as `feature_packs.read_pack` takes them,
        and optionally ``list``, the train list with a line for each of their rows, which then names
        clips and people. Without a list the label of a row, or the folder of a file, says who it
        is. Of a tree with several languages the clips in this one are taken.
    test : dict of str to dict, optional
        Language, or "<folder>/<language>" where there are several lists of one, to ``face``,
        ``voice`` and ``list``, the test list with a line per row: the clips of a challenge, whose
        people are not known.
    heard, people_csv, held_out, least_people
        As in `prepare_mavceleb`.
    max_excluded_share : float
        Largest share in [0, 1] of vectors that may be zero or not finite, per modality.

    Raises
    ------
    ValueError
        If a file is faulty (with file and line), rows and lines differ in number, a label and the
        folders of a list contradict each other, a vector of a test list is unusable, or too many
        of the others are.
    """
    languages = version_of(version).languages
    sources = {"train": _given(train), "test": _given(test)}
    for split, of_split in sources.items():
        for name in of_split:
            if language_of(_language(name), version) is None:
                raise ValueError(
                    f"{split}: expected a language of {version}, {' or '.join(languages)}, got "
                    f"{name!r}"
                )
    files = _files(sources)
    options = {
        "files": {place: os.path.abspath(file) for place, file in files.items()},
        "version": version,
        "heard": heard,
        "held_out": list(held_out),
        "people_csv": people_csv and os.path.abspath(people_csv),
        "max_excluded_share": max_excluded_share,
        "vectors_file": os.path.abspath(vectors_file),
    }
    inputs = [*_leaves(files.values()), *([people_csv] if people_csv else [])]
    key = cache_key(options, inputs)
    if is_prepared(manifest_folder, key) and _is_of(vectors_file, key):
        return
    tables, vectors = {}, {}
    for modality in MODALITIES:
        parts = [
            _train_rows(modality, language_of(_language(name), version), of_language, version)
            for name, of_language in sources["train"].items()
        ]
        parts += [
            _test_rows(modality, language_of(_language(name), version), of_language, version)
            for name, of_language in sources["test"].items()
        ]
        widths = {rows.shape[1]: table.source.iloc[0] for table, rows in parts}
        if len(widths) > 1:
            listed = ", ".join(f"{width} in {file}" for width, file in widths.items())
            raise ValueError(f"{modality}: expected vectors of one width, got {listed}")
        table = pd.concat([table for table, _ in parts], ignore_index=True)
        kept = ~table.ID.duplicated()
        _check_repeated(table, np.concatenate([rows for _, rows in parts]))
        tables[modality] = table[kept].reset_index(drop=True)
        vectors[modality] = np.concatenate([rows for _, rows in parts])[kept]
    tables, excluded = _usable(tables, vectors, max_excluded_share, manifest_folder)
    people = pd.concat([table.spk_id for table in tables.values()]).unique()
    identities = split_people([name for name in people if name], version, held_out, people_csv)
    known = identities.identity
    labelled = [table[table.spk_id.isin(known)] for table in tables.values()]
    keep = heard and {split: {"language": heard} for split in ("train", "valid")}
    faces, voices, left_out = keep_clips(*labelled, identities, keep, "mavceleb_features")
    complete = set(faces.spk_id) & set(voices.spk_id)
    check_people(identities, complete, least_people, "mavceleb_features")
    with replacing(vectors_file) as file:
        arrays = {f"{modality}_id": tables[modality].ID.to_numpy(str) for modality in MODALITIES}
        arrays |= {m: vectors[m][tables[m].index] for m in MODALITIES}
        np.savez(file, **arrays)
    with replacing(f"{vectors_file}.key") as file:
        file.write(key.encode())
    source = os.path.abspath(vectors_file)
    challenge = [table[table.spk_id == ""] for table in tables.values()]
    write_manifests(
        manifest_folder,
        *_manifest_rows(faces, voices, source),
        identities,
        f"mavceleb_features_{version}",
        key,
        options,
        excluded,
        {"left_out": left_out, "languages": sorted({*faces.language, *voices.language})},
        _manifest_rows(*challenge, source) if sources["test"] else None,
        _pairs(sources["train"], version),
    )


def _pairs(train, version):
    """The pairs that the train lists name, as IDs; None without lists."""
    lists = [read_pairs(part["list"], version).table for part in train.values() if part.get("list")]
    if not lists:
        return None
    table = pd.concat(lists, ignore_index=True)
    return table.loc[table.label != 0, ["face", "voice"]].drop_duplicates(ignore_index=True)


def _manifest_rows(faces, voices, source):
    """Rows of manifests; as in `prepare_embeddings` a voice has duration 1 s, start 0, stop 1."""
    columns = ["ID", "spk_id", "video", "language"]
    return (
        faces[columns].assign(image=source),
        voices[columns].assign(wav=source, duration=1.0, start=0, stop=1),
    )


def _train_rows(modality, language, files, version):
    """The table (ID, spk_id, video, language, source, line) and the vectors of a train pack."""
    file = _file(files, modality, f"train: {language}")
    pack = read_pack(file, modality)
    if files.get("list"):
        return _listed_rows(modality, files, pack, version)
    parsed = [parse_name(f"{name}.npy") for name in pack.ids]
    if any(parsed):
        rows = [
            (name, clip.identity, clip.video, language_of(clip.language, version) or "")
            for name, clip in zip(pack.ids, parsed, strict=True)
            if clip
        ]
        kept = [bool(clip) for clip in parsed]
    else:
        if pack.identities is None:
            raise ValueError(
                f"{file}: nothing says who it is; give the train list as list, or a CSV with labels"
            )
        rows = [
            (f"{language}/{name}", who, "", language)
            for name, who in zip(pack.ids, pack.identities, strict=True)
        ]
        kept = [True] * len(rows)
    table = pd.DataFrame(rows, columns=["ID", "spk_id", "video", "language"])
    table = table.assign(source=str(file), line=range(1, len(table) + 1))
    of_language = (table.language == language).to_numpy()
    if not of_language.any():
        raise ValueError(
            f"{file}: expected clips in {language}, got {', '.join(sorted(set(table.language)))}"
        )
    vectors = pack.vectors[np.array(kept)]
    return table[of_language].reset_index(drop=True), vectors[of_language]


def _listed_rows(modality, files, pack, version):
    """As `_train_rows`, of a pack with a train list beside it."""
    file, listed = files[modality], read_pairs(files["list"], version)
    _check_rows(file, pack, listed)
    names = listed.table[modality]
    clips = [parse_name(name) for name in names]
    people = [clip.identity for clip in clips]
    if pack.identities is not None:
        owner = {}
        for row, (label, who) in enumerate(zip(pack.identities, people, strict=True)):
            if listed.table.label.iloc[row] == 0:  # of a pair of two people the label is of one
                continue
            for one, other in (("label", label), ("person", who)):
                pair = (label, who)
                if owner.setdefault((one, other), pair) != pair:
                    raise ValueError(
                        f"{file}, line {row + 1}: label {label!r} of {who} (line "
                        f"{listed.table.line.iloc[row]} of {listed.file}) contradicts an earlier "
                        f"line, where {owner[one, other][0]!r} is that of {owner[one, other][1]}"
                    )
    table = pd.DataFrame({"ID": names, "spk_id": people, "video": [clip.video for clip in clips]})
    table["language"] = [language_of(clip.language, version) for clip in clips]
    return table.assign(source=str(file), line=listed.table.line), pack.vectors


def _test_rows(modality, language, files, version):
    """As `_train_rows`, of a pack with a test list: nobody is known."""
    file = _file(files, modality, f"test: {language}")
    listed = read_pairs(_file(files, "list", f"test: {language}"), version)
    wrong = listed.table[listed.table.language != language]
    if len(wrong):
        raise ValueError(
            f"{listed.file}, line {wrong.line.iloc[0]}: expected {language}, got "
            f"{wrong.language.iloc[0]}"
        )
    pack = read_pack(file, modality)
    _check_rows(file, pack, listed)
    table = pd.DataFrame({"ID": listed.table[modality], "spk_id": "", "video": ""})
    return table.assign(language=language, source=str(file), line=listed.table.line), pack.vectors


def _check_rows(file, pack, listed):
    if len(pack.ids) != len(listed.table):
        raise ValueError(
            f"{file}: {len(pack.ids)} rows, but {listed.file} has {len(listed.table)} lines; "
            "expected a row for each line"
        )


def _usable(tables, vectors, max_share, manifest_folder):
    """The tables without unusable vectors, their index kept, and what was left out."""
    usable, excluded = {}, []
    for modality, table in tables.items():
        faults = pd.Series(vector_faults(vectors[modality]), index=table.index)
        of_test = table[(faults != "") & (table.spk_id == "")]
        if len(of_test):
            row = of_test.iloc[0]
            raise ValueError(
                f"{row.source}, line {row.line}: {row.ID}: {faults[of_test.index[0]]}; every key "
                "needs a score"
            )
        bad = table[faults != ""]
        rows = {"path": bad.ID, "modality": modality, "identity": bad.spk_id}
        excluded.append(pd.DataFrame({**rows, "reason": faults[faults != ""]}))
        usable[modality] = table[faults == ""]
    excluded = pd.concat(excluded, ignore_index=True)[EXCLUDED_COLUMNS]
    num_rows = {modality: len(table) for modality, table in tables.items()}
    report_excluded(excluded, num_rows, max_share, manifest_folder)
    return usable, excluded


def _file(files, name, where):
    if not isinstance(files, dict) or not files.get(name):
        raise ValueError(f"{where}: expected the file {name}, got {files!r}")
    return files[name]


def _files(sources):
    """Returns place -> file of all settings, such as "train/English/face"."""
    return {
        f"{split}/{language}/{name}": file
        for split, of_split in sources.items()
        for language, files in of_split.items()
        for name, file in (files or {}).items()
        if file is not None
    }


def _leaves(files):
    """The files, and for folders what is in them."""
    for file in files:
        path = Path(file)
        yield from sorted(path.rglob("*.npy")) if path.is_dir() else [path]


def _is_of(vectors_file, key):
    """Whether the vectors were written by the preparation with this key."""
    try:
        found = Path(f"{vectors_file}.key").read_text(encoding="utf-8")
    except OSError:
        return False
    return found == key and Path(vectors_file).is_file()


def _given(files):
    """The entries that are not null."""
    return {str(name): part for name, part in (files or {}).items() if part is not None}


def _language(name):
    return name.rpartition("/")[2]


def _check_repeated(table, vectors):
    """Raises ValueError if rows of one clip have different vectors."""
    first = table.drop_duplicates("ID").reset_index().set_index("ID")["index"]
    rows = np.flatnonzero(table.ID.duplicated())
    differ = rows[(vectors[rows] != vectors[first[table.ID.iloc[rows]]]).any(axis=1)]
    if len(differ):
        row, other = table.iloc[differ[0]], table.iloc[first[table.ID.iloc[differ[0]]]]
        raise ValueError(
            f"{row.source}, line {row.line}: {row.ID} has another vector than in line {other.line} "
            f"of {other.source}; expected one vector per clip"
        )
