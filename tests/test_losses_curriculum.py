import numpy as np
import pytest
import torch

from speechbrain_fv.losses import Batch, CurriculumContrastiveLoss
from speechbrain_fv.losses.curriculum import curriculum_negatives
from speechbrain_fv.losses.mining import all_distances, distance, draw_one, others
from tests.method_checks import CHANCE, finite_step, special_batches, trained_auc
from tests.references import curriculum as reference

VIDEOS = [0, 1, 2, 0, 3, 4, 2, 5, 6]


@pytest.fixture
def clips():
    rng = torch.Generator().manual_seed(0)
    return torch.randn(2, len(VIDEOS), 5, generator=rng, dtype=torch.float64)


def mined(face, voice, videos, tau, capped=True):
    unit = [torch.nn.functional.normalize(x, dim=1) for x in (face, voice)]
    distances = all_distances(*unit)
    return distances, curriculum_negatives(distances, others(videos), tau, capped)


@pytest.mark.parametrize("tau", [0.0, 0.3, 0.55, 0.8, 1.0])
@pytest.mark.parametrize("capped", [True, False])
def test_the_negatives_equal_the_reference(clips, tau, capped):
    _, chosen = mined(*clips, torch.tensor(VIDEOS), tau, capped)
    face, voice = clips.numpy()
    assert chosen.tolist() == [
        reference.negative_of(i, face, voice, VIDEOS, tau, capped) for i in range(len(VIDEOS))
    ]


def test_tau_goes_from_the_farthest_to_the_nearest_and_never_to_the_same_video(clips):
    videos = torch.tensor(VIDEOS)
    for tau, choose in ((0.0, "max"), (1.0, "min")):
        distances, chosen = mined(*clips, videos, tau, capped=False)
        masked = distances.masked_fill(~others(videos), -np.inf if choose == "max" else np.inf)
        assert chosen.tolist() == getattr(masked, choose)(dim=1).indices.tolist()
    for tau in np.linspace(0, 1, 11):
        _, chosen = mined(*clips, videos, tau)
        assert (videos[chosen] != videos).all()


def test_no_negative_is_nearer_than_the_positive_unless_all_are(clips):
    distances, chosen = mined(*clips, torch.tensor(VIDEOS), 1.0)
    own = distances.diagonal()
    taken = distances.gather(1, chosen.unsqueeze(1)).squeeze(1)
    all_nearer = (distances < own.unsqueeze(1)).sum(dim=1) == len(VIDEOS) - 1
    assert ((taken >= own) | all_nearer).all() and not all_nearer.all()
    far = torch.tensor([[0.9, 0.5, 0.2]]).expand(3, 3)
    allowed = torch.tensor([[False, True, True]]).expand(3, 3)
    assert curriculum_negatives(far, allowed, tau=1.0)[0] == 1  # all nearer: the farthest


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("videos", [VIDEOS, [-1, -1, 2, -1, 3, 4, 2, 5, 6], [7] * 9])
def test_the_loss_equals_the_reference(clips, squared, videos):
    loss = CurriculumContrastiveLoss(squared=squared, margin=1.5)
    classes = {"video": torch.tensor(videos)}
    face, voice = clips.numpy()
    known = [
        v if v >= 0 else 100 + i for i, v in enumerate(videos)
    ]  # unknown is a video of its own
    for step, tau in ((0, 0.3), (5, 0.5), (11, 0.8)):
        batch = Batch(*clips, voice_classes=classes, step=step, num_steps=12)
        terms, monitors = loss(batch)
        expected = reference.loss(face, voice, known, tau, margin=1.5, squared=squared)
        assert terms["L_PINs"].item() == pytest.approx(expected, rel=1e-9)
        assert monitors["tau"].item() == pytest.approx(tau)


@pytest.mark.parametrize("num_steps", [6, 12, 160, 7000])
def test_tau_takes_six_values_for_a_sixth_of_the_training_each(num_steps):
    loss = CurriculumContrastiveLoss()
    taus = [round(loss.tau(step, num_steps), 6) for step in range(num_steps)]
    assert sorted(set(taus)) == [0.3, 0.4, 0.5, 0.6, 0.7, 0.8] and taus == sorted(taus)
    counts = np.unique(taus, return_counts=True)[1]
    assert counts.max() - counts.min() <= 1
    assert loss.tau(2 * num_steps, num_steps) == 0.8


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("name", special_batches())
def test_special_batches_have_finite_gradients(name, squared):
    terms, _ = finite_step(CurriculumContrastiveLoss(squared=squared), *special_batches()[name])
    if name == "constant inputs":  # positives at 0 (1e-6 under the root), negatives at the margin
        assert terms["L_PINs"] == pytest.approx(0.5 * 0.6 ** (2 if squared else 1), abs=2e-6)


@pytest.mark.parametrize("squared", [True, False])
def test_it_learns_from_coded_inputs(squared):
    loss = CurriculumContrastiveLoss(squared=squared)
    assert trained_auc(loss, sampling="videos") > 0.95


def test_shuffled_voices_stay_at_chance():
    auc = trained_auc(CurriculumContrastiveLoss(), sampling="videos", shuffled=True)
    assert CHANCE[0] < auc < CHANCE[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": -1}, "margin: expected at least 0, got -1"),
        ({"tau_start": 0.9}, "tau: expected 0 <= tau_start <= tau_end <= 1"),
        ({"tau_end": 1.1}, "tau: expected 0 <= tau_start <= tau_end <= 1"),
        ({"tau_step": -0.1}, "tau_step >= 0"),
        ({"step_share": 0}, r"step_share: expected a share in \(0, 1\], got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CurriculumContrastiveLoss(**options)


def test_others_are_rows_of_another_class_or_of_none():
    found = others(torch.tensor([0, 0, -1, -1])).int().tolist()
    assert found == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]]


def test_draws_are_uniform_over_what_is_allowed():
    allowed = torch.tensor([[True, False, True, True, False]]).expand(6000, 5)
    drawn = draw_one(allowed, torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=5) / len(drawn)
    assert shares.tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3, 0], abs=0.02)
    alone = draw_one(torch.eye(5, dtype=torch.bool), torch.Generator().manual_seed(0))
    assert alone.tolist() == [0, 1, 2, 3, 4]


def test_the_distance_of_equal_rows_has_a_gradient_of_zero():
    x = torch.ones(2, 3, requires_grad=True)
    distance(x, torch.ones(2, 3)).sum().backward()
    assert (x.grad == 0).all()
