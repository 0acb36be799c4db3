"""Small media files that the tests of the corpora share."""

import numpy as np
import soundfile
from PIL import Image
from scipy.signal import lfilter


def write_face(path, seed=0, size=48):
    """A JPEG of random blocks, (size, size) pixels."""
    blocks = np.random.default_rng(seed).integers(0, 256, (size // 8, size // 8, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks).resize((size, size)).save(path)
    return path


def write_voice(path, seconds=2.0, rate=16000, level=0.1, seed=0, channels=1):
    """A noise file; an RMS of `level`."""
    noise = np.random.default_rng(seed).standard_normal((round(seconds * rate), channels))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(level * noise, -1, 1), rate)
    return path


def vowels(seconds, rate=16000, seed=0):
    """A voiced signal that a VAD takes for speech: a pulse train through changing formants.

    Returns numpy.ndarray, (seconds * rate,), float32 in [-1, 1].
    """
    generator = np.random.default_rng(seed)
    formants = [(700, 1200, 2500), (300, 2200, 3000), (400, 800, 2400), (500, 1800, 2500)]
    parts, num_samples = [], 0
    while num_samples < seconds * rate:
        length = int(rate * generator.uniform(0.12, 0.25))
        pitch = 120 * (1 + 0.1 * np.sin(6 * np.pi * np.arange(length) / rate))
        sound = np.diff(np.floor(np.cumsum(pitch) / rate), prepend=0)
        radius = np.exp(-np.pi * 90 / rate)
        for formant in formants[generator.integers(len(formants))]:
            angle = 2 * np.pi * formant / rate
            sound = lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], sound)
        pause = np.zeros(rate // 25)
        parts += [0.5 * np.sqrt(np.hanning(length)) * sound / np.abs(sound).max(), pause]
        num_samples += length + len(pause)
    return np.concatenate(parts)[: round(seconds * rate)].astype(np.float32)
