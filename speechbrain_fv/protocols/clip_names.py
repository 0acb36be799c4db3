"""When do two names mean the same clip? Letter for letter, or as paths of VoxCeleb and VGGFace."""

import re
from functools import lru_cache

import pandas as pd

from speechbrain_fv.corpora.voxceleb_splits import read_meta
from speechbrain_fv.names import name_of

MODALITIES = ("face", "voice")
OTHER_MODALITY = {"face": "voice", "voice": "face"}
SUFFIXES = {"face": (".jpg", ".jpeg", ".png"), "voice": (".wav", ".m4a", ".flac")}
_JOINED = re.compile(r"(id\d{5})--(?:1\.6--)?(?:(.{11})--)?(\d+)")
_VIDEO_AND_NUMBER = re.compile(r"(.{11})_(\d+)")


class ExactNames:
    """A clip is known by its name, letter for letter (see `names`); a name tells no identity.

    Example
    -------
    >>> ExactNames().keys(["a.wav"], "voice").tolist()
    ['a.wav']
    """

    def keys(self, names, modality):
        """Returns the keys under which clips are looked up: the names."""
        return pd.Series([name_of(name) for name in names], dtype=object)

    def identities(self, names, modality):
        """Returns None: the identity is not in the name."""
        return None


class VoxCelebNames:
    """A clip is known by identity, video and number, however the path is written.

    Voices: ``id10001/<video>/00001.wav``, ``Name/<video>_0000001.wav`` and the ID of this
    package's manifests, ``id10001--<video>--00001``. Faces: ``Name/<video>/0000025.jpg``,
    ``Name/1.6/<video>/0000025.jpg``, ``id10001--1.6--<video>--0000025.jpg``, and the same without
    video for stills. Folders before the identity do not count, nor do leading zeros; a name of
    VGGFace and its VoxCeleb1 id are one identity.

    Arguments
    ---------
    meta_csv : path
        `vox1_meta.csv`.

    Raises
    ------
    ValueError
        If the file is absent or malformed.

    Example
    -------
    >>> path = getfixture("tmp_path") / "vox1_meta.csv"
    >>> _ = path.write_text(
    ...     "VoxCeleb1 ID\\tVGGFace1 ID\\tGender\\tNationality\\n"
    ...     "id10001\\tA.J._Buckley\\tm\\tIreland\\n"
    ... )
    >>> names = ["A.J._Buckley/Y8hIVOBuels_0000001.wav", "id10001/Y8hIVOBuels/00001.wav"]
    >>> VoxCelebNames(path).keys(names, "voice").unique().tolist()
    ['id10001/Y8hIVOBuels/1']
    """

    def __init__(self, meta_csv):
        self.meta_csv = meta_csv
        meta = read_meta(meta_csv)
        self.identity_of = dict(zip(meta.name, meta.identity, strict=True))
        self.identity_of.update(zip(meta.identity, meta.identity, strict=True))
        # Lists of a family name the same clips again and again. What is kept are strings, which the
        # collection of garbage does not go through.
        self._key = lru_cache(maxsize=2**19)(self._key)

    def keys(self, names, modality):
        """Returns the keys under which clips are looked up.

        Arguments
        ---------
        names : sequence of str
        modality : str
            "face" or "voice".

        Returns
        -------
        pandas.Series of str
            ``identity/video/number``; None for a name of another form or the other modality.
        """
        return pd.Series([self._key(name, modality) for name in names], dtype=object)

    def identities(self, names, modality):
        """Returns the VoxCeleb1 id of each name as a pandas.Series; None where it has no key."""
        keys = (self._key(name, modality) for name in names)
        return pd.Series([key and key.partition("/")[0] for key in keys], dtype=object)

    def _key(self, name, modality):
        """Returns "identity/video/number" of a name, or None."""
        stem, dot, suffix = name.rpartition(".")
        if not dot or "/" in suffix or "--" in suffix:
            stem, suffix = name, ""
        if suffix and f".{suffix.lower()}" not in SUFFIXES[modality]:
            return None
        joined = _JOINED.fullmatch(stem) if "--" in stem else None
        if joined:
            who, video, number = joined.groups(default="")
        else:
            who, video, number = self._path_parts(stem.split("/"))
        identity = self.identity_of.get(who)
        if identity is None or not number.isdecimal() or (modality == "voice" and not video):
            return None
        return f"{identity}/{video}/{int(number)}"

    def _path_parts(self, folders):
        """Returns the identity's folder, the video ("" for a still) and the number."""
        *folders, number = folders
        pair = _VIDEO_AND_NUMBER.fullmatch(number) if "_" in number else None
        if pair:
            return (folders or [""])[-1], *pair.groups()
        if folders and folders[-1] in self.identity_of:
            return folders[-1], "", number
        *folders, video = folders or [""]
        if folders[-1:] == ["1.6"]:
            folders.pop()
        return (*folders[-1:], video, number) if folders else ("", "", "")
