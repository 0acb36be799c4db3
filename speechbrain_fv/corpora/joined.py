"""Manifests of several corpora as one: people and clips are kept apart by the corpus's name."""

import json
from pathlib import Path

import pandas as pd

from speechbrain_fv.corpora.own_data import one_spelling
from speechbrain_fv.data.manifests import (
    CHALLENGE_FILES,
    PAIRS_FILE,
    PREPARATION_FILE,
    cache_key,
    is_prepared,
    load_manifests,
    write_manifests,
)
from speechbrain_fv.data.schema import (
    FACE_COLUMNS,
    IDENTITY_COLUMNS,
    SPLITS,
    VOICE_COLUMNS,
    clip_columns,
    named,
)


def prepare_joined(manifest_folder, parts, splits=None):
    """Prepare several corpora and write their manifests as those of one.

    A person, a clip and a video of the corpus `vox2` are called "vox2/..." there, so that equal
    names of two corpora stay apart, in the training and in what its checkpoints know of it. The
    attribute `dataset` of a clip is the corpus's name. A corpus alone is renamed in the same way:
    a model that is pretrained on one and goes on with another then knows whom it has seen in both.

    Arguments
    ---------
    manifest_folder : path
        Where to write; the corpora's own manifests lie in folders of their names below it.
    parts : dict of str to dict
        Name to the mapping of a corpus's YAML, whose `prepare` is called.
    splits : dict of str to list of str, optional
        Name to the splits to take of a corpus, such as ["train"]; all by default.

    Raises
    ------
    ValueError
        If a name has a "/", a corpus or its splits are faulty, a split is empty in all, or a corpus
        has clips of a challenge or the pairs of a train list, which a joined one cannot have.
    """
    _check(parts, splits or {})
    folders = {name: Path(manifest_folder, name) for name in parts}
    for name, part in parts.items():
        part["prepare"](manifest_folder=folders[name])
        _check_whole(name, folders[name], (splits or {}).get(name, SPLITS))
    keys = {
        name: json.loads((folder / PREPARATION_FILE).read_text(encoding="utf-8"))["key"]
        for name, folder in folders.items()
    }
    options = {"parts": keys, "splits": splits or {}}
    key = cache_key(options)
    if is_prepared(manifest_folder, key):
        return
    tables = {"faces": [], "voices": [], "identities": []}
    excluded, notes = [], {}
    for name, folder in folders.items():
        manifests = load_manifests(folder)
        wanted = (splits or {}).get(name, SPLITS)
        for kind, of_kind in (("faces", manifests.faces), ("voices", manifests.voices)):
            table = pd.concat([of_kind[split] for split in wanted], ignore_index=True)
            tables[kind].append(_renamed(table, name).assign(dataset=name))
        identities = manifests.identities
        identities = identities[identities.split.isin(wanted)]
        tables["identities"].append(identities.assign(identity=f"{name}/" + identities.identity))
        excluded.append(pd.read_csv(folder / "excluded.csv", dtype=str, keep_default_na=False))
        notes[name] = manifests.preparation["splits"]
    faces, voices, identities = (
        pd.concat(rows, ignore_index=True).fillna("") for rows in tables.values()
    )
    faces, voices, identities = _spelled(faces, voices, identities)
    write_manifests(
        manifest_folder,
        faces,
        voices,
        identities,
        "+".join(parts),
        key,
        options,
        pd.concat(excluded, ignore_index=True),
        notes,
    )


class JoinedReader:
    """Reads a clip of a joined corpus by the reader of its own.

    Arguments
    ---------
    parts : dict of str to dict
        As in `prepare_joined`.
    reader : str
        Which reader of theirs: "face_reader" or "voice_reader".
    """

    def __init__(self, parts, reader):
        self.readers = {name: part[reader] for name, part in parts.items()}
        files = (getattr(each, "path", None) for each in self.readers.values())
        self.paths = sorted({str(path) for path in files if path})  # files whose bytes are data
        taken = dict.fromkeys(name for each in self.readers.values() for name in each.takes)
        self.takes = ("ID", *(name for name in taken if name != "ID"))

    def __call__(self, *values, draw=None, **columns):
        """Returns what the reader of the clip's corpus returns, of columns in the order of `takes`.

        `draw` may come last, as SpeechBrain gives it; columns may be given by name.
        """
        if len(values) > len(self.takes):
            *values, draw = values
        reader, columns = self.own(columns or dict(zip(self.takes, values, strict=True)))
        return reader(*(columns[column] for column in reader.takes), draw)

    def own(self, columns):
        """Returns the reader of a clip's corpus, and the clip's columns as that corpus has them."""
        name, _, own = columns["ID"].partition("/")
        return self.readers[name], {**columns, "ID": own}


def _renamed(table, name):
    """Returns rows whose ID, person and video have the corpus's name in front."""
    video = table.video.where(table.video == "", f"{name}/" + table.video)
    return table.assign(ID=f"{name}/" + table.ID, spk_id=f"{name}/" + table.spk_id, video=video)


def _spelled(faces, voices, identities):
    """Returns the tables with their attributes' values spelled alike in all corpora."""
    for name in clip_columns(identities, IDENTITY_COLUMNS[:2]):
        identities[name] = one_spelling(identities[name], name)
    clips = {"faces": faces, "voices": voices}
    further = [*clip_columns(faces, FACE_COLUMNS), *clip_columns(voices, VOICE_COLUMNS)]
    for name in dict.fromkeys(further):
        if name == "dataset":  # names of corpora are compared letter for letter
            continue
        having = {kind: table[name] for kind, table in clips.items() if name in table.columns}
        values = one_spelling(pd.concat(having, names=["kind"]), name)
        for kind in having:
            clips[kind][name] = values.loc[kind].to_numpy()
    return faces, voices, identities


def _check_whole(name, folder, wanted):
    """Raises ValueError if a corpus has more than clips of known people."""
    lists = [(file, "clips of a challenge", "test") for file in CHALLENGE_FILES]
    if "train" in wanted:
        lists.append((PAIRS_FILE, "pairs of a train list", "train"))
    for file, what, which in lists:
        if Path(folder, file).is_file():
            raise ValueError(
                f"parts: {name}: it has {what} ({file}), which joined corpora cannot have; leave "
                f"its {which} lists out, or prepare it alone, without joined.yaml"
            )


def _check(parts, splits):
    for name, part in parts.items():
        if "/" in name or not isinstance(part, dict) or "prepare" not in part:
            raise ValueError(
                f"parts: expected names without '/' and corpora such as !include:own_data.yaml, "
                f"got {name}: {part!r}"
            )
    if not parts:
        raise ValueError("parts: expected at least one corpus, got none")
    for name, wanted in splits.items():
        if name not in parts or not wanted or set(wanted) - set(SPLITS):
            raise ValueError(
                f"splits: expected some of {', '.join(SPLITS)} of {named(parts)}, got {name}: "
                f"{wanted!r}"
            )
