"""The facts of one media file: what only reading and decoding it can tell.

torch, torchaudio and torchvision take seconds to import, in every process that reads files: each
is imported where it is needed.
"""

import os
from functools import cache

import numpy as np
import soundfile

FACTS_VERSION = 1  # raise it when facts change: cached ones are then gathered again
VAD_RATE = 16000  # Hz, what silero-vad listens to


def face_facts(path):
    """The facts of an image file: `height` and `width` in pixels, `constant`, or `error`.

    Arguments
    ---------
    path : str
        The file.

    Returns
    -------
    dict
        Either {"error": reason} or {"height": int, "width": int, "constant": bool}.
    """
    from torchvision.io import ImageReadMode, decode_image

    error = _file_error(path)
    if error:
        return {"error": error}
    try:
        image = decode_image(path, ImageReadMode.RGB)  # (3, height, width), uint8
    except RuntimeError as failure:
        return {"error": f"unreadable: {_first_line(failure)}"}
    constant = bool((image == image[:, :1, :1]).all())
    return {"height": image.shape[1], "width": image.shape[2], "constant": constant}


def voice_facts(path, vad=False):
    """The facts of an audio file: `rate`, `num_samples`, `level_db`, `speech`, or `error`.

    Channels are averaged. The level is the RMS in dB below full scale; null when all is zero.

    Arguments
    ---------
    path : str
        The file, in any format soundfile reads.
    vad : bool
        Whether to find the speech segments; without it `speech` is null.

    Returns
    -------
    dict
        Either {"error": reason} or {"rate": int, "num_samples": int, "level_db": float or None,
        "speech": list of [start, stop] samples or None}.
    """
    error = _file_error(path)
    if error:
        return {"error": error}
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (RuntimeError, OSError) as failure:
        return {"error": f"unreadable: {_first_line(failure)}"}
    samples = samples.mean(axis=1)
    if samples.size == 0:
        return {"error": "no samples"}
    if not np.isfinite(samples).all():
        return {"error": "samples that are not finite"}
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    level = round(10 * np.log10(power), 2) if power > 0 else None
    facts = {"rate": rate, "num_samples": samples.size, "level_db": level, "speech": None}
    if vad:
        facts["speech"] = find_speech(samples, rate)
    return facts


def find_speech(samples, rate):
    """Speech segments that silero-vad finds.

    Arguments
    ---------
    samples : numpy.ndarray, (num_samples,), float32
        Waveform in [-1, 1].
    rate : int
        Sample rate in Hz; other rates than 16 kHz are resampled for the VAD.

    Returns
    -------
    list of [int, int]
        Start and stop of each segment, in samples at `rate`, in order and apart.
    """
    import torch
    from torchaudio.functional import resample

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the windows are tiny: threads would spend their time waiting
    try:
        model, get_speech_timestamps = _load_vad()
        heard = resample(torch.from_numpy(samples), rate, VAD_RATE)
        with torch.no_grad():
            found = get_speech_timestamps(heard, model, sampling_rate=VAD_RATE)
    finally:
        torch.set_num_threads(num_threads)  # importing silero_vad, too, sets 1 for good
    segments = []
    for part in found:
        start = segments[-1][1] if segments else 0
        start = max(start, round(part["start"] * rate / VAD_RATE))
        stop = min(round(part["end"] * rate / VAD_RATE), len(samples))
        if start < stop:
            segments.append([start, stop])
    return segments


def _file_error(path):
    try:
        return "" if os.path.getsize(path) else "empty file: 0 bytes"
    except OSError:
        return "missing"


def _first_line(failure):
    return (str(failure).splitlines() or [type(failure).__name__])[0][:200]


@cache
def _load_vad():
    from silero_vad import get_speech_timestamps, load_silero_vad

    return load_silero_vad(onnx=False), get_speech_timestamps
