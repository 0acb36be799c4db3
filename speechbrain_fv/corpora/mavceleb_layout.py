"""Where MAV-Celeb's files lie: the train and test layouts of its four versions.

Training people: `voices/idNNNN/<Language>/<video>/00000.wav` and
`faces/idNNNN/<Language>/<video>/0007775.jpg`. Test clips, whose people are withheld:
`voices/<Language>/00000.wav`, or in v3 `<Language>_test/voices/00000.wav`. Both may lie anywhere
below the given folder.
"""

import os
import re
from typing import NamedTuple

import pandas as pd

from speechbrain_fv.data.schema import named
from speechbrain_fv.media.kinds import kind_by_name

FOLDERS = {"voices": "voice", "faces": "face"}  # name of a folder -> modality
IDENTITY = re.compile(r"id\d+", re.IGNORECASE)


class Version(NamedTuple):
    """A version of MAV-Celeb.

    languages : tuple of two str, as the folders and lists spell them
    num_train : int, people whose labels are public
    """

    languages: tuple
    num_train: int


VERSIONS = {
    "v1": Version(("English", "Urdu"), 64),
    "v2": Version(("English", "Hindi"), 78),
    "v3": Version(("English", "German"), 50),
    "v4": Version(("English", "Bangla"), 70),
}
SPELLINGS = {"bengali": "Bangla"}  # of languages, case-folded -> as in VERSIONS


def version_of(name):
    """Returns the `Version` of a name such as "v1"; ValueError for one that is none."""
    if name not in VERSIONS:
        raise ValueError(f"version: expected one of {', '.join(VERSIONS)}, got {name!r}")
    return VERSIONS[name]


def language_of(name, version):
    """Returns a language as the version spells it, or None if the version lacks it.

    Example
    -------
    >>> language_of("bengali", "v4"), language_of("URDU", "v1"), language_of("Urdu", "v2")
    ('Bangla', 'Urdu', None)
    """
    meant = SPELLINGS.get(name.casefold(), name).casefold()
    found = (spelled for spelled in version_of(version).languages if spelled.casefold() == meant)
    return next(found, None)


class ClipName(NamedTuple):
    """What the path of a clip says.

    identity : str, "" for a test clip
    language : str, as written
    video : str, "" for a test clip
    stem : str, the file's name without its ending
    modality : str, "face" or "voice"; None where the path does not say
    """

    identity: str
    language: str
    video: str
    stem: str
    modality: str | None

    @property
    def key(self):
        """The name under which the clip is known, however its path is written."""
        parts = (self.identity.lower(), _folded(self.language), self.video, self.stem)
        return "/".join(part for part in parts if part)


def parse_name(path):
    """Returns the `ClipName` of a path of any of the layouts, or None for another form.

    Folders before those of the layout do not count.

    Example
    -------
    >>> parse_name("voices/English/00000.wav").key
    'english/00000'
    >>> parse_name("data/English_test/voices/00000.wav").key
    'english/00000'
    >>> parse_name("id0001/English/A8Ch7gJalls/00000.wav").key
    'id0001/english/A8Ch7gJalls/00000'
    >>> parse_name("notes/readme.txt") is None
    True
    """
    *folders, file = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    stem, modality = os.path.splitext(file)[0], kind_by_name(file)
    people = [place for place, part in enumerate(folders) if IDENTITY.fullmatch(part)]
    if people:
        rest = folders[people[-1] :]
        if len(rest) != 3:
            return None
        return ClipName(rest[0].lower(), rest[1], rest[2], stem, _stated(folders) or modality)
    places = [place for place, part in enumerate(folders) if part.casefold() in FOLDERS]
    if not places:
        return None
    stated = FOLDERS[folders[places[-1]].casefold()]
    rest = folders[places[-1] + 1 :]
    if len(rest) == 1:
        return ClipName("", rest[0], "", stem, stated)
    before = folders[places[-1] - 1] if places[-1] else ""
    if not rest and before.casefold().endswith("_test"):
        return ClipName("", before[: -len("_test")], "", stem, stated)
    return None


def list_clips(folders, version):
    """All clips below some folders, and the files that are none.

    Arguments
    ---------
    folders : list of pathlib.Path
    version : str
        One of `VERSIONS`.

    Returns
    -------
    tuple of (pandas.DataFrame, list of str)
        Columns ID (see `ClipName.key`, with the file's ending), path, modality, identity ("" for
        test clips), language and video, in order of ID; then the files with names of no clip.

    Raises
    ------
    ValueError
        If there is no clip, a language is not of the version, or two files are one clip.
    """
    rows, others = [], []
    for folder in folders:
        for place, names, files in os.walk(folder):
            names[:] = sorted(name for name in names if not name.startswith("."))
            for file in sorted(file for file in files if not file.startswith(".")):
                path = os.path.join(place, file)
                kind = kind_by_name(file)
                name = kind and parse_name(path)
                if not name or name.modality != kind:
                    others += [path] if kind else []
                    continue
                language = language_of(name.language, version)
                if language is None:
                    raise ValueError(
                        f"{path}: expected a language of {version}, "
                        f"{' or '.join(VERSIONS[version].languages)}, got {name.language!r}; give "
                        "another version, or move the folder away"
                    )
                name = name._replace(language=language)
                clip = f"{name.key}{os.path.splitext(file)[1].lower()}"
                rows.append((clip, path, kind, name.identity, language, name.video))
    columns = ["ID", "path", "modality", "identity", "language", "video"]
    clips = pd.DataFrame(rows, columns=columns)
    if clips.empty:
        raise ValueError(
            f"folder {', '.join(map(str, folders))}: no file voices/idNNNN/<Language>/<video>/"
            "00000.wav, faces/idNNNN/<Language>/<video>/0000000.jpg, nor of the test layouts; give "
            f"the folder that contains voices and faces{_hint(others)}"
        )
    keys = clips.ID.map(lambda clip: os.path.splitext(clip)[0])
    repeated = clips[pd.DataFrame([keys, clips.modality]).T.duplicated(keep=False)]
    if len(repeated):
        first, second = repeated.sort_values("ID").path.iloc[:2]
        raise ValueError(
            f"{first} and {second} are one clip; keep one of them, or name the folder of one alone"
        )
    return clips.sort_values("ID", ignore_index=True), others


def _stated(folders):
    """Returns the modality that a folder of a path states, or None."""
    stated = [FOLDERS[part.casefold()] for part in folders if part.casefold() in FOLDERS]
    return stated[-1] if stated else None


def _folded(language):
    folded = language.casefold()
    return SPELLINGS.get(folded, folded).casefold()


def _hint(others):
    return f"; {len(others)} files have other names, as {named(others[:1])}" if others else ""
