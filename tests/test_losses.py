import math

import numpy as np
import pytest
import torch

from speechbrain_fv.losses import (
    BilinearAgreement,
    IdentityLoss,
    InfoNCELoss,
    LinearDiscriminator,
    LossWeights,
    Objective,
    PredictedAgreement,
    PrototypeDiscriminator,
    PseudoLabelLoss,
)
from speechbrain_fv.losses.pseudo_label import (
    bi_directional_loss,
    bilinear_score,
    cross_modal_agreement,
    label_agreement,
    symmetric_kl,
)
from speechbrain_fv.pseudo_labels import PseudoLabeler
from tests.references import losses as reference


@pytest.fixture
def pairs():
    """Faces, voices, their labels in [0, 5) with cluster 3 of the voices empty, and q."""
    rng = torch.Generator().manual_seed(0)
    face, voice = torch.randn(2, 12, 6, generator=rng)
    face_labels = torch.arange(12) % 5
    voice_labels = torch.tensor([0, 1, 2, 4] * 3)
    return face, voice, face_labels, voice_labels, 5


def finite(logits):
    """Logits with a stand-in for -inf that numpy's reference can use."""
    return np.where(np.isfinite(logits), logits, -1e30)


def test_prototype_logits_equal_the_reference(pairs):
    face, voice, face_labels, voice_labels, q = pairs
    face_logits, voice_logits = PrototypeDiscriminator(0.1)(*pairs)
    expected_face = reference.prototype_logits(face.numpy(), voice.numpy(), voice_labels, q, 0.1)
    expected_voice = reference.prototype_logits(voice.numpy(), face.numpy(), face_labels, q, 0.1)
    np.testing.assert_allclose(face_logits, expected_face, atol=1e-5)
    np.testing.assert_allclose(voice_logits, expected_voice, atol=1e-5)
    assert torch.isneginf(face_logits[:, 3]).all()


def test_no_gradient_flows_into_the_centres(pairs):
    face, voice, face_labels, voice_labels, q = pairs
    voice = voice.clone().requires_grad_()
    face_logits, _ = PrototypeDiscriminator()(face, voice, face_labels, voice_labels, q)
    assert not face_logits.requires_grad


def test_terms_equal_the_references(pairs):
    _, _, face_labels, voice_labels, _ = pairs
    logits = PrototypeDiscriminator()(*pairs)
    face, voice = (finite(x.numpy()) for x in logits)
    score = PredictedAgreement()(None, None, *logits, None, None, 5)
    assert cross_modal_agreement(score).item() == pytest.approx(
        reference.agreement(face, voice), abs=1e-6
    )
    assert bi_directional_loss(*logits, face_labels, voice_labels).item() == pytest.approx(
        reference.bi_directional(face, voice, face_labels, voice_labels), rel=1e-5
    )
    masked = [np.where(np.isinf(x.numpy()), -np.inf, x.numpy()) for x in logits]
    assert symmetric_kl(*logits).item() == pytest.approx(reference.kl(*masked), rel=1e-4)


def test_agreement_of_hard_labels():
    same = label_agreement(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 2]))
    assert same.tolist() == [1, 1, 0, 1]
    expected = (3 * math.exp(-1) + 1) / 4
    assert cross_modal_agreement(same).item() == pytest.approx(expected)


def test_kl_is_symmetric_zero_for_equal_distributions_and_finite_when_masked():
    rng = torch.Generator().manual_seed(1)
    first, second = torch.randn(2, 4, 6, generator=rng)
    assert symmetric_kl(first, second) == pytest.approx(symmetric_kl(second, first).item())
    assert symmetric_kl(first, first + 3).item() == pytest.approx(0, abs=1e-6)
    first[:, 0] = -torch.inf
    first.requires_grad_()
    symmetric_kl(first, second).backward()
    assert torch.isfinite(first.grad).all()


def test_bilinear_score_has_the_gradient_that_algorithm_1_prints():
    rng = torch.Generator().manual_seed(2)
    a, b = torch.randn(2, 1, 5, generator=rng, dtype=torch.float64)
    x = (0.1 * torch.randn(5, 5, generator=rng, dtype=torch.float64)).requires_grad_()
    bilinear_score(a, b, x).sum().backward()
    printed = torch.outer(a[0] * torch.exp(x.detach() @ b[0]), b[0]) / 5
    assert torch.allclose(x.grad, printed)


@pytest.mark.parametrize("label", [[0, 2, 1, 2], [1, 1, 1, 1], [0, -1, 1, -1], [-1, -1, -1, -1]])
def test_identity_loss_equals_the_reference_and_skips_the_unknown(label):
    loss = IdentityLoss(embedding_dim=6, attributes=("identity", "gender"))
    loss.set_classes({"identity": 4, "gender": 3})
    rng = torch.Generator().manual_seed(3)
    face, voice = torch.randn(2, 4, 6, generator=rng)
    targets = {"identity": torch.tensor([3, 0, 1, 3]), "gender": torch.tensor(label)}
    terms, monitors = loss(face, voice, targets)
    expected = sum(
        reference.identity(
            classifier(face).detach().numpy(), classifier(voice).detach().numpy(), targets[name]
        )
        for name, classifier in loss.classifiers.items()
    )
    assert terms["L_id"].item() == pytest.approx(expected, rel=1e-5)
    assert 0 <= monitors["id_accuracy"] <= 1


def test_a_corpus_without_gender_labels_has_no_gender_term():
    loss = IdentityLoss(embedding_dim=6)
    loss.set_classes({"identity": 4, "gender": 0})
    assert list(loss.classifiers) == ["identity"]
    with pytest.raises(ValueError, match="at least 2 training identities, got 1"):
        IdentityLoss(embedding_dim=6).set_classes({"identity": 1})


def engine(discriminator="prototype", agreement="predicted", num_clusters=(2, 4), dim=6):
    phi = {
        "prototype": PrototypeDiscriminator(),
        "linear": LinearDiscriminator(dim, num_clusters),
    }[discriminator]
    score = {
        "predicted": PredictedAgreement(),
        "bilinear": BilinearAgreement(dim, num_clusters),
    }[agreement]
    return PseudoLabelLoss(PseudoLabeler(num_clusters, dim), phi, score)


@pytest.mark.parametrize("discriminator", ["prototype", "linear"])
@pytest.mark.parametrize("agreement", ["predicted", "bilinear"])
@pytest.mark.parametrize("collapsed", [False, True])
def test_every_reading_trains_with_finite_gradients(discriminator, agreement, collapsed):
    loss = engine(discriminator, agreement)
    rng = torch.Generator().manual_seed(4)
    face, voice = torch.randn(2, 8, 6, generator=rng)
    if collapsed:
        face, voice = torch.ones(2, 8, 6)
    face, voice = face.requires_grad_(), voice.requires_grad_()
    terms, monitors = loss(face, voice, {}, torch.Generator().manual_seed(0))
    sum(terms.values()).backward()
    for gradient in (face.grad, voice.grad, *(p.grad for p in loss.parameters())):
        assert gradient is not None and torch.isfinite(gradient).all()
    assert set(monitors) == {"agreement_q2", "agreement_q4"}
    assert all(0 <= value <= 1 for value in monitors.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_gradients_are_finite_when_every_feature_is_the_same(dtype, value):
    pairs = torch.full((2, 8, 6), value, dtype=dtype, requires_grad=True)
    terms, _ = engine()(*pairs, {}, torch.Generator().manual_seed(0))
    sum(terms.values()).backward()
    assert torch.isfinite(pairs.grad).all()


def test_autocast_does_not_round_the_self_learning_terms():
    """Under autocast the cosines had three digits, and tau = 0.1 multiplied the error by ten."""
    face, voice = torch.randn(2, 16, 6, generator=torch.Generator().manual_seed(6))
    expected, _ = engine()(face, voice, {}, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        terms, _ = engine()(face, voice, {}, torch.Generator().manual_seed(0))
    assert {name: term.item() for name, term in terms.items()} == {
        name: term.item() for name, term in expected.items()
    }


def test_equation_11_weighs_the_terms_of_the_paper(pairs):
    """L = L_cma + gamma1 L_Bi-P + gamma2 L_id + L_KL of one batch, from logits to the sum."""
    face, voice, face_labels, voice_labels, _ = pairs
    logits = LinearDiscriminator(6, (5,))(face, voice, None, None, q=5)
    identity = torch.arange(12) % 5
    f, v = (x.detach().numpy() for x in logits)
    expected = (
        reference.agreement(f, v)
        + 10 * reference.bi_directional(f, v, face_labels, voice_labels)
        + 0.1 * reference.identity(f, v, identity)
        + reference.kl(f, v)
    )
    terms = {
        "L_cma": cross_modal_agreement(PredictedAgreement()(None, None, *logits, None, None, 5)),
        "L_BiP": bi_directional_loss(*logits, face_labels, voice_labels),
        "L_id": bi_directional_loss(*logits, identity, identity),
        "L_KL": symmetric_kl(*logits),
    }
    weights = LossWeights({"L_cma": 1.0, "L_BiP": 10.0, "L_id": 0.1, "L_KL": 1.0})
    assert weights(terms, step=0).item() == pytest.approx(expected, rel=1e-5)


def test_terms_of_several_q_add_up():
    rng = torch.Generator().manual_seed(5)
    face, voice = torch.randn(2, 16, 6, generator=rng)
    loss = engine(num_clusters=(2, 4))
    labels = loss.labeler(face, voice, torch.Generator().manual_seed(0))
    expected = 0
    for q, (face_labels, voice_labels) in zip((2, 4), labels, strict=True):
        logits = loss.discriminator(face, voice, face_labels, voice_labels, q)
        expected += bi_directional_loss(*logits, face_labels, voice_labels)
    fresh = engine(num_clusters=(2, 4))
    terms, _ = fresh(face, voice, {}, torch.Generator().manual_seed(0))
    assert terms["L_BiP"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_q_larger_than_the_batch_is_refused_with_the_remedy():
    objective = Objective({"self_learning": engine(num_clusters=(8, 64))})
    with pytest.raises(ValueError, match="q = 64 is larger than the batch of 32 pairs; lower"):
        objective.check_batch_size(32)


def test_weights_and_terms_must_name_each_other():
    weights = LossWeights({"a": 1.0, "b": 1.0})
    with pytest.raises(ValueError, match="expected one per term"):
        weights({"a": torch.tensor(1.0)}, step=0)
    with pytest.raises(ValueError, match="expected one per term"):
        weights({name: torch.tensor(1.0) for name in "abc"}, step=0)
    with pytest.raises(ValueError, match="ramped: no weight"):
        LossWeights({"a": 1.0}, ramped=["c"])


def test_weighted_sum_follows_the_ramp():
    weights = LossWeights({"a": 2.0, "b": 3.0}, ramped=["a"], warmup_steps=4, ramp_steps=2)
    terms = {"a": torch.tensor(10.0), "b": torch.tensor(1.0)}
    assert [weights(terms, step).item() for step in (0, 3, 4, 5, 6, 7)] == [3, 3, 3, 13, 23, 23]


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match="temperature: expected a positive"):
        PrototypeDiscriminator(temperature)
    with pytest.raises(ValueError, match="temperature: expected a positive"):
        InfoNCELoss(temperature)


@pytest.mark.parametrize("identity", [[0, 1, 2, 3], [0, 1, 0, 2], [0, -1, -1, 1], [5, 5, 5, 5]])
def test_infonce_equals_the_reference_and_leaves_out_the_same_identity(identity):
    rng = torch.Generator().manual_seed(6)
    face, voice = torch.randn(2, 4, 6, generator=rng)
    targets = {"identity": torch.tensor(identity)}
    terms, monitors = InfoNCELoss(temperature=0.2)(face, voice, targets)
    expected = reference.infonce(face.numpy(), voice.numpy(), identity, 0.2)
    assert terms["L_NCE"].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert 0 <= monitors["pair_accuracy"] <= 1


def test_infonce_of_perfect_pairs_picks_all_of_them():
    targets = {"identity": torch.arange(4)}
    terms, monitors = InfoNCELoss(temperature=0.01)(torch.eye(4), torch.eye(4), targets)
    assert terms["L_NCE"] < 1e-6 and monitors["pair_accuracy"] == 1


def test_labels_from_the_inputs_ignore_the_embeddings():
    """The inputs' widths differ: zeros up to the labeler's width change no distance."""
    rng = torch.Generator().manual_seed(7)
    face, voice = torch.randn(2, 16, 6, generator=rng)
    inputs = {"face_input": torch.randn(16, 4, generator=rng)}
    inputs["voice_input"] = torch.randn(16, 6, generator=rng)
    loss = PseudoLabelLoss(
        PseudoLabeler((4,), 6), PrototypeDiscriminator(), PredictedAgreement(), "input"
    )
    unit = [torch.nn.functional.normalize(vectors, dim=1) for vectors in inputs.values()]
    padded = torch.cat([unit[0], torch.zeros(16, 2)], dim=1)
    labels = PseudoLabeler((4,), 6)(padded, unit[1], torch.Generator().manual_seed(0))[0]
    logits = loss.discriminator(face, voice, *labels, 4)
    terms, _ = loss(face, voice, inputs, torch.Generator().manual_seed(0))
    assert terms["L_BiP"].item() == pytest.approx(bi_directional_loss(*logits, *labels).item())


@pytest.mark.parametrize("shape", [(8, 7), (8, 3, 2, 2)])
def test_inputs_that_cannot_be_clustered_are_refused(shape):
    loss = PseudoLabelLoss(
        PseudoLabeler((2,), 6), PrototypeDiscriminator(), PredictedAgreement(), "input"
    )
    inputs = {"face_input": torch.ones(shape), "voice_input": torch.ones(8, 6)}
    with pytest.raises(ValueError, match="expected vectors at most 6 wide"):
        loss(torch.ones(8, 6), torch.ones(8, 6), inputs, torch.Generator())
    with pytest.raises(ValueError, match="label_space: expected 'refined' or 'input'"):
        PseudoLabelLoss(None, None, None, label_space="pixels")
