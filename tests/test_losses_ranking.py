import pytest
import torch

from speechbrain_fv.losses import (
    Batch,
    BidirectionalRankingLoss,
    IdentityLoss,
    LearnableCenterLoss,
    Objective,
    TrainingSet,
)
from speechbrain_fv.losses.mining import others
from speechbrain_fv.losses.ranking import hardest
from tests.method_checks import CHANCE, WIDTH, finite_step, special_batches, trained_auc
from tests.references import ranking as reference

LDJE_WEIGHTS = {"L_rank": 1.0, "L_intra": 0.1, "L_id": 1.0, "L_center": 0.01}


@pytest.fixture
def clips():
    rng = torch.Generator().manual_seed(0)
    return torch.randn(2, 8, 5, generator=rng, dtype=torch.float64)


def batch_of(clips, face_identity, voice_identity=None):
    faces, voices = (torch.tensor(x) for x in (face_identity, voice_identity or face_identity))
    return Batch(*clips, {"identity": faces}, {"identity": voices})


def ldje(width=WIDTH):
    """The losses of LDJE as one."""
    losses = {
        "ranking": BidirectionalRankingLoss(),
        "identity": IdentityLoss(width, attributes=["identity"]),
        "center": LearnableCenterLoss(width),
    }
    return Objective(losses)


@pytest.mark.parametrize(
    "identity", [list(range(8)), [0, 1, 0, 2, 3, 1, 4, 0], [0] * 4 + [1] * 4, [5] * 8]
)
def test_the_ranking_equals_the_reference(clips, identity):
    terms, _ = BidirectionalRankingLoss(1.2, 0.9)(batch_of(clips, identity))
    face, voice = clips.numpy()
    there = reference.ranking(face, voice, identity, 1.2, 0.9)
    back = reference.ranking(voice, face, identity, 1.2, 0.9)
    assert terms["L_rank"].item() == pytest.approx(there[0] + back[0], rel=1e-9, abs=1e-12)
    assert terms["L_intra"].item() == pytest.approx(there[1] + back[1], rel=1e-9, abs=1e-12)


def test_faces_and_voices_may_change_places(clips):
    loss = BidirectionalRankingLoss(1.2, 0.9)
    there, _ = loss(batch_of(clips, list(range(8))))
    back, _ = loss(batch_of(clips.flip(0), list(range(8))))
    assert {n: t.item() for n, t in there.items()} == pytest.approx(
        {n: t.item() for n, t in back.items()}
    )


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0])
def test_the_hardest_negative_never_shares_the_identity_where_all_are_equally_far(distance):
    """Adding the largest distance to those of the same identity hides them not where all are 0."""
    identity = torch.tensor([0, 0, 1, 1, 0])
    chosen = hardest(torch.full((5, 5), distance), others(identity))
    assert (identity[chosen] != identity).all()


def test_the_choice_has_no_gradient_and_the_distance_has(clips):
    face, voice = (x.clone().requires_grad_() for x in clips)
    terms, _ = BidirectionalRankingLoss()(batch_of((face, voice), list(range(8))))
    terms["L_rank"].backward()
    assert face.grad.abs().sum() > 0 and voice.grad.abs().sum() > 0


@pytest.mark.parametrize("voice_identity", [[2, 0, 1, 2, 0, 1, 2, 2], [2, -1, 1, -1, 0, 1, 2, 2]])
def test_the_centres_equal_the_reference(clips, voice_identity):
    torch.manual_seed(0)
    loss = LearnableCenterLoss(5)
    loss.build(TrainingSet({"identity": 3}))
    face_identity = [0, 1, 2, 0, 1, 2, -1, 0]
    batch = batch_of(clips, face_identity, voice_identity)
    terms, _ = loss(batch)
    centers = loss.centers.detach().double().numpy()
    expected = reference.center(*clips.numpy(), face_identity, voice_identity, centers)
    assert terms["L_center"].item() == pytest.approx(expected, rel=1e-6)
    terms["L_center"].backward()
    assert loss.centers.grad.abs().sum(dim=1).all()


@pytest.mark.parametrize("name", special_batches())
def test_special_batches_have_finite_gradients(name):
    objective = ldje(width=4)
    objective.build(TrainingSet({"identity": 6}))
    terms, _ = finite_step(objective, *special_batches()[name])
    if name.startswith("one identity") or name == "a single row":
        assert terms["L_rank"] == terms["L_intra"] == 0
    if name == "constant inputs":
        assert terms["L_rank"] == pytest.approx(2 * 0.6)
        assert terms["L_intra"] == pytest.approx(2 * 0.2, abs=1e-5)
    if name == "unknown classes":
        assert terms["L_center"] == terms["L_id"] == 0


def test_ldje_learns_from_coded_inputs_and_not_from_shuffled_voices():
    assert trained_auc(ldje(), LDJE_WEIGHTS) > 0.95
    assert CHANCE[0] < trained_auc(ldje(), LDJE_WEIGHTS, shuffled=True) < CHANCE[1]


@pytest.mark.parametrize("loss", [BidirectionalRankingLoss, LearnableCenterLoss])
def test_either_part_learns_alone(loss):
    made = loss(WIDTH) if loss is LearnableCenterLoss else loss()
    assert trained_auc(made, {"L_intra": 0.1}) > 0.95


@pytest.mark.parametrize("margins", [(-0.1, 0.2), (0.6, -1)])
def test_negative_margins_are_refused(margins):
    with pytest.raises(ValueError, match="rank_margin and intra_margin: expected at least 0"):
        BidirectionalRankingLoss(*margins)
