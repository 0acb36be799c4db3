"""Silence removal: the same segments in any number of threads, and nothing set for the process."""

import os
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


GROWTH = """
import sys, time
from pathlib import Path
from speechbrain_fv.data.readers import SpeechReader
from speechbrain_fv.inference.clips import voice_loader

def kilobytes(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0])

load = voice_loader(SpeechReader(clip_seconds=3.0), remove_silence=True)
first, *paths = sys.argv[1:]
load(first)  # what is only made once
for path in paths:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, start = kilobytes("VmRSS"), time.process_time()
    window = load(path).prepared
    print(len(window), kilobytes("VmHWM") - before, time.process_time() - start)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="Linux tells the peak")
def test_no_rate_takes_long_or_much_memory(tmp_path):
    """2 s at 32,003 Hz took 22 s and 8.8 GB, at 383,999 Hz 24 GB: the VAD had a resampling of its
    own, whose kernel is as large as the product of two rates that share no factor."""
    rates = (16000, 4001, 15991, 22051, 32003, 44101, 95987, 383999, 500009, 767957, 768000)
    speech = torch.from_numpy(np.concatenate([vowels(5.0, seed=seed) for seed in range(2)]))
    for rate in rates:
        samples = resample(speech, 16000, rate)
        soundfile.write(tmp_path / f"{rate}.wav", samples.numpy(), rate)
    paths = [str(tmp_path / f"{rate}.wav") for rate in rates]
    command = [sys.executable, "-W", "ignore", "-c", GROWTH, *paths]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in out.splitlines()]
    assert len(rows) == len(rates) - 1
    for rate, (num_samples, growth, seconds) in zip(rates[1:], rows, strict=True):
        assert int(num_samples) == 48000, rate
        assert int(growth) < 200_000 and float(seconds) < 2, (rate, growth, seconds)
