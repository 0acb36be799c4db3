"""The names of people and clips: one rule for CSVs, arrays, folders and lists.

- Two names are the same if they are the same text in Unicode's composed form (NFC), without spaces
  around it. A whole number is its digits, bytes are text in UTF-8; other types are no names.
- Two names of people that differ only in case, in inner spaces, in compatible or invisible
  characters or in leading zeros are most likely one person written in two ways:
  `check_look_alikes` refuses them, since they would otherwise count as two, one in training and
  one in the test.
- Clips and videos are compared letter for letter: YouTube's names, for one, differ in case alone.
"""

import re
import unicodedata

import numpy as np


def name_of(value):
    """Returns a name as it is compared: composed, without spaces around it.

    Arguments
    ---------
    value : str, int or bytes

    Raises
    ------
    ValueError
        If it is of another type, or bytes that are not UTF-8.

    Example
    -------
    >>> name_of(" Zoe\\u0308 "), name_of(np.int64(7)), name_of(b"007")
    ('Zoë', '7', '007')
    """
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"expected text in UTF-8, got the bytes {value!r}") from error
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"expected text, whole numbers or bytes, got {value!r}")
    value = value.strip()
    return value if value.isascii() else unicodedata.normalize("NFC", value)


def is_text(name):
    r"""Whether a file's name is UTF-8 and without line breaks and other control characters.

    Other bytes Python keeps as surrogates, which no CSV holds; nor does it hold a carriage return.

    Example
    -------
    >>> is_text("Zo\u00eb.wav"), is_text(b"Zo\xeb.wav".decode("utf-8", "surrogateescape"))
    (True, False)
    >>> is_text("Icon\r")
    False
    """
    return not _NO_TEXT.search(name)


_CONTROLS = "\x00-\x1f\x7f"
_NO_TEXT = re.compile(f"[{_CONTROLS}\ud800-\udfff]")


def readable(name):
    r"""Returns a file's name with the bytes that are not UTF-8 or no characters as \xNN.

    Example
    -------
    >>> print(readable(b"Zo\xeb.wav".decode("utf-8", "surrogateescape")))
    Zo\xeb.wav
    """
    if is_text(name):
        return name
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return re.sub(f"[{_CONTROLS}]", lambda found: f"\\x{ord(found[0]):02x}", text)


def names_of(values, where):
    """Returns the names of an array or a sequence, as a list of str.

    Arguments
    ---------
    values : array or sequence of str, int or bytes
    where : str
        What they are, for the message.

    Raises
    ------
    ValueError
        If one is no name.

    Example
    -------
    >>> names_of(np.array([3, 12]), "clip")
    ['3', '12']
    """
    values = values.tolist() if isinstance(values, np.ndarray) else list(values)
    try:
        return [name_of(value) for value in values]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def look_alike(name):
    """Returns what names that a person would take for the same have in common.

    Example
    -------
    >>> look_alike("ann  LEE") == look_alike("Ann Lee"), look_alike("007") == look_alike("7")
    (True, True)
    """
    if not name.isascii():  # zero-width spaces and marks of direction
        name = "".join(char for char in name if unicodedata.category(char) != "Cf")
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    text = unicodedata.normalize("NFKC", text)  # folding may decompose
    return text.lstrip("0") or "0" if text.isdecimal() else text


def check_look_alikes(names, where):
    """Raises ValueError naming both spellings if two different names of people look alike.

    Arguments
    ---------
    names : iterable of str
        From `name_of`.
    where : str
        The file, for the message.
    """
    first = {}
    for name in names:
        other = first.setdefault(look_alike(name), name)
        if other != name:
            raise ValueError(
                f"{where}: identities {other!r} and {name!r} differ only in case, spaces or "
                "leading zeros; write one person in one way, or rename one"
            )
