import numpy as np
import pytest
import torch

from speechbrain_fv.losses import Batch, SSOSLoss, TrainingSet
from speechbrain_fv.losses.mining import others
from speechbrain_fv.losses.ssos import alignment, changed_weights, num_changes_due
from tests.method_checks import CHANCE, WIDTH, finite_step, special_batches, trained_auc
from tests.references import ssos as reference

IDENTITY = [0, 1, 0, 2, 3, 1, 4, 0]


@pytest.fixture
def clips():
    return torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def built(num_identities=5, width=5, **options):
    torch.manual_seed(0)
    loss = SSOSLoss(width, **options)
    loss.build(TrainingSet({"identity": num_identities}))
    return loss


def batch_of(clips, identity, step=0, num_steps=1):
    classes = {"identity": torch.tensor(identity)}
    generator = torch.Generator().manual_seed(step)
    return Batch(*clips, classes, classes, step=step, num_steps=num_steps, generator=generator)


@pytest.mark.parametrize("weight_ce", [True, False])
@pytest.mark.parametrize("identity", [IDENTITY, [0, 1, 2, 3, 4, 0, 1, 2], [3] * 8])
def test_both_terms_equal_the_reference_as_coded_and_as_written(clips, identity, weight_ce):
    loss = built(weight_ce=weight_ce, constant=2.5).double().eval()
    loss.weight.copy_(torch.tensor([1.0, 0.0, 0.5, 2.0, 0.0]))
    terms, _ = loss(batch_of(clips, identity))
    matrix = loss.classifier.weight.detach().numpy()
    expected = reference.terms(
        *clips.numpy(), identity, matrix, loss.weight.tolist(), 2.5, weight_ce
    )
    assert [term.item() for term in terms.values()] == pytest.approx(expected, rel=1e-9)


def test_the_length_of_the_anchor_matters_and_that_of_the_candidates_does_not(clips):
    allowed = others(torch.arange(8))
    x, z = clips
    value = alignment(x, z, allowed, 5.4)
    assert torch.allclose(alignment(7 * x, z, allowed, 5.4), value)
    assert not torch.allclose(alignment(x, 7 * z, allowed, 5.4), value)


def test_the_constant_is_the_floor_of_the_alignment():
    """An anchor that prefers its own pair by far costs log C."""
    value = alignment(torch.eye(4), 1e3 * torch.eye(4), others(torch.arange(4)), 5.4)
    assert value.tolist() == pytest.approx([np.log(5.4)] * 4)


@pytest.mark.parametrize("num", [2, 10, 60, 924])
def test_weights_change_as_in_the_reference_until_nine_tenths_are_above_0(num):
    hardness = torch.rand(num, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    weights, expected = torch.ones(num), [1.0] * num
    for change in range(25):
        share = 0.5 if change == 0 else None
        weights = changed_weights(weights, hardness, share)
        expected = reference.changed(expected, hardness.tolist(), change == 0)
        assert weights.tolist() == pytest.approx(expected, rel=1e-5)
    kept = changed_weights(weights, hardness)
    assert torch.equal(kept, weights) and (weights > 0).float().mean() >= 0.9


def test_at_the_authors_steps_the_hardest_tenth_stays_at_0():
    """Of 924 identities 836 are above 0 after 18 changes, at step 2,200 of 2,400."""
    num_changes = [num_changes_due(step, 2400) for step in (0, 499, 500, 2199, 2200, 12400)]
    assert num_changes == [0, 0, 1, 17, 18, 20]
    hardness = torch.arange(924.0)
    weights = changed_weights(torch.ones(924), hardness, 0.5)
    for _ in range(19):
        weights = changed_weights(weights, hardness)
    assert (weights > 0).sum() == 836 and (weights[836:] == 0).all()


@pytest.mark.parametrize("num_steps", [7, 30, 1000, 12632])
def test_the_schedule_is_scaled_to_the_training(num_steps):
    due = [num_changes_due(done, 0.19 * num_steps) for done in range(1, num_steps + 1)]
    assert due == sorted(due) and due[-1] == 20
    assert num_changes_due(num_steps, 0.0) == 0
    if num_steps > 1000:
        assert due.index(1) + 1 == pytest.approx(0.19 * num_steps * 500 / 2400, abs=1)


def test_hardness_moves_a_tenth_of_the_way_once_per_batch_for_those_that_were_met(clips):
    loss = built(dropout=0.0).double()
    batch = batch_of(clips, [0, 1, 0, 2, 2, 1, 2, 0])
    matrix = loss.classifier.weight.detach().numpy()
    loss(batch)
    for y, rows in {0: [0, 2, 7], 1: [1, 5], 2: [3, 4, 6]}.items():
        ce = [
            sum(-reference.log_softmax(list(matrix @ side[row]), y) for side in clips.numpy())
            for row in rows
        ]
        assert loss.hardness[y].item() == pytest.approx(0.9 * 14 + 0.1 * np.mean(ce), rel=1e-6)
    assert loss.hardness[3:].tolist() == [14, 14]


def test_all_that_the_weights_come_from_is_in_buffers_and_evaluation_changes_none(clips):
    first, second = built(40), built(40)
    clips = clips.float()
    for step in range(4):
        first(batch_of(clips, IDENTITY, step, num_steps=8))
    second.load_state_dict(first.state_dict())
    for step in range(4, 8):
        values = [loss(batch_of(clips, IDENTITY, step, num_steps=8))[0] for loss in (first, second)]
        assert values[0] == values[1]
    assert first.num_changes == 20 and (first.weight == 0).any()
    state = {name: value.clone() for name, value in first.state_dict().items()}
    first.eval()(batch_of(clips, IDENTITY, 7, num_steps=8))
    assert all(torch.equal(state[name], value) for name, value in first.state_dict().items())


def test_dropout_scales_up_what_it_keeps_and_follows_the_generator(clips):
    loss = built(dropout=0.25)
    ones = torch.ones(1000, 5)
    dropped = loss._dropped(ones, torch.Generator().manual_seed(0))
    assert sorted(dropped.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)  # a deviation of 0.008
    assert torch.equal(dropped, loss._dropped(ones, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", special_batches())
def test_special_batches_have_finite_gradients(name):
    loss = built(6, 4, dropout=0.0)
    terms, _ = finite_step(loss, *special_batches()[name])
    if name.startswith("one identity") or name == "a single row":
        assert terms["L_align"] == pytest.approx(np.log(5.4))
    if name == "unknown classes":
        assert terms["L_id"] == 0


@pytest.mark.parametrize("weight_ce", [False, True])
def test_it_learns_from_coded_inputs_and_not_from_shuffled_voices(weight_ce):
    make = lambda: SSOSLoss(WIDTH, weight_ce=weight_ce)  # noqa: E731
    assert trained_auc(make()) > 0.95
    assert CHANCE[0] < trained_auc(make(), shuffled=True) < CHANCE[1]


@pytest.mark.parametrize(
    "options", [{"constant": 0}, {"dropout": 1}, {"stage_one": 1.5}, {"first_share": 0}]
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="expected (a positive number|shares)"):
        SSOSLoss(4, **options)
