"""Several photos and several recordings of one person, as one face and one voice."""

import os
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from speechbrain_fv.inference import clips
from speechbrain_fv.inference.inputs import Faces, OnError, Skipped, Source, Voices
from speechbrain_fv.inference.sources import name_apart, on_disk
from speechbrain_fv.media.kinds import media_in, media_kind
from speechbrain_fv.scores.averaging import averaged

Modality = Literal["face", "voice"]
Person = Source | Sequence[Source]
"""A file, a folder of files, or a list of files and folders."""

MEASURED = "measured"
"""Weights by what was found in the files, see `clips.Loaded`."""

WHAT = {"face": "image", "voice": "recording"}


class People(NamedTuple):
    """The embeddings of people.

    embeddings : torch.Tensor of float32, shape (P, K)
    kept : list of P int
        Places in the list of people; of whom no file can be used, there is no embedding.
    num_clips : list of P int
        Files that were averaged.
    """

    embeddings: torch.Tensor
    kept: list
    num_clips: list


def files_of(person: Person, modality: Modality) -> list:
    """Returns the files of a person in one modality, in order.

    Arguments
    ---------
    person : path, or list of paths
        Of a folder, the files of the modality in it and in folders below, told by their names.
    modality : str
        "face" or "voice".

    Raises
    ------
    ValueError
        If a folder has no such file, or there is nothing.
    """
    if isinstance(person, list | tuple):
        if not person:
            raise ValueError(f"{modality}: expected at least one file of a person, got none")
        return [file for part in person for file in files_of(part, modality)]
    if not _is_folder(person):
        return [person]
    files = media_in(person)[0][modality]
    if not files:
        raise ValueError(f"{person}: no {WHAT[modality]} in this folder; check the path")
    return files


def kind_of(person: Person, on_error: OnError = "raise") -> Modality:
    """Returns "face" or "voice": what the files of a person are.

    Arguments
    ---------
    person : path, or list of paths
    on_error : str
        "skip": of a list, files that are neither tell nothing unless all are.

    Raises
    ------
    ValueError
        If they are both, or neither.
    """
    if isinstance(person, list | tuple):
        kinds, errors = set(), []
        for part in person:
            try:
                kinds.add(kind_of(part, on_error))
            except ValueError as error:
                errors.append(error)
        if errors and (on_error == "raise" or not kinds):
            raise errors[0]
    elif _is_folder(person):
        kinds = {kind for kind, files in media_in(person)[0].items() if files}
    else:
        return media_kind(person)
    if len(kinds) != 1:
        found = "images and recordings" if kinds else "neither an image nor a recording"
        raise ValueError(
            f"{told(person)}: {found}, expected one kind, of which the other is looked for; name "
            "the files, or a folder of one kind"
        )
    return kinds.pop()


class EncodesPeople:
    """What `FaceVoiceAssociation` does with several clips of one person."""

    def encode_person_face(
        self, images: Faces, weights: Sequence[float] | None = None
    ) -> torch.Tensor:
        """Returns one embedding of several images of one person, shape (1, K): their average.

        Arguments
        ---------
        images : as for `encode_face`
        weights : sequence of numbers, optional
            How much each image counts, at least 0; all alike by default.

        Raises
        ------
        ValueError
            As `encode_face`, and as `scores.averaging.averaged`.
        """
        return self._average(self.encode_face(images), weights)

    def encode_person_voice(
        self,
        wavs: Voices,
        wav_lens: torch.Tensor | None = None,
        weights: Sequence[float] | None = None,
    ) -> torch.Tensor:
        """Returns one embedding of several clips of one voice, shape (1, K): their average.

        Arguments
        ---------
        wavs, wav_lens : as for `encode_voice`
        weights : as for `encode_person_face`
        """
        return self._average(self.encode_voice(wavs, wav_lens), weights)

    def encode_people_files(
        self,
        modality: Modality,
        people_files: Sequence[Person],
        weights: str | Sequence[Sequence[float]] | None = None,
        skipped: Skipped | None = None,
        on_error: OnError = "raise",
        **options: Any,
    ) -> People:
        """Returns one embedding per person, the average of those of the person's files.

        Arguments
        ---------
        modality : str
            "face" or "voice".
        people_files : iterable of P people
            A person is a file (a path, bytes or an open file), a folder with the person's files of
            the modality, or an iterable of both.
        weights : "measured", or list of P lists of numbers, optional
            How much each file counts: as `encode_face_files` measures it, or as given; all of a
            person alike by default.
        skipped, on_error
            As for `encode_face_files`; who has no usable file is left out.
        **options
            `detect_faces` or `remove_silence`, and `batch_size`, as for `encode_face_files` and
            `encode_voice_files`.

        Returns
        -------
        People
            Embeddings (P, K), whose they are, and how many files were averaged.

        Raises
        ------
        ValueError
            If a folder holds no such file, a file cannot be used, the weights are not as many as
            the files, negative or all 0, or the embeddings of a person cancel each other.
        """
        with clips.skipping(on_error, skipped) as unusable, on_disk(people_files) as (people,):
            people = people if isinstance(people, list) else [people]
            return self._people(modality, people, weights, unusable, **options)

    def _people(self, modality, people, weights=None, skipped=None, **options):
        """Returns the `People` of a list without bytes and open files."""
        listed = [_files_or_none(person, modality, skipped) for person in people]
        flat = [file for files in listed for file in files]
        name_apart(flat)
        owners = np.repeat(np.arange(len(listed)), np.array([len(files) for files in listed], int))
        given = _given_weights(weights, listed)
        unusable, measured = None if skipped is None else [], []
        encode = self.encode_face_files if modality == "face" else self.encode_voice_files
        embeddings = encode(flat, skipped=unusable, measured=measured, **options)
        usable = np.ones(len(flat), dtype=bool)
        if unusable:
            skipped += unusable
            broken = {path for path, _ in unusable}
            usable = np.array([str(file) not in broken for file in flat])
        owners = owners[usable]
        given = measured if given is None else given[usable]
        names = [told(person) for person in people]
        kept, places, counts = np.unique(owners, return_inverse=True, return_counts=True)
        if len(kept) < len(places):  # of single clips there is nothing to average
            means = averaged(
                embeddings.detach().cpu().numpy(),
                places,
                [names[index] for index in kept],
                given,
                self.score,
            )
            embeddings = torch.as_tensor(means, dtype=torch.float32, device=embeddings.device)
        return People(embeddings, kept.tolist(), counts.tolist())

    def _average(self, embeddings, weights):
        if len(embeddings) == 1 and weights is None:
            return embeddings
        owners = np.zeros(len(embeddings), dtype=np.int64)
        mean = averaged(
            embeddings.detach().cpu().numpy(), owners, ["the person"], weights, self.score
        )
        return torch.as_tensor(mean, dtype=torch.float32, device=embeddings.device)


def _files_or_none(person, modality, skipped):
    """Returns `files_of` a person; where there is none, [], and `skipped` says why."""
    try:
        return files_of(person, modality)
    except ValueError as error:
        if skipped is None:
            raise
        skipped.append((told(person), str(error)))
        return []


def _given_weights(weights, listed):
    """Returns one weight per file, shape (num_files,); None for those that are measured."""
    num_files = sum(map(len, listed))
    if weights is None:
        return np.ones(num_files)
    if isinstance(weights, str):
        if weights != MEASURED:
            raise ValueError(f"weights: expected {MEASURED!r}, numbers or None, got {weights!r}")
        return None
    weights = list(weights)
    if len(weights) != len(listed):
        raise ValueError(f"weights: expected those of {len(listed)} people, got {len(weights)}")
    for files, of_person in zip(listed, weights, strict=True):
        if np.shape(of_person) != (len(files),):
            raise ValueError(
                f"weights: expected {len(files)} for {told(files)}, one per file, got the shape "
                f"{np.shape(of_person)}"
            )
    return np.concatenate([np.asarray(of_person, np.float64) for of_person in weights])


def _is_folder(given):
    return isinstance(given, str | os.PathLike) and os.path.isdir(given)


def told(person):
    """Returns the name of a person's file, or of the first and how many more there are."""
    if not isinstance(person, list | tuple) or not person:
        return str(person)
    more = f" and {len(person) - 1} more" if len(person) > 1 else ""
    return f"{told(person[0])}{more}"
