"""What a file is: a face, a voice, or neither."""

import codecs
import os
from pathlib import Path

import soundfile

from speechbrain_fv.media.files import check_file, converting, unread_format
from speechbrain_fv.media.images import BOMBS, open_image, reads_heic

SUFFIXES = {
    "face": (
        *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".png", ".pnm"),
        *(".ppm", ".tif", ".tiff", ".webp"),
    ),
    "voice": (
        *(".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus"),
        *(".sph", ".w64", ".wav"),
    ),
}
"""Of the files that a folder is searched for; with the extra heic those too:"""
HEIC_SUFFIXES = (".heic", ".heif", ".hif")

_SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini")
_NUM_SNIFFED = 4096  # bytes


def media_kind(path):
    """Returns "face" for an image file, "voice" for an audio file, by content, not by name.

    Arguments
    ---------
    path : path
        The file; only its header is read.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the file is missing, empty, or neither an image nor audio that can be read.
    """
    check_file(path)
    try:
        with open_image(path):
            return "face"
    except BOMBS:
        return "face"  # an image, though one that `read_image` refuses
    except Exception:  # not an image
        unread = unread_format(path, "face", "voice")
    if not unread:
        try:
            with soundfile.SoundFile(os.fspath(path)):
                return "voice"
        except (RuntimeError, OSError, TypeError):
            unread = "neither an image nor audio that can be read"
    formats = "JPEG or PNG, to WAV, FLAC or MP3"
    raise ValueError(f"{path}: {unread}; {converting(unread, formats)}")


def kind_by_name(name):
    """Returns "face" or "voice" as the suffix of a file's name says, or None.

    Example
    -------
    >>> kind_by_name("ann.JFIF"), kind_by_name("ann.wav"), kind_by_name("ann.m4a")
    ('face', 'voice', None)
    """
    for kind, suffixes in SUFFIXES.items():
        if name.lower().endswith(suffixes):
            return kind
    return "face" if name.lower().endswith(HEIC_SUFFIXES) and reads_heic() else None


def media_in(folder):
    """Returns the images and recordings in a folder and the folders below it, and what is neither.

    They are told by the suffixes in `SUFFIXES`; hidden files and folders and those of `is_no_media`
    are passed over.

    Arguments
    ---------
    folder : path

    Returns
    -------
    files : dict
        {"face": list of Path, "voice": list of Path}, sorted.
    others : list of Path
        Sorted.

    Raises
    ------
    ValueError
        If there is no such folder, or a folder below it cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: not a folder; check the path")
    files, others = {modality: [] for modality in SUFFIXES}, []
    for parent, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            modality = kind_by_name(name)
            if modality and not name.startswith("."):
                files[modality].append(path)
            elif not is_no_media(path):
                others.append(path)
    return {modality: sorted(listed) for modality, listed in files.items()}, sorted(others)


def _unreadable(error):
    raise ValueError(
        f"{error.filename}: the folder cannot be read ({error.strerror}); change its permissions"
    ) from error


def why_unused(path):
    """Returns why a file with a name of no kind is not used, for its user to see."""
    try:
        kind = media_kind(path)
    except ValueError as error:
        return str(error)
    suffix = {"face": ".jpg", "voice": ".wav"}[kind]
    return f"{path}: a {kind}, though its name does not say so; let it end in {suffix} or the like"


def is_no_media(path):
    """Whether a file is known to be neither a face nor a voice, and may be passed over in silence.

    These are hidden files, whose names begin with a dot, among them Apple's `._` files and
    .DS_Store; Thumbs.db and desktop.ini of Windows; and texts.

    Arguments
    ---------
    path : path

    Example
    -------
    >>> path = getfixture("tmp_path") / "notes"
    >>> _ = path.write_text("ann is the first")
    >>> is_no_media(path)
    True
    """
    name = os.path.basename(path)
    if name.startswith(".") or name.lower() in _SYSTEM_FILES:
        return True
    if not os.path.isfile(path):  # opening a pipe would wait for ever
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(_NUM_SNIFFED)
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)  # may end in a character
    except (OSError, UnicodeDecodeError):
        return False
    return bool(head) and all(char.isprintable() or char.isspace() for char in text)
