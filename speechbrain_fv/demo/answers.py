"""From uploaded files to a ranking that the page shows; knows nothing of the page."""

from pathlib import Path
from typing import NamedTuple

import torch

from speechbrain_fv.demo.limits import check_size
from speechbrain_fv.demo.pictures import face_picture, voice_picture, voice_sound
from speechbrain_fv.inference.clips import least_of, silence_notices, swapped_told
from speechbrain_fv.media.audio import read_audio, resampled_notice
from speechbrain_fv.media.images import read_image

PLAYED_SECONDS = 10
"""Longest part of a recording that is played where silence is removed from what the model hears."""


class Clip(NamedTuple):
    """A file that could be used.

    name : str, of the file
    picture : str, address of a picture
    notices : list of str, what had to be converted
    embedding : torch.Tensor of shape (K,), or None where it is only shown
    sound : str, address of the part of a voice that the model hears; of its middle where the model
        hears all, or all speech; "" of a face
    """

    name: str
    picture: str
    notices: list
    embedding: torch.Tensor | None
    sound: str = ""


class Candidate(NamedTuple):
    """A place in a ranking: the clip, its score, its probability, whether it is accepted."""

    clip: Clip
    score: float
    probability: float
    accepted: bool


class Result(NamedTuple):
    """What is shown of a comparison.

    probe : Clip
    candidates : list of Candidate, best first
    left_out : list of (name, reason)
    threshold : float, the score from which on a pair is taken for one person
    threshold_probability : float, its probability; 0.5 unless an older version made the model
    detected : bool, whether the model sees what a detector took for the face
    """

    probe: Clip
    candidates: list
    left_out: list
    threshold: float
    threshold_probability: float
    detected: bool


class Comparer:
    """Ranks uploaded files with a model.

    Arguments
    ---------
    model : FaceVoiceAssociation
        On images and speech.
    limits : Limits
    detector : FaceDetector, optional
        Finds faces where a visitor asks for it.
    """

    def __init__(self, model, limits, detector=None):
        for name, kind in (("face_input", "image"), ("voice_input", "speech")):
            if model.config[name] != kind:
                raise ValueError(
                    "this model takes precomputed vectors; the page needs one that was trained on "
                    "images and speech"
                )
        reason = model.score.unable("verification")
        if reason:
            raise ValueError(
                f"the page tells how far to trust each pair, which this model cannot: {reason}"
            )
        self.model, self.limits, self.detector = model, limits, detector
        self.least = least_of(model.config)

    def rank_faces(self, voice, faces, detect_faces=False):
        """Returns the `Result` of one voice and several faces.

        Arguments
        ---------
        voice : path
        faces : list of path
        detect_faces : bool
            Whether to crop to the face that the detector finds.

        Raises
        ------
        ValueError
            If the voice or all faces are unusable, or there are too many; without file paths.
        """
        probe = self._named("voice", self._voice, voice, False)
        return self._ranked(probe, "face", self._face, faces, detect_faces, detect_faces)

    def rank_voices(self, face, voices, detect_faces=False):
        """Returns the `Result` of one face and several voices; arguments as for `rank_faces`."""
        probe = self._named("face", self._face, face, detect_faces)
        return self._ranked(probe, "voice", self._voice, voices, True, detect_faces)

    def shown(self, kind, paths):
        """Returns how files look before anything is ranked: clips, and what cannot be used.

        Arguments
        ---------
        kind : str
            "face" or "voice".
        paths : list of path

        Returns
        -------
        clips : list of Clip
            Without embeddings.
        left_out : list of (name, reason)
        """
        look = self._seen if kind == "face" else self._heard
        return self._usable(lambda path: look(path)[0], paths[: self.limits.files])

    def _ranked(self, probe, kind, read, paths, option, detected):
        if len(paths) > self.limits.files:
            raise ValueError(f"{len(paths)} {kind}s are too many; at most {self.limits.files}")
        clips, left_out = self._usable(lambda path: read(path, option), paths)
        if not clips:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out)
            raise ValueError(f"no {kind} could be used. {reasons}")
        candidates = torch.stack([clip.embedding for clip in clips])
        direction = "V-F" if kind == "face" else "F-V"
        ranking = self.model.match(probe.embedding, candidates, direction)
        rows = zip(*(field.tolist() for field in ranking), strict=True)
        threshold = self.model.threshold
        at_threshold = self.model.calibration.probability(torch.tensor(threshold)).item()
        return Result(
            probe,
            [
                Candidate(clips[index], score, probability, score >= threshold)
                for index, score, probability in rows
            ],
            left_out,
            threshold,
            at_threshold,
            detected and self.detector is not None,
        )

    @staticmethod
    def _usable(read, paths):
        """Returns what becomes of files, and (name, reason) of those that cannot be used."""
        usable, left_out = [], []
        for path in paths:
            try:
                usable.append(read(path))
            except ValueError as error:
                left_out.append((Path(path).name, _reason(error, path)))
        return usable, left_out

    def _named(self, kind, read, path, option):
        try:
            return read(path, option)
        except ValueError as error:
            reason = _reason(error, path)
            raise ValueError(f"the {kind} {Path(path).name} cannot be used: {reason}") from error

    def _face(self, path, detect_faces):
        clip, image = self._seen(path, detect_faces)
        return clip._replace(embedding=self.model.encode_face(image)[0])

    def _seen(self, path, detect_faces=False):
        """Returns a face as a `Clip` without embedding, and its image."""
        check_size(path, self.limits)
        with swapped_told(path, "face"):
            image = read_image(path, self.limits.pixels, self.least.face_pixels)
        notices = []
        if detect_faces and self.detector is not None:
            found = self.detector.find(image)
            image, notices = found.crop, found.notices
        return Clip(Path(path).name, face_picture(image), notices, None), image

    def _voice(self, path, small):
        clip, (samples, rate) = self._heard(path, small)
        clip = clip._replace(embedding=self.model.encode_voice_files(path)[0])
        if self.model.config["remove_silence"]:
            return clip
        silent = silence_notices(self.model.readers["voice_reader"].window(samples, rate))
        return clip._replace(notices=[*clip.notices, *silent])

    def _heard(self, path, small=True):
        """Returns a voice as a `Clip` without embedding, and its samples and their rate."""
        check_size(path, self.limits)
        with swapped_told(path, "voice"):
            recording = read_audio(path, None, self.limits.seconds, self.least)
        samples, rate, notices = recording.samples, recording.rate, list(recording.notices)
        reader = self.model.readers["voice_reader"]
        if rate != reader.sample_rate:
            notices.append(resampled_notice(rate, reader.sample_rate))
        heard = None
        if not self.model.config["remove_silence"]:
            heard = _middle(len(samples) / rate, reader.num_samples / reader.sample_rate)
        if heard and not small:
            notices.append(f"the model hears the {heard[1] - heard[0]:g} s between the lines")
        picture = voice_picture(samples, rate, None if small else heard, small)
        first, last = (
            heard or _middle(len(samples) / rate, PLAYED_SECONDS) or (0, self.limits.seconds)
        )
        part = samples[round(first * rate) : round(last * rate)]
        sound = voice_sound(part, rate, reader.sample_rate)
        return Clip(Path(path).name, picture, notices, None, sound), (samples, rate)


def _middle(seconds, taken):
    """Returns beginning and end of the middle of a recording; None if all of it is taken."""
    return ((seconds - taken) / 2, (seconds + taken) / 2) if seconds > taken else None


def _reason(error, path):
    """Returns the text of an error without the file's place on the server."""
    name = Path(path).name
    return str(error).replace(str(path), name).removeprefix(f"{name}: ")
