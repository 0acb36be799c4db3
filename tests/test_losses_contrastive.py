import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from speechbrain_fv.losses import (
    Batch,
    EmbeddingNormLoss,
    InfoNCELoss,
    Objective,
    SupConLoss,
    TrainingSet,
)
from tests.method_checks import (
    CHANCE,
    cosine,
    finite_step,
    inner_product,
    special_batches,
    trained_auc,
)
from tests.references import contrastive as reference


@pytest.fixture
def clips():
    rng = torch.Generator().manual_seed(0)
    return torch.randn(2, 8, 5, generator=rng, dtype=torch.float64)


def batch_of(clips, identity):
    classes = {"identity": torch.tensor(identity)}
    return Batch(*clips, classes, classes)


def fv_cme():
    """The losses of FV-CME as one."""
    losses = {
        "n_pair": InfoNCELoss(1.0, normalize=False, same_identity="refuse"),
        "norm": EmbeddingNormLoss(),
    }
    return Objective(losses)


def test_the_options_leave_the_default_as_it_was_bit_for_bit():
    rng = torch.Generator().manual_seed(1)
    face, voice = torch.randn(2, 24, 6, generator=rng)
    identity = torch.arange(24) % 9
    repeated = (identity.unsqueeze(1) == identity) & (identity != -1)
    repeated.fill_diagonal_(False)
    scores = normalize(face, dim=1) @ normalize(voice, dim=1).T / 0.1
    scores = scores.masked_fill(repeated, -torch.inf)
    own = torch.arange(24)
    expected = cross_entropy(scores, own) + cross_entropy(scores.T, own)
    terms, monitors = InfoNCELoss()(batch_of((face, voice), identity.tolist()))
    assert torch.equal(terms["L_NCE"], expected) and list(monitors) == ["pair_accuracy"]


@pytest.mark.parametrize("same_identity", ["leave_out", "negative"])
@pytest.mark.parametrize("cosines", [True, False])
@pytest.mark.parametrize("learnable", [True, False])
def test_infonce_equals_the_reference(clips, same_identity, cosines, learnable):
    identity = [0, 1, 0, 2, -1, 1, -1, 0]
    loss = InfoNCELoss(0.5, cosines, learnable, same_identity).double()
    terms, _ = loss(batch_of(clips, identity))
    left_out = {
        "negative": lambda i, j: False,
        "leave_out": lambda i, j: identity[i] == identity[j] != -1,
    }[same_identity]
    similarity = reference.cosine if cosines else reference.inner
    expected = reference.infonce(*clips.numpy(), 0.5, similarity, left_out)
    assert terms["L_NCE"].item() == pytest.approx(expected, rel=1e-6)


def test_fv_cme_is_the_n_pair_loss_of_both_directions_and_the_lengths(clips):
    terms, _ = fv_cme()(batch_of(clips, list(range(8))))
    face, voice = clips.numpy()
    assert terms["L_NCE"].item() == pytest.approx(
        reference.infonce(face, voice, 1.0, reference.inner)
    )
    lengths = [sum(f**2) + sum(v**2) for f, v in zip(face, voice, strict=True)]
    assert terms["L_norm"].item() == pytest.approx(sum(lengths) / 8)


def test_fv_cme_refuses_repeated_identities():
    objective = fv_cme()
    with pytest.raises(ValueError, match="expected distinct identities in a batch, got repeated"):
        objective(batch_of(torch.ones(2, 3, 4), [0, 1, 0]))
    with pytest.raises(ValueError, match="got 9 pairs of 8 training identities; lower batch_size"):
        objective.build(TrainingSet({}, num_identities=8, batch_size=9))
    objective.build(TrainingSet({}, num_identities=8, batch_size=8))
    InfoNCELoss().build(TrainingSet({}, num_identities=8, batch_size=9))


def test_cosines_at_a_temperature_of_one_saturate_and_inner_products_do_not():
    """Cosines lie in [-1, 1]: of B pairs no loss falls below log(1 + (B - 1) e^-2) a direction."""
    size = 16
    rows = 30 * torch.eye(size) - 30 / size
    batch = batch_of((rows, rows), list(range(size)))
    floor = 2 * math.log(1 + (size - 1) * math.exp(-2))
    assert InfoNCELoss(1.0)(batch)[0]["L_NCE"] > floor
    assert InfoNCELoss(1.0, normalize=False)(batch)[0]["L_NCE"] < 1e-6


def test_the_temperature_is_learned_and_clamped():
    loss = InfoNCELoss(0.011, learnable=True)
    optimizer = torch.optim.SGD(loss.parameters(), lr=1000.0)
    batch = batch_of(torch.eye(4).expand(2, 4, 4), [0, 1, 2, 3])
    loss.log_scale.data.fill_(1.0)
    terms, monitors = loss(batch)
    assert monitors["temperature"].item() == pytest.approx(math.exp(-1))
    terms["L_NCE"].backward()
    optimizer.step()  # perfect pairs: the lower the temperature, the better
    assert loss.log_scale > math.log(100)
    terms, monitors = loss(batch)
    assert monitors["temperature"].item() == pytest.approx(0.01)
    wrong = batch_of((torch.eye(4), torch.eye(4).flip(0)), [0, 1, 2, 3])
    optimizer.zero_grad()
    loss(wrong)[0]["L_NCE"].backward()
    assert loss.log_scale.grad > 0  # at the clamp the gradient still leads back
    assert loss.state_dict().keys() == {"log_scale"} and not InfoNCELoss().state_dict()


@pytest.mark.parametrize(
    "identity", [[0, 1, 0, 2, 3, 1, 4, 0], [0, 0, 0, 0, 1, 1, 1, 1], list(range(8))]
)
def test_supcon_equals_the_reference(clips, identity):
    for pooled, slow in (
        (False, reference.cross_modal_supcon),
        (True, reference.pooled_supcon),
    ):
        terms, _ = SupConLoss(0.2, pooled)(batch_of(clips, identity))
        expected = slow(*clips.numpy(), identity, 0.2)
        assert terms["L_SupCon"].item() == pytest.approx(expected, rel=1e-6)


def test_supcon_of_distinct_or_unknown_identities_is_infonce(clips):
    expected = InfoNCELoss(0.2)(batch_of(clips, list(range(8))))[0]["L_NCE"].item()
    for identity in (list(range(8)), [-1] * 8):
        terms, _ = SupConLoss(0.2)(batch_of(clips, identity))
        assert terms["L_SupCon"].item() == pytest.approx(expected, rel=1e-6)


def test_supcon_knows_the_share_of_nearest_clips_of_the_same_identity():
    rows = torch.eye(4)
    _, monitors = SupConLoss()(batch_of((rows, rows[[1, 0, 3, 2]]), [0, 0, 1, 2]))
    assert monitors["nearest_accuracy"] == 0.5  # the first two pick each other's


LOSSES = {
    "InfoNCE": InfoNCELoss,
    "learned temperature": lambda: InfoNCELoss(learnable=True),
    "unsupervised InfoNCE": lambda: InfoNCELoss(same_identity="negative"),
    "inner products": lambda: InfoNCELoss(1.0, normalize=False),
    "norm": EmbeddingNormLoss,
    "SupCon": SupConLoss,
    "pooled SupCon": lambda: SupConLoss(pooled=True),
}


@pytest.mark.parametrize("name", special_batches())
@pytest.mark.parametrize("loss", LOSSES)
def test_special_batches_have_finite_gradients(loss, name):
    terms, _ = finite_step(LOSSES[loss](), *special_batches()[name])
    if loss == "SupCon" and name.startswith("one identity"):
        assert terms["L_SupCon"] == 0
    if loss == "InfoNCE" and name == "constant inputs":
        assert terms["L_NCE"] == pytest.approx(2 * math.log(6))


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (InfoNCELoss, {}),
        (lambda: InfoNCELoss(0.07, learnable=True), {}),
        (SupConLoss, {"clips_per_identity": 4}),
        (lambda: SupConLoss(pooled=True), {"clips_per_identity": 4}),
        (fv_cme, {"score": inner_product, "weights": {"L_norm": 0.02}}),
        (fv_cme, {"score": cosine, "weights": {"L_norm": 0.02}}),
    ],
)
def test_they_learn_from_coded_inputs_and_not_from_shuffled_voices(make, options):
    assert trained_auc(make(), **options) > 0.95
    assert CHANCE[0] < trained_auc(make(), shuffled=True, **options) < CHANCE[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InfoNCELoss(0.001, learnable=True), "temperature: expected at least 0.01 where"),
        (lambda: InfoNCELoss(same_identity="positive"), "expected one of leave_out, negative, ref"),
        (lambda: SupConLoss(0), "temperature: expected a positive number, got 0"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
