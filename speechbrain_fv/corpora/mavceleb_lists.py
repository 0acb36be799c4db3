"""MAV-Celeb's lists: pairs to train on, trials to score, and the truth about them.

Every mistake is told with file and line.
"""

from typing import NamedTuple

import pandas as pd

from speechbrain_fv.corpora.mavceleb_layout import VERSIONS, language_of, parse_name
from speechbrain_fv.files import decoded

FORMS = {
    2: "voice face",
    3: "key voice face",
    6: "pair_id label voice face speaker speaker_number",
}


class ListedPairs(NamedTuple):
    """The lines of a list.

    table : pandas.DataFrame
        Columns line (counted from 1), key ("" in a train list of FAME), voice and face as they are
        written, voice_key and face_key (see `ClipName.key`), language, and label: 1 one person, 0
        two, -1 not told.
    file : str
    """

    table: pd.DataFrame
    file: str


def read_pairs(file, version):
    """Returns the `ListedPairs` of a train or a test list.

    A line is `voice face` (FAME, training), `key voice face` (test), or
    `pair_id label voice face speaker speaker_number` (FLAG, training), separated by spaces.

    Arguments
    ---------
    file : path
    version : str
        "v1" to "v4".

    Raises
    ------
    ValueError
        If the file is absent or empty; or a line has another number of words, a key that is there
        already, names that are of no clip, two languages or one that the version lacks, or a label
        that is not 0 or 1 or that the folders of its clips contradict.

    Example
    -------
    >>> path = getfixture("tmp_path") / "English_test.txt"
    >>> _ = path.write_text("ysuvkz41 voices/English/00000.wav faces/English/00000.jpg\\n")
    >>> read_pairs(path, "v1").table[["key", "voice_key", "label"]].values.tolist()
    [['ysuvkz41', 'english/00000', -1]]
    """
    rows, seen, width = [], {}, None
    for line, words in numbered_words(file):
        where = f"{file}, line {line}"
        width = width or len(words)
        if len(words) not in FORMS or len(words) != width:
            forms = "' or '".join([FORMS[width]] if width in FORMS else FORMS.values())
            raise ValueError(f"{where}: expected '{forms}', got {' '.join(words)[:200]!r}")
        key = "" if width == 2 else words[0]
        if key and key in seen:
            raise ValueError(
                f"{where}: key {key!r} is that of line {seen[key]} already; expected every key once"
            )
        seen[key] = line
        voice, face = words[2:4] if width == 6 else words[-2:]
        names = [_clip(name, kind, where) for name, kind in ((voice, "voice"), (face, "face"))]
        languages = [language_of(name.language, version) for name in names]
        if None in languages:
            raise ValueError(
                f"{where}: expected a language of {version}, "
                f"{' or '.join(VERSIONS[version].languages)}, got "
                f"{names[languages.index(None)].language!r}"
            )
        label = -1
        if width == 6:
            try:
                label = _label(words[1])
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
        known = all(name.identity for name in names)
        same = names[0].identity == names[1].identity
        if width == 2 and known:
            label = 1
        if known and label >= 0 and same != (label == 1):
            raise ValueError(
                f"{where}: label {label} contradicts the folders, {names[0].identity} and "
                f"{names[1].identity}; correct the line"
            )
        # By its voice: the face of a heard person may be of a video in another language.
        rows.append((line, key, voice, face, *(name.key for name in names), languages[0], label))
    columns = ["line", "key", "voice", "face", "voice_key", "face_key", "language", "label"]
    return ListedPairs(pd.DataFrame(rows, columns=columns), str(file))


def read_keyed(file, what, value, widths=(2,)):
    """Returns the values of a file of lines `key value`, by key, and their lines.

    Arguments
    ---------
    file : path
    what : str
        What a value is, for messages: "label" or "score".
    value : function of str
        Returns the value, or raises ValueError.
    widths : tuple of int
        How many words a line may have; those after the second are passed over.

    Returns
    -------
    values : dict of str to any
    lines : dict of str to int

    Raises
    ------
    ValueError
        If the file is absent or empty, or a line has other words or a key that is there already.
    """
    values, lines = {}, {}
    for line, words in numbered_words(file):
        where = f"{file}, line {line}"
        if len(words) not in widths:
            raise ValueError(f"{where}: expected 'key {what}', got {' '.join(words)[:200]!r}")
        if words[0] in lines:
            raise ValueError(
                f"{where}: key {words[0]!r} is that of line {lines[words[0]]} already; expected "
                "every key once"
            )
        try:
            values[words[0]] = value(words[1])
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        lines[words[0]] = line
    return values, lines


def read_truth(file):
    """Returns the labels (bool) of a file of lines `key label`, by key, and their lines.

    A line `key label voice face` is read too; label 1 is one person, 0 two.
    """
    return read_keyed(file, "label", lambda text: _label(text) == 1, widths=(2, 4))


def numbered_words(file):
    """Returns (line, words) of each line that is not blank, lines counted from 1.

    Raises
    ------
    ValueError
        If the file is absent, not text in UTF-8, or has no words.
    """
    try:
        with open(file, "rb") as stream:
            text = decoded(stream.read(), file)
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}; expected a list; check the path") from None
    rows = [(line, row.split()) for line, row in enumerate(text.splitlines(), start=1)]
    rows = [(line, words) for line, words in rows if words]
    if not rows:
        raise ValueError(f"{file}: the list is empty; give a file with lines")
    return rows


def _clip(name, modality, where):
    clip = parse_name(name)
    if clip is None or clip.modality != modality:
        forms = f"{modality}s/<Language>/<file> or idNNNN/<Language>/<video>/<file>"
        raise ValueError(f"{where}: expected a {modality}, {forms}, got {name!r}")
    return clip


def _label(text):
    if text not in ("0", "1"):
        raise ValueError(f"expected a label of 0 (two people) or 1 (one), got {text!r}")
    return int(text)
