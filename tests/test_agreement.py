"""Agreement of pairs and of shuffled pairs, against loops, without a trace in the training."""

import copy
from collections import Counter

import numpy as np
import pytest
import torch

from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.losses import (
    IdentityLoss,
    LinearDiscriminator,
    PrototypeDiscriminator,
)
from speechbrain_fv.pseudo_labels import PseudoLabeler, agreement
from speechbrain_fv.pseudo_labels.agreement import (
    derangement,
    held_out_agreement,
    pair_agreement,
    pair_clips,
)
from speechbrain_fv.pseudo_labels.labeler import CLUSTERS

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


@pytest.mark.parametrize("seed", range(20))
def test_shuffled_pairs_are_a_permutation_in_which_nobody_keeps_the_own_voice(seed):
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.repeat(list("abcd"), [6, 3, 2, 1]))  # "a" has half of the pairs
    others = derangement(names, seed)
    assert sorted(others.tolist()) == list(range(12))
    assert (names[others] != names).all()
    assert others.tolist() != derangement(names, seed + 100).tolist()


def test_shuffled_pairs_keep_no_more_own_voices_than_they_must():
    names = np.array(list("aaaaabb"))
    kept = names[derangement(names, 0)] == names
    assert kept.sum() == 3 and (names[kept] == "a").all()
    assert derangement(np.array(["a"]), 0).tolist() == [0]


def shares(labeler, face, voice, phi, seed):
    """Loops over pairs: for each q whether labels agree, whether argmaxima do, and the soft sum."""
    labels = copy.deepcopy(labeler)(face, voice, torch.Generator().manual_seed(seed))
    pairs = {}
    for q, (face_labels, voice_labels) in zip(labeler.num_clusters, labels, strict=True):
        rows = []
        logits = phi(face, voice, face_labels, voice_labels, q)
        for i in range(len(face)):
            first, second = (part[i].detach().double().numpy() for part in logits)
            exponents = [np.exp(logit - logit.max()) for logit in (first, second)]
            soft = sum(a * b for a, b in zip(*[e / e.sum() for e in exponents], strict=True))
            rows.append(
                (face_labels[i] == voice_labels[i], first.argmax() == second.argmax(), soft)
            )
        pairs[q] = np.array(rows, dtype=float)
    return pairs


@pytest.mark.parametrize("clusters", CLUSTERS)
@pytest.mark.parametrize("kind", ["prototype", "linear"])
@pytest.mark.parametrize(("batch_size", "num_batches"), [(16, 5), (32, 2), (500, 1)])
def test_agreement_equals_a_loop_over_batches_and_pairs(batch_size, num_batches, kind, clusters):
    labeler, clips = PseudoLabeler((2, 5), DIM, clusters=clusters), held_out(20, 4)
    phi = PrototypeDiscriminator() if kind == "prototype" else LinearDiscriminator(DIM, (2, 5))
    found = held_out_agreement(labeler, clips, batch_size, seed=7, discriminator=phi)
    faces, voices = pair_clips(clips.face_identity, clips.voice_identity)
    names = np.asarray(clips.face_identity)[faces]
    size = min(batch_size, 80)
    rows = {(q, end): [] for q in (2, 5) for end in ("", "_shuffled")}
    for number in range(num_batches):
        part = slice(number * size, (number + 1) * size)
        face, voice = torch.tensor(clips.face[faces[part]]), torch.tensor(clips.voice[voices[part]])
        others = derangement(names[part], 7)
        for end, second in (("", voice), ("_shuffled", voice[others])):
            for q, values in shares(labeler, face, second, phi, 7).items():
                rows[q, end].append(values)
    expected = {}
    for (q, end), values in rows.items():
        means = np.concatenate(values).mean(axis=0)
        for start, mean in zip(("", "argmax_", "soft_"), means, strict=True):
            expected[f"{start}agreement_q{q}{end}"] = mean
    assert found == pytest.approx(expected, abs=1e-6)
    hard = held_out_agreement(labeler, clips, batch_size, seed=7)
    assert hard == {name: found[name] for name in found if name.startswith("agreement")}


@pytest.mark.parametrize("clusters", ["shared", "paired"])
def test_equal_views_agree_and_shuffled_ones_do_not(clusters):
    clips = held_out(64, 1, noise=0)
    labeler = PseudoLabeler((8, 32), DIM, clusters=clusters)
    found = held_out_agreement(labeler, clips, 64, 0, PrototypeDiscriminator(0.1))
    for q in (8, 32):
        assert found[f"agreement_q{q}"] == found[f"argmax_agreement_q{q}"] == 1
        for name in ("agreement", "argmax_agreement", "soft_agreement"):
            assert found[f"{name}_q{q}_shuffled"] < found[f"{name}_q{q}"] - 0.2


def test_the_floor_of_paired_clusters_is_what_unrelated_pairs_reach_and_not_one_in_q():
    """Each seed is a pair, so q of B pairs start in one cluster, whoever they are."""
    noise = torch.randn(2, 8 * 128, 64, generator=torch.Generator().manual_seed(0))
    names = [f"p{n}" for n in range(8 * 128)]
    found = pair_agreement(PseudoLabeler((64,), 64, clusters="paired"), *noise, names, 128, 0)
    assert found["agreement_q64"] == pytest.approx(found["agreement_q64_shuffled"], abs=0.03)
    assert found["agreement_q64_shuffled"] > 0.3 > 10 / 64


def test_pairs_of_one_identity_have_no_floor():
    clips = held_out(1, 8)
    assert set(held_out_agreement(PseudoLabeler((2,), DIM), clips, 8, 0)) == {"agreement_q2"}


def test_as_many_clusters_as_pairs_agree_and_the_time_is_bounded(monkeypatch):
    clips = held_out(20, 4, noise=0)
    calls = []
    forward = PseudoLabeler.forward

    def counted(self, *arguments):
        calls.append(1)
        return forward(self, *arguments)

    monkeypatch.setattr(PseudoLabeler, "forward", counted)
    found = held_out_agreement(PseudoLabeler((4,), DIM), clips, 4, seed=0)
    assert found == {"agreement_q4": 1.0, "agreement_q4_shuffled": 0.0}
    assert len(calls) == 2 * agreement.MAX_BATCHES < 2 * 20


def test_the_training_is_not_touched():
    labeler, phi = PseudoLabeler((3,), DIM), LinearDiscriminator(DIM, (3,))
    labeler(torch.randn(8, DIM), torch.randn(8, DIM), torch.Generator().manual_seed(0))
    objective = torch.nn.ModuleDict({"self_learning": labeler})
    before, rng = copy.deepcopy(labeler.state_dict()), torch.get_rng_state()
    held_out_agreement(objective, held_out(9, 1), 8, 0, phi)
    after = labeler.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(rng, torch.get_rng_state()) and labeler.num_clusters == (3,)
    assert labeler.training and phi.training


def test_a_q_above_the_number_of_pairs_is_left_out_aloud():
    labeler = PseudoLabeler((2, 12, 64), DIM)
    with pytest.warns(UserWarning, match=r"a batch has 10 of them, so q = \[12, 64\] is left out"):
        found = held_out_agreement(labeler, held_out(10, 1), 32, seed=0)
    assert set(found) == {"agreement_q2", "agreement_q2_shuffled"}
    with pytest.warns(UserWarning, match="left out"):
        assert held_out_agreement(PseudoLabeler((64,), DIM), held_out(10, 1), 32, seed=0) == {}


def test_without_pseudo_labels_there_is_nothing_to_agree():
    assert held_out_agreement(IdentityLoss(DIM), held_out(5, 1), 32, seed=0) == {}
