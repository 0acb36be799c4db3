"""Samplers: what a batch holds, how often everything comes, ranks, and mistakes."""

from collections import Counter
from functools import partial
from itertools import chain

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.data.samplers import (
    BatchSampler,
    ClipSampler,
    IdentitySampler,
    PairSampler,
    VideoSampler,
)
from tests.references.samplers import draw_epoch

FACE_OWNERS = ["ann"] * 4 + ["bob"] * 2 + ["eve"] + ["dan"] * 9
VOICE_OWNERS = ["eve"] * 3 + ["ann"] * 2 + ["bob"] * 5 + ["dan"]


def table(owners, modality="f", videos=None):
    names = [f"{modality}{number}" for number in range(len(owners))]
    columns = {} if videos is None else {"video": videos}
    return pd.DataFrame({"ID": names, "spk_id": list(owners), **columns})


FACES, VOICES = table(FACE_OWNERS), table(VOICE_OWNERS, "v")


def crowd(num_identities, num_faces=3, num_voices=2):
    """Faces and voices of many people; clip n is of video n of its person, whose names repeat."""
    return [
        table(
            [f"p{number % num_identities:03}" for number in range(num_identities * num_clips)],
            modality,
            [str(number // num_identities) for number in range(num_identities * num_clips)],
        )
        for modality, num_clips in (("f", num_faces), ("v", num_voices))
    ]


ALL = {
    "identities": PairSampler,
    "clips": partial(PairSampler, sampling="clips"),
    "identity x clips": partial(IdentitySampler, clips_per_identity=3),
    "videos": VideoSampler,
    "single clips": ClipSampler,
}
every_sampler = pytest.mark.parametrize("sampler", ALL.values(), ids=ALL)


def rows(sampler):
    return [row for batch in sampler for row in batch]


def owners(sampler, tables):
    """The identities of the faces and of the voices of all rows."""
    drawn = rows(sampler)
    return [[frame.spk_id[row[side]] for row in drawn] for side, frame in enumerate(tables)]


# All samplers


@every_sampler
def test_an_epoch_follows_from_seed_and_epoch(sampler):
    made = sampler(*crowd(20), batch_size=6, steps_per_epoch=7, seed=3)
    epochs = []
    for epoch in (1, 2, 1):
        made.set_epoch(epoch)
        epochs.append(list(made))
    assert len(made) == 7 and [len(batch) for batch in epochs[0]] == [6] * 7
    assert epochs[0] == epochs[2] != epochs[1]
    other = sampler(*crowd(20), batch_size=6, steps_per_epoch=7, seed=4)
    other.set_epoch(1)
    assert list(other) != epochs[0]
    draws = [draw for _, _, draw in rows(made)]
    assert len(set(draws)) == 42 and all(type(value) is int for row in rows(made) for value in row)


@every_sampler
def test_the_processes_see_the_slices_of_the_global_batch(sampler):
    whole = sampler(*crowd(20), batch_size=12, seed=5)
    ranks = [
        sampler(*crowd(20), batch_size=4, seed=5, rank=rank, num_processes=3) for rank in range(3)
    ]
    for made in (whole, *ranks):
        made.set_epoch(7)
    joined = [list(chain(*slices)) for slices in zip(*ranks, strict=True)]
    assert joined == list(whole) and len(joined) == len(whole) == len(ranks[0]) > 1


@every_sampler
def test_the_rows_of_a_table_count_not_its_index(sampler):
    """Manifests without some identities keep the labels of the rows that are left."""
    faces, voices = crowd(20)
    kept = [frame[frame.spk_id > "p007"] for frame in (faces, voices)]
    renumbered = [frame.reset_index(drop=True) for frame in kept]
    assert list(sampler(*kept, batch_size=6)) == list(sampler(*renumbered, batch_size=6))
    assert all(max(row[:2]) < len(kept[0]) for row in rows(sampler(*kept, batch_size=6)))


@every_sampler
@pytest.mark.parametrize(("batch_size", "steps"), [(0, 1), (-4, 1), (4, 0), (4, -1), (0, None)])
def test_sizes_that_are_not_positive_are_named(sampler, batch_size, steps):
    with pytest.raises(
        ValueError, match=f"expected positive numbers, got {batch_size} and {steps}"
    ):
        sampler(*crowd(20), batch_size=batch_size, steps_per_epoch=steps)


# Pairs over identities and clips


@pytest.mark.parametrize("sampling", ["identities", "clips"])
@pytest.mark.parametrize(("batch_size", "steps"), [(5, 20), (4, None), (32, 3)])
def test_pairs_are_those_of_the_slow_reference(sampling, batch_size, steps):
    sampler = PairSampler(FACES, VOICES, batch_size, steps, sampling, seed=11)
    for epoch in (0, 1, 5):
        sampler.set_epoch(epoch)
        num_pairs = len(sampler) * batch_size
        expected = draw_epoch(FACE_OWNERS, VOICE_OWNERS, num_pairs, sampling, 11, epoch)
        assert rows(sampler) == expected


def test_pairs_of_many_identities_are_those_of_the_slow_reference():
    faces, voices = crowd(150, num_faces=4, num_voices=7)
    for sampling in ("identities", "clips"):
        sampler = PairSampler(faces, voices, 128, 20, sampling, seed=1234)
        sampler.set_epoch(2)
        expected = draw_epoch(list(faces.spk_id), list(voices.spk_id), 2560, sampling, 1234, 2)
        assert rows(sampler) == expected


def test_pairs_share_an_identity_and_reach_every_clip():
    for sampling in ("identities", "clips"):
        sampler = PairSampler(FACES, VOICES, 5, 40, sampling, seed=3)
        of_faces, of_voices = owners(sampler, (FACES, VOICES))
        assert of_faces == of_voices
        assert {face for face, _, _ in rows(sampler)} == set(range(len(FACES)))
        assert {voice for _, voice, _ in rows(sampler)} == set(range(len(VOICES)))


def test_sampling_modes_balance_what_they_say():
    by_identity = PairSampler(FACES, VOICES, 44, 1, "identities")
    assert set(Counter(owners(by_identity, (FACES, VOICES))[1]).values()) == {11}
    by_clip = PairSampler(FACES, VOICES, 44, 1, "clips")
    assert set(Counter(voice for _, voice, _ in rows(by_clip)).values()) == {4}


def test_an_epoch_covers_every_voice_by_default():
    sampler = PairSampler(FACES, VOICES, 4, sampling="clips")
    assert len(sampler) == 3
    assert {voice for _, voice, _ in rows(sampler)} == set(range(11))
    assert len(ClipSampler(FACES, VOICES, 4)) == 3
    assert len(IdentitySampler(FACES, VOICES, 4, clips_per_identity=2)) == 3


# P identities x M clips


@pytest.mark.parametrize(("num_identities", "batch_size", "num_clips"), [(20, 24, 2), (6, 24, 4)])
@pytest.mark.parametrize("num_steps", [1, 7, 50])
def test_a_batch_holds_p_identities_with_m_pairs(num_identities, batch_size, num_clips, num_steps):
    faces, voices = crowd(num_identities, num_faces=3, num_voices=7)
    sampler = IdentitySampler(
        faces, voices, batch_size, num_steps, clips_per_identity=num_clips, seed=9
    )
    met = Counter()
    for batch in sampler:
        names = [faces.spk_id[face] for face, _, _ in batch]
        assert names == [voices.spk_id[voice] for _, voice, _ in batch]
        blocks = [names[start : start + num_clips] for start in range(0, batch_size, num_clips)]
        assert all(len(set(block)) == 1 for block in blocks)
        assert len({block[0] for block in blocks}) == batch_size // num_clips
        met.update(block[0] for block in blocks)
        for start in range(0, batch_size, num_clips):
            block = batch[start : start + num_clips]
            assert len({face for face, _, _ in block}) == min(3, num_clips)
            assert len({voice for _, voice, _ in block}) == min(7, num_clips)
    total = num_steps * batch_size // num_clips
    low, high = total // num_identities, -(-total // num_identities)
    counts = [met[name] for name in sorted(set(faces.spk_id))]
    assert sum(counts) == total and low <= min(counts) <= max(counts) <= high


def test_one_pair_of_each_identity_gives_batches_without_repetition():
    """PairSampler repeats an identity where a round ends within the batch."""
    faces, voices = crowd(10)
    sampler = IdentitySampler(faces, voices, 7, 40, clips_per_identity=1)
    assert all(len({faces.spk_id[face] for face, _, _ in batch}) == 7 for batch in sampler)
    plain = PairSampler(faces, voices, 7, 40)
    assert not all(len({faces.spk_id[face] for face, _, _ in batch}) == 7 for batch in plain)


@pytest.mark.parametrize(
    ("batch_size", "num_clips", "message"),
    [
        (8, 5, "clips_per_identity: expected a number that divides the batch of 16 .* got 5"),
        (8, 0, "clips_per_identity: expected a number .* got 0"),
        (8, -2, "clips_per_identity: expected a number .* got -2"),
        (
            8,
            2,
            "at least 8 training identities for batches of 16 pairs with 2 of each, got 4; lower",
        ),
    ],
)
def test_batches_that_cannot_hold_p_times_m_are_named(batch_size, num_clips, message):
    with pytest.raises(ValueError, match=message):
        IdentitySampler(FACES, VOICES, batch_size, clips_per_identity=num_clips, num_processes=2)


# Videos


def test_pairs_of_a_video_each_equally_often():
    """Names repeat over identities; some videos have one modality, some clips no video."""
    faces = table(
        ["a", "a", "a", "a", "b", "b", "b", "c"], "f", ["x", "x", "y", "", "x", "z", "", "only"]
    )
    voices = table(["b", "b", "a", "a", "b", "a", "c"], "v", ["x", "z", "y", "x", "x", "mute", ""])
    keys = [list(zip(frame.spk_id, frame.video, strict=True)) for frame in (faces, voices)]
    both = {key for key in set(keys[0]) & set(keys[1]) if key[1]}
    assert len(both) == 4
    sampler = VideoSampler(faces, voices, 4, 30, seed=2)
    drawn = Counter()
    for batch in sampler:
        pairs = [(keys[0][face], keys[1][voice]) for face, voice, _ in batch]
        assert all(face == voice for face, voice in pairs)
        assert {face for face, _ in pairs} == both  # 4 videos in a batch of 4
        drawn.update((face, voice) for face, voice, _ in batch)
    expected = {
        (face, voice)
        for face, key in enumerate(keys[0])
        for voice, other in enumerate(keys[1])
        if key == other and key[1]
    }
    assert set(drawn) == expected


def test_an_epoch_covers_every_video_by_default_and_a_batch_none_twice():
    faces, voices = crowd(10, num_faces=3, num_voices=2)  # 20 videos have both
    sampler = VideoSampler(faces, voices, 6)
    assert len(sampler) == 4
    batches = [[(faces.spk_id[f], faces.video[f]) for f, _, _ in batch] for batch in sampler]
    assert all(len(set(batch)) == 6 for batch in batches)
    assert len(set(chain(*batches))) == 20
    assert all(len(batch) == 50 for batch in VideoSampler(faces, voices, 50))  # more than videos


@pytest.mark.parametrize(
    ("face_videos", "voice_videos", "message"),
    [
        (None, ["x", "y"], "no row of the training faces names its video; fill the column video"),
        (["x", "y"], None, "no row of the training voices names its video"),
        (["", ""], ["x", "y"], "no row of the training faces names its video"),
        (["x", ""], ["", "y"], "no video of the training clips has a face and a voice"),
        (["x", ""], ["", "x"], "no video of the training clips has a face and a voice"),
    ],
)
def test_a_corpus_without_videos_is_named(face_videos, voice_videos, message):
    with pytest.raises(ValueError, match=message):
        VideoSampler(table("ab", "f", face_videos), table("ab", "v", voice_videos), 2)


# Single clips


def test_single_clips_come_equally_often_and_independently():
    faces, voices = crowd(10, num_faces=3, num_voices=2)
    sampler = ClipSampler(faces, voices, 60, 10)
    assert not sampler.paired
    drawn = rows(sampler)
    assert set(Counter(face for face, _, _ in drawn).values()) == {20}
    assert set(Counter(voice for _, voice, _ in drawn).values()) == {30}
    of_faces, of_voices = owners(sampler, (faces, voices))
    share = np.mean([face == voice for face, voice in zip(of_faces, of_voices, strict=True)])
    assert 0.05 < share < 0.15  # 1 in 10 by chance, standard error 0.012


# What may go wrong


@pytest.mark.parametrize("sampler", [PairSampler, partial(IdentitySampler, clips_per_identity=1)])
@pytest.mark.parametrize(("faces", "voices"), [("ab", "abc"), ("abc", "ab")])
def test_an_identity_with_one_modality_is_named(sampler, faces, voices):
    with pytest.raises(ValueError, match="a face and a voice of every .* got one of them of c; "):
        sampler(table(faces), table(voices), 2)


def test_another_sampling_is_named():
    with pytest.raises(ValueError, match="expected 'identities' or 'clips', got 'random'"):
        PairSampler(FACES, VOICES, 4, sampling="random")


class Own(BatchSampler):
    """A sampler of a user's, with a result to choose."""

    result = None

    def draw(self, rng, num_rows):
        return self.result


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (([0, 1], [0, 1]), "Own.draw: expected 4 face rows in .0, 16.*shape .2,"),
        (([0, 1, 2, 16], [0] * 4), "expected 4 face rows in .0, 16"),
        (([0, 1, 2, 3], [0, 1, 2, -1]), "expected 4 voice rows in .0, 11"),
        (([0.0, 1, 2, 3], [0] * 4), "expected 4 face rows .* got an array of float64"),
        (
            ([0, 0, 0, 4], [3] * 4),
            "expected pairs of one identity, got a face of bob with a voice of",
        ),
    ],
)
def test_a_sampler_that_breaks_its_promise_is_named(result, message):
    sampler = Own(FACES, VOICES, 2, 2)
    sampler.result = result
    with pytest.raises(ValueError, match=message):
        list(sampler)


def test_rows_may_be_unpaired_where_the_sampler_says_so():
    sampler = Own(FACES, VOICES, 2, 2)
    sampler.result, sampler.paired = ([0, 0, 0, 4], [3] * 4), False
    assert [row[:2] for row in rows(sampler)] == [(0, 3), (0, 3), (0, 3), (4, 3)]
    with pytest.raises(NotImplementedError, match="BatchSampler: write draw"):
        list(BatchSampler(FACES, VOICES, 2))
