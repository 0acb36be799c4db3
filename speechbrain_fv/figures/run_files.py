"""The files of a run or of an evaluation, each read when it is first asked for."""

import functools
import json
from pathlib import Path

import pandas as pd
from ruamel.yaml import YAML, YAMLError

from speechbrain_fv.arrays import read_arrays
from speechbrain_fv.evaluation.calibration import fit_calibration
from speechbrain_fv.evaluation.embeddings import load_embeddings
from speechbrain_fv.evaluation.groups import evaluate_groups
from speechbrain_fv.figures import plots
from speechbrain_fv.figures.plots.media import read_picture
from speechbrain_fv.figures.sounds import read_mp3
from speechbrain_fv.files import read_table
from speechbrain_fv.protocols import ATTRIBUTES
from speechbrain_fv.scores import by_name

CLIPS = {"face": "faces", "voice": "voices"}
SEEN_FILE = "seen_clips.npz"


class RunFiles:
    """What a folder holds. Whatever is absent or cannot be read is a ValueError when asked for.

    Arguments
    ---------
    folder : str or Path
        With any of report.json, train_curves.csv, embeddings_test.npz, embeddings_untrained.npz,
        metadata_test.csv, hyperparams.yaml and manifests/.
    embeddings, metadata : str or Path, optional
        Files that take the place of embeddings_test.npz and metadata_test.csv.
    score : Score, optional
        That of the run; by default the one that the report names.

    Raises
    ------
    ValueError
        If there is no such folder.
    """

    def __init__(self, folder, embeddings=None, metadata=None, score=None):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ValueError(
                f"{folder}: no such folder; name the output folder of a training or an evaluation"
            )
        self._score = score
        self.paths = {
            "embeddings": Path(embeddings or self.folder / "embeddings_test.npz"),
            "metadata": Path(metadata or self.folder / "metadata_test.csv"),
        }

    def path(self, name):
        """Returns the path of a file of the folder; ValueError if it is absent."""
        path = self.paths.get(name, self.folder / name)
        if not path.is_file():
            raise ValueError(f"there is no {path.name}")
        return path

    @functools.cached_property
    def report(self):
        """The report as a dict."""
        try:
            report = json.loads(self.path("report.json").read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"report.json cannot be read ({error})") from error
        if not isinstance(report, dict):
            raise ValueError("report.json cannot be read (it holds no report)")
        return report

    def report_with(self, task):
        """Returns the report, which must have a task with any value."""
        if task not in self.report:
            raise ValueError(f"report.json has no {task}")
        if not plots.has_values(self.report[task]):
            reasons = [
                reason
                for path, reason in self.report.get("reasons", {}).items()
                if path.startswith(f"{task}/")
            ]
            raise ValueError(reasons[0] if reasons else f"report.json has no values of {task}")
        return self.report

    @functools.cached_property
    def curves(self):
        """The training curves."""
        return pd.read_csv(self.path("train_curves.csv"))

    @functools.cached_property
    def embeddings(self):
        """The test embeddings."""
        return load_embeddings(self.path("embeddings"))

    @functools.cached_property
    def score(self):
        """How the run compares a face and a voice; the cosine where it has no report."""
        if self._score is not None:
            return self._score
        name = self.optional("report", {}).get("score", "Cosine")
        score = by_name(name)
        if score is None:
            raise ValueError(f"the score of the run, {name}, has weights that are not in its files")
        return score

    @functools.cached_property
    def untrained(self):
        """The embeddings of the same clips before training, row by row."""
        before = load_embeddings(self.path("embeddings_untrained.npz"))
        for name in ("face_id", "voice_id"):
            ids = getattr(before, name)
            if ids is None or ids.tolist() != getattr(self.embeddings, name).tolist():
                raise ValueError("embeddings_untrained.npz holds other clips")
        return before

    @functools.cached_property
    def seen(self):
        """The first training pairs as the model got them."""
        arrays, _ = read_arrays(self.path(SEEN_FILE))
        missing = {"rate", "face_identity", "voice_identity"} - set(arrays)
        if missing or not {"faces", "voices"} & set(arrays):
            raise ValueError(f"{SEEN_FILE} holds no clips")
        return plots.SeenClips(
            arrays.get("faces"),
            arrays.get("voices"),
            int(arrays["rate"]),
            arrays["face_identity"],
            arrays["voice_identity"],
        )

    @functools.cached_property
    def threshold(self):
        """The score from which on a model of this training says one person."""
        valid = load_embeddings(self.path("embeddings_valid.npz"))
        return fit_calibration(valid, self.score).threshold

    @functools.cached_property
    def metadata(self):
        """The labels of the test identities."""
        return read_table(self.path("metadata"))

    @functools.cached_property
    def groups(self):
        """The values within groups: those of the report, or made from embeddings and metadata."""
        groups = self.optional("report", {}).get("groups", {})
        if set(groups) & {*ATTRIBUTES.values()} or (groups and self.optional("metadata") is None):
            return groups
        # Of an evaluation the report has those of the clips' attributes at most.
        people = evaluate_groups(self.embeddings, self.metadata, score=self.score)
        return {**people, **groups}

    @functools.cached_property
    def hyperparameters(self):
        """The resolved YAML of the run; its tags are not acted upon."""
        try:
            values = YAML().load(self.path("hyperparams.yaml").read_text(encoding="utf-8"))
        except (YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"hyperparams.yaml cannot be read ({error})") from error
        return values if isinstance(values, dict) else {}

    @functools.cached_property
    def preparation(self):
        """What the preparation of the corpus wrote down, with its corpus and counts."""
        text = self.path("manifests/preparation.json").read_text(encoding="utf-8")
        return json.loads(text)

    @functools.cached_property
    def excluded(self):
        """The table of the files left out."""
        return read_table(self.path("manifests/excluded.csv"))

    def optional(self, name, default=None):
        """Returns an attribute, or a default where its file is absent or cannot be read."""
        try:
            return getattr(self, name)
        except ValueError:
            return default

    def tiles(self, modality, rows):
        """Returns the clips of rows of the embeddings as tiles, with pictures where found."""
        found = self._clips(modality)
        identities = getattr(self.embeddings, f"{modality}_identity")
        names = getattr(self.embeddings, f"{modality}_id")
        tiles = []
        for row in rows:
            name = f"{modality} {row}" if names is None else str(names[row])
            picture = read_picture(found[name]) if name in found else None
            tiles.append(plots.Tile(name, str(identities[row]), picture))
        return tiles

    def sounds(self, rows):
        """Returns the voices of rows of the embeddings as MP3s; None where there is no file."""
        found, names = self._clips("voice"), self.embeddings.voice_id
        clips = [None if names is None else found.get(str(names[row])) for row in rows]
        return [None if clip is None else read_mp3(clip) for clip in clips]

    @functools.cache  # noqa: B019, as long-lived as the files
    def _clips(self, modality):
        """Returns the rows of the manifest of the test clips by their ID, if there is one."""
        try:
            table = read_table(self.path(f"manifests/{CLIPS[modality]}_test.csv"))
            return {row["ID"]: row for row in table.to_dict("records")}
        except (ValueError, KeyError):
            return {}
