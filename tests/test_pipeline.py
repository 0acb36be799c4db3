import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from PIL import Image

from speechbrain_fv.data.pairs import (
    PairSampler,
    clip_dataset,
    evaluation_loader,
    training_loader,
)
from speechbrain_fv.data.readers import EmbeddingReader, ImageReader, SpeechReader

RATE = 16000


@pytest.fixture
def ramp(tmp_path):
    """A 3 s wav whose sample n has the value n / 48000, so that a window tells where it lies."""
    path = tmp_path / "ramp.wav"
    soundfile.write(path, np.arange(3 * RATE) / (3 * RATE), RATE, subtype="FLOAT")
    return str(path)


def positions(window):
    return (window * 3 * RATE).round().long().tolist()


def test_a_long_clip_gives_its_middle_or_a_drawn_window(ramp):
    reader = SpeechReader(clip_seconds=1.0)
    assert positions(reader(ramp, 0, 3 * RATE, "", None)) == list(range(RATE, 2 * RATE))
    starts = {positions(reader(ramp, 0, 3 * RATE, "", draw))[0] for draw in range(20)}
    assert len(starts) == 20 and max(starts) < 2 * RATE
    first, again = (reader(ramp, 0, 3 * RATE, "", 7) for _ in range(2))
    assert torch.equal(first, again)


def test_a_window_joins_speech_segments_and_leaves_silence_out(ramp):
    window = SpeechReader(clip_seconds=0.001)(ramp, 0, 3 * RATE, "100:108;200:212", None)
    joined = [*range(100, 108), *range(200, 212)]
    assert positions(window) == joined[2:18]  # 16 of 20 samples, from the middle


def test_a_short_clip_is_tiled(ramp):
    window = SpeechReader(clip_seconds=0.001)(ramp, 40, 46, "", 5)
    assert positions(window) == [*range(40, 46), *range(40, 46), *range(40, 44)]


def test_other_rates_and_channels_become_16_khz_mono(tmp_path):
    path = tmp_path / "stereo.wav"
    tone = np.sin(2 * np.pi * 200 * np.arange(8000) / 8000)
    soundfile.write(path, np.stack([tone, 0 * tone], axis=1), 8000)
    window = SpeechReader(clip_seconds=0.5)(str(path), 0, 8000, "", None)
    assert window.shape == (8000,)
    spectrum = torch.fft.rfft(window).abs()
    assert spectrum.argmax() == 100  # 200 Hz in half a second
    assert window.abs().max() == pytest.approx(0.5, abs=0.05)  # the mean of the channels


def test_a_voice_that_vanished_since_the_preparation_is_named(tmp_path):
    gone = str(tmp_path / "gone.wav")
    with pytest.raises(ValueError, match="gone.wav: cannot be read although"):
        SpeechReader(clip_seconds=1.0)(gone, 0, 100, "", None)


def test_images_are_cropped_the_same_for_the_same_draw(tmp_path):
    path = tmp_path / "face.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(path)
    reader = ImageReader(image_size=24, resize=30)
    before = torch.random.get_rng_state()
    views = [reader(str(path), draw) for draw in (1, 1, 2, 3, None, None)]
    assert all(view.shape == (3, 24, 24) and view.dtype == torch.float32 for view in views)
    assert torch.equal(views[0], views[1]) and torch.equal(views[4], views[5])
    assert not torch.equal(views[0], views[2]) and not torch.equal(views[2], views[3])
    assert torch.equal(before, torch.random.get_rng_state())  # others' randomness is untouched


def test_a_corrupted_image_is_named(tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"not an image")
    with pytest.raises(ValueError, match="broken.jpg: cannot be read"):
        ImageReader(8, 8)(str(path), None)
    with pytest.raises(ValueError, match="at least image_size = 9, got 8"):
        ImageReader(9, 8)


FACES = ["ann"] * 4 + ["bob"] * 2 + ["eve"]
VOICES = ["ann"] * 2 + ["bob"] * 5 + ["eve"] * 3


@pytest.mark.parametrize("sampling", ["identities", "clips"])
def test_pairs_share_an_identity_and_change_with_the_epoch(sampling):
    sampler = PairSampler(FACES, VOICES, 5, 20, sampling, seed=3)
    epochs = []
    for epoch in (1, 2, 1):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    assert len(epochs[0]) == len(sampler) == 20 and {len(b) for b in epochs[0]} == {5}
    pairs = [pair for batch in epochs[0] for pair in batch]
    assert all(FACES[face] == VOICES[voice] for face, voice, _ in pairs)
    assert {face for face, _, _ in pairs} == set(range(7))
    assert {voice for _, voice, _ in pairs} == set(range(10))
    assert epochs[0] == epochs[2] != epochs[1]
    other = PairSampler(FACES, VOICES, 5, 20, sampling, seed=4)
    other.set_epoch(1)
    assert list(other) != epochs[0]


def test_sampling_modes_balance_what_they_say():
    def counts(sampling, of):
        sampler = PairSampler(FACES, VOICES, 30, 1, sampling)
        values = [of(voice) for batch in sampler for _, voice, _ in batch]
        return sorted(values.count(value) for value in set(values))

    assert counts("identities", lambda voice: VOICES[voice]) == [10, 10, 10]
    assert counts("clips", lambda voice: voice) == [3] * 10


def test_a_batch_repeats_no_identity_when_there_are_enough():
    names = [f"p{n}" for n in range(12)]
    sampler = PairSampler(names, names, batch_size=4, steps_per_epoch=3)
    for batch in sampler:
        assert len({names[voice] for _, voice, _ in batch}) == 4


def test_an_epoch_covers_every_voice_by_default():
    assert len(PairSampler(FACES, VOICES, batch_size=4)) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "random"}, "expected 'identities' or 'clips'"),
        ({"steps_per_epoch": 0}, "got 4 and 0"),
    ],
)
def test_sampler_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PairSampler(FACES, VOICES, 4, **options)


@pytest.fixture
def datasets(tmp_path):
    """Vectors that carry their clip's number, for 7 faces and 10 voices."""
    sets = []
    for modality, names in (("face", FACES), ("voice", VOICES)):
        ids = [f"{modality}{n}" for n in range(len(names))]
        path = tmp_path / f"{modality}.npz"
        np.savez(path, clip=ids, vectors=np.arange(len(names), dtype=float)[:, None])
        reader = EmbeddingReader(str(path), "clip", "vectors")
        table = pd.DataFrame({"ID": ids, "spk_id": names})
        sets.append(clip_dataset(table, modality, reader, {"identity": {"ann": 0, "bob": 1}}))
    return sets


@pytest.mark.parametrize("num_workers", [0, 2])
def test_training_batches_hold_what_the_sampler_drew(datasets, num_workers):
    sampler = PairSampler(FACES, VOICES, 4, 3)
    loader = training_loader(*datasets, sampler, num_workers)
    for drawn, batch in zip(sampler, loader, strict=True):
        assert batch.face.flatten().tolist() == [face for face, _, _ in drawn]
        assert batch.voice.data.flatten().tolist() == [voice for _, voice, _ in drawn]
        assert batch.voice.lengths.tolist() == [1] * 4
        assert batch.face_id == [f"face{face}" for face, _, _ in drawn]
        expected = [{"ann": 0, "bob": 1, "eve": -1}[FACES[face]] for face, _, _ in drawn]
        assert batch.identity.tolist() == expected


def test_evaluation_batches_hold_every_clip_once_and_one_modality(datasets):
    seen, order = {"face": [], "voice": []}, []
    for batch in evaluation_loader(*datasets, batch_size=4):
        (modality,) = [name for name in seen if hasattr(batch, name)]
        seen[modality] += getattr(batch, f"{modality}_id")
        order.append(modality)
    assert seen["face"] == [f"face{n}" for n in range(7)]
    assert seen["voice"] == [f"voice{n}" for n in range(10)]
    assert order == ["face", "voice", "face", "voice", "voice"]
