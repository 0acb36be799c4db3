"""The published trial lists of VoxCeleb1 and VGGFace, from the user's own copies."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from speechbrain_fv.protocols.clip_names import OTHER_MODALITY, VoxCelebNames
from speechbrain_fv.protocols.lists import (
    TrialList,
    check_rows,
    check_unique,
    matching_columns,
    read_retrieval,
    read_rows,
    skip_header,
)


class Published(NamedTuple):
    """A published list: its files below the family's folder and what was published of it.

    probe : modality of the probes; counts : rows, or queries and gallery clips
    """

    kind: str
    files: tuple
    probe: str
    counts: tuple


_PROBE = {"f2v": "face", "v2f": "voice"}
_SSOS_CLIPS = {"f2v": (20_076, 21_850), "v2f": (21_850, 20_076)}
SSOS = {
    **{
        f"verify_{group}{way}": Published(
            "verification",
            (f"verify_{group}{way}_test.txt",),
            _PROBE[way],
            (3 * _SSOS_CLIPS[way][0],),
        )
        for group in ("", "g_")
        for way in _PROBE
    },
    **{
        # The authors' spelling.
        f"retrieval_{way}": Published(
            "retrieval", (f"reterival_{way}_test.txt",), _PROBE[way], _SSOS_CLIPS[way]
        )
        for way in _PROBE
    },
    "match_v2f_2_val": Published("matching", ("match_v2f_2_val.txt",), "voice", (42_546,)),
    "match_g_v2f_2_val": Published("matching", ("match_g_v2f_2_val.txt",), "voice", (42_540,)),
}
_VERIFLIST_ROWS = {
    "seenheard": {"random": 18_020, "G": 18_020, "N": 17_840, "A": 18_020, "GNA": 17_380},
    "unseenunheard": {"random": 30_496, "G": 30_496, "N": 28_193, "A": 30_496, "GNA": 27_280},
}
_PINS_RETRIEVAL = {"face": "retrieval/jpg_20k.csv", "voice": "retrieval/wav_20k.csv"}
PINS = {
    **{
        f"veriflist_{stratum}_{part}": Published(
            "verification",
            (f"veriflist/veriflist_test_{stratum}_{part}.txt",),
            "voice",
            (num_rows,),
        )
        for part, rows in _VERIFLIST_ROWS.items()
        for stratum, num_rows in rows.items()
    },
    **{
        f"matching_{way}_{stratum}": Published(
            "matching", (f"matching/matching_{way}_{stratum}.csv",), _PROBE[way], (num_rows,)
        )
        for way in _PROBE
        for stratum, num_rows in {"U": 10_000, "G": 10_000, "N": 9_360, "GN": 9_120}.items()
    },
    **{
        f"retrieval_{way}": Published(
            "retrieval",
            tuple(
                _PINS_RETRIEVAL[modality]
                for modality in sorted(_PINS_RETRIEVAL, reverse=way[0] == "v")
            ),
            _PROBE[way],
            (20_000, 20_000),
        )
        for way in _PROBE
    },
}
FAMILIES = {"ssos": SSOS, "pins": PINS}
_VERIFLIST_HEADER = (
    "id",
    "voice-speaker-id",
    "face-speaker-id",
    "label",
    "voice-path",
    "face-path",
)


class PublishedLists:
    """Lists of a published family, `ssos` or `pins`.

    Arguments
    ---------
    family : str
        "ssos" or "pins".
    folder : path
        Your copy, with the authors' file names; each may be packed as .gz.
    names : sequence of str
        Which lists, see `FAMILIES`.
    meta_csv : path
        `vox1_meta.csv`, which joins VGGFace names and VoxCeleb1 ids.

    Raises
    ------
    ValueError
        If the family or a name is unknown; from `read`, if a file is absent or a row malformed,
        with its line.
    """

    def __init__(self, family, folder, names, meta_csv):
        if family not in FAMILIES:
            raise ValueError(f"family: expected {' or '.join(FAMILIES)}, got {family!r}.")
        unknown = [name for name in names if name not in FAMILIES[family]]
        if unknown or not names:
            raise ValueError(
                f"names: expected some of {', '.join(FAMILIES[family])}, got {unknown or 'none'}."
            )
        self.family, self.folder, self.names = family, Path(folder), tuple(names)
        self.clip_names = VoxCelebNames(meta_csv)

    def read(self, embeddings=None, metadata=None):
        """Returns a `TrialList` per name."""
        return [self._read(name) for name in self.names]

    def _read(self, name):
        entry = FAMILIES[self.family][name]
        files = [self.folder / file for file in entry.files]
        labels = None
        if entry.kind == "retrieval":
            probes, targets = self._read_retrieval(files)
        elif entry.kind == "matching":
            rows = read_rows(files[0], separator=None)
            probes, targets = matching_columns(rows, files[0], 1)
        elif self.family == "pins":
            probes, targets, labels = _veriflist_columns(files[0])
        else:
            rows = read_rows(files[0], separator=None)
            check_rows(rows, files[0], 1, lambda row: len(row) == 2, "two paths")
            probes, targets = np.array(rows, dtype=object).T
        first = 2 if labels is not None or len(files) > 1 else 1
        self._check_paths(entry, files, probes, targets, first)
        return TrialList(
            f"{self.family}/{name}",
            entry.kind,
            " and ".join(map(str, files)),
            probes,
            targets,
            labels,
            entry.probe,
            self.clip_names,
            entry.counts,
        )

    def _read_retrieval(self, files):
        return read_retrieval(files[0]) if len(files) == 1 else map(_column, files)

    def _check_paths(self, entry, files, probes, targets, first):
        """Raises ValueError naming the file and line of a path that is of no known form."""
        target = OTHER_MODALITY[entry.probe]
        one_line_each = entry.kind == "retrieval" and len(files) == 1
        for side, (modality, paths) in enumerate(((entry.probe, probes), (target, targets))):
            names = pd.Series(pd.unique(paths.ravel()))
            names = names[self.clip_names.keys(names.tolist(), modality).isna() & (names != "")]
            if len(names):
                wrong = np.isin(paths.astype(str), names.tolist()).reshape(len(paths), -1)
                row = int(wrong.any(axis=1).argmax())
                line = side + 1 if one_line_each else row + first
                path = paths.reshape(len(paths), -1)[row, wrong[row].argmax()]
                raise ValueError(
                    f"{files[min(side, len(files) - 1)]}, line {line}: expected the path of a "
                    f"{modality} of a person in {self.clip_names.meta_csv}, got {path!r}; correct "
                    "or remove the line."
                )


def _veriflist_columns(file):
    """Returns voices, faces and labels (num_rows,) of a PINs verification list."""
    rows, line = skip_header(read_rows(file), _VERIFLIST_HEADER, file)
    check_rows(
        rows, file, line, lambda r: len(r) == 6 and r[3] in ("0", "1"), ",".join(_VERIFLIST_HEADER)
    )
    table = np.array(rows, dtype=object)
    return table[:, 4], table[:, 5], table[:, 3] == "1"


def _column(file):
    """Returns the paths of a PINs retrieval file, tab separated below a header."""
    rows, line = skip_header(read_rows(file, "\t"), ("VoxCeleb1 ID",), file)
    check_rows(rows, file, line, lambda row: len(row) == 2, "an id, a tab and a path")
    paths = np.array(rows, dtype=object)[:, 1]
    check_unique(paths, file)
    return paths
