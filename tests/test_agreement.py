"""Label agreement on held-out pairs, against a loop, without a trace in the training."""

import copy
from collections import Counter

import numpy as np
import pytest
import torch

from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.losses import IdentityLoss
from speechbrain_fv.pseudo_labels import PseudoLabeler, agreement
from speechbrain_fv.pseudo_labels.agreement import held_out_agreement, pair_clips

DIM = 6


def held_out(num_identities, clips_each, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"p{n}" for n in range(num_identities) for _ in range(clips_each)]
    people = np.repeat(rng.normal(size=(num_identities, DIM)), clips_each, axis=0)
    face, voice = (people + noise * rng.normal(size=people.shape) for _ in range(2))
    return Embeddings(face.astype("f"), voice.astype("f"), names, names)


def test_pairs_are_of_one_identity_and_no_clip_comes_twice():
    rng = np.random.default_rng(0)
    face_names, voice_names = rng.choice(list("abcdef"), 40), rng.choice(list("abcdeg"), 30)
    faces, voices = pair_clips(face_names, voice_names)
    owners = face_names[faces].tolist()
    assert owners == voice_names[voices].tolist()
    assert len(set(faces)) == len(set(voices)) == len(faces)
    counts = Counter(face_names.tolist()) & Counter(voice_names.tolist())
    assert Counter(owners) == counts
    assert len(set(owners[: len(counts)])) == len(counts)  # everybody once before anybody again


@pytest.mark.parametrize(("batch_size", "num_batches"), [(16, 5), (32, 2), (500, 1)])
def test_agreement_equals_a_loop_over_batches(batch_size, num_batches):
    labeler, clips = PseudoLabeler((2, 5), DIM), held_out(20, 4)
    found = held_out_agreement(labeler, clips, batch_size, seed=7)
    faces, voices = pair_clips(clips.face_identity, clips.voice_identity)
    size = min(batch_size, 80)
    agree = {2: [], 5: []}
    for number in range(num_batches):
        part = slice(number * size, (number + 1) * size)
        face, voice = torch.tensor(clips.face[faces[part]]), torch.tensor(clips.voice[voices[part]])
        generator = torch.Generator().manual_seed(7)
        labels = copy.deepcopy(labeler)(face, voice, generator)
        for q, (face_labels, voice_labels) in zip(agree, labels.tolist(), strict=True):
            pairs = zip(face_labels, voice_labels, strict=True)
            agree[q] += [first == second for first, second in pairs]
    expected = {f"agreement_q{q}": sum(hits) / len(hits) for q, hits in agree.items()}
    assert found == pytest.approx(expected)


def test_equal_views_agree_and_the_time_is_bounded(monkeypatch):
    clips = held_out(20, 4, noise=0)
    calls = []
    forward = PseudoLabeler.forward

    def counted(self, *arguments):
        calls.append(1)
        return forward(self, *arguments)

    monkeypatch.setattr(PseudoLabeler, "forward", counted)
    found = held_out_agreement(PseudoLabeler((4,), DIM), clips, 4, seed=0)
    assert found == {"agreement_q4": 1.0}
    assert len(calls) == agreement.MAX_BATCHES < 20


def test_the_training_is_not_touched():
    labeler = PseudoLabeler((3,), DIM)
    labeler(torch.randn(8, DIM), torch.randn(8, DIM), torch.Generator().manual_seed(0))
    objective = torch.nn.ModuleDict({"self_learning": labeler})
    before, rng = copy.deepcopy(labeler.state_dict()), torch.get_rng_state()
    held_out_agreement(objective, held_out(9, 1), 8, seed=0)
    after = labeler.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(rng, torch.get_rng_state()) and labeler.num_clusters == (3,)


def test_a_q_above_the_number_of_pairs_is_left_out_aloud():
    labeler = PseudoLabeler((2, 12, 64), DIM)
    with pytest.warns(UserWarning, match=r"a batch has 10 of them, so q = \[12, 64\] is left out"):
        assert set(held_out_agreement(labeler, held_out(10, 1), 32, seed=0)) == {"agreement_q2"}
    with pytest.warns(UserWarning, match="left out"):
        assert held_out_agreement(PseudoLabeler((64,), DIM), held_out(10, 1), 32, seed=0) == {}


def test_without_pseudo_labels_there_is_nothing_to_agree():
    assert held_out_agreement(IdentityLoss(DIM), held_out(5, 1), 32, seed=0) == {}
