import numpy as np
import pytest
import torch

from speechbrain_fv.encoders import SharedTrunk
from speechbrain_fv.losses import Batch, IdentityLoss, MovingCenterLoss, Objective, TrainingSet
from speechbrain_fv.losses.moving_center import moved_centers
from tests.method_checks import CHANCE, finite_step, special_batches
from tests.references import fop as reference
from tests.test_losses_fop import Behind

FACES, VOICES = [0, 1, 2, 0, 1, 2, 4, 0], [2, 0, 1, 2, 0, 1, 2, 2]


@pytest.fixture
def clips():
    return torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def built(num_identities=5, width=5, **options):
    torch.manual_seed(0)
    loss = MovingCenterLoss(width, **options)
    loss.build(TrainingSet({"identity": num_identities}))
    return loss


def batch_of(clips, faces=FACES, voices=VOICES):
    faces, voices = torch.tensor(faces), torch.tensor(voices)
    return Batch(*clips, {"identity": faces}, {"identity": voices})


@pytest.mark.parametrize("git", [False, True])
def test_the_terms_and_the_centres_equal_the_reference(clips, git):
    loss = built(git=git).double()
    rows, classes = np.concatenate(clips.numpy()), FACES + VOICES
    centers = np.zeros((5, 5))
    for _ in range(3):
        terms, _ = loss(batch_of(clips))
        assert set(terms) == set(loss.terms)
        expected = reference.center(rows, classes, centers)
        assert terms["L_center"].item() == pytest.approx(expected, rel=1e-9)
        if git:
            expected = reference.repulsion(rows, classes, centers)
            assert terms["L_git"].item() == pytest.approx(expected, rel=1e-9)
        centers = reference.moved(centers, rows, classes, 0.7)
        np.testing.assert_allclose(loss.centers.numpy(), centers, rtol=1e-9)


@pytest.mark.parametrize("times", [1, 2, 5, 64])
def test_a_centre_met_n_times_does_not_overshoot(times):
    """Moves that are added up would take it 0.7 n of the way: beyond its clips from n = 2 on."""
    rows, classes = torch.ones(times, 2), torch.zeros(times, dtype=torch.int64)
    centers = torch.zeros(3, 2)
    for step in range(1, 4):
        centers = moved_centers(centers, rows, classes, 0.7)
        assert centers[0].tolist() == pytest.approx([1 - 0.3**step] * 2)
    assert (centers[1:] == 0).all()


def test_centres_move_in_training_alone_and_are_in_the_checkpoint(clips):
    loss = built().double()
    loss(batch_of(clips))
    state = {name: value.clone() for name, value in loss.state_dict().items()}
    assert list(state) == ["centers"]
    loss.eval()(batch_of(clips))
    assert torch.equal(loss.centers, state["centers"])
    other = built().double()
    other.load_state_dict(state)
    assert torch.equal(other.centers, loss.centers)


def test_the_trunk_takes_both_modalities_alike_and_ends_on_the_sphere():
    torch.manual_seed(0)
    trunk = SharedTrunk(64)
    clips = torch.randn(2, 20, 64)
    out = trunk(clips)
    torch.testing.assert_close(out.norm(dim=2), torch.ones(2, 20))
    assert (out >= 0).all()
    norm = trunk.layers[1]
    mean = 0.1 * trunk.layers[0](clips.flatten(0, 1)).mean(dim=0)  # of faces and voices together
    torch.testing.assert_close(norm.running_mean, mean)
    trunk.eval()
    torch.testing.assert_close(trunk(clips)[1], trunk(clips[1]))
    with pytest.raises(ValueError, match="dropout: expected a share"):
        SharedTrunk(6, dropout=-0.1)


@pytest.mark.parametrize("name", special_batches())
def test_special_batches_have_finite_gradients(name):
    terms, _ = finite_step(built(6, 4, git=True), *special_batches()[name])
    if name == "unknown classes":
        assert terms == {"L_center": 0, "L_git": 0}
    if name.startswith("one identity"):
        assert terms["L_git"] == 0


def auc(git, **options):
    """In a trunk as wide as there are people; dropout of half of less leaves too little."""
    width = 64
    losses = {
        "identity": IdentityLoss(width, attributes=["identity"]),
        "center": MovingCenterLoss(width, git=git),
    }
    method = Behind(SharedTrunk(width), Objective(losses))
    return method.auc(sampling="clips", lr=0.01, width=width, **options)


@pytest.mark.parametrize("git", [False, True])
def test_it_learns_from_coded_inputs_and_not_from_shuffled_voices(git):
    found = auc(git)
    assert found > 0.95, found
    assert CHANCE[0] < auc(git, shuffled=True) < CHANCE[1]


def test_a_share_out_of_range_is_refused():
    with pytest.raises(ValueError, match="alpha: expected a share"):
        MovingCenterLoss(4, alpha=1.1)
