"""Samples at one rate -> at another, in bounded time and memory."""

import math
from fractions import Fraction

import torchaudio

MAX_TERM = 1000  # of the smaller number of a ratio
MAX_WEIGHTS = 3 * 10**6  # of the resampling kernel


def resample(samples, rate, new_rate):
    """Returns samples at another rate, by torchaudio's windowed sinc.

    The kernel of an odd ratio, 44101 to 16000 Hz for one, would take gigabytes: the ratio is
    replaced by the nearest of small terms, which changes pitch and length by less than 0.06 %.
    The usual rates are resampled exactly.

    Arguments
    ---------
    samples : torch.Tensor of float32, shape (T,)
    rate, new_rate : int
        In Hz.

    Returns
    -------
    samples : torch.Tensor of float32, shape (T x new_rate / rate,), rounded up

    Example
    -------
    >>> import torch
    >>> resample(torch.zeros(44100), 44100, 16000).shape
    torch.Size([16000])
    """
    # A kernel has about rate x new_rate weights, in lowest terms.
    largest = math.isqrt(MAX_WEIGHTS * new_rate // max(rate, new_rate))
    ratio = Fraction(rate, new_rate).limit_denominator(max(min(largest, MAX_TERM), 1))
    return torchaudio.functional.resample(samples, ratio.numerator, ratio.denominator)
