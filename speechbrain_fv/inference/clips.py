"""From image and audio files to what the encoders take, one file at a time."""

import logging
from collections import Counter
from contextlib import contextmanager
from typing import NamedTuple

import torch

from speechbrain_fv.inference.inputs import prepared_image
from speechbrain_fv.inference.sources import on_disk
from speechbrain_fv.media.audio import level_db, read_audio, resampled_notice
from speechbrain_fv.media.bounds import LEAST, Least
from speechbrain_fv.media.face_detection import FaceDetector
from speechbrain_fv.media.images import read_image
from speechbrain_fv.media.kinds import media_kind
from speechbrain_fv.media.vad import remove_silence as speech_of

logger = logging.getLogger(__name__)

SILENT_WINDOW = (
    "the middle, which is all that the model hears, is silent: its embedding tells nothing; "
    "remove_silence=True, or a part with speech, helps"
)


def least_of(config):
    """Returns what a model's files must have at least: what its training asked for, or less.

    Arguments
    ---------
    config : dict
        The model's; those of older bundles tell nothing of their training.

    Example
    -------
    >>> least_of({"min_face_pixels": 16, "min_seconds": 3.0})
    Least(face_pixels=16, seconds=1.0, level_db=-60.0)
    """
    asked = (config.get(name) for name in ("min_face_pixels", "min_seconds", "min_level_db"))
    pairs = zip(LEAST, asked, strict=True)
    return Least(*(usual if least is None else min(usual, least) for usual, least in pairs))


class Loaded(NamedTuple):
    """What became of a file.

    prepared : torch.Tensor
        What the encoder takes.
    notices : list of str
        What had to be converted, for its user.
    weight : float
        How much it can tell beside other files of the person, above 0: the detector's certainty of
        a face, in (0, 1], 1 without detection; the seconds of speech that the model hears.
    """

    prepared: torch.Tensor
    notices: list
    weight: float


def face_detector(config, detect_faces=None):
    """Returns the `FaceDetector` that a model's photos go through, or None for none.

    Arguments
    ---------
    config : dict
        The model's. One whose training found the faces of its photos has the settings of their
        crops under "face_crop", and they are applied here; others crop as `FaceDetector` does by
        default.
    detect_faces : bool, optional
        Whether to find faces; by default as in training.

    Raises
    ------
    ValueError
        If faces are to be found and the extra `detect` is not installed.

    Example
    -------
    >>> face_detector({}) is None
    True
    """
    crop = config.get("face_crop")
    if not (crop is not None if detect_faces is None else detect_faces):
        return None
    return FaceDetector(**(crop or {"min_pixels": least_of(config).face_pixels}))


def face_loader(reader, detector=None, least=LEAST):
    """Returns a function of a path: the `Loaded` image; ValueError where it is unusable.

    Arguments
    ---------
    reader : ImageReader
    detector : FaceDetector, optional
        Finds the face and crops to it; without one the image is taken for a crop.
    least : Least
        Of a usable image.
    """

    def load(path):
        with swapped_told(path, "face"):
            image, notices, certainty = read_image(path, min_pixels=least.face_pixels), [], 1.0
        if detector is not None:
            try:
                found = detector.find(image)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
            image, notices, certainty = found.crop, found.notices, found.detection.score
        return Loaded(prepared_image(image, reader), notices, certainty)

    return load


def voice_loader(reader, remove_silence, least=LEAST):
    """Returns a function of a path: the `Loaded` window; ValueError where it is unusable.

    Arguments
    ---------
    reader : SpeechReader
    remove_silence : bool
        Whether to keep only speech.
    least : Least
        Of a usable recording.
    """

    def load(path):
        with swapped_told(path, "voice"):
            recording = read_audio(path, sample_rate=None, least=least)
        samples, notices = recording.samples, recording.notices
        if recording.rate != reader.sample_rate:
            notices = [*notices, resampled_notice(recording.rate, reader.sample_rate)]
        if remove_silence:
            try:
                samples = speech_of(samples, recording.rate, least.seconds)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        # As in training, the window is cut before it is resampled.
        window = reader.window(samples, recording.rate)
        seconds = min(len(samples) / recording.rate, reader.num_samples / reader.sample_rate)
        return Loaded(window, [*notices, *silence_notices(window)], seconds)

    return load


@contextmanager
def swapped_told(path, expected):
    """Says of a file that cannot be read as one kind if its content is of the other."""
    try:
        yield
    except ValueError as error:
        try:
            found = media_kind(path)
        except ValueError:  # neither: the first error says why
            found = expected
        if found == expected:
            raise
        what = {"face": "an image", "voice": "a recording"}
        raise ValueError(
            f"{path}: {what[found]}, expected {what[expected]} of a {expected}; give each in its "
            "place: are face and voice swapped?"
        ) from error


@contextmanager
def skipping(on_error, skipped=None):
    """Yields the list for files that cannot be used; None where the first is an error.

    What no list of the caller names, a warning does.
    """
    unusable = skipped_list(on_error) if skipped is None else skipped
    yield unusable
    for _, reason in unusable if skipped is None and unusable else ():
        logger.warning("left out: %s", reason)


def skipped_list(on_error):
    """Returns an empty list if files that cannot be used are skipped, None if they are errors."""
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error: expected raise or skip, got {on_error!r}")
    return [] if on_error == "skip" else None


def silence_notices(window):
    """Returns a notice if the samples (T,) that the model hears are silent, as a list."""
    return [SILENT_WINDOW] if level_db(window) < LEAST.level_db else []


def load_all(paths, load, on_error="raise", skipped=None, weights=None):
    """Yields the prepared inputs of files, and logs what had to be converted.

    Arguments
    ---------
    paths : path, bytes, open file, or iterable of these
    load : callable
        Result of `face_loader` or `voice_loader`.
    on_error : str
        "raise" or "skip"; see `FaceVoiceAssociation.encode_face_files`.
    skipped : list, optional
        Where (path, reason) of each unusable file is added, whatever `on_error`.
    weights : list, optional
        Where the weight of each usable file is added.
    """
    said = Counter()
    with skipping(on_error, skipped) as unusable, on_disk(paths) as (paths,):
        paths = paths if isinstance(paths, list) else [paths]
        for path in paths:
            try:
                with torch.device("cpu"):  # whatever the caller's default is
                    prepared, notices, weight = load(path)
            except ValueError as error:
                if unusable is None:
                    raise
                unusable.append((str(path), str(error)))
                continue
            said.update(set(notices))
            if weights is not None:
                weights.append(weight)
            yield prepared
    for notice, count in said.items():
        files = str(paths[0]) if len(paths) == 1 else f"{count} of {len(paths)} files"
        logger.warning("%s: %s", files, notice)
