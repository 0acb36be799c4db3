"""Files of faces and voices, compared."""

from collections.abc import Sequence

import torch

from speechbrain_fv.inference import clips
from speechbrain_fv.inference.inputs import OnError
from speechbrain_fv.inference.people import Person, kind_of, told
from speechbrain_fv.inference.results import FileRanking, FileVerification
from speechbrain_fv.inference.sources import on_disk


class ComparesFiles:
    """What `FaceVoiceAssociation` does with files of several people."""

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
        face : path or list of paths
            In place of a path, several files of one person are averaged: a folder, or a list
            within the list. Threshold and probability are those of single files. A file may be
            given as its bytes, or opened for reading bytes.
        voice : path or list of paths, as many
        detect_faces, remove_silence
            As for `encode_face_files` and `encode_voice_files`.
        weights : str, optional
            "measured" weighs a person's files as `encode_face_files` measures them.
        on_error : str
            "skip": a pair whose file cannot be used is NaN, and the result names the file.

        Returns
        -------
        FileVerification
            Of floats for one face and one voice, of shape (B,) for lists.

        Raises
        ------
        ValueError
            As `verify`; if a file cannot be used, or with "skip" no pair can be.
        """
        skipped, single = clips.skipped_list(on_error), not isinstance(face, list | tuple)
        options = {"detect_faces": detect_faces}, {"remove_silence": remove_silence}
        with on_disk(face, voice) as given:
            faces, voices = (_listed(people) for people in given)
            if len(faces) != len(voices):
                raise ValueError(
                    f"verify_files: expected as many faces as voices, got {len(faces)} and "
                    f"{len(voices)}; match_files compares one with many"
                )
            num_pairs = len(faces)
            faces = self._people("face", faces, weights, skipped, **options[0])
            voices = self._people("voice", voices, weights, skipped, **options[1])
        return _verified(self, faces, voices, num_pairs, single, skipped or [])

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
        probe : path, or list of paths
            An image or a recording; which, its content tells. A folder, or a list, is one person,
            whose files are averaged.
        candidates : list of paths
            Recordings for an image, images for a recording. A folder, or a list within the list, is
            one candidate. Probabilities are those of single files.
        detect_faces, remove_silence
            As for `encode_face_files` and `encode_voice_files`.
        weights : str, optional
            "measured" weighs a person's files as `encode_face_files` measures them.
        on_error : str
            "skip": a candidate without a usable file is not ranked, and the result names it.

        Returns
        -------
        FileRanking
            Of shape (N,), with the names of the files.

        Raises
        ------
        ValueError
            As `match`; if a file cannot be used, with "skip" the probe's or all candidates'.
        """
        options = {
            "face": {"detect_faces": detect_faces},
            "voice": {"remove_silence": remove_silence},
        }
        skipped = clips.skipped_list(on_error)
        with on_disk(probe, candidates) as (probe, candidates):
            candidates, kind = _listed(candidates), kind_of(probe)
            found, direction = ("voice", "F-V") if kind == "face" else ("face", "V-F")
            asked = self._people(kind, [probe], weights, None, **options[kind])
            others = self._people(found, candidates, weights, skipped, **options[found])
            _some_usable(others, skipped)
            names = [told(person) for person in candidates]
        ranking = self.match(asked.embeddings[0], others.embeddings, direction)
        indices = [others.kept[place] for place in ranking.indices.tolist()]
        places = torch.tensor(indices, device=ranking.indices.device)
        result = FileRanking(places, ranking.scores, ranking.probabilities)
        result.files, result.skipped = [names[index] for index in indices], skipped or []
        return result


def _listed(people):
    """Returns people as a list; one that is no list is alone."""
    return list(people) if isinstance(people, list | tuple) else [people]


def _some_usable(people, skipped):
    """Raises ValueError if files were skipped and none is left."""
    if skipped and not people.kept:
        raise ValueError(f"no file can be used; the first: {skipped[0][1]}")


def _verified(model, faces, voices, num_pairs, single, skipped):
    """Returns the verdicts on pairs of `People` of whom some may lack."""
    for people in (faces, voices):
        _some_usable(people, skipped)
    heard = set(voices.kept)
    both = [place for place in faces.kept if place in heard]
    if skipped and not both:
        raise ValueError(f"no pair can be used; the first file: {skipped[0][1]}")
    found = model.verify(*(_embeddings_of(people, both) for people in (faces, voices)))
    if single:
        result = FileVerification(*(field.item() for field in found))
    else:
        shape, device = (num_pairs,), found.score.device
        missing = torch.full(shape, torch.nan, device=device)
        places = torch.tensor(both, dtype=torch.int64, device=device)
        result = FileVerification(
            missing.index_copy(0, places, found.score),
            missing.index_copy(0, places, found.probability),
            torch.zeros(shape, dtype=torch.bool, device=device).index_copy(
                0, places, found.decision
            ),
        )
    result.skipped = skipped
    return result


def _embeddings_of(people, places):
    """Returns the embeddings of the people at some places of the list that was given."""
    rows = [people.kept.index(place) for place in places]
    return people.embeddings[torch.tensor(rows, dtype=torch.int64, device=people.embeddings.device)]
