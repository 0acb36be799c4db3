"""The submission of a challenge: its files and its zip, written, checked and read back."""

import json
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speechbrain_fv.files import PathLike, replacing
from speechbrain_fv.protocols.resolve import ResolvedList
from speechbrain_fv.protocols.score_files import DIRECTION_FILE, directions_in, finite

logger = logging.getLogger(__name__)


def write_submission(
    folder: PathLike, lists: Sequence[ResolvedList], scores: Sequence[np.ndarray]
) -> Path:
    """Writes the files of a submission and its zip, reads them back and returns the zip's path.

    The zip holds the files of these lists alone; in FAME also those of the other direction of
    training, where they were written into the same folder with scores of the same direction.

    Arguments
    ---------
    folder : path
        Gets a file of lines `key score` per list, `submitted.json`, which tells whether scores are
        distances or similarities, and `submission.zip`.
    lists : sequence of ResolvedList
        Of a challenge.
    scores : sequence of array of shape (num_rows,)
        As they are submitted.

    Raises
    ------
    ValueError
        If a score is not finite, or what was read back is not what was written.
    """
    folder = Path(folder)
    for resolved, of_list in zip(lists, scores, strict=True):
        challenge = resolved.trials.challenge
        bad = ~np.isfinite(of_list)
        if bad.any():
            raise ValueError(
                f"{resolved.trials.source}, line {challenge.lines[int(bad.argmax())]}: the score "
                f"of key {challenge.keys[int(bad.argmax())]!r} is not finite"
            )
        rows = zip(challenge.keys, of_list, strict=True)
        with replacing(folder / challenge.file) as file:
            file.write("".join(f"{key} {float(score)!r}\n" for key, score in rows).encode())
    challenges = [resolved.trials.challenge for resolved in lists]
    directions = {one.file: one.scoring.submitted for one in challenges}
    files, directions = set(directions), directions_in(folder) | directions
    with replacing(folder / DIRECTION_FILE) as file:
        file.write(json.dumps(directions, indent=2).encode() + b"\n")
    for one in challenges:
        for name in {*one.other_files} - files:
            if not (folder / name).is_file():
                continue
            if directions.get(name, one.scoring.submitted) == one.scoring.submitted:
                files.add(name)
            else:
                logger.warning(
                    "%s: left out of the zip, its scores are not of the direction %s; evaluate it "
                    "again",
                    *(folder / name, one.scoring.submitted),
                )
    with (
        replacing(folder / "submission.zip") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in sorted(files):
            archive.write(folder / name, name)
    check_submission(folder / "submission.zip", lists, scores)
    return folder / "submission.zip"


def check_submission(
    path: PathLike, lists: Sequence[ResolvedList], scores: Sequence[np.ndarray] | None = None
) -> None:
    """Raises ValueError unless a zip has, for each list, every key once with a finite score.

    Files of no list are refused, except those of the other direction of training in FAME.

    Arguments
    ---------
    path : path
    lists : sequence of ResolvedList
    scores : sequence of array, optional
        What must be in it.
    """
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        challenges = [resolved.trials.challenge for resolved in lists]
        known = {name for one in challenges for name in (one.file, *one.other_files)}
        if names - known:
            raise ValueError(
                f"{path}: {sorted(names - known)} belong to none of the lists; write it again"
            )
        for place, resolved in enumerate(lists):
            challenge = resolved.trials.challenge
            where = f"{path}: {challenge.file}"
            if challenge.file not in names:
                raise ValueError(f"{where}: not in the zip, which has {sorted(names)}")
            text = archive.read(challenge.file).decode()
            rows = [line.split(" ") for line in text.splitlines()]
            for line, row in enumerate(rows, start=1):
                if len(row) != 2:
                    raise ValueError(f"{where}, line {line}: expected 'key score', got {row}")
                try:
                    finite(row[1])
                except ValueError as error:
                    raise ValueError(f"{where}, line {line}: {error}") from None
            if sorted(key for key, _ in rows) != sorted(challenge.keys.tolist()):
                raise ValueError(f"{where}: expected every key of the list once")
            found = {key: float(score) for key, score in rows}
            if scores is not None and [found[key] for key in challenge.keys] != list(scores[place]):
                raise ValueError(f"{where}: other scores than were written; write it again")
