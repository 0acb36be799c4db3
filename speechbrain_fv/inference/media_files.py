"""Any image or audio file -> what the model takes; the door to `image_files`, `audio_files`."""

import os

import soundfile

from speechbrain_fv.inference.audio_files import MAX_SECONDS, Recording, read_audio, remove_silence
from speechbrain_fv.inference.file_checks import check_file, unread_format
from speechbrain_fv.inference.image_files import BOMBS, MAX_PIXELS, open_image, read_image

__all__ = [
    "MAX_PIXELS",
    "MAX_SECONDS",
    "Recording",
    "media_kind",
    "read_audio",
    "read_image",
    "remove_silence",
]


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
    raise ValueError(f"{path}: {unread}; convert it to JPEG or PNG, to WAV, FLAC or MP3")
