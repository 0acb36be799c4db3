"""The spectrogram of speech, as every picture of a voice shows it."""

import numpy as np

RANGE_DB = 60
WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.010
HIGHEST_HZ = 8000


def spectrogram(samples, rate):
    """Returns levels in dB below the loudest, and the highest frequency that they reach.

    Arguments
    ---------
    samples : array of shape (samples,)
        Fewer than two windows are padded with silence.
    rate : int
        In Hz.

    Returns
    -------
    levels : array of shape (frequencies, frames)
        From -`RANGE_DB` to 0, the lowest frequency first; windows of 25 ms every 10 ms, with
        pre-emphasis, since high tones are faint.
    highest : float
        In Hz, at most `HIGHEST_HZ`.

    Example
    -------
    >>> levels, highest = spectrogram(np.sin(np.arange(16000) / 5), rate=16000)
    >>> levels.shape, highest
    ((201, 98), 8000.0)
    """
    window, hop = max(round(WINDOW_SECONDS * rate), 2), max(round(HOP_SECONDS * rate), 1)
    samples = np.asarray(samples, dtype=np.float64)
    samples = np.pad(samples, (0, max(2 * window - len(samples), 0)))
    emphasised = np.append(samples[:1], samples[1:] - 0.97 * samples[:-1])
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, window)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)).T ** 2
    frequencies = np.fft.rfftfreq(window, 1 / rate)
    frequencies = frequencies[frequencies <= HIGHEST_HZ]
    power = power[: len(frequencies)]
    levels = 10 * np.log10(power / max(power.max(), 1e-20) + 1e-20)
    return levels.clip(-RANGE_DB, 0), float(frequencies[-1])
