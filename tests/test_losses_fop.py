import numpy as np
import pytest
import torch

from speechbrain_fv.encoders import UnitBranch
from speechbrain_fv.losses import Batch, FOPLoss, Loss, TrainingSet
from speechbrain_fv.losses.fop import orthogonal_projection
from tests.method_checks import (
    CHANCE,
    WIDTH,
    finite_step,
    held_out_auc,
    negative_l2,
    special_batches,
    trained_heads,
)
from tests.references import fop as reference

IDENTITY = [0, 1, 0, 2, 3, 1, 4, 0]


@pytest.fixture
def clips():
    return torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def built(num_identities=5, width=5, **options):
    torch.manual_seed(0)
    loss = FOPLoss(width, **options)
    loss.build(TrainingSet({"identity": num_identities}))
    return loss


class Behind(Loss):
    """A loss behind a block that both modalities share."""

    def __init__(self, block, loss):
        super().__init__()
        self.block, self.loss, self.terms = block, loss, loss.terms

    def build(self, training_set):
        self.loss.build(training_set)

    def forward(self, batch):
        face, voice = self.block(torch.stack([batch.face, batch.voice]))
        return self.loss(Batch(face, voice, batch.face_classes, batch.voice_classes))

    def auc(self, **options):
        """The AUC by the distance behind the block, on coded inputs."""
        heads, generator = trained_heads(self, **options)
        self.eval()
        score = lambda face, voice: negative_l2(self.block(face), self.block(voice))  # noqa: E731
        return held_out_auc(heads, score, generator)


@pytest.mark.parametrize("identity", [IDENTITY, list(range(8)), [2] * 8])
def test_the_projection_equals_the_reference(clips, identity):
    value = orthogonal_projection(clips[0], torch.tensor(identity), 0.9).item()
    expected = reference.orthogonal_projection(clips[0].numpy(), identity, 0.9)
    assert value == pytest.approx(expected, rel=1e-9)


def test_without_a_pair_of_one_identity_the_first_part_is_1():
    assert orthogonal_projection(torch.eye(4), torch.arange(4)).item() == 1


def test_opposite_identities_cost_as_much_as_equal_ones():
    """They are to be at right angles."""
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert orthogonal_projection(rows, torch.tensor([0, 1])).item() == pytest.approx(1.7)


def test_the_linear_fusion_classifies_a_weighted_sum_of_unit_vectors(clips):
    loss = built().double()
    terms, _ = loss(Batch(*clips, {}, {"identity": torch.tensor(IDENTITY)}))
    w = loss.fusion.weights.detach().numpy()
    matrix, bias = (p.detach().numpy() for p in loss.classifier.parameters())
    fused, losses = [], []
    for row, y in enumerate(IDENTITY):
        face, voice = (reference.unit(side[row].numpy()) for side in clips)
        fused.append(w[0] * face + w[1] * voice)
        logits = matrix @ fused[-1] + bias
        losses.append(np.log(np.exp(logits).sum()) - logits[y])
    assert terms["L_id"].item() == pytest.approx(np.mean(losses), rel=1e-9)
    expected = reference.orthogonal_projection(np.array(fused), IDENTITY, 0.7)
    assert terms["L_OPL"].item() == pytest.approx(expected, rel=1e-9)
    assert ((w >= 0) & (w < 1)).all()


def test_the_gated_fusion_weighs_every_coordinate(clips):
    fusion = built(fusion="gated").double().fusion
    face, voice = clips
    gate = fusion.gate(torch.cat([face, voice], dim=1)).detach().numpy()
    fused = fusion(face, voice).detach().numpy()
    assert ((gate > 0) & (gate < 1)).all()
    expected = reference.gated(face.numpy(), voice.numpy(), gate)
    np.testing.assert_allclose(fused, expected, rtol=1e-9)


def test_a_branch_has_no_negative_coordinate_and_length_1():
    block = UnitBranch(0.5)
    out = block(torch.randn(2, 50, 16))
    assert (out >= 0).all() and (out == 0).float().mean() > 0.6
    torch.testing.assert_close(out.norm(dim=2), torch.ones(2, 50))
    out = block.eval()(torch.tensor([[3.0, 4.0, -9.0], [-1.0, -2.0, 0.0]]))
    torch.testing.assert_close(out, torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 0.0]]))
    with pytest.raises(ValueError, match="dropout: expected a share"):
        UnitBranch(1.0)


@pytest.mark.parametrize("fusion", ["linear", "gated"])
@pytest.mark.parametrize("name", special_batches())
def test_special_batches_have_finite_gradients(name, fusion):
    loss = built(6, 4, fusion=fusion)
    batch = special_batches()[name]
    if fusion == "gated" and name == "a single row":
        with pytest.raises(ValueError, match="expected batches of at least 2 pairs, got 1"):
            loss.check_batch_size(1)
        return
    loss.check_batch_size(len(batch[0]))
    terms, _ = finite_step(loss, *batch)
    if name == "a single row":
        assert terms["L_OPL"] == 1
    if name == "one identity, constant inputs":
        assert terms["L_OPL"] == pytest.approx(0, abs=1e-5)
    if name == "unknown classes":
        assert terms["L_id"] == 0 and terms["L_OPL"] == 1


@pytest.mark.parametrize("fusion", ["linear", "gated"])
def test_it_learns_from_coded_inputs_and_not_from_shuffled_voices(fusion):
    make = lambda: Behind(UnitBranch(0.5), FOPLoss(WIDTH, fusion))  # noqa: E731
    found = make().auc(clips_per_identity=4)
    assert found > 0.95, found
    assert CHANCE[0] < make().auc(clips_per_identity=4, shuffled=True) < CHANCE[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "sum"}, "fusion: expected one of linear, gated"),
        ({"negative_weight": -1}, "negative_w"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FOPLoss(4, **options)
