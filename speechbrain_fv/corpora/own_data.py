"""Own data: a CSV of clips, one row per face image, voice file or pair of both."""

import os
from pathlib import Path

import pandas as pd

from speechbrain_fv.corpora.repeats import at_once_if_unchanged
from speechbrain_fv.data.manifests import cache_key, is_prepared, write_manifests
from speechbrain_fv.data.schema import LABEL_COLUMNS, SPLITS, check_columns, clip_columns, named
from speechbrain_fv.data.selection import keep_clips
from speechbrain_fv.data.splits import Folds, check_people, split_identities
from speechbrain_fv.files import read_table
from speechbrain_fv.names import check_look_alikes, name_of

GENDERS = {"male": "m", "female": "f", "m": "m", "f": "f"}  # what the column may say, case-folded


@at_once_if_unchanged
def prepare_own_data(
    manifest_folder,
    clips_csv,
    scanner,
    shares=(0.7, 0.1, 0.2),
    seed=0,
    folds=None,
    least_people=1,
    keep=None,
):
    """Write the manifests of a CSV of clips.

    The CSV has a column `identity` and at least one of `face` and `wav` (also called `voice`):
    paths, absolute or relative to the folder of the CSV; one of the two cells of a row may be
    empty. Optional columns: `clip` (the ID of the row; else the path is the ID), `video` (where
    face and voice were taken from; an empty cell is unknown; else every row with both is a video of
    its own), `split` (train, valid or test in every row; else identities are split at random) and
    `gender`, `nationality`, `age`, where an empty cell is unknown. Every other column, such as
    `language` or `device`, is an attribute of the clips; `language` also makes the folds alike.

    Labels that differ only in upper and lower case or in spaces are one group, under the spelling
    that comes first in the CSV; the genders m, male, f and female become "m" and "f".

    Arguments
    ---------
    manifest_folder : path
        Where to write; nothing is done when it is up to date.
    clips_csv : path
        The CSV of clips.
    scanner : Scanner
        Which files are usable.
    shares : tuple of three float
        Shares of identities for train, valid and test; used without a `split` column.
    seed : int
        Seed of that random split.
    folds : Folds, optional
        Cross-validation over people in place of the split.
    least_people : int
        People with a face and a voice that every split must have before files are read; a training
        needs 2.
    keep : dict, optional
        Which clips a split keeps, by their attributes, as ``{"train": {"language": "English"}}``;
        see `selection.keep_clips`.

    Raises
    ------
    ValueError
        If the CSV is absent, empty or lacks columns, if rows of an identity contradict each
        other, if a file belongs to two identities or two videos, if a clip is listed twice, if a
        split has too few people, or if too many files are unusable (`Scanner`).
    """
    if clips_csv is None:
        raise ValueError("clips_csv: expected the path of a CSV of clips, got null")
    clips_csv, folds = Path(os.path.abspath(clips_csv)), folds or Folds()
    clips = read_clips(clips_csv)
    faces, voices = _media_rows(clips, clips_csv)
    options = {"clips_csv": clips_csv, "shares": list(shares), "seed": seed}
    options |= {**folds.options, **scanner.criteria, **({"keep": keep} if keep else {})}
    key = cache_key(options, [clips_csv, *faces.image, *voices.wav])
    if is_prepared(manifest_folder, key):
        return
    identities = identity_table(clips, clips_csv, shares, seed, folds)
    faces, voices = (rows[rows.spk_id.isin(identities.identity)] for rows in (faces, voices))
    faces, voices, left_out = keep_clips(faces, voices, identities, keep, clips_csv)
    complete = set(faces.spk_id) & set(voices.spk_id)
    check_people(identities, complete, least_people, clips_csv)
    faces, voices, excluded = scanner.select(faces, voices, manifest_folder)
    notes = {"left_out": left_out} if left_out else None
    write_manifests(
        manifest_folder, faces, voices, identities, "own_data", key, options, excluded, notes
    )


def read_clips(clips_csv):
    """The rows of a CSV of clips, each with a non-empty `identity`.

    Arguments
    ---------
    clips_csv : path
        The CSV.

    Returns
    -------
    pandas.DataFrame
        All columns as stripped strings; identities, clips and videos as `names` has them.

    Raises
    ------
    ValueError
        If the file is absent or has no rows, the column `identity` is missing or has an empty
        cell, two identities look alike, or values of `clip` are empty or repeated.
    """
    clips = read_table(clips_csv)
    clips = clips.apply(lambda column: column.str.strip())
    check_columns(clips, ["identity"], clips_csv)
    for column in {"identity", "clip", "video"} & set(clips.columns):
        clips[column] = clips[column].map(name_of)
    check_look_alikes(clips.identity, clips_csv)
    if clips.empty:
        raise ValueError(f"{clips_csv}: no rows below the header; list at least one clip.")
    for column in {"identity", "clip"} & set(clips.columns):
        empty = clips.index[clips[column] == ""]
        if len(empty):
            raise ValueError(
                f"{clips_csv}, line {empty[0] + 2}: {column} is empty; fill in the cell."
            )
    if "clip" in clips.columns:
        repeated = clips["clip"][clips["clip"].duplicated()].unique()
        if len(repeated):
            raise ValueError(
                f"{clips_csv}: clip {named(repeated)} listed more than once "
                f"({_lines(clips, clips['clip'] == repeated[0])}); give every row its own."
            )
    return clips


def identity_table(clips, clips_csv, shares, seed, folds):
    """One row per identity that takes part, with its split and labels.

    Arguments
    ---------
    clips : pandas.DataFrame
        What `read_clips` returned.
    clips_csv : path
        Its file, for messages.
    shares, seed
        As in `split_identities`; used when there is no column `split`.
    folds : Folds
        Stratified by gender, then by the languages that a person's clips are in.

    Returns
    -------
    pandas.DataFrame
        Columns identity, split, gender, nationality, age.

    Raises
    ------
    ValueError
        If two rows of an identity name different splits or labels, or a split is not one of
        train, valid and test.
    """
    if "split" in clips.columns:
        wrong = ~clips.split.isin(SPLITS)
        if wrong.any():
            raise ValueError(
                f"{clips_csv}, {_lines(clips, wrong)}: split must be one of {', '.join(SPLITS)}, "
                f"got {clips.split[wrong].iloc[0]!r}; fill in every row, or drop the column to "
                f"split at random."
            )
    table = pd.DataFrame({"identity": sorted(clips.identity.unique())})
    for column in ["split", *LABEL_COLUMNS]:
        if column in clips.columns:
            if column in LABEL_COLUMNS:
                clips = clips.assign(**{column: one_spelling(clips[column], column)})
            known = clips[clips[column] != ""]
            _check_agreement(known, column, clips_csv)
            values = known.drop_duplicates("identity").set_index("identity")[column]
            table[column] = table.identity.map(values).fillna("")
    if "split" not in clips.columns:
        table["split"] = table.identity.map(split_identities(table.identity, shares, seed))
    splits = folds.assign(dict(zip(table.identity, table.split, strict=True)), _strata(clips))
    table["split"] = table.identity.map(splits)
    return table[table.split.notna()].reset_index(drop=True)


def further_columns(clips):
    """Returns the columns of a CSV of clips that are attributes of the clips.

    Example
    -------
    >>> further_columns(pd.DataFrame(columns=["identity", "wav", "language", "split", "duration"]))
    ['language']
    """
    return [name for name in clip_columns(clips, ()) if name not in ("split", "")]


def _strata(clips):
    """Identity -> its gender and the languages of its clips, sorted; "" where unknown."""
    columns = [name for name in ("gender", "language") if name in clips.columns]
    return {
        identity: tuple("+".join(sorted({*rows[column]} - {""})) for column in columns)
        for identity, rows in clips.groupby("identity")
    }


def one_spelling(labels, column):
    """The labels of a column, those that mean the same spelled the same.

    Case and spaces do not tell labels apart; the first spelling stands for all. The genders m,
    male, f and female, in any case, become "m" and "f".

    Arguments
    ---------
    labels : pandas.Series of str
        "" where unknown.
    column : str
        One of `LABEL_COLUMNS`.

    Returns
    -------
    pandas.Series of str

    Example
    -------
    >>> one_spelling(pd.Series(["m", "Male", "", "F"]), "gender").tolist()
    ['m', 'm', '', 'f']
    >>> one_spelling(pd.Series(["UK", "uk", "New  Zealand", "new zealand"]), "nationality").tolist()
    ['UK', 'UK', 'New Zealand', 'New Zealand']
    """
    labels = labels.str.split().str.join(" ")
    meanings = labels.str.casefold()
    if column == "gender":
        meanings = meanings.replace(GENDERS)
        labels = labels.where(~meanings.isin(GENDERS.values()), meanings)
    return labels.groupby(meanings).transform("first")


def _check_agreement(clips, column, clips_csv):
    num_values = clips.groupby("identity")[column].nunique()
    for name in num_values.index[num_values > 1]:
        values = clips[clips.identity == name].drop_duplicates(column)[column]
        listed = named(f"{value!r} (line {index + 2})" for index, value in values.items())
        raise ValueError(
            f"{clips_csv}: identity {name!r} has more than one {column}: {listed}; correct the "
            f"rows so that the identity has one."
        )


def _media_rows(clips, clips_csv):
    """Face rows (ID, image, spk_id, video) and voice rows (ID, wav, ...) with absolute paths."""
    if {"wav", "voice"} <= set(clips.columns):
        raise ValueError(f"{clips_csv}: columns wav and voice mean the same; keep one of them.")
    clips = clips.rename(columns={"voice": "wav"})
    if not {"face", "wav"} & set(clips.columns):
        raise ValueError(
            f"{clips_csv}: expected a column face, wav or both, got {', '.join(clips.columns)}."
        )
    clips = clips.assign(**{name: "" for name in ("face", "wav") if name not in clips.columns})
    owners = ["identity"]
    if "video" not in clips.columns:
        has_both = (clips.face != "") & (clips.wav != "")
        clips["video"] = clips.get("clip", clips.face).where(has_both, "")
    elif "clip" not in clips.columns:
        owners.append("video")
    return [
        _rows_of(clips, source, column, owners, clips_csv)
        for source, column in (("face", "image"), ("wav", "wav"))
    ]


def _rows_of(clips, source, column, owners, clips_csv):
    clips = clips[clips[source] != ""]
    files = clips[source].map(lambda file: os.path.abspath(clips_csv.parent / file))
    for owner in owners:
        _check_one(clips[clips[owner] != ""], owner, files, clips_csv)
    rows = pd.DataFrame(
        {
            "ID": clips["clip"] if "clip" in clips.columns else clips[source],
            column: files,
            "spk_id": clips.identity,
            "video": clips.video,
        }
    )
    for name in further_columns(clips):
        values = one_spelling(clips[name], name)
        # A file of several rows has the attribute in which they agree.
        agree = values.groupby(rows.ID).transform("nunique") == 1
        rows[name] = values.where(agree, "")
    # Without clip names the path is the ID: a face repeated for several voices is one row.
    rows["video"] = rows.groupby("ID").video.transform("max")
    return rows.drop_duplicates("ID", ignore_index=True)


def _check_one(clips, owner, files, clips_csv):
    files = files[clips.index]
    num_owners = clips[owner].groupby(files).nunique()
    for file in num_owners.index[num_owners > 1]:
        raise ValueError(
            f"{clips_csv}: file {file!r} belongs to more than one {owner} "
            f"({_lines(clips, files == file)}); give it one."
        )


def _lines(clips, rows):
    return "line " + named(clips.index[rows] + 2)
