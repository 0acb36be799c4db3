"""VoxCeleb1 voices with VGGFace faces, in the splits that the literature names."""

import logging
import os
from pathlib import Path

import pandas as pd
from speechbrain.utils.superpowers import import_from_path

from speechbrain_fv.corpora.repeats import at_once_if_unchanged
from speechbrain_fv.corpora.voxceleb_layout import check_complete, list_faces, list_voices, roots
from speechbrain_fv.corpora.voxceleb_splits import coverage, named_split, read_meta
from speechbrain_fv.data.manifests import cache_key, is_prepared, write_manifests
from speechbrain_fv.data.schema import check_columns, check_voices, named
from speechbrain_fv.data.splits import Folds
from speechbrain_fv.files import read_table
from speechbrain_fv.names import name_of

logger = logging.getLogger(__name__)

SPEECHBRAIN_SCRIPT = "recipes/VoxCeleb/voxceleb_prepare.py"


@at_once_if_unchanged
def prepare_voxceleb_vggface(
    manifest_folder,
    voxceleb_folder,
    vggface_folder,
    meta_csv,
    scanner,
    split="dimnet",
    pins_split_file=None,
    age_csv=None,
    voice_csvs=(),
    speechbrain_root=None,
    allow_missing_identities=False,
    folds=None,
):
    """Write the manifests of VoxCeleb1 and VGGFace.

    The voices come from the first of these that is given: `voice_csvs`, SpeechBrain's own
    preparation under `speechbrain_root`, or the listing of `voxceleb_folder`. Which identities
    are missing from disk, and how the counts differ from the published ones, is an error unless
    allowed, and kept in the notes of `preparation.json`.

    Arguments
    ---------
    manifest_folder : path
        Where to write; nothing is done when it is up to date.
    voxceleb_folder : path or list of path
        Folders with `idNNNNN/<video>/<number>.wav` below them, see `voxceleb_layout`.
    vggface_folder : path or list of path
        Folders with stills `<name>/*.jpg`, frames `<name>/1.6/<video>/*.jpg`, or both.
    meta_csv : path
        `vox1_meta.csv`, tab separated.
    scanner : Scanner
        Which files are usable.
    split : str
        "dimnet" (924/112/189 identities) or "pins" (901/100/250).
    pins_split_file : path, optional
        `identity_splits.txt` of the PINs authors; needed for "pins".
    age_csv : path, optional
        CSV with the columns identity (idNNNNN) and age.
    voice_csvs : sequence of path
        CSVs in SpeechBrain's format, ID,duration,wav,start,stop,spk_id.
    speechbrain_root : path, optional
        A checkout of SpeechBrain; default the environment variable SPEECHBRAIN_ROOT.
    allow_missing_identities : bool
        Whether to go on with another number of identities than the split has.
    folds : Folds, optional
        Cross-validation over the people on disk, stratified by gender, in place of the split.

    Raises
    ------
    ValueError
        If a path is wrong, a file has another format, a split has no identity on disk or another
        number than published, or too many files are unusable (`Scanner`).
    """
    vggface_folders = roots(vggface_folder, "vggface_folder")
    voxceleb_folders = [] if voice_csvs else roots(voxceleb_folder, "voxceleb_folder")
    speechbrain_root = speechbrain_root or os.environ.get("SPEECHBRAIN_ROOT")
    meta = read_meta(meta_csv)
    published = split_of = named_split(meta, split, pins_split_file)
    if voice_csvs:
        voices = pd.concat([read_voice_csv(file) for file in voice_csvs], ignore_index=True)
    else:
        voices = list_voices(voxceleb_folders)
        if speechbrain_root:
            script = Path(speechbrain_root) / SPEECHBRAIN_SCRIPT
            cache_folder = Path(scanner.cache_folder) / "speechbrain_voxceleb"
            save_folder = cache_folder / cache_key({}, [script, *voices.wav])[:16]
            folders = sorted({str(Path(wav).parents[3]) for wav in voices.wav})
            voices = speechbrain_voices(speechbrain_root, ",".join(folders), save_folder)
    faces, unknown_names = list_faces(vggface_folders, meta)
    notes = coverage(split_of, faces, voices, split)
    notes["unknown_face_folders"] = unknown_names
    notes["unknown_voice_identities"] = sorted(set(voices.spk_id) - set(meta.identity))
    folds = folds or Folds()
    if folds.fold is not None:
        on_disk = split_of.keys() & set(faces.spk_id) & set(voices.spk_id)
        genders = {name: (gender,) for name, gender in zip(meta.identity, meta.gender, strict=True)}
        split_of = folds.assign({name: split_of[name] for name in on_disk}, genders)
    faces, voices = (rows[rows.spk_id.isin(split_of.keys())] for rows in (faces, voices))
    check_complete(notes, voxceleb_folders, allow_missing_identities)
    lists = [file for file in (meta_csv, pins_split_file, age_csv, *voice_csvs) if file]
    options = {
        "voxceleb_folder": ",".join(map(str, voxceleb_folders)),
        "vggface_folder": ",".join(map(str, vggface_folders)),
        "lists": [os.path.abspath(file) for file in lists],
        "split": split,
        "speechbrain_root": speechbrain_root,
        **folds.options,
        **scanner.criteria,
    }
    key = cache_key(options, [*lists, *faces.image, *voices.wav])
    if is_prepared(manifest_folder, key):
        return
    _log_coverage(notes, split)
    identities = meta[meta.identity.isin(split_of.keys())].drop(columns="name")
    identities = identities.assign(split=identities.identity.map(split_of))
    if age_csv:
        identities["age"] = identities.identity.map(read_ages(age_csv, meta)).fillna("")
    faces, voices, excluded = scanner.select(faces, voices, manifest_folder)
    usable = coverage(published, faces, voices, split)
    check_complete(usable, voxceleb_folders, allow_missing_identities)
    write_manifests(
        manifest_folder,
        faces,
        voices,
        identities,
        "voxceleb_vggface",
        key,
        options,
        excluded,
        notes,
    )


def read_voice_csv(file):
    """The voices of a CSV in SpeechBrain's format, as its `prepare_voxceleb` writes it.

    Arguments
    ---------
    file : path
        CSV with the columns ID,duration,wav,start,stop,spk_id; start and stop in samples.

    Returns
    -------
    pandas.DataFrame
        Those columns and video, the folder of a file `<spk_id>/<video>/<name>`; in order of ID.

    Raises
    ------
    ValueError
        If the file is absent, lacks a column or has values of another kind.
    """
    voices = check_voices(read_table(file), file).sort_values("ID", ignore_index=True)
    folders = voices.wav.str.extract(r"([^/\\]+)[/\\]([^/\\]+)[/\\][^/\\]+$").fillna("")
    return voices.assign(video=folders[1].where(folders[0] == voices.spk_id, voices.video))


def speechbrain_voices(speechbrain_root, voxceleb_folder, save_folder):
    """The voices as SpeechBrain's own `prepare_voxceleb` lists them, one row per file.

    Its train list is asked for with all speakers in it (no verification pairs, no held-out
    share) and with whole files as segments: identities, splits and speech segments are ours.

    Arguments
    ---------
    speechbrain_root : path
        A checkout of SpeechBrain; the function is not in the PyPI package.
    voxceleb_folder : str
        What is read: a folder that contains `wav`, or several with commas between them.
    save_folder : pathlib.Path
        Where SpeechBrain writes train.csv. One folder per state of the data: SpeechBrain does not
        notice changed files.

    Returns
    -------
    pandas.DataFrame
        As `read_voice_csv` returns it.

    Raises
    ------
    ValueError
        If the checkout has no such script, or the script fails, as it does on unreadable files.
    """
    script = Path(speechbrain_root) / SPEECHBRAIN_SCRIPT
    if not script.is_file():
        raise ValueError(
            f"speechbrain_root {speechbrain_root}: no {SPEECHBRAIN_SCRIPT}; give a checkout of "
            f"SpeechBrain, or leave it (and SPEECHBRAIN_ROOT) empty to list the files without it."
        )
    save_folder.mkdir(parents=True, exist_ok=True)
    no_pairs = save_folder / "no_pairs.txt"
    no_pairs.write_text("", encoding="utf-8")
    try:
        import_from_path(str(script)).prepare_voxceleb(
            data_folder=str(voxceleb_folder),
            save_folder=str(save_folder),
            verification_pairs_file=str(no_pairs),
            splits=["train"],
            split_ratio=[100, 0],
            random_segment=True,
        )
    except Exception as error:  # the script is not ours: anything may come out of it
        raise ValueError(
            f"{script} failed: {type(error).__name__}: {error}. Leave speechbrain_root (and "
            f"SPEECHBRAIN_ROOT) empty to list the files without it; unreadable ones are left out."
        ) from error
    return read_voice_csv(save_folder / "train.csv")


def read_ages(age_csv, meta):
    """The ages that the user knows.

    Arguments
    ---------
    age_csv : path
        CSV with the columns identity (idNNNNN) and age (years or a group).
    meta : pandas.DataFrame
        What `read_meta` returned.

    Returns
    -------
    dict of str to str
        Identity to age.

    Raises
    ------
    ValueError
        If the file is absent, lacks a column, repeats an identity or names an unknown one.
    """
    ages = check_columns(read_table(age_csv), ["identity", "age"], age_csv)
    ages["identity"] = ages.identity.map(name_of)
    wrong = ages.identity.duplicated() | ~ages.identity.isin(meta.identity)
    if wrong.any():
        raise ValueError(
            f"{age_csv}, line {ages.index[wrong][0] + 2}: expected every identity of the meta file "
            f"at most once, got {ages.identity[wrong].iloc[0]!r}; correct the line."
        )
    return dict(zip(ages.identity, ages.age, strict=True))


def _log_coverage(notes, split):
    for part, counts in notes["identities"].items():
        differs = counts["on_disk"] != counts["published"]
        logger.log(
            logging.WARNING if differs else logging.INFO,
            "%s, %s: %d of %d published identities are on disk",
            split,
            part,
            counts["on_disk"],
            counts["published"],
        )
    for title, names in notes.items():
        if title != "identities" and names:
            logger.warning("%s: %d (%s)", title.replace("_", " "), len(names), named(names))
