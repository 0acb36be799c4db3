import math

import numpy as np
import pytest
import torch

from speechbrain_fv.losses import Batch, DistanceRatioLoss, VoiceAnchoredTripletLoss
from speechbrain_fv.losses.mining import draw_one, others
from tests.method_checks import CHANCE, finite_step, negative_l2, special_batches, trained_auc
from tests.references import triplet as reference

IDENTITY = [0, 1, 0, 2, 3, 1, 4, 0]


@pytest.fixture
def clips():
    rng = torch.Generator().manual_seed(0)
    return torch.randn(2, 8, 5, generator=rng, dtype=torch.float64)


def batch_of(clips, identity, seed=0):
    classes = {"identity": torch.tensor(identity)}
    return Batch(*clips, classes, classes, generator=torch.Generator().manual_seed(seed))


def drawn_negatives(identity, seed=0):
    """The rows that a loss draws with a generator of this seed."""
    return draw_one(others(torch.tensor(identity)), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("direction", ["V-F", "F-V"])
def test_the_distance_ratio_equals_the_reference(clips, direction, squared):
    terms, monitors = DistanceRatioLoss(direction, squared)(batch_of(clips, IDENTITY))
    face, voice = clips.numpy()
    anchors, candidates = (voice, face) if direction == "V-F" else (face, voice)
    negatives = candidates[drawn_negatives(IDENTITY)]
    triplets = list(zip(anchors, candidates, negatives, strict=True))
    expected = np.mean([reference.distance_ratio(*triplet, squared) for triplet in triplets])
    assert terms["L_ratio"].item() == pytest.approx(expected, rel=1e-9)
    nearer = [np.linalg.norm(r - p) < np.linalg.norm(r - n) for r, p, n in triplets]
    assert monitors["triplet_accuracy"].item() == pytest.approx(np.mean(nearer))


def test_unit_vectors_saturate_the_distance_ratio_and_long_ones_do_not():
    """Unit vectors are at most 2 apart, so that the loss stays above sqrt(2) / (1 + e^2)."""
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    floor = math.sqrt(2) / (1 + math.exp(2))
    loss = DistanceRatioLoss()
    at_best = loss(batch_of((opposite, opposite), [0, 1]))[0]["L_ratio"].item()
    assert at_best == pytest.approx(floor, rel=1e-5)
    assert loss(batch_of((20 * opposite, 20 * opposite), [0, 1]))[0]["L_ratio"] < 1e-9


@pytest.mark.parametrize("negatives", ["random", "semi_hard"])
@pytest.mark.parametrize(("margin", "radius"), [(1.0, 1.0), (0.2, 1.0), (1.0, 3.0)])
def test_the_voice_anchored_triplets_equal_the_reference(clips, negatives, margin, radius):
    loss = VoiceAnchoredTripletLoss(margin, radius, negatives)
    terms, _ = loss(batch_of(clips, IDENTITY))
    face, voice = clips.numpy()
    rows = range(len(IDENTITY))
    chosen = drawn_negatives(IDENTITY).tolist()
    if negatives == "semi_hard":
        chosen = [reference.semi_hard(i, voice, face, IDENTITY) for i in rows]
    values = [
        reference.voice_anchored(voice[i], face[i], face[chosen[i]], margin, radius) for i in rows
    ]
    assert terms["L_VFMR3"].item() == pytest.approx(np.mean(values), rel=1e-9)


def test_negatives_never_share_the_identity_and_vary_with_the_generator(clips):
    identity = torch.tensor(IDENTITY)
    draws = [drawn_negatives(IDENTITY, seed) for seed in range(20)]
    assert all((identity[chosen] != identity).all() for chosen in draws)
    assert len({tuple(chosen.tolist()) for chosen in draws}) > 15
    losses = {
        DistanceRatioLoss()(batch_of(clips, IDENTITY, seed))[0]["L_ratio"].item()
        for seed in (0, 0, 1)
    }
    assert len(losses) == 2


LOSSES = {
    "voice reference": DistanceRatioLoss,
    "face reference": lambda: DistanceRatioLoss("F-V"),
    "squared ratio": lambda: DistanceRatioLoss(squared=True),
    "random": VoiceAnchoredTripletLoss,
    "semi-hard": lambda: VoiceAnchoredTripletLoss(negatives="semi_hard"),
}


@pytest.mark.parametrize("name", special_batches())
@pytest.mark.parametrize("loss", LOSSES)
def test_special_batches_have_finite_gradients(loss, name):
    terms, gradients = finite_step(LOSSES[loss](), *special_batches()[name])
    (value,) = terms.values()
    if name.startswith("one identity") or name == "a single row":
        assert value == 0 and not any(gradient.any() for gradient in gradients)
    if (
        name == "constant inputs"
    ):  # all distances are equal: half of the loss's range, or the margin
        expected = {"squared ratio": 0.5, "random": 1.0, "semi-hard": 1.0}
        assert value == pytest.approx(expected.get(loss, math.sqrt(0.5)))


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (DistanceRatioLoss, {"score": negative_l2}),
        (lambda: DistanceRatioLoss("F-V", squared=True), {"score": negative_l2}),
        (VoiceAnchoredTripletLoss, {}),
        (lambda: VoiceAnchoredTripletLoss(negatives="semi_hard"), {}),
    ],
)
def test_they_learn_from_coded_inputs_and_not_from_shuffled_voices(make, options):
    assert trained_auc(make(), **options) > 0.95
    assert CHANCE[0] < trained_auc(make(), shuffled=True, **options) < CHANCE[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DistanceRatioLoss("voice"), "direction: expected 'F-V' or 'V-F', got 'voice'"),
        (lambda: VoiceAnchoredTripletLoss(margin=-1), "margin and radius: expected at least 0"),
        (lambda: VoiceAnchoredTripletLoss(radius=0), "a positive number, got 1.0 and 0"),
        (lambda: VoiceAnchoredTripletLoss(negatives="hard"), "one of random, semi_hard, got 'hard"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
