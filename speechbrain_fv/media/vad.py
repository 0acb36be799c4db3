"""Where a recording has speech, by silero-vad; safe in several threads at once."""

from collections import deque
from functools import cache

import torch
from threadpoolctl import ThreadpoolController

from speechbrain_fv.media.bounds import LEAST, short_fault
from speechbrain_fv.media.resampling import resample

_num_threads = torch.get_num_threads()
from silero_vad import get_speech_timestamps, load_silero_vad  # noqa: E402

torch.set_num_threads(_num_threads)  # importing silero_vad sets 1 for the whole process

VAD_RATE = 16000  # Hz, what silero-vad listens to

_idle_models = deque()  # each remembers what it heard: one recording at a time


def find_speech(samples, rate):
    """Returns the speech segments that silero-vad finds.

    Arguments
    ---------
    samples : numpy.ndarray or torch.Tensor of float32, shape (T,)
        Waveform in [-1, 1].
    rate : int
        Sample rate in Hz; other rates than 16 kHz are resampled for the VAD.

    Returns
    -------
    segments : list of [int, int]
        Start and stop of each segment, in samples at `rate`, in order and apart.

    Example
    -------
    >>> find_speech(torch.zeros(16000), 16000)
    []
    """
    samples = torch.as_tensor(samples)
    found = _timestamps(resample(samples, rate, VAD_RATE))
    segments = []
    for part in found:
        start = segments[-1][1] if segments else 0
        start = max(start, round(part["start"] * rate / VAD_RATE))
        stop = min(round(part["end"] * rate / VAD_RATE), len(samples))
        if start < stop:
            segments.append([start, stop])
    return segments


def remove_silence(samples, sample_rate=16000, min_seconds=LEAST.seconds):
    """Returns the speech of a recording, its segments joined, as the preparation finds them.

    Arguments
    ---------
    samples : torch.Tensor of float32, shape (T,)
        Waveform in [-1, 1].
    sample_rate : int
        In Hz.
    min_seconds : float
        Least speech.

    Returns
    -------
    speech : torch.Tensor of float32, shape (T',)

    Raises
    ------
    ValueError
        If silero-vad finds less speech than `min_seconds`, or none.
    """
    segments = find_speech(samples, sample_rate)
    seconds = sum(stop - start for start, stop in segments) / sample_rate
    fault = short_fault(seconds, min_seconds, len(samples) / sample_rate)
    if fault or not segments:
        raise ValueError(fault)
    return torch.cat([samples[start:stop] for start, stop in segments])


@torch.no_grad()
def _timestamps(samples):
    """Silero's segments of (T,) samples at `VAD_RATE`: a list of dict with start and end."""
    try:
        model = _idle_models.pop()
    except IndexError:  # as many models as recordings are heard at once
        model = load_silero_vad(onnx=False)
    # Its windows are tiny: more threads than one would spend their time waiting. The limit holds
    # for this thread only, whose own number torch must have set before.
    torch.get_num_threads()
    with _thread_pools().limit(limits=1, user_api="openmp"):
        found = get_speech_timestamps(samples, model, sampling_rate=VAD_RATE)
    _idle_models.append(model)
    return found


@cache
def _thread_pools():
    return ThreadpoolController()
