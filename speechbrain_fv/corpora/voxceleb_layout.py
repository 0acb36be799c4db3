"""Where VoxCeleb1's voices and VGGFace's images lie: the layouts that are about.

VoxCeleb1 unpacks to `dev/wav/idNNNNN` and `test/wav/idNNNNN`; many have both in one `wav`, some the
folders of `aac` converted. Faces lie under the name or the id of the person, as stills, frames or
both. So identities are looked for by their folders' names, at any of the first levels.
"""

import os
import re
from pathlib import Path

import pandas as pd

from speechbrain_fv.corpora.voxceleb_splits import VOXCELEB_ID
from speechbrain_fv.data.schema import named
from speechbrain_fv.media.kinds import SUFFIXES, kind_by_name
from speechbrain_fv.names import look_alike, readable

MAX_DEPTH = 4  # of an identity's folder below the given one, as vox1/dev/wav/id10001
FRAMES = "1.6"  # VGGFace's folder of frames by video


def roots(folders, option):
    """Returns one folder or several as absolute paths; ValueError for one that is none."""
    folders = [folders] if isinstance(folders, str | os.PathLike) else list(folders)
    found = [Path(os.path.abspath(folder)) for folder in folders]
    for folder in found:
        if not folder.is_dir():
            raise ValueError(f"{option} {folder}: not a folder; check the path.")
    return found


def identity_folders(folder, identity_in, depth=MAX_DEPTH):
    """Returns [(identity, folder)] below a folder, and the folders that hold no identity."""
    found, others = [], []
    with os.scandir(folder) as entries:  # which asks the system for no file by itself
        names = sorted(entry.name for entry in entries if entry.is_dir())
    for path in (folder / name for name in names if not name.startswith(".")):
        identity = identity_in(path.name)
        if identity:
            found.append((identity, path))
            continue
        within, below = identity_folders(path, identity_in, depth - 1) if depth > 1 else ([], [])
        found += within
        others += below if within else [readable(path.name)]
    return found, others


def _voxceleb_id(name):
    return name.lower() if re.fullmatch(VOXCELEB_ID, name.lower()) else None


def list_voices(folders):
    """All voice files of VoxCeleb1, in order of identity, video and number.

    Arguments
    ---------
    folders : list of pathlib.Path
        With `idNNNNN/<video>/<number>.wav` below them, as in `dev/wav` and `test/wav`; also other
        formats that are read, such as FLAC, and names in upper case.

    Returns
    -------
    pandas.DataFrame
        Columns ID (as in SpeechBrain: idNNNNN--video--number), wav, spk_id and video.

    Raises
    ------
    ValueError
        If there is no such file, or two are one clip.
    """
    rows, others = [], []
    for folder in folders:
        for identity, place in identity_folders(folder, _voxceleb_id)[0]:
            for file in shown_files(place, "*/*"):
                if kind_by_name(file.name) == "voice":
                    parts = (identity, file.parent.name, file.stem)
                    rows.append(("--".join(parts), str(file), *parts[:2]))
                else:
                    others.append(file)
    if not rows:
        listed = ", ".join(map(str, folders))
        more = f"; {len(others)} other files, as {others[0]}: convert them" if others else ""
        raise ValueError(
            f"voxceleb_folder {listed}: no file idNNNNN/<video>/<number>.wav, nor of "
            f"{', '.join(SUFFIXES['voice'])}; give the folder that contains wav/, or dev/wav and "
            f"test/wav{more}."
        )
    voices = pd.DataFrame(rows, columns=["ID", "wav", "spk_id", "video"])
    _check_once(voices, "wav", "voxceleb_folder")
    return voices.sort_values("ID", ignore_index=True)


def list_faces(folders, meta):
    """All stills and frames of known people, and the names of folders that are not known.

    Arguments
    ---------
    folders : list of pathlib.Path
        With `<name>/*.jpg`, `<name>/1.6/<video>/*.jpg`, or both, below them; the name is that of
        VGGFace, with underscores or spaces, or the VoxCeleb1 id.
    meta : pandas.DataFrame
        What `read_meta` returned.

    Returns
    -------
    tuple of (pandas.DataFrame, list of str)
        Columns ID, image, spk_id and video, empty for stills, in order of identity folder and
        path; then the unknown folders.

    Raises
    ------
    ValueError
        If there is no image in the folder of a known person, or two are one clip.
    """
    identity_of = {_person(name): name for name in meta.identity}
    identity_of.update(zip(map(_person, meta.name), meta.identity, strict=True))
    rows, unknown = [], []
    for folder in folders:
        found, others = identity_folders(folder, lambda name: identity_of.get(_person(name)))
        unknown += others
        for identity, place in found:
            for file in shown_files(place, "*", f"{FRAMES}/*/*"):
                if kind_by_name(file.name) == "face":
                    name = "--".join((identity, *file.relative_to(place).parts))
                    video = "" if file.parent == place else file.parent.name
                    rows.append((name, str(file), identity, video))
    if not rows:
        raise ValueError(
            f"vggface_folder {', '.join(map(str, folders))}: no image <name>/*.jpg or "
            f"<name>/1.6/<video>/*.jpg of a name in the meta file; give the folder that contains "
            f"the folders of names."
        )
    faces = pd.DataFrame(rows, columns=["ID", "image", "spk_id", "video"])
    _check_once(faces, "image", "vggface_folder")
    return faces, unknown


def shown_files(place, *patterns):
    """Returns the files of a folder but for hidden ones, such as macOS adds (`._00001.wav`)."""
    files = sorted(file for pattern in patterns for file in place.glob(pattern))
    return [file for file in files if not file.name.startswith(".")]


def _person(name):
    return look_alike(name.replace("_", " "))


def _check_once(table, column, option):
    """Raises ValueError if two files are the same clip."""
    repeated = table[table.ID.duplicated(keep=False)].sort_values("ID")
    if len(repeated):
        first, second = repeated[column].iloc[:2]
        raise ValueError(
            f"{option}: {first} and {second} are one clip, {repeated.ID.iloc[0]}; keep one of "
            "them, or name the folder of one alone."
        )


def check_complete(notes, folders, allowed):
    """Raises ValueError if other identities are there than the split has, unless that is allowed.

    Arguments
    ---------
    notes : dict
        From `voxceleb_splits.coverage`.
    folders : list of pathlib.Path
        Those of the voices, beside which the missing ones may lie.
    allowed : bool
    """
    differing = [
        f"{part} {counts['on_disk']} of {counts['published']}"
        for part, counts in notes["identities"].items()
        if counts["on_disk"] != counts["published"]
    ]
    if allowed or not differing:
        return
    missing = [
        f"{len(notes[f'missing_{kind}'])} without {kind} ({named(notes[f'missing_{kind}'])})"
        for kind in ("voices", "faces")
        if notes[f"missing_{kind}"]
    ]
    beside = _beside(folders, notes["missing_voices"])
    hint = f"; some of them lie in {beside}, name both folders as a list" if beside else ""
    raise ValueError(
        f"voxceleb_vggface: expected the identities of the split, got {', '.join(differing)}"
        f"{': ' if missing else ''}{', '.join(missing)}{hint}; complete the folders, or set "
        "allow_missing_identities: True to go on with those that are there"
    )


def _beside(folders, identities):
    """Returns the folder beside the given ones that holds the first of some identities, or None."""
    for folder in folders:
        for place in (folder.parent, folder.parent.parent):
            for between in ("", "*/", "*/wav/", "*/aac/"):
                found = [match for name in identities[:1] for match in place.glob(between + name)]
                if found:
                    return found[0].parent
    return None
