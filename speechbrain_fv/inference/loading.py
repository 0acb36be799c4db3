"""From image and audio files to what the encoders take, one file at a time."""

import logging
from collections import Counter
from os import PathLike

import torch

from speechbrain_fv.corpora.media_facts import find_speech
from speechbrain_fv.inference.inputs import prepared_image
from speechbrain_fv.inference.media_files import read_audio, read_image

logger = logging.getLogger(__name__)


def face_loader(reader, detect_faces):
    """Returns a function of a path: (prepared image, notices); ValueError where it is unusable.

    Arguments
    ---------
    reader : ImageReader
    detect_faces : bool
        Whether to find the face and crop to it.
    """
    detector = None
    if detect_faces:
        from speechbrain_fv.inference.face_detection import FaceDetector  # an optional extra

        detector = FaceDetector()

    def load(path):
        image, notices = read_image(path), []
        if detector is not None:
            image, notices = detector.crop(image, path)
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
        recording = read_audio(path)
        samples = recording.samples
        if remove_silence:
            segments = find_speech(samples.numpy(), recording.rate)
            if not segments:
                raise ValueError(f"{path}: no speech was found; record a clearer voice")
            samples = torch.cat([samples[start:stop] for start, stop in segments])
        return reader.window(samples, recording.rate), _notices(recording, reader)

    return load


def _notices(recording, reader):
    """Returns what was done to a recording that the model would otherwise not understand."""
    notices = []
    if recording.rate != reader.sample_rate:
        notices.append(f"{recording.rate} Hz resampled to {reader.sample_rate} Hz")
    if recording.num_channels > 1:
        notices.append(f"{recording.num_channels} channels mixed down")
    return notices


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
    paths = [paths] if isinstance(paths, str | PathLike) else list(paths)
    said = Counter()
    for path in paths:
        try:
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
