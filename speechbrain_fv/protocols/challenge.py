"""The trial lists of FAME and FLAG: key, voice and face, heard and unheard, with or without truth.

A model is trained on people who speak one language, and scored in it (heard) and in the other
(unheard). The challenge's number is the mean of the equal error rates of all lists; over both
directions of training of four.
"""

import os
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from speechbrain_fv.corpora.mavceleb_layout import VERSIONS, language_of, parse_name, version_of
from speechbrain_fv.corpora.mavceleb_lists import read_pairs, read_truth
from speechbrain_fv.names import name_of
from speechbrain_fv.protocols.lists import TrialList
from speechbrain_fv.protocols.score_files import DIRECTIONS


class MavCelebNames:
    """A clip is known by person, language, video and number, in every layout of MAV-Celeb.

    Names of other forms are known letter for letter. The person stands in the names of the train
    layout alone.

    Example
    -------
    >>> names = ["voices/Urdu/00001.wav", "Urdu_test/voices/00001.wav"]
    >>> MavCelebNames().keys(names, "voice").unique().tolist()
    ['urdu/00001']
    """

    def keys(self, names, modality):
        """Returns the keys under which clips are looked up, a pandas.Series of str."""
        parsed = (parse_name(name) for name in names)
        keys = [
            clip.key if clip else name_of(name) for clip, name in zip(parsed, names, strict=True)
        ]
        return pd.Series(keys, dtype=object)

    def identities(self, names, modality):
        """Returns None: of test clips the identity is not in the name."""
        return None


@dataclass(frozen=True, eq=False)
class Scoring:
    """How the pairs of a challenge are scored and where that goes, the same for all its lists.

    Arguments
    ---------
    submitted : str
        "distance" (lower: one person) or "similarity": what the challenge expects.
    normalize : bool
        Whether scores are normalised symmetrically (S-norm): a score is measured from the mean and
        in standard deviations of its face with all voices of the list, and of its voice with all
        faces of it, and the two are averaged.
    groups : path, optional
        CSV with the columns clip and group: clips of one group show one person, as far as is known,
        and the embeddings of each modality are averaged over the group. A clip without a line is
        alone.
    fuse : sequence of path, optional
        Folders of submissions of other models with the same files: the scores of each list are
        standardised and averaged. The direction of each file is that of `DIRECTION_FILE` in its
        folder; without, it is `submitted`.
    weights : sequence of float, optional
        Of this model and of each folder; by default all the same.
    submission : path, optional
        Folder of the files and the zip; None: `submission` in the output folder.
    other : path, optional
        Output folder of the evaluation of the model that was trained on the other language; the
        report then has the overall mean.

    Raises
    ------
    ValueError
        If `submitted` is another word, the numbers of folders and weights do not fit, or a weight
        is not above 0.
    """

    submitted: str = "distance"
    normalize: bool = False
    groups: str | None = None
    fuse: tuple = ()
    weights: tuple | None = None
    submission: str | None = None
    other: str | None = None

    def __post_init__(self):
        if self.submitted not in DIRECTIONS:
            raise ValueError(
                f"submitted: expected {' or '.join(DIRECTIONS)}, got {self.submitted!r}"
            )
        fuse = [self.fuse] if isinstance(self.fuse, str | os.PathLike) else self.fuse or ()
        weights = [1.0] * (1 + len(fuse)) if self.weights is None else self.weights
        if len(weights) != 1 + len(fuse) or min(weights) <= 0:
            raise ValueError(
                f"weights: expected {1 + len(fuse)} numbers above 0, of this model and of each "
                f"folder of fuse, got {self.weights}"
            )
        object.__setattr__(self, "fuse", tuple(fuse))
        object.__setattr__(self, "weights", tuple(weights))


@dataclass(frozen=True)
class Challenge:
    """What a list is in a challenge.

    protocol : str, "fame" or "flag"
    part : str, "heard" or "unheard", and in FLAG its folder, such as "gender/heard"
    language : str, that the list is in
    trained_on : str
    file : str, of the submission, as "no_gender/sub_score_v4_English_heard.txt"
    keys : numpy.ndarray of shape (num_rows,), str
    lines : numpy.ndarray of shape (num_rows,), int, in the file of the list
    scoring : Scoring
    version : str, "v1" to "v4"
    """

    protocol: str
    part: str
    language: str
    trained_on: str
    file: str
    keys: np.ndarray = field(repr=False)
    lines: np.ndarray = field(repr=False)
    scoring: Scoring
    version: str

    @property
    def other_files(self):
        """The files of the other direction of training, which FAME wants in one zip; a list."""
        if self.protocol != "fame":
            return []
        others = (name for name in VERSIONS[self.version].languages if name != self.trained_on)
        return [
            f"sub_score_{self.version}_{name}_{part}.txt"
            for name in others
            for part in ("heard", "unheard")
        ]


class ChallengeLists:
    """The heard and the unheard list of a model that was trained on one language.

    Arguments
    ---------
    protocol : str
        "fame": files `sub_score_<version>_<trained on>_heard.txt` and `_unheard.txt`. "flag":
        `<folder>/sub_score_<version>_<language of the list>_heard.txt` and `_unheard.txt`.
    version : str
        "v1" to "v4".
    trained_on : str
        The language that the model was trained on.
    lists : dict
        Language to list; of "flag" by folder, "no_gender" and "gender". Lines `key voice face`.
    truth : dict, optional
        Files `key label` with the same names as in `lists`. Without, labels come from the people of
        the embeddings; where these are not known, the lists are scored only.
    **scoring
        Of `Scoring`.

    Raises
    ------
    ValueError
        If an argument is none of these, a list or its truth has a faulty line, or their keys
        differ.

    Example
    -------
    >>> path = getfixture("tmp_path") / "English_test.txt"
    >>> _ = path.write_text("ysuvkz41 voices/English/00000.wav faces/English/00000.jpg\\n")
    >>> lists = ChallengeLists("fame", "v1", "English", {"English": str(path)})
    >>> [trials.challenge.file for trials in lists.read()]
    ['sub_score_v1_English_heard.txt']
    """

    def __init__(self, protocol, version, trained_on, lists, truth=None, **scoring):
        if protocol not in ("fame", "flag"):
            raise ValueError(f"protocol: expected fame or flag, got {protocol!r}")
        version_of(version)
        self.protocol, self.version, self.scoring = protocol, version, Scoring(**scoring)
        self.trained_on = self._language(trained_on, "trained_on")
        self.lists = self._by_folder(lists, "lists")
        self.truth = self._by_folder(truth or {}, "truth")
        if not any(self.lists.values()):
            raise ValueError("lists: expected a list of at least one language, got none")
        self.clip_names = MavCelebNames()

    def _language(self, name, option):
        found = language_of(str(name), self.version)
        if found is None:
            raise ValueError(
                f"{option}: expected a language of {self.version}, "
                f"{' or '.join(VERSIONS[self.version].languages)}, got {name!r}"
            )
        return found

    def _by_folder(self, files, option):
        """Returns folder ("" in FAME) -> language -> file, of the files that are given."""
        if not isinstance(files, dict):
            raise ValueError(f"{option}: expected languages with files, got {files!r}")
        folders = {"": files}
        if self.protocol == "flag":
            folders = {folder: part for folder, part in files.items() if part is not None}
            flat = [folder for folder, part in folders.items() if not isinstance(part, dict)]
            if flat:
                raise ValueError(
                    f"{option}: expected folders with files by language, such as {{no_gender: "
                    f"{{English: list.txt}}}}, got {flat[0]}: {folders[flat[0]]!r}"
                )
        return {
            folder: {
                self._language(name, option): file
                for name, file in part.items()
                if file is not None
            }
            for folder, part in folders.items()
        }

    def read(self, embeddings=None, metadata=None):
        """Returns the `TrialList`s, heard before unheard."""
        found = []
        for folder, part in self.lists.items():
            for language in sorted(part, key=lambda name: name != self.trained_on):
                truth = self.truth.get(folder, {}).get(language)
                found.append(self._read(folder, language, part[language], truth))
        return found

    def _read(self, folder, language, file, truth):
        listed = read_pairs(file, self.version)
        table = listed.table
        wrong = table[(table.language != language) | (table.key == "")]
        if len(wrong):
            row = wrong.iloc[0]
            raise ValueError(
                f"{file}, line {row.line}: expected 'key voice face' in {language}, got "
                f"{row.key} {row.voice} {row.face}; name the list of {language}"
            )
        part = "heard" if language == self.trained_on else "unheard"
        stated = self.trained_on if self.protocol == "fame" else language
        name = "/".join(filter(None, (folder, f"sub_score_{self.version}_{stated}_{part}.txt")))
        labels = None if truth is None else labels_of(table, file, truth)
        place = "/".join(filter(None, (folder, part)))
        return TrialList(
            "_".join(filter(None, (self.protocol, folder, language, part))),
            "verification",
            str(file),
            table.voice.to_numpy(object),
            table.face.to_numpy(object),
            labels,
            "voice",
            self.clip_names,
            challenge=Challenge(
                self.protocol,
                place,
                language,
                self.trained_on,
                name,
                table.key.to_numpy(object),
                table.line.to_numpy(),
                self.scoring,
                self.version,
            ),
        )


class FameLists(ChallengeLists):
    """The lists of FAME in the folder of its splits, `<Language>_test.txt`.

    Arguments
    ---------
    folder : path
    version : str
        "v1", "v2" or "v3".
    trained_on : str
    truth_folder : path, optional
        With files of the same names, lines `key label`.
    **scoring
        Of `Scoring`.
    """

    def __init__(self, folder, version, trained_on, truth_folder=None, **scoring):
        files = {language: f"{language}_test.txt" for language in version_of(version).languages}
        lists = {language: os.path.join(folder, file) for language, file in files.items()}
        truth = None
        if truth_folder is not None:
            truth = {name: os.path.join(truth_folder, file) for name, file in files.items()}
        super().__init__("fame", version, trained_on, lists, truth, **scoring)


def labels_of(table, file, truth):
    """Returns the labels (num_rows,), bool, of a list by a file of truth.

    Arguments
    ---------
    table : pandas.DataFrame
        Of `ListedPairs`.
    file, truth : path

    Raises
    ------
    ValueError
        If a key is in one of them only, with file and line.
    """
    labels, lines = read_truth(truth)
    known = table.key.isin(labels.keys())
    if not known.all():
        row = table[~known].iloc[0]
        raise ValueError(
            f"{file}, line {row.line}: key {row.key!r} has no label in {truth}; give the truth of "
            "this list"
        )
    more = labels.keys() - set(table.key)
    if more:
        key = min(more, key=lines.__getitem__)
        raise ValueError(
            f"{truth}, line {lines[key]}: key {key!r} is not in {file}; give the truth of this list"
        )
    return table.key.map(labels).to_numpy(bool)
