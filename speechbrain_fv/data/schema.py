"""The columns of the manifests and the checks that every manifest must pass.

A check returns its table with the right columns and types, or raises a `ValueError` that names
the file, the line, what was expected, what was found and the remedy.
"""

import numpy as np
import pandas as pd

SPLITS = ("train", "valid", "test")
FACE_COLUMNS = ["ID", "image", "spk_id"]
VOICE_COLUMNS = ["ID", "duration", "wav", "start", "stop", "spk_id", "speech"]
LABEL_COLUMNS = ["gender", "nationality", "age"]
IDENTITY_COLUMNS = ["identity", "split", *LABEL_COLUMNS]
EXCLUDED_COLUMNS = ["path", "modality", "identity", "reason"]
UNKNOWN = -1  # class index of a clip whose identity lacks the label
NUM_NAMED = 5  # how many culprits an error message names


def format_speech(segments):
    """Speech segments as the text of the `speech` column.

    Arguments
    ---------
    segments : iterable of (int, int)
        Start and stop sample of each segment, in the file.

    Returns
    -------
    str

    Example
    -------
    >>> format_speech([(0, 16000), (24000, 48000)])
    '0:16000;24000:48000'
    """
    return ";".join(f"{start}:{stop}" for start, stop in segments)


def parse_speech(text):
    """The speech segments that a `speech` cell names, as a list of (start, stop) samples.

    Arguments
    ---------
    text : str
        "start:stop;start:stop"; empty when the whole clip counts as speech.

    Returns
    -------
    list of (int, int)

    Raises
    ------
    ValueError
        If the text has another form.

    Example
    -------
    >>> parse_speech("0:16000;24000:48000")
    [(0, 16000), (24000, 48000)]
    """
    try:
        pairs = [part.split(":") for part in text.split(";") if part]
        return [(int(start), int(stop)) for start, stop in pairs]
    except ValueError:
        raise ValueError(f"speech: expected 'start:stop;start:stop', got {text!r}.") from None


def named(values):
    """The first few values as text, and how many more there are, for an error message."""
    values = [str(value) for value in values]
    more = f" and {len(values) - NUM_NAMED} more" if len(values) > NUM_NAMED else ""
    return ", ".join(values[:NUM_NAMED]) + more


def _line(rows):
    """Line number in the CSV (header = 1) of the first row that a mask selects."""
    return int(np.flatnonzero(np.asarray(rows))[0]) + 2


def check_columns(frame, columns, file):
    """The frame itself, which must have all the columns."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(
            f"{file}: missing column {named(missing)}; expected {', '.join(columns)}, "
            f"got {', '.join(map(str, frame.columns))}."
        )
    return frame


def check_identities(identities, file):
    """The identities sorted by name, one row and one split each, unknown labels empty."""
    check_columns(identities, ["identity", "split"], file)
    absent = {column: "" for column in LABEL_COLUMNS if column not in identities.columns}
    identities = identities.assign(**absent)[IDENTITY_COLUMNS].fillna("").astype(str)
    wrong = ~identities.split.isin(SPLITS)
    if wrong.any():
        raise ValueError(
            f"{file}, line {_line(wrong)}: split must be one of "
            f"{', '.join(SPLITS)}, got {identities.split[wrong].iloc[0]!r}."
        )
    repeated = identities.identity[identities.identity.duplicated(keep=False)].unique()
    if len(repeated):
        splits = identities[identities.identity.isin(repeated)].groupby("identity").split
        leaking = [f"{name} ({'+'.join(sorted(set(rows)))})" for name, rows in splits]
        raise ValueError(
            f"{file}: identities listed more than once, with their splits: {named(leaking)}; "
            f"give every identity one row and one split."
        )
    return identities.sort_values("identity", ignore_index=True)


def check_faces(faces, file):
    """The rows of faces with `FACE_COLUMNS`."""
    return check_columns(faces, FACE_COLUMNS, file)[FACE_COLUMNS].astype(str)


def check_voices(voices, file):
    """The rows of voices with `VOICE_COLUMNS`, numbers as numbers, `speech` added when absent."""
    check_columns(voices, VOICE_COLUMNS[:-1], file)
    if "speech" not in voices.columns:
        voices = voices.assign(speech="")
    voices = voices[VOICE_COLUMNS].copy()
    for column in ("duration", "start", "stop"):
        numbers = pd.to_numeric(voices[column], errors="coerce").to_numpy(float)
        wrong = ~np.isfinite(numbers)
        if column != "duration":
            wrong |= numbers % 1 != 0
        if wrong.any():
            expected = "seconds" if column == "duration" else "a whole number of samples"
            raise ValueError(
                f"{file}, line {_line(wrong)}: {column} must be {expected}, got "
                f"{voices[column][wrong].iloc[0]!r}."
            )
        voices[column] = numbers if column == "duration" else numbers.astype(np.int64)
    wrong = ((voices.start < 0) | (voices.stop <= voices.start)).to_numpy()
    if wrong.any():
        row = voices[wrong].iloc[0]
        raise ValueError(
            f"{file}, line {_line(wrong)}: expected samples 0 <= start < stop, got "
            f"start {row.start} and stop {row.stop}."
        )
    for line, (start, stop, text) in enumerate(
        zip(voices.start, voices.stop, voices.speech, strict=True), start=2
    ):
        _check_speech(text, start, stop, f"{file}, line {line}")
    return voices.astype({"ID": str, "wav": str, "spk_id": str, "speech": str})


def _check_speech(text, start, stop, where):
    edge = start
    try:
        segments = parse_speech(text)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    for first, last in segments:
        if not edge <= first < last <= stop:
            raise ValueError(
                f"{where}: speech segments must be in order, apart and inside "
                f"[{start}, {stop}), got {text!r}."
            )
        edge = last


def check_duplicates(frames, where):
    """Every ID must occur once over all the frames of a modality."""
    ids = pd.concat([frame.ID for frame in frames])
    repeated = ids[ids.duplicated()].unique()
    if len(repeated):
        raise ValueError(
            f"{where}: duplicate ID {named(repeated)}; every row of a modality needs its own."
        )


def check_known(frame, identities, file):
    """Every `spk_id` must be one of the identities."""
    unknown = ~frame.spk_id.isin(identities.identity)
    if unknown.any():
        raise ValueError(
            f"{file}, line {_line(unknown)}: spk_id {frame.spk_id[unknown].iloc[0]!r} is "
            f"not in identities.csv; add it there with its split."
        )


def check_disjoint(tables, identities, folder):
    """Every row must lie in the split that identities.csv gives to its identity."""
    split_of = identities.set_index("identity").split
    leaking = [
        f"{name} ({kind}_{split}.csv, identities.csv: {split_of[name]})"
        for kind in tables
        for split, frame in tables[kind].items()
        for name in sorted(frame.spk_id[frame.spk_id.map(split_of) != split].unique())
    ]
    if leaking:
        raise ValueError(
            f"{folder}: identities in two splits: {named(leaking)}; splits must not share an "
            f"identity: prepare the corpus again."
        )
