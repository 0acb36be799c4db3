"""Any audio file -> mono samples at one rate, what was done to them told in notices.

The length is read from the header and checked before anything is decoded.
"""

import math
import os
import re
import shlex
from dataclasses import dataclass

import soundfile
import torch

from speechbrain_fv.corpora.media_facts import find_speech
from speechbrain_fv.data.readers import resample
from speechbrain_fv.inference.file_checks import check_file, first_line, unread_format

MAX_SECONDS = 3600.0
MAX_SAMPLES = 2**28  # of one channel, 1 GiB decoded
MIN_SECONDS = 1.0  # as in the preparation
MIN_LEVEL_DB = -60.0  # RMS below full scale, as in the preparation
MAX_PEAK = 8.0  # full scale is 1; integers stored as floats reach 127 or more
RATES = (4000, 384000)  # Hz
MAX_CHANNELS = 64

_BLOCK_VALUES = 2**20  # that many values, over all channels, are decoded at a time
_UNKNOWN_FRAMES = 2**62  # libsndfile's count for a stream that does not tell its length
_EARLY_END_SECONDS = 0.1  # MP3 headers count a little more than is decoded


@dataclass(frozen=True)
class Recording:
    """A mono recording and what was done to it.

    Arguments
    ---------
    samples : torch.Tensor of float32, shape (T,)
        Waveform; full scale is [-1, 1].
    rate : int
        Of the samples, in Hz.
    notices : list of str
        What the file had to go through, for its user to see; empty when nothing.
    """

    samples: torch.Tensor
    rate: int
    notices: list


def read_audio(path, sample_rate=16000, max_seconds=MAX_SECONDS, min_seconds=MIN_SECONDS):
    """Returns a file's recording: mono, at the rate asked for, as `SpeechReader` reads it.

    Arguments
    ---------
    path : path
        A file in any format that libsndfile reads: WAV, FLAC, MP3, Ogg Vorbis or Opus, AIFF, ...
    sample_rate : int or None
        Rate of the samples in Hz; other rates are resampled, with a notice. None keeps the file's.
    max_seconds : float
        Longest recording; the header tells how long it is. At more than 74 kHz less is taken:
        2**28 samples.
    min_seconds : float
        Shortest recording.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        If the file is missing, no such audio or broken; if its length, rate or number of channels
        is out of bounds or not told; if samples are not finite, reach more than 8 times full
        scale, or are silent: an RMS below -60 dB.

    Example
    -------
    >>> import numpy as np
    >>> path = getfixture("tmp_path") / "voice.wav"
    >>> soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal((8000, 2)), 8000)
    >>> recording = read_audio(path)
    >>> recording.samples.shape, recording.notices
    (torch.Size([16000]), ['2 channels mixed down', '8000 Hz resampled to 16000 Hz'])
    """
    check_file(path)
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            _check_header(path, file, max_seconds)
            samples = _read_mono(file)
            rate, channels, notices = file.samplerate, file.channels, _early_end(file, samples)
    except (RuntimeError, OSError, TypeError) as error:  # TypeError: .raw files have no header
        what = unread_format(path, "voice") or f"no audio that can be read ({first_line(error)})"
        raise ValueError(f"{path}: {what}; {_convert(path, sample_rate or 16000)}") from error
    _check_samples(path, samples, rate, channels, min_seconds)
    if channels > 1:
        notices.append(f"{channels} channels mixed down")
    if sample_rate not in (None, rate):
        notices.append(resampled_notice(rate, sample_rate))
        samples, rate = resample(samples, rate, sample_rate), sample_rate
    return Recording(samples, rate, notices)


def level_db(samples):
    """Returns the RMS of samples (T,) in dB below full scale; -inf where all are 0."""
    energy = sum(float(part.double().square().sum()) for part in samples.split(_BLOCK_VALUES))
    return 10 * math.log10(energy / len(samples)) if energy else -math.inf


def resampled_notice(rate, new_rate):
    """Returns what to tell a user whose recording has another rate."""
    return f"{rate} Hz resampled to {new_rate} Hz"


def remove_silence(samples, sample_rate=16000, min_seconds=MIN_SECONDS):
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
    segments = find_speech(samples.numpy(), sample_rate)
    seconds = sum(stop - start for start, stop in segments) / sample_rate
    if not segments or seconds < min_seconds:
        found = f"{seconds:.2f} s of speech" if segments else "no speech"
        raise ValueError(
            f"{found} in {len(samples) / sample_rate:.2f} s, expected at least {min_seconds:g} s; "
            "record more, or keep the silence"
        )
    return torch.cat([samples[start:stop] for start, stop in segments])


def _check_header(path, file, max_seconds):
    low, high = RATES
    if not low <= file.samplerate <= high:
        raise ValueError(f"{path}: {file.samplerate} Hz, expected {low} to {high} Hz; resample it")
    if file.channels > MAX_CHANNELS:
        raise ValueError(
            f"{path}: {file.channels} channels, expected at most {MAX_CHANNELS}; mix it down"
        )
    if file.frames >= _UNKNOWN_FRAMES:
        raise ValueError(f"{path}: a stream of unknown length; {_convert(path, file.samplerate)}")
    max_seconds = min(max_seconds, MAX_SAMPLES / file.samplerate)
    if file.frames > max_seconds * file.samplerate:
        raise ValueError(
            f"{path}: {file.frames / file.samplerate:.1f} s, expected at most {max_seconds:.5g} s; "
            "cut it shorter"
        )


def _convert(path, rate):
    """The command that makes a file readable."""
    name = shlex.quote(os.path.basename(path))
    return f"convert it: ffmpeg -i {name} -ac 1 -ar {rate} voice.wav"


def _read_mono(file):
    """The mean of the channels, shape (T,); of many channels only a block is in memory.

    However much a file holds, no more is decoded than its header announces.
    """
    samples, num_read = torch.empty(file.frames, device="cpu"), 0
    while True:
        block = file.read(_BLOCK_VALUES // file.channels, dtype="float32", always_2d=True)
        if not len(block):
            return samples[:num_read]
        samples[num_read : num_read + len(block)] = torch.from_numpy(block).mean(dim=1)
        num_read += len(block)


def _early_end(file, samples):
    """A notice when a file holds clearly less than its header announces, as a list."""
    announced = file.frames
    cut = re.search(r"(?:data|SSND) : (\d+) \(should be (\d+)\)", file.extra_info)
    if cut and 0 < int(cut[2]) < int(cut[1]) < 2**31 - 1:  # streams announce 2**31 - 1 or more
        announced = round(len(samples) * int(cut[1]) / int(cut[2]))
    if announced - len(samples) <= _EARLY_END_SECONDS * file.samplerate:
        return []
    whole = announced / file.samplerate
    return [f"the file ends early: {len(samples) / file.samplerate:.1f} of {whole:.1f} s"]


def _check_samples(path, samples, rate, channels, min_seconds):
    if not len(samples):
        raise ValueError(f"{path}: no samples; record it again")
    peak = max(-samples.min().item(), samples.max().item())  # NaN if one sample is
    if not math.isfinite(peak):
        raise ValueError(f"{path}: samples that are not finite; record or convert it again")
    if peak > MAX_PEAK:
        raise ValueError(f"{path}: samples reach {peak:.0f}; scale them to [-1, 1]")
    level = level_db(samples)
    if level < MIN_LEVEL_DB:
        heard = f"{level:.1f} dB" if math.isfinite(level) else "all samples are 0"
        mixed = f" after mixing down {channels} channels" if channels > 1 else ""
        raise ValueError(
            f"{path}: silent: {heard}{mixed}, expected at least {MIN_LEVEL_DB:g} dB; "
            "record it louder"
        )
    if len(samples) < min_seconds * rate:
        raise ValueError(
            f"{path}: too short: {len(samples) / rate:.2f} s, expected at least {min_seconds:g} s; "
            "record more"
        )
