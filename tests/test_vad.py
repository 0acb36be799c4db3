"""Silence removal: the same segments in any number of threads, and nothing set for the process."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_fv.inference import FaceVoiceAssociation
from speechbrain_fv.media.resampling import resample
from speechbrain_fv.media.vad import find_speech, remove_silence
from tests.media import vowels

THREADS = (1, 2, 4, 16)


def talks(num_talks, rate=16000):
    """Recordings of 4 to 6 s with pauses at different places, (T,) float32 each."""
    recordings = []
    for number in range(num_talks):
        pause = np.zeros(round((0.3 + 0.05 * number) * rate), np.float32)
        parts = pause, vowels(2.0, rate, seed=number), pause, vowels(1.5, rate, seed=99 - number)
        recordings.append(np.concatenate(parts))
    return recordings


def in_threads(function, items, num_threads):
    with ThreadPoolExecutor(num_threads) as pool:
        return list(pool.map(function, items))


def test_threads_find_the_same_speech():
    """One model heard several recordings at once: its memory of one went into the others, and
    wrong segments or a crash came out."""
    recordings = talks(6) * 2
    expected = [find_speech(samples, 16000) for samples in recordings]
    assert len({str(segments) for segments in expected}) == 6
    for num_threads in THREADS:
        assert in_threads(lambda x: find_speech(x, 16000), recordings, num_threads) == expected


@pytest.fixture(scope="module")
def hearing_model(bundle_folder):
    """The small model, as if it had been trained without silence."""
    model = FaceVoiceAssociation.from_hparams(bundle_folder)
    model.config["remove_silence"] = True
    return model


def test_threads_give_the_same_embeddings(hearing_model, tmp_path):
    paths = []
    for number, samples in enumerate(talks(8)):
        paths.append(tmp_path / f"{number}.wav")
        soundfile.write(paths[-1], samples, 16000)
    expected = [hearing_model.encode_voice_files(path) for path in paths]
    for num_threads in THREADS:
        found = in_threads(hearing_model.encode_voice_files, paths, num_threads)
        assert all(map(torch.equal, found, expected))


ALONE = """
import torch
torch.set_num_threads(3)
from concurrent.futures import ThreadPoolExecutor
from speechbrain_fv.media.vad import find_speech
assert torch.get_num_threads() == 3, "import"
with ThreadPoolExecutor(4) as pool:
    pool.map(lambda _: find_speech(torch.zeros(48000), 16000), range(8))
    assert list(pool.map(lambda _: torch.get_num_threads(), range(8))) == [3] * 8, "callers"
with ThreadPoolExecutor(1) as pool:
    assert pool.submit(torch.get_num_threads).result() == 3, "later threads"
assert torch.get_num_threads() == 3, "main"
"""


def test_the_numbers_of_threads_of_the_process_stay():
    """Importing silero_vad sets one thread for the process, and each call did so for a while."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ALONE], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("rate", [8000, 15991, 32003, 44100])
def test_any_rate_finds_the_speech_of_16_khz(rate):
    """Two stretches of speech, [0.5, 2.5] and [3.5, 5] s, at rates that share no factor too."""
    pause = np.zeros(16000, np.float32)
    parts = pause[:8000], vowels(2.0), pause, vowels(1.5, seed=1), pause[:8000]
    sound = np.concatenate(parts)
    samples = resample(torch.from_numpy(sound), 16000, rate)
    segments = np.array(find_speech(samples, rate)) / rate
    expected = np.array(find_speech(sound, 16000)) / 16000
    assert segments.shape == expected.shape and np.abs(segments - expected).max() < 0.35
    kept = remove_silence(samples, rate)
    assert len(kept) / rate == pytest.approx((segments[:, 1] - segments[:, 0]).sum(), abs=0.01)
