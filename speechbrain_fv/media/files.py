"""What image and audio files have in common: checks of the file, formats told by first bytes."""

import math
import os
import re

from speechbrain_fv.shipped import install_command

HEIC = "HEIC, the photos of iPhones, which is not read"
_SIGNATURES = (  # what neither Pillow nor libsndfile reads: position, bytes, name, modality
    (4, rb"ftyp(hei|hev|mif|msf)", HEIC, "face"),
    (4, rb"ftypavi", "AVIF that this Pillow cannot read (11.3 or newer does)", "face"),
    (4, rb"ftyp(?!hei|hev|mif|msf|avi)", "MP4 or M4A (AAC), which is not read", "voice"),
    (0, rb"\x1aE\xdf\xa3", "WebM or Matroska, which browsers record, not read", "voice"),
    (0, rb"\xff[\xf0\xf1\xf8\xf9]", "AAC, which is not read", "voice"),
    (0, rb"#!AMR", "AMR, which is not read", "voice"),
    (0, rb"\x30\x26\xb2\x75", "WMA, which is not read", "voice"),
)


_NO_MEDIA = (  # what lies in the place of images and audio: first bytes, what it is, the remedy
    (rb"version https://git-lfs", "a Git LFS pointer", "fetch the file: git lfs pull"),
    (rb"\s*<(?!svg)[!?a-zA-Z]", "text, such as a web page", "download the file again"),
    (rb"\0{256}", "zeros, as an interrupted copy leaves them", "copy the file again"),
    (rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf", "an archive", "unpack it"),
)


def check_file(path, max_bytes=math.inf):
    """Raises ValueError unless a path is a readable file of 1 to `max_bytes` bytes.

    Raises
    ------
    ValueError
        Naming the path; or if it is none.
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(
            f"expected the path of a file, got {type(path).__name__}; images, waveforms and "
            "embeddings go to encode_face, encode_voice, verify and match"
        )
    os.fspath(path)  # what stands for a file may know why there is none
    if os.path.isdir(path):
        raise ValueError(f"{path}: a folder, expected a file")
    if not os.path.isfile(path):
        if os.path.exists(path):
            raise ValueError(f"{path}: not a regular file; check the path")
        if os.path.islink(path):
            raise ValueError(
                f"{path}: a link to {os.readlink(path)}, where no file is; mend the link"
            )
        raise ValueError(f"{path}: not found; check the path")
    if not os.access(path, os.R_OK):
        raise ValueError(f"{path}: may not be read; check its permissions")
    size = os.path.getsize(path)
    if size == 0:
        raise ValueError(f"{path}: empty file; copy or save it again")
    if size > max_bytes:
        raise ValueError(f"{path}: {size} bytes, expected at most {max_bytes}; save it smaller")


def unread_format(path, *modalities):
    """Returns what a file is when its first bytes tell a known kind that is not read, or "".

    Arguments
    ---------
    path : path
        The file.
    modalities : str
        "face", "voice" or both: the kinds to look for.

    Returns
    -------
    str

    Example
    -------
    >>> path = getfixture("tmp_path") / "voice.m4a"
    >>> _ = path.write_bytes(b"\\0\\0\\0 ftypM4A ")
    >>> unread_format(path, "voice")
    'MP4 or M4A (AAC), which is not read'
    """
    head = _first_bytes(path, 16)
    for position, signature, name, modality in _SIGNATURES:
        if modality in modalities and re.match(signature, head[position:]):
            return name
    return ""


def unreadable(path, error, modality, conversion):
    """Returns what a file is that no decoder takes, and what to do, a str.

    Arguments
    ---------
    path : path
        The file.
    error : Exception
        The decoder's.
    modality : str
        "face" or "voice".
    conversion : str
        How files of another format are made readable.

    Example
    -------
    >>> path = getfixture("tmp_path") / "face.jpg"
    >>> _ = path.write_text("<html>404</html>")
    >>> unreadable(path, ValueError("no image"), "face", "convert it to JPEG")
    'text, such as a web page; download the file again'
    """
    if unread := unread_format(path, modality):
        return f"{unread}; {conversion}"
    head = _first_bytes(path, 256)
    for signature, name, remedy in _NO_MEDIA:
        if re.match(signature, head):
            return f"{name}; {remedy}"
    what = {"face": "image", "voice": "audio"}[modality]
    fault = first_line(error).replace(f" {os.fspath(path)!r}", "")
    return f"no {what} that can be read ({fault}); copy the file again, or {conversion}"


def _first_bytes(path, count):
    """The first bytes of a file; none if the disk does not give them."""
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError:
        return b""


def converting(unread, formats):
    """Returns what to do with a file of which `unread_format` told what it is.

    Example
    -------
    >>> converting(HEIC, "JPEG or PNG")  # doctest: +ELLIPSIS
    "convert it to JPEG or PNG, or pip install ...[heic]...'"
    """
    extra = f", or {install_command('heic')}" if unread == HEIC else ""
    return f"convert it to {formats}{extra}"


def reason_of(error, path):
    """Returns the text of an error about a file without the path in front.

    Example
    -------
    >>> reason_of(ValueError("a/b.wav: empty file"), "a/b.wav")
    'empty file'
    """
    return str(error).removeprefix(f"{path}: ")


def first_line(error):
    """Returns the first line of an error's text, or its type where it has none."""
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
