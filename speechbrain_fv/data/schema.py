"""The columns of the manifests and the checks that every manifest must pass.

A check returns its table with the right columns and types, or raises a `ValueError` that names
the file, the line, what was expected, what was found and the remedy.
"""

import numpy as np
import pandas as pd

from speechbrain_fv.names import check_look_alikes, names_of

SPLITS = ("train", "valid", "test")
FACE_COLUMNS = ["ID", "image", "spk_id", "video"]
VOICE_COLUMNS = ["ID", "duration", "wav", "start", "stop", "spk_id", "speech", "video"]
OPTIONAL_COLUMNS = ("speech", "video")  # empty where a table lacks them
LABEL_COLUMNS = ["gender", "nationality", "age"]
IDENTITY_COLUMNS = ["identity", "split", *LABEL_COLUMNS]
EXCLUDED_COLUMNS = ["path", "modality", "identity", "reason"]
RESERVED = {  # names that no attribute of a clip has
    *FACE_COLUMNS,
    *VOICE_COLUMNS,
    *IDENTITY_COLUMNS,
    *("face", "voice", "clip", "modality", "draw", "id"),
}
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


def clip_names(ids, file, key):
    """Returns the names of an array of clips as text; ValueError if one stands there twice."""
    ids = names_of(ids, f"{file}: {key}")
    repeated = pd.Series(ids)[pd.Series(ids).duplicated()].unique()
    if len(repeated):
        raise ValueError(
            f"{file}: {key} names {named(repeated)} more than once; keep one vector per clip."
        )
    return ids


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


def with_optional(frame):
    """The frame with an empty column for each of `OPTIONAL_COLUMNS` that it lacks."""
    return frame.assign(**{name: "" for name in OPTIONAL_COLUMNS if name not in frame.columns})


def check_identities(identities, file):
    """The identities sorted by name, one row and one split each, unknown labels empty.

    Further columns are kept, as further labels.
    """
    check_columns(identities, ["identity", "split"], file)
    absent = {column: "" for column in LABEL_COLUMNS if column not in identities.columns}
    further = [column for column in identities.columns if column not in IDENTITY_COLUMNS]
    identities = identities.assign(**absent)[[*IDENTITY_COLUMNS, *further]].fillna("").astype(str)
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
    check_look_alikes(identities.identity, file)
    return identities.sort_values("identity", ignore_index=True)


def clip_columns(frame, columns):
    """The further columns of faces or voices, attributes of the clip such as its language.

    Example
    -------
    >>> clip_columns(pd.DataFrame(columns=[*FACE_COLUMNS, "language"]), FACE_COLUMNS)
    ['language']
    """
    return [name for name in frame.columns if name not in columns and name not in RESERVED]


def check_faces(faces, file):
    """The rows of faces with `FACE_COLUMNS` and further ones, `video` added when absent."""
    check_columns(faces, _required(FACE_COLUMNS), file)
    faces = with_optional(faces)[[*FACE_COLUMNS, *clip_columns(faces, FACE_COLUMNS)]]
    return faces.fillna("").astype(str)


def check_voices(voices, file):
    """The rows of voices, numbers as numbers, `speech` and `video` added when absent.

    Further columns are kept, as attributes of the clips.
    """
    check_columns(voices, _required(VOICE_COLUMNS), file)
    further = clip_columns(voices, VOICE_COLUMNS)
    voices = with_optional(voices)[[*VOICE_COLUMNS, *further]].fillna(dict.fromkeys(further, ""))
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
    texts = ("ID", "wav", "spk_id", "speech", "video", *further)
    return voices.astype({name: str for name in texts})


def _required(columns):
    return [column for column in columns if column not in OPTIONAL_COLUMNS]


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


def shared_videos(frames):
    """The names of videos under which rows of more than one identity stand.

    Arguments
    ---------
    frames : iterable of pandas.DataFrame
        Tables of faces and of voices, with the columns spk_id and video.

    Returns
    -------
    pandas.Index of str
        Sorted; a row without a video does not count.

    Example
    -------
    >>> faces = pd.DataFrame({"spk_id": ["a", "b"], "video": ["1", "2"]})
    >>> voices = pd.DataFrame({"spk_id": ["b", "b", "a"], "video": ["1", "2", ""]})
    >>> shared_videos([faces, voices]).tolist()
    ['1']
    """
    clips = pd.concat([frame[["spk_id", "video"]] for frame in frames]).drop_duplicates()
    num_identities = clips[clips.video != ""].groupby("video").size()
    return num_identities.index[num_identities > 1]


def distinct_videos(faces, voices):
    """Faces and voices in which a name of a video belongs to one identity.

    A name that a corpus uses for several identities becomes "identity/name"; others stay.
    """
    shared = shared_videos([faces, voices])
    return [
        frame.assign(
            video=frame.video.where(~frame.video.isin(shared), frame.spk_id + "/" + frame.video)
        )
        for frame in (faces, voices)
    ]


def check_videos(tables, folder):
    """No name of a video may stand in rows of two identities."""
    shared = shared_videos([frame for frames in tables.values() for frame in frames.values()])
    if len(shared):
        raise ValueError(
            f"{folder}: video {named(shared)} in rows of more than one identity; name it "
            "'identity/video', or prepare the corpus again."
        )
