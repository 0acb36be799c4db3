"""From image and audio files to what the encoders take, one file at a time."""

import logging
from collections import Counter
from collections.abc import Iterable
from os import PathLike

import torch

from speechbrain_fv.inference.audio_files import (
    MIN_LEVEL_DB,
    level_db,
    read_audio,
    resampled_notice,
)
from speechbrain_fv.inference.audio_files import remove_silence as speech_of
from speechbrain_fv.inference.face_detection import FaceDetector
from speechbrain_fv.inference.image_files import read_image
from speechbrain_fv.inference.inputs import prepared_image

logger = logging.getLogger(__name__)

SILENT_WINDOW = (
    "the middle, which is all that the model hears, is silent: its embedding tells nothing; "
    "remove_silence=True, or a part with speech, helps"
)


def face_loader(reader, detect_faces):
    """Returns a function of a path: (prepared image, notices); ValueError where it is unusable.

    Arguments
    ---------
    reader : ImageReader
    detect_faces : bool
        Whether to find the face and crop to it.
    """
    detector = FaceDetector() if detect_faces else None

    def load(path):
        image, notices = read_image(path), []
        if detector is not None:
            try:
                found = detector.find(image)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
            image, notices = found.crop, found.notices
        return prepared_image(image, reader), notices

    return load


def voice_loader(reader, remove_silence):
    """Returns a function of a path: (prepared window, notices); ValueError where it is unusable.

    Arguments
    ---------
    reader : SpeechReader
    remove_silence : bool
        Whether to keep only speech.
    """

    def load(path):
        recording = read_audio(path, sample_rate=None)
        samples, notices = recording.samples, recording.notices
        if recording.rate != reader.sample_rate:
            notices = [*notices, resampled_notice(recording.rate, reader.sample_rate)]
        if remove_silence:
            try:
                samples = speech_of(samples, recording.rate)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        # As in training, the window is cut before it is resampled.
        window = reader.window(samples, recording.rate)
        return window, [*notices, *silence_notices(window)]

    return load


def silence_notices(window):
    """Returns a notice if the samples (T,) that the model hears are silent, as a list."""
    return [SILENT_WINDOW] if level_db(window) < MIN_LEVEL_DB else []


def load_all(paths, load, skipped=None):
    """Yields the prepared inputs of files, and logs what had to be converted.

    Arguments
    ---------
    paths : path or list of paths
    load : callable
        Result of `face_loader` or `voice_loader`.
    skipped : list, optional
        Where (path, reason) of each unusable file is added; without it the first is an error.
    """
    single = isinstance(paths, str | PathLike) or not isinstance(paths, Iterable)
    paths = [paths] if single else list(paths)
    said = Counter()
    for path in paths:
        try:
            with torch.device("cpu"):  # whatever the caller's default is
                prepared, notices = load(path)
        except ValueError as error:
            if skipped is None:
                raise
            skipped.append((str(path), str(error)))
            continue
        said.update(set(notices))
        yield prepared
    for notice, count in said.items():
        files = str(paths[0]) if len(paths) == 1 else f"{count} of {len(paths)} files"
        logger.warning("%s: %s", files, notice)
