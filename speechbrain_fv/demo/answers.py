"""From uploaded files to a ranking that the page shows; knows nothing of the page."""

from pathlib import Path
from typing import NamedTuple

import torch

from speechbrain_fv.demo.limits import check_size
from speechbrain_fv.demo.pictures import face_picture, voice_picture
from speechbrain_fv.inference.clips import least_of, silence_notices
from speechbrain_fv.media.audio import read_audio, resampled_notice
from speechbrain_fv.media.images import read_image


class Clip(NamedTuple):
    """A file that could be used.

    name : str, of the file
    picture : str, address of a picture
    notices : list of str, what had to be converted
    embedding : torch.Tensor of shape (K,)
    """

    name: str
    picture: str
    notices: list
    embedding: torch.Tensor


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
    """

    probe: Clip
    candidates: list
    left_out: list


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
        return self._ranked(probe, "face", self._face, faces, detect_faces)

    def rank_voices(self, face, voices, detect_faces=False):
        """Returns the `Result` of one face and several voices; arguments as for `rank_faces`."""
        probe = self._named("face", self._face, face, detect_faces)
        return self._ranked(probe, "voice", self._voice, voices, True)

    def _ranked(self, probe, kind, read, paths, option):
        if len(paths) > self.limits.files:
            raise ValueError(f"{len(paths)} {kind}s are too many; at most {self.limits.files}")
        clips, left_out = [], []
        for path in paths:
            try:
                clips.append(read(path, option))
            except ValueError as error:
                left_out.append((Path(path).name, _reason(error, path)))
        if not clips:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out)
            raise ValueError(f"no {kind} could be used. {reasons}")
        candidates = torch.stack([clip.embedding for clip in clips])
        direction = "V-F" if kind == "face" else "F-V"
        ranking = self.model.match(probe.embedding, candidates, direction)
        rows = zip(*(field.tolist() for field in ranking), strict=True)
        threshold = self.model.threshold
        return Result(
            probe,
            [
                Candidate(clips[index], score, probability, score >= threshold)
                for index, score, probability in rows
            ],
            left_out,
        )

    def _named(self, kind, read, path, option):
        try:
            return read(path, option)
        except ValueError as error:
            reason = _reason(error, path)
            raise ValueError(f"the {kind} {Path(path).name} cannot be used: {reason}") from error

    def _face(self, path, detect_faces):
        check_size(path, self.limits)
        image = read_image(path, self.limits.pixels, self.least.face_pixels)
        notices = []
        if detect_faces and self.detector is not None:
            found = self.detector.find(image)
            image, notices = found.crop, found.notices
        embedding = self.model.encode_face(image)[0]
        return Clip(Path(path).name, face_picture(image), notices, embedding)

    def _voice(self, path, small):
        check_size(path, self.limits)
        recording = read_audio(path, None, self.limits.seconds, self.least)
        samples, rate, notices = recording.samples, recording.rate, list(recording.notices)
        embedding = self.model.encode_voice_files(path)[0]
        reader = self.model.readers["voice_reader"]
        if rate != reader.sample_rate:
            notices.append(resampled_notice(rate, reader.sample_rate))
        heard = None
        if not self.model.config["remove_silence"]:
            notices += silence_notices(reader.window(samples, rate))
            heard = None if small else _middle(len(samples) / rate, reader)
        if heard:
            notices.append(f"the model hears the {heard[1] - heard[0]:g} s between the lines")
        picture = voice_picture(samples, rate, heard, small)
        return Clip(Path(path).name, picture, notices, embedding)


def _middle(seconds, reader):
    """Returns beginning and end of the window that the model hears; None if it hears all."""
    taken = reader.num_samples / reader.sample_rate
    return ((seconds - taken) / 2, (seconds + taken) / 2) if seconds > taken else None


def _reason(error, path):
    """Returns the text of an error without the file's place on the server."""
    name = Path(path).name
    return str(error).replace(str(path), name).removeprefix(f"{name}: ")
