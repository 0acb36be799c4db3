import itertools
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from PIL import Image
from speechbrain.utils.checkpoints import Checkpointer

from speechbrain_fv.data.classes import Classes
from speechbrain_fv.data.pairs import clip_dataset, evaluation_loader, training_loader
from speechbrain_fv.data.readers import EmbeddingReader, ImageReader, LostFile, SpeechReader
from speechbrain_fv.data.samplers import ClipSampler, IdentitySampler, PairSampler, VideoSampler

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


@pytest.mark.parametrize("way", ["cut", "written again"])
def test_a_voice_that_was_shortened_is_lost_wherever_the_window_lies(ramp, way):
    """It was tiled in silence where the window met its end, and went unnoticed elsewhere."""
    path = Path(ramp)
    if way == "cut":
        path.write_bytes(path.read_bytes()[: -4 * RATE])
    else:
        soundfile.write(path, np.zeros(2 * RATE), RATE, subtype="FLOAT")
    reader, clip = SpeechReader(clip_seconds=0.5), (ramp, 0, 3 * RATE, "0:100;32000:48000")
    what = (
        "ramp.wav: cannot be read although .* ends before sample 48000, .*; restore the file, and"
    )
    for read in (
        lambda: reader(*clip, 1),
        lambda: reader(*clip, None),
        lambda: reader.stored(*clip),
    ):
        with pytest.raises(LostFile, match=what):
            read()
    assert len(reader(ramp, 0, 2 * RATE, "", None)) == 8000


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


TABLES = {
    modality: pd.DataFrame({"ID": [f"{modality}{n}" for n in range(len(names))], "spk_id": names})
    for modality, names in (("face", FACES), ("voice", VOICES))
}
VIDEOS = {"face": [*"xxyyxx", ""], "voice": [*"xy", "", *"xxyz", *"xyx"]}
CLASSES = {
    "identity": Classes("spk_id", {"ann": 0, "bob": 1}, ("ann", "bob")),
    "video": Classes("video", {"x": 0, "y": 1}, ("x", "y")),
}
SAMPLERS = {
    "pairs": PairSampler,
    "identities": partial(IdentitySampler, clips_per_identity=2),
    "videos": VideoSampler,
    "clips": ClipSampler,
}


def videos(tables):
    return [tables[modality].assign(video=VIDEOS[modality]) for modality in ("face", "voice")]


@pytest.fixture
def datasets(tmp_path):
    """Vectors that carry their clip's number, for 7 faces and 10 voices."""
    sets = []
    for modality, table in zip(TABLES, videos(TABLES), strict=True):
        path = tmp_path / f"{modality}.npz"
        np.savez(path, clip=table.ID.tolist(), vectors=np.arange(len(table), dtype=float)[:, None])
        reader = EmbeddingReader(str(path), "clip", "vectors")
        sets.append(clip_dataset(table, modality, reader, CLASSES))
    return sets


def assert_holds(batch, modality, clips):
    """A batch says of one modality what the table says of these clips."""
    data = getattr(batch, modality)
    data = data.data if modality == "voice" else data
    owners, shown = TABLES[modality].spk_id, VIDEOS[modality]
    assert data.flatten().tolist() == clips
    assert getattr(batch, f"{modality}_clip").tolist() == clips
    assert getattr(batch, f"{modality}_id") == [f"{modality}{clip}" for clip in clips]
    assert getattr(batch, f"{modality}_identity") == [owners[clip] for clip in clips]
    found = getattr(batch, f"{modality}_identity_class")
    assert found.tolist() == [{"ann": 0, "bob": 1}.get(owners[clip], -1) for clip in clips]
    found = getattr(batch, f"{modality}_video_class")
    assert found.tolist() == [{"x": 0, "y": 1}.get(shown[clip], -1) for clip in clips]
    assert found.dtype == getattr(batch, f"{modality}_clip").dtype == torch.int64


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("num_workers", [0, 2])
def test_training_batches_hold_what_the_sampler_drew(datasets, num_workers, name):
    sampler = SAMPLERS[name](*videos(TABLES), 4, 3)
    loader = training_loader(*datasets, sampler, num_workers)
    for drawn, batch in zip(sampler, loader, strict=True):
        assert_holds(batch, "face", [face for face, _, _ in drawn])
        assert_holds(batch, "voice", [voice for _, voice, _ in drawn])
        assert batch.voice.lengths.tolist() == [1] * 4


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_epoch_goes_on_where_a_checkpoint_was_written(datasets, tmp_path, name):
    def loader():
        sampler = SAMPLERS[name](*videos(TABLES), 4, 6, seed=8)
        sampler.set_epoch(3)
        return training_loader(*datasets, sampler)

    whole = [(batch.face_clip.tolist(), batch.voice_clip.tolist()) for batch in loader()]
    stopped = loader()
    batches = iter(stopped)
    for _ in range(2):
        next(batches)
    Checkpointer(tmp_path, {"train": stopped}).save_checkpoint(end_of_epoch=False)
    resumed = loader()
    Checkpointer(tmp_path, {"train": resumed}).recover_if_possible()
    rest = [(batch.face_clip.tolist(), batch.voice_clip.tolist()) for batch in resumed]
    assert len(whole) == 6 and rest == whole[2:]


class Losing:
    """A reader that has lost some clips."""

    takes = ("ID",)

    def __init__(self, *lost):
        self.lost = lost

    def __call__(self, clip, draw):
        if clip in self.lost:
            raise LostFile(f"{clip}: cannot be read", clip)
        return torch.tensor([float(clip[-1])])


def losing(*lost):
    return [
        clip_dataset(table, modality, Losing(*lost), CLASSES)
        for modality, table in zip(TABLES, videos(TABLES), strict=True)
    ]


def drawn_pairs(datasets, batch_size, **which):
    """The clips of each batch that a process trains on, and what was lost."""
    batches = [*training_loader(*datasets, PairSampler(*videos(TABLES), batch_size, 6, **which))]
    pairs = [[*zip(batch.face_id, batch.voice_id, strict=True)] for batch in batches]
    return pairs, {path for batch in batches for path, _ in batch.lost}


def test_what_stands_for_lost_files_is_the_same_in_several_processes():
    """A process whose part of the batch was lost failed where one process took another pair."""
    whole, _ = drawn_pairs(losing(), 4)
    one, lost = drawn_pairs(losing("face4", "face5", "voice0"), 4)
    assert lost == {"face4", "face5", "voice0"}
    ranks = [
        drawn_pairs(losing("face4", "face5", "voice0"), 2, rank=rank, num_processes=2)[0]
        for rank in range(2)
    ]
    assert one == [first + second for first, second in zip(*ranks, strict=True)]
    owner = {f"{m}{n}": name for m, t in TABLES.items() for n, name in enumerate(t.spk_id)}
    for pair, before in zip(*map(itertools.chain.from_iterable, (one, whole)), strict=True):
        expected = "eve" if owner[before[1]] == "bob" else owner[before[1]]
        assert owner[pair[0]] == owner[pair[1]] == expected
        assert pair == before or expected == "eve" or before[1] == "voice0"


def test_where_nothing_can_be_read_the_first_file_is_named_in_one_line():
    sets = losing(*(f"face{number}" for number in range(7)))
    sampler = PairSampler(*videos(TABLES), 2, 1)
    for loader in (
        training_loader(*sets, sampler, num_workers=1),
        evaluation_loader(*sets, 2, keep_rows=True),
    ):
        with pytest.raises(LostFile) as caught:
            list(loader)
        assert re.fullmatch(
            r"face\d: cannot be read; nor can the files of the next people be read; restore the "
            "file, and the same command goes on",
            str(caught.value),
        )


class Recorder:
    """A reader that returns the draw it was given; -1 for none."""

    takes = ("ID",)

    def __call__(self, clip, draw):
        return torch.tensor([-1.0 if draw is None else 1.0])


def test_the_training_clips_can_be_embedded_without_augmentation():
    sets = [
        clip_dataset(table, modality, Recorder(), CLASSES)
        for modality, table in zip(TABLES, videos(TABLES), strict=True)
    ]
    sampler = PairSampler(*videos(TABLES), 4, 1)
    (batch,) = training_loader(*sets, sampler)
    assert (batch.face == 1).all() and (batch.voice.data == 1).all()
    seen = {"face": [], "voice": []}
    for batch in evaluation_loader(*sets, batch_size=4):
        (modality,) = [name for name in seen if hasattr(batch, name)]
        data = getattr(batch, modality)
        assert ((data.data if modality == "voice" else data) == -1).all()
        seen[modality] += getattr(batch, f"{modality}_clip").tolist()
    assert seen == {"face": list(range(7)), "voice": list(range(10))}


def test_evaluation_batches_hold_every_clip_once_and_one_modality(datasets):
    seen, order = {"face": [], "voice": []}, []
    for batch in evaluation_loader(*datasets, batch_size=4):
        (modality,) = [name for name in seen if hasattr(batch, name)]
        start = len(seen[modality])
        seen[modality] += getattr(batch, f"{modality}_id")
        assert_holds(batch, modality, list(range(start, len(seen[modality]))))
        order.append(modality)
    assert seen["face"] == [f"face{n}" for n in range(7)]
    assert seen["voice"] == [f"voice{n}" for n in range(10)]
    assert order == ["face", "voice", "face", "voice", "voice"]
