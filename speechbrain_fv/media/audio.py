"""Any audio file -> mono samples, for training and use alike.

The length is read from the header and checked before anything is decoded. A part of a file has
the samples that a decoding of the whole file has there. torch, which takes seconds to import, is
not needed before samples become tensors: the workers of a scan do without it.
"""

import math
import os
import re
import shlex
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import soundfile

from speechbrain_fv.media.bounds import (
    LEAST,
    MAX_CHANNELS,
    MAX_PEAK,
    MAX_SAMPLES,
    MAX_SECONDS,
    RATES,
    level_fault,
    short_fault,
)
from speechbrain_fv.media.files import check_file, first_line, unreadable
from speechbrain_fv.media.streams import mended

_BLOCK_VALUES = 2**20  # that many values, over all channels, are decoded at a time
_UNKNOWN_FRAMES = 2**62  # libsndfile's count for a stream that does not tell its length
_EARLY_END_SECONDS = 0.1  # MP3 headers count a little more than is decoded
ENDS_EARLY = "the file ends early"
_SEEKABLE = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
"""Codings of which libsndfile, after a seek, decodes the same samples: each stands alone."""


@dataclass(frozen=True)
class Recording:
    """A mono recording and what was done to it.

    Arguments
    ---------
    samples : torch.Tensor or numpy.ndarray of float32, shape (T,)
        Waveform; full scale is [-1, 1].
    rate : int
        Of the samples, in Hz.
    notices : list of str
        What the file had to go through, for its user to see; empty when nothing.
    channels : int
        Of the file.
    loudest_db : float
        Level of the loudest channel by itself, in dB below full scale.
    """

    samples: object
    rate: int
    notices: list
    channels: int = 1
    loudest_db: float = -math.inf


class AudioFile:
    """An audio file that is open for reading; the mean of its channels counts.

    Arguments
    ---------
    path : path
        A file in any format that libsndfile reads: WAV, FLAC, MP3, Ogg Vorbis or Opus, AIFF, ...
    max_seconds : float
        Longest recording; the header tells how long it is. At more than 74 kHz less is taken:
        2**28 samples.

    Attributes
    ----------
    rate : int
        In Hz.
    channels : int
    num_samples : int
        Of each channel, as the header announces; a file that ends early holds fewer.

    Raises
    ------
    ValueError
        If the file is missing, no such audio, or its length, rate or number of channels is out of
        bounds or not told.

    Example
    -------
    >>> path = getfixture("tmp_path") / "voice.wav"
    >>> soundfile.write(path, [0.0, 0.25, 0.5, 0.75], 8000)
    >>> with AudioFile(path) as file:
    ...     file.rate, file.read(1, 3).tolist()
    (8000, [0.25, 0.5])
    """

    def __init__(self, path, max_seconds=MAX_SECONDS):
        self.path = path
        check_file(path)
        with _readable(path), ExitStack() as opened:
            self._streams = _opened(path, opened)
            first = self._streams[0]
            self.rate, self.channels = first.samplerate, first.channels
            self.num_samples = sum(stream.frames for stream in self._streams)
            self._check_header(max_seconds)
            self._close = opened.pop_all().close
        self._position, self._current = 0, 0
        self.moments = None  # sums and energies of the channels, to be counted in an array of 0s
        self._seeks = (
            len(self._streams) == 1
            and first.format != "OGG"
            and first.subtype.startswith(_SEEKABLE)
            and soundfile.SoundFile.seekable(first)
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._close()

    def read(self, first=0, last=None):
        """Returns samples of the file; fewer where it ends early.

        Parts are read in the order of the file: what lies before `first` is decoded and dropped,
        unless the coding allows to skip it.

        Arguments
        ---------
        first, last : int
            The part, in samples; by default all of the file.

        Returns
        -------
        samples : numpy.ndarray of float32, shape (last - first,)

        Raises
        ------
        ValueError
            If the file is broken.
        """
        last = self.num_samples if last is None else last
        samples, num_read = np.empty(max(last - first, 0), np.float32), 0
        with self._decodable():
            if self._seeks and first != self._position:
                self._streams[0].seek(first)
                self._position = first
            while self._position < last:
                is_before = self._position < first
                block = self._block((first if is_before else last) - self._position)
                if not len(block):
                    break
                if not is_before:
                    samples[num_read : num_read + len(block)] = block
                    num_read += len(block)
        return samples[:num_read]

    def early_end(self, num_read):
        """Returns a notice, as a list, when a file has clearly less than its header announces."""
        announced = self.num_samples
        info = self._streams[0].extra_info
        cut = re.search(r"(?:data|SSND) : (\d+) \(should be (\d+)\)", info)
        if cut and 0 < int(cut[2]) < int(cut[1]) < 2**31 - 1:  # streams announce 2**31 - 1 or more
            announced = round(num_read * int(cut[1]) / int(cut[2]))
        if announced - num_read <= _EARLY_END_SECONDS * self.rate:
            return []
        return [f"{ENDS_EARLY}: {num_read / self.rate:.1f} of {announced / self.rate:.1f} s"]

    def _block(self, num_samples):
        """The next samples, at most so many; none at the end. Of all channels a block is kept."""
        size = max(min(num_samples, _BLOCK_VALUES // self.channels), 1)
        while self._current < len(self._streams):
            block = self._streams[self._current].read(size, dtype="float32", always_2d=True)
            if len(block):
                self._position += len(block)
                if self.moments is not None:
                    self.moments[0] += block.sum(axis=0, dtype=np.float64)
                    self.moments[1] += np.square(block, dtype=np.float64).sum(axis=0)
                with np.errstate(invalid="ignore"):  # of infinite samples, which the caller sees
                    return block[:, 0] if self.channels == 1 else block.mean(axis=1)
            self._current += 1
        return np.empty(0, np.float32)

    @contextmanager
    def _decodable(self):
        """Tells in one line that a file whose header was read is broken."""
        try:
            yield
        except (RuntimeError, OSError) as error:
            raise ValueError(
                f"{self.path}: {self._streams[0].format} that cannot be decoded, broken or "
                f"truncated ({first_line(error)}); copy or save the file again"
            ) from error

    def _check_header(self, max_seconds):
        low, high = RATES
        if not low <= self.rate <= high:
            raise ValueError(
                f"{self.path}: {self.rate} Hz, expected {low} to {high} Hz; resample it"
            )
        if self.channels > MAX_CHANNELS:
            raise ValueError(
                f"{self.path}: {self.channels} channels, expected at most {MAX_CHANNELS}; mix it "
                "down"
            )
        if self.num_samples >= _UNKNOWN_FRAMES:
            raise ValueError(
                f"{self.path}: a stream of unknown length; {_convert(self.path, self.rate)}"
            )
        max_seconds = min(max_seconds, MAX_SAMPLES / self.rate)
        if self.num_samples > max_seconds * self.rate:
            raise ValueError(
                f"{self.path}: {self.num_samples / self.rate:.1f} s, expected at most "
                f"{max_seconds:.5g} s; cut it shorter"
            )


def read_audio(path, sample_rate=16000, max_seconds=MAX_SECONDS, least=LEAST):
    """Returns a file's recording as `decode_audio` decodes it, if it can hold a voice.

    Arguments
    ---------
    path, max_seconds
        As for `AudioFile`.
    sample_rate : int or None
        Rate of the samples in Hz; other rates are resampled, with a notice. None keeps the file's.
    least : Least
        Least level and length of a usable recording.

    Returns
    -------
    Recording
        Its samples a tensor.

    Raises
    ------
    ValueError
        As `decode_audio`; or if the recording is too short or silent.

    Example
    -------
    >>> path = getfixture("tmp_path") / "voice.wav"
    >>> soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal((8000, 2)), 8000)
    >>> recording = read_audio(path)
    >>> recording.samples.shape, recording.notices
    (torch.Size([16000]), ['2 channels mixed down', '8000 Hz resampled to 16000 Hz'])
    """
    import torch

    recording = decode_audio(path, max_seconds)
    samples, rate, notices = recording.samples, recording.rate, recording.notices
    fault = level_fault(
        level_db(samples), least.level_db, recording.channels, recording.loudest_db
    ) or short_fault(len(samples) / rate, least.seconds)
    if fault:
        raise ValueError(f"{path}: {fault}")
    samples = torch.from_numpy(samples)
    if sample_rate not in (None, rate):
        from speechbrain_fv.media.resampling import resample

        notices = [*notices, resampled_notice(rate, sample_rate)]
        samples, rate = resample(samples, rate, sample_rate), sample_rate
    return Recording(samples, rate, notices, recording.channels, recording.loudest_db)


def decode_audio(path, max_seconds=MAX_SECONDS):
    """Returns all of a file at its own rate, however short or silent it is.

    Arguments
    ---------
    path, max_seconds
        As for `AudioFile`.

    Returns
    -------
    Recording
        Its samples an array.

    Raises
    ------
    ValueError
        As `AudioFile`; or if the file is broken or empty, or samples are not finite or reach more
        than 8 times full scale.
    """
    with AudioFile(path, max_seconds) as file:
        if file.channels > 1:
            file.moments = np.zeros((2, file.channels))
        samples = file.read()
        notices = file.early_end(len(samples))
    if not len(samples):
        raise ValueError(f"{path}: no samples; record it again")
    peak = max(-float(samples.min()), float(samples.max()))  # NaN if one sample is
    if not math.isfinite(peak):
        raise ValueError(f"{path}: samples that are not finite; record or convert it again")
    if peak > MAX_PEAK:
        raise ValueError(
            f"{path}: samples reach {peak:.3g}, expected at most {MAX_PEAK:g}; convert it again, "
            "to [-1, 1]"
        )
    if file.channels > 1:
        notices.append(f"{file.channels} channels mixed down")
        means, squares = file.moments / len(samples)
        loudest = _decibel(max(float((squares - means**2).max()), 0.0))
    else:
        loudest = level_db(samples)
    return Recording(samples, file.rate, notices, file.channels, loudest)


def level_db(samples):
    """Returns the RMS of samples (T,) about their mean, in dB below full scale, in hundredths.

    A constant offset is no sound: the level is -inf where all samples are equal.

    Example
    -------
    >>> level_db(np.tile([0.6, 0.4], 50).astype(np.float32))
    -20.0
    """
    samples = np.asarray(samples)
    mean = samples.sum(dtype=np.float64) / len(samples)
    energy = sum(
        float(
            np.square(np.subtract(samples[first : first + _BLOCK_VALUES], mean, dtype=float)).sum()
        )
        for first in range(0, len(samples), _BLOCK_VALUES)
    )
    return _decibel(energy / len(samples))


def _decibel(power):
    return round(10 * math.log10(power), 2) if power else -math.inf


def resampled_notice(rate, new_rate):
    """Returns what to tell a user whose recording has another rate."""
    return f"{rate} Hz resampled to {new_rate} Hz"


class _Stream(soundfile.SoundFile):
    """Is read from front to back: else soundfile seeks after each read, which MP3 decoders feel."""

    def seekable(self):
        return False


def _opened(path, opened):
    """The streams of a file, one after the other, which an `ExitStack` closes."""
    whole = opened.enter_context(_Stream(os.fspath(path)))
    parts = mended(path, whole.format, whole.frames)
    streams = [opened.enter_context(_Stream(part)) for part in parts] or [whole]
    kinds = {(stream.samplerate, stream.channels) for stream in streams}
    if len(kinds) > 1:
        raise ValueError(
            f"{path}: several recordings joined, of different rates or channels; "
            f"{_convert(path, whole.samplerate)}"
        )
    return streams


@contextmanager
def _readable(path):
    """Tells in one line why a file cannot be read, and how to convert it."""
    try:
        yield
    except (RuntimeError, OSError, TypeError) as error:  # TypeError: .raw files have no header
        what = unreadable(path, error, "voice", _convert(path, 16000))
        raise ValueError(f"{path}: {what}") from error


def _convert(path, rate):
    """The command that makes a file readable."""
    name = shlex.quote(os.path.basename(path))
    return f"convert it: ffmpeg -i {name} -ac 1 -ar {rate} voice.wav"
