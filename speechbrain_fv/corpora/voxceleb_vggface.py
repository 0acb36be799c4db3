"""VoxCeleb1 voices with VGGFace faces, in the splits that the literature names."""

import logging
import os
from pathlib import Path

import pandas as pd
from speechbrain.utils.superpowers import import_from_path

from speechbrain_fv.corpora.voxceleb_splits import coverage, named_split, read_meta
from speechbrain_fv.data.manifests import cache_key, is_prepared, write_manifests
from speechbrain_fv.data.schema import check_columns, check_voices, named
from speechbrain_fv.data.splits import Folds
from speechbrain_fv.files import read_table
from speechbrain_fv.names import name_of

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jfif", ".jpe", ".png"}
SPEECHBRAIN_SCRIPT = "recipes/VoxCeleb/voxceleb_prepare.py"


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
    folds=None,
):
    """Write the manifests of VoxCeleb1 and VGGFace.

    The voices come from the first of these that is given: `voice_csvs`, SpeechBrain's own
    preparation under `speechbrain_root`, or the listing of `voxceleb_folder`. Which identities
    are missing from disk, and how the counts differ from the published ones, is logged and kept
    in the notes of `preparation.json`.

    Arguments
    ---------
    manifest_folder : path
        Where to write; nothing is done when it is up to date.
    voxceleb_folder : path
        Folder with `wav/idNNNNN/<video>/<number>.wav`.
    vggface_folder : path
        Folder with stills `<name>/*.jpg`, frames `<name>/1.6/<video>/*.jpg`, or both.
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
    folds : Folds, optional
        Cross-validation over the people on disk, stratified by gender, in place of the split.

    Raises
    ------
    ValueError
        If a path is wrong, a file has another format, a split has no identity on disk, or too
        many files are unusable (`Scanner`).
    """
    voxceleb_folder, vggface_folder = (
        Path(os.path.abspath(folder)) for folder in (voxceleb_folder, vggface_folder)
    )
    speechbrain_root = speechbrain_root or os.environ.get("SPEECHBRAIN_ROOT")
    meta = read_meta(meta_csv)
    split_of = named_split(meta, split, pins_split_file)
    if voice_csvs:
        voices = pd.concat([read_voice_csv(file) for file in voice_csvs], ignore_index=True)
    else:
        voices = list_voices(voxceleb_folder)
        if speechbrain_root:
            script = Path(speechbrain_root) / SPEECHBRAIN_SCRIPT
            cache_folder = Path(scanner.cache_folder) / "speechbrain_voxceleb"
            save_folder = cache_folder / cache_key({}, [script, *voices.wav])[:16]
            voices = speechbrain_voices(speechbrain_root, voxceleb_folder, save_folder)
    faces, unknown_names = list_faces(vggface_folder, meta)
    notes = coverage(split_of, faces, voices, split)
    notes["unknown_face_folders"] = unknown_names
    notes["unknown_voice_identities"] = sorted(set(voices.spk_id) - set(meta.identity))
    folds = folds or Folds()
    if folds.fold is not None:
        on_disk = split_of.keys() & set(faces.spk_id) & set(voices.spk_id)
        genders = {name: (gender,) for name, gender in zip(meta.identity, meta.gender, strict=True)}
        split_of = folds.assign({name: split_of[name] for name in on_disk}, genders)
    faces, voices = (rows[rows.spk_id.isin(split_of.keys())] for rows in (faces, voices))
    lists = [file for file in (meta_csv, pins_split_file, age_csv, *voice_csvs) if file]
    options = {
        "voxceleb_folder": voxceleb_folder,
        "vggface_folder": vggface_folder,
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


def list_voices(voxceleb_folder):
    """All voice files of VoxCeleb1, in order of identity, video and number.

    Arguments
    ---------
    voxceleb_folder : pathlib.Path
        Folder with `wav/idNNNNN/<video>/<number>.wav`.

    Returns
    -------
    pandas.DataFrame
        Columns ID (as in SpeechBrain: idNNNNN--video--number), wav, spk_id and video.

    Raises
    ------
    ValueError
        If there is no such file.
    """
    files = sorted(voxceleb_folder.glob("wav/id*/*/*.wav"))
    if not files:
        raise ValueError(
            f"voxceleb_folder {voxceleb_folder}: no file wav/idNNNNN/<video>/<number>.wav; give "
            f"the folder that contains wav/."
        )
    parts = [(*file.parts[-3:-1], file.stem) for file in files]
    return pd.DataFrame(
        {
            "ID": ["--".join(part) for part in parts],
            "wav": [str(file) for file in files],
            "spk_id": [part[0] for part in parts],
            "video": [part[1] for part in parts],
        }
    )


def list_faces(vggface_folder, meta):
    """All stills and frames of known names, and the names of folders that are not known.

    Arguments
    ---------
    vggface_folder : pathlib.Path
        Folder with `<name>/*.jpg`, `<name>/1.6/<video>/*.jpg`, or both; also .jpeg,
        .jpe, .jfif and .png.
    meta : pandas.DataFrame
        What `read_meta` returned.

    Returns
    -------
    tuple of (pandas.DataFrame, list of str)
        Columns ID, image, spk_id and video, empty for stills, in order of name and path; then the
        unknown folders.

    Raises
    ------
    ValueError
        If there is no image in the folder of a known name.
    """
    identity_of = dict(zip(meta.name, meta.identity, strict=True))
    folders = sorted(path for path in vggface_folder.glob("*") if path.is_dir())
    rows = []
    for folder in folders:
        if folder.name in identity_of:
            identity = identity_of[folder.name]
            for file in sorted([*folder.glob("*"), *folder.glob("1.6/*/*")]):
                if file.suffix.lower() in IMAGE_SUFFIXES:
                    name = "--".join((identity, *file.relative_to(folder).parts))
                    video = "" if file.parent == folder else file.parent.name
                    rows.append(
                        {"ID": name, "image": str(file), "spk_id": identity, "video": video}
                    )
    if not rows:
        raise ValueError(
            f"vggface_folder {vggface_folder}: no image <name>/*.jpg or <name>/1.6/<video>/*.jpg "
            f"of a name in the meta file; give the folder that contains the folders of names."
        )
    unknown = [folder.name for folder in folders if folder.name not in identity_of]
    return pd.DataFrame(rows), unknown


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
    voxceleb_folder, save_folder : pathlib.Path
        What is read, and where SpeechBrain writes train.csv. One folder per state of the data:
        SpeechBrain does not notice changed files.

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
