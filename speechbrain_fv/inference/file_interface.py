"""Files of faces and voices: encoded, verified and ranked."""

from collections.abc import Sequence

import numpy as np
import torch

from speechbrain_fv.inference import clips, inputs
from speechbrain_fv.inference.inputs import BATCH_SIZE, OnError, Paths, Skipped
from speechbrain_fv.inference.people import Person, kind_of, told
from speechbrain_fv.inference.results import FileRanking, FileVerification
from speechbrain_fv.inference.sources import on_disk


class FileInterface:
    """What `FaceVoiceAssociation` does with files.

    Wherever one is expected it may be a path, the bytes of a file, or a file opened for reading
    bytes; lists of them may be any iterable. `on_error` means the same everywhere: "raise", the
    first file that cannot be used is an error; "skip", it is left out and named.
    """

    def encode_face_files(
        self,
        paths: Paths,
        detect_faces: bool | None = None,
        batch_size: int = BATCH_SIZE,
        skipped: Skipped | None = None,
        measured: list[float] | None = None,
        on_error: OnError = "raise",
    ) -> torch.Tensor:
        """Returns face embeddings of image files.

        Arguments
        ---------
        paths : path, bytes or open file, or iterable of these
            Images of any size and format; upright after their EXIF.
        detect_faces : bool, optional
            Whether to find the face and crop to it (extra ``detect``); by default as in training.
            Without it the image is taken for a crop of a face.
        batch_size : int
            Images that go through the network at once.
        skipped : list, optional
            Where (path, reason) of each file that cannot be used is added, with or without
            `on_error`.
        measured : list, optional
            Where how much each usable file can tell is added: the detector's certainty of a face,
            in (0, 1], 1 where it does not look; of a recording the seconds that the model hears.
        on_error : str
            "raise": the first file that cannot be used is an error. "skip": its row is left out,
            the others keep their order, and a warning names it. A list `skipped` means skip.

        Returns
        -------
        embeddings : torch.Tensor of float32, shape (N, K)

        Raises
        ------
        ValueError
            If a file cannot be used, or the model takes vectors.
        """
        self._needs("face_input", "image", "image files")
        least = clips.least_of(self.config)
        detector = clips.face_detector(self.config, detect_faces)
        load = clips.face_loader(self.readers["face_reader"], detector, least)
        prepared = clips.load_all(paths, load, on_error, skipped, measured)
        return self._embed("face", prepared, batch_size)

    def encode_voice_files(
        self,
        paths: Paths,
        remove_silence: bool | None = None,
        batch_size: int = BATCH_SIZE,
        skipped: Skipped | None = None,
        measured: list[float] | None = None,
        on_error: OnError = "raise",
    ) -> torch.Tensor:
        """Returns voice embeddings of audio files.

        Arguments
        ---------
        paths : path, bytes or open file, or iterable of these
            Audio of any rate and number of channels that soundfile reads, of 1 s to 1 h; it is
            resampled and mixed down with a notice in the log. The middle `clip_seconds` count.
        remove_silence : bool, optional
            Whether to keep only the speech that silero-vad finds; by default as in training.
        batch_size, skipped, measured, on_error
            As for `encode_face_files`.

        Returns
        -------
        embeddings : torch.Tensor of float32, shape (N, K)

        Raises
        ------
        ValueError
            If a file cannot be used, or the model takes vectors.
        """
        self._needs("voice_input", "speech", "audio files")
        if remove_silence is None:
            remove_silence = self.config["remove_silence"]
        inputs.check_default_dtype()
        least = clips.least_of(self.config)
        load = clips.voice_loader(self.readers["voice_reader"], remove_silence, least)
        prepared = clips.load_all(paths, load, on_error, skipped, measured)
        return self._embed("voice", prepared, batch_size)

    def verify_files(
        self,
        face: Person | Sequence[Person],
        voice: Person | Sequence[Person],
        detect_faces: bool | None = None,
        remove_silence: bool | None = None,
        weights: str | None = None,
        on_error: OnError = "raise",
    ) -> FileVerification:
        """Returns whether image and audio files belong together, pair by pair, as `verify`.

        Arguments
        ---------
        face : path, bytes or open file, or iterable of these
            In place of a path, several files of one person are averaged: a folder, or a list
            within the list. Threshold and probability are those of single files.
        voice : path, bytes or open file, or iterable of as many
        detect_faces, remove_silence
            As for `encode_face_files` and `encode_voice_files`.
        weights : str, optional
            "measured" weighs a person's files as `encode_face_files` measures them.
        on_error : str
            "skip": a pair without a usable file on either side has NaN for score and probability
            and is not accepted; the result names the files.

        Returns
        -------
        FileVerification
            Two floats and a bool for one face and one voice; of shape (B,) for lists.

        Raises
        ------
        ValueError
            As `verify`; if a file cannot be used, or with "skip" no pair can be.
        """
        skipped = clips.skipped_list(on_error)
        with on_disk(face, voice) as given:
            faces, voices = map(_people_in, given)
            if len(faces) != len(voices):
                raise ValueError(
                    f"verify_files: expected as many faces as voices, got {len(faces)} and "
                    f"{len(voices)}; match_files compares one with many"
                )
            usable = [
                self._people("face", faces, weights, skipped, detect_faces=detect_faces),
                self._people("voice", voices, weights, skipped, remove_silence=remove_silence),
            ]
        kept, *rows = np.intersect1d(*(people.kept for people in usable), return_indices=True)
        if skipped and not len(kept):
            raise ValueError(f"no pair can be used; the first file: {skipped[0][1]}")
        found = self.verify(
            *(people.embeddings[of_kept] for people, of_kept in zip(usable, rows, strict=True))
        )
        if any(isinstance(people, list) for people in given):
            result = FileVerification(*(_among(field, kept, len(faces)) for field in found))
        else:
            result = FileVerification(*(field.item() for field in found))
        result.skipped = skipped or []
        return result

    def match_files(
        self,
        probe: Person,
        candidates: Sequence[Person],
        detect_faces: bool | None = None,
        remove_silence: bool | None = None,
        weights: str | None = None,
        on_error: OnError = "raise",
    ) -> FileRanking:
        """Returns the candidate files, best match first.

        Arguments
        ---------
        probe : path, bytes or open file, or iterable of these
            An image or a recording; which, its content tells. Several, or a folder, are one
            person, whose files are averaged.
        candidates : iterable of paths, bytes or open files
            Recordings for an image, images for a recording. A folder, or a list within the list, is
            one candidate. Probabilities are those of single files.
        detect_faces, remove_silence
            As for `encode_face_files` and `encode_voice_files`.
        weights : str, optional
            "measured" weighs a person's files as `encode_face_files` measures them.
        on_error : str
            "skip": a candidate without a usable file is not ranked; the result names the files.

        Returns
        -------
        FileRanking
            Of shape (N,), with the names of the files.

        Raises
        ------
        ValueError
            As `match`; if a file cannot be used, with "skip" all of the probe or of the candidates.
        """
        options = {
            "face": {"detect_faces": detect_faces},
            "voice": {"remove_silence": remove_silence},
        }
        skipped = clips.skipped_list(on_error)
        with on_disk(probe, candidates) as (probe, candidates):
            candidates, kind = _people_in(candidates), kind_of(probe, on_error)
            found, direction = ("voice", "F-V") if kind == "face" else ("face", "V-F")
            asked = self._people(kind, [probe], weights, skipped, **options[kind])
            others = self._people(found, candidates, weights, skipped, **options[found])
            for people, whose in ((asked, "the probe"), (others, "the candidates")):
                if skipped and not people.kept:
                    raise ValueError(f"no file of {whose} can be used; the first: {skipped[0][1]}")
            names = [told(person) for person in candidates]
        ranking = self.match(asked.embeddings[0], others.embeddings, direction)
        indices = torch.tensor(others.kept, device=ranking.indices.device)[ranking.indices]
        result = FileRanking(indices, ranking.scores, ranking.probabilities)
        result.files = [names[index] for index in indices.tolist()]
        result.skipped = skipped or []
        return result

    def _needs(self, name, kind, what):
        if self.config[name] != kind:
            raise ValueError(
                f"this model takes precomputed vectors, not {what}; encode them with the networks "
                "it was trained behind, and pass the vectors to encode_face and encode_voice"
            )


def _people_in(given):
    """Returns people as a list; one that is no list is alone."""
    return given if isinstance(given, list) else [given]


def _among(values, places, count):
    """Returns values at their places among `count`; the others are NaN, or False."""
    empty = False if values.dtype == torch.bool else torch.nan
    among = torch.full((count,), empty, dtype=values.dtype, device=values.device)
    among[torch.as_tensor(places, dtype=torch.int64, device=values.device)] = values
    return among
