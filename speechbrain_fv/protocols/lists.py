"""Lists of trials: what one holds, reading generic files, writing them."""

import csv
import gzip
import io
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from speechbrain_fv.files import decoded, replacing
from speechbrain_fv.protocols.clip_names import MODALITIES, ExactNames, VoxCelebNames

KINDS = ("verification", "matching", "retrieval")
_HEADERS = {"verification": ("probe", "target", "label"), "matching": ("probe", "positive")}


@dataclass(frozen=True)
class TrialList:
    """A list of trials as clip names, in the order of its file.

    Arguments
    ---------
    name : str
        What the report calls it.
    kind : str
        "verification", "matching" or "retrieval".
    source : str
        The file, or "drawn".
    probes : numpy.ndarray of shape (num_rows,), str
        In retrieval the queries.
    targets : numpy.ndarray, str
        Verification: (num_rows,). Matching: (num_rows, max_candidates), the positive first, then
        the negatives, "" where a row has fewer. Retrieval: (gallery_size,), the gallery.
    labels : numpy.ndarray of shape (num_rows,), bool, optional
        Verification: whether both are one person; None where the names tell.
    probe : str, optional
        Modality of the probes, "face" or "voice"; None: recognised from the embeddings.
    clip_names : ExactNames or VoxCelebNames
        When two names mean one clip.
    published : tuple of int, optional
        Published number of rows, or of queries and gallery clips.
    drawn : dict
        How a sampled list was drawn; empty for a file.
    challenge : protocols.challenge.Challenge, optional
        What the list is in a challenge. Each of its rows must then be scored.
    """

    name: str
    kind: str
    source: str
    probes: np.ndarray
    targets: np.ndarray
    labels: np.ndarray | None = None
    probe: str | None = None
    clip_names: ExactNames | VoxCelebNames = field(default_factory=ExactNames)
    published: tuple | None = None
    drawn: dict = field(default_factory=dict)
    challenge: object = None

    @property
    def counts(self):
        """The number of rows, or of queries and gallery clips."""
        parts = [self.probes, self.targets] if self.kind == "retrieval" else [self.probes]
        return tuple(len(part) for part in parts)


class ListFile:
    """A list in a generic file; a name ending in .gz, or with .gz added, is unpacked.

    Verification: rows ``probe,target,label`` with label 1 (one person) or 0. Matching: rows
    ``probe,positive,negative,...``. Both with or without that header. Retrieval: two lines, the
    queries and the gallery, separated by spaces.

    Arguments
    ---------
    file : path
        The list.
    kind : str
        "verification", "matching" or "retrieval".
    probe : str, optional
        "face" or "voice"; by default recognised from the embeddings.
    meta_csv : path, optional
        `vox1_meta.csv`: the names are VoxCeleb and VGGFace paths, see `VoxCelebNames`. By default
        they are the ids in the embeddings.
    name : str, optional
        What the report calls it; by default the file's name.

    Raises
    ------
    ValueError
        If `kind` or `probe` is another word; from `read`, if the file is absent or a row is
        malformed, with its line.

    Example
    -------
    >>> path = getfixture("tmp_path") / "own.csv"
    >>> _ = path.write_text("probe,target,label\\na.jpg,a.wav,1\\na.jpg,b.wav,0\\n")
    >>> (own,) = ListFile(path, "verification").read()
    >>> own.targets.tolist(), own.labels.tolist()
    (['a.wav', 'b.wav'], [True, False])
    """

    def __init__(self, file, kind, probe=None, meta_csv=None, name=None):
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}.")
        if probe not in (None, *MODALITIES):
            raise ValueError(f"probe: expected face, voice or null (recognised), got {probe!r}.")
        self.file, self.kind, self.probe = Path(file), kind, probe
        self.clip_names = VoxCelebNames(meta_csv) if meta_csv else ExactNames()
        self.name = name or self.file.name.removesuffix(".gz").rpartition(".")[0] or self.file.name

    def read(self, embeddings=None, metadata=None):
        """Returns the `TrialList` of the file as the only item of a list."""
        labels = None
        if self.kind == "retrieval":
            probes, targets = read_retrieval(self.file)
        else:
            rows, line = skip_header(read_rows(self.file), _HEADERS[self.kind], self.file)
            if self.kind == "verification":
                probes, targets, labels = verification_columns(rows, self.file, line)
            else:
                probes, targets = matching_columns(rows, self.file, line)
        return [
            TrialList(
                self.name,
                self.kind,
                str(self.file),
                probes,
                targets,
                labels,
                self.probe,
                self.clip_names,
            )
        ]


def read_rows(file, separator=","):
    """Returns the cells of each line of a text file; blank lines at the end do not count.

    Arguments
    ---------
    file : path
        Also found when it is there with ".gz" added.
    separator : str or None
        None: any run of spaces.

    Returns
    -------
    list of list of str

    Raises
    ------
    ValueError
        If the file is absent, empty, or not text in UTF-8.
    """
    path = Path(file)
    if not path.exists():
        path = path.with_name(f"{path.name}.gz")
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as stream:
            text = decoded(stream.read(), path)
        lines = io.StringIO(text, newline=None)
        if separator is None:
            rows = [line.split() for line in lines]
        else:
            rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True))
    except FileNotFoundError:
        raise ValueError(f"{file}: not found, nor with .gz added; check the path.") from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise ValueError(f"{path}: not a readable list in UTF-8 ({error}).") from None
    while rows and not rows[-1]:
        rows.pop()
    if not rows:
        raise ValueError(f"{path}: the list is empty; give a file with rows.")
    return rows


def skip_header(rows, header, file):
    """Returns the rows without a header that starts with these words, and the line of the first."""
    line = 1
    if tuple(rows[0][: len(header)]) == tuple(header):
        rows, line = rows[1:], 2
    if not rows:
        raise ValueError(f"{file}: there is no row below the header; give a file with rows.")
    return rows, line


def check_rows(rows, file, first_line, is_right, expected):
    """Raises ValueError naming file and line of the first row that is not right.

    Arguments
    ---------
    rows : list of list of str
    file : path
    first_line : int
        Line of the first row in the file, counted from 1.
    is_right : callable
        Takes a row.
    expected : str
        What a right row looks like.
    """
    for line, row in enumerate(rows, start=first_line):
        if not (is_right(row) and all(row)):
            raise ValueError(
                f"{file}, line {line}: expected {expected}, got {' '.join(row)[:200]!r}; "
                "correct or remove the line."
            )


def verification_columns(rows, file, first_line):
    """Returns probes, targets and labels (num_rows,) of rows `probe,target,label`."""
    expected = "probe,target,label with label 0 or 1"
    check_rows(rows, file, first_line, lambda r: len(r) == 3 and r[2] in ("0", "1"), expected)
    table = np.array(rows, dtype=object)
    return table[:, 0], table[:, 1], table[:, 2] == "1"


def matching_columns(rows, file, first_line):
    """Returns probes (num_rows,) and candidates (num_rows, max_candidates), positive first."""
    check_rows(rows, file, first_line, lambda r: len(r) >= 3, "probe, positive and negatives")
    width = max(map(len, rows))
    table = np.array([row + [""] * (width - len(row)) for row in rows], dtype=object)
    return table[:, 0], table[:, 1:]


def read_retrieval(file):
    """Returns queries and gallery of a file with a line each, separated by spaces."""
    rows = read_rows(file, separator=None)
    if len(rows) != 2 or not rows[0]:
        raise ValueError(
            f"{file}: expected two lines, queries and gallery, got {len(rows)}; correct the file."
        )
    for line, row in enumerate(rows, start=1):
        check_unique(row, f"{file}, line {line}")
    return tuple(np.array(row, dtype=object) for row in rows)


def check_unique(names, where):
    """Raises ValueError if a clip is listed twice, which would count it twice."""
    values, counts = np.unique(np.asarray(names, dtype=str), return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"{where}: {int((counts > 1).sum())} clips are listed more than once "
            f"({values[counts > 1][0]}); list each once."
        )


def write_list(path, trials):
    """Writes a verification or matching `TrialList` as a generic file that `ListFile` reads."""
    if trials.kind == "retrieval":
        raise ValueError("trials: expected verification or matching, got retrieval.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if trials.kind == "verification":
        writer.writerow(_HEADERS["verification"])
        writer.writerows(zip(trials.probes, trials.targets, trials.labels.astype(int), strict=True))
    else:
        negatives = trials.targets.shape[1] - 1
        writer.writerow([*_HEADERS["matching"], *["negative"] * negatives])
        for probe, candidates in zip(trials.probes, trials.targets.tolist(), strict=True):
            writer.writerow([probe, *filter(None, candidates)])
    with replacing(path) as file:
        file.write(text.getvalue().encode())
