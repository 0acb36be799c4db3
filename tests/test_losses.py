import math

import numpy as np
import pytest
import torch

from speechbrain_fv.losses import (
    Batch,
    BilinearAgreement,
    IdentityLoss,
    InfoNCELoss,
    LinearDiscriminator,
    Loss,
    LossWeights,
    Needs,
    Objective,
    PredictedAgreement,
    PrototypeDiscriminator,
    PseudoLabelLoss,
    Renamed,
    TrainingSet,
)
from speechbrain_fv.losses.agreement_scores import bilinear_scores
from speechbrain_fv.losses.pseudo_label import (
    bi_directional_loss,
    cross_modal_agreement,
    label_agreement,
    symmetric_kl,
)
from speechbrain_fv.pseudo_labels import PseudoLabeler
from tests.references import losses as reference


def batch_of(face, voice, seed=0, classes=None, **more):
    """Pairs as a loss is given them."""
    generator = torch.Generator().manual_seed(seed)
    classes = classes or {}
    return Batch(face, voice, classes, classes, generator=generator, **more)


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
    bilinear_scores(a, b, x).sum().backward()
    printed = torch.outer(a[0] * torch.exp(x.detach() @ b[0]), b[0]) / 5
    assert torch.allclose(x.grad, printed)


@pytest.mark.parametrize("literal", [False, True])
def test_random_labels_of_unrelated_pairs_teach_the_bilinear_score_nothing(literal):
    """As Algorithm 1 prints it, the score rises for any pair, and L_cma falls to 0."""
    torch.manual_seed(0)
    score = BilinearAgreement(embedding_dim=16, num_clusters=(8,), literal=literal)
    optimizer = torch.optim.Adam(score.parameters(), lr=1e-2)
    for _ in range(400):
        face, voice = torch.randn(2, 64, 16).tanh()
        labels = torch.randint(8, (2, 64))
        loss = cross_modal_agreement(score(face, voice, None, None, *labels, q=8))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.01 if literal else loss > 0.9


def test_bilinear_scores_equal_the_formula_pair_by_pair():
    a, b = torch.randn(2, 3, 5, dtype=torch.float64)
    x = torch.randn(5, 5, dtype=torch.float64)
    for i in range(3):
        for j in range(3):
            expected = float(a[i] @ torch.exp(x @ b[j])) / 5
            assert bilinear_scores(a, b, x)[i, j].item() == pytest.approx(expected)


def test_kl_of_the_batch_compares_the_mean_distributions():
    rng = torch.Generator().manual_seed(8)
    face, voice = torch.randn(2, 16, 6, generator=rng)
    loss = engine(num_clusters=(4,))
    loss.kl_of = "batch"
    labels = loss.labeler(face, voice, torch.Generator().manual_seed(0))[0]
    logits = loss.discriminator(face, voice, *labels, 4)
    p, r = (np.mean([reference.softmax(row) for row in x.numpy()], axis=0) for x in logits)
    expected = 0.5 * (np.sum(p * np.log(p / r)) + np.sum(r * np.log(r / p)))
    fresh = engine(num_clusters=(4,))
    fresh.kl_of = "batch"
    terms, _ = fresh(batch_of(face, voice))
    assert terms["L_KL"].item() == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="kl_of: expected one of pair, batch"):
        PseudoLabelLoss(None, None, None, kl_of="all")


@pytest.mark.parametrize("label", [[0, 2, 1, 2], [1, 1, 1, 1], [0, -1, 1, -1], [-1, -1, -1, -1]])
def test_identity_loss_equals_the_reference_and_skips_the_unknown(label):
    loss = IdentityLoss(embedding_dim=6, attributes=("identity", "gender"))
    loss.build(TrainingSet({"identity": 4, "gender": 3}))
    rng = torch.Generator().manual_seed(3)
    face, voice = torch.randn(2, 4, 6, generator=rng)
    targets = {"identity": torch.tensor([3, 0, 1, 3]), "gender": torch.tensor(label)}
    terms, monitors = loss(batch_of(face, voice, classes=targets))
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
    loss.build(TrainingSet({"identity": 4, "gender": 0}))
    assert list(loss.classifiers) == ["identity"]
    with pytest.raises(ValueError, match="at least 2 training identities, got 1"):
        IdentityLoss(embedding_dim=6).build(TrainingSet({"identity": 1}))


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
    terms, monitors = loss(batch_of(face, voice))
    sum(terms.values()).backward()
    for gradient in (face.grad, voice.grad, *(p.grad for p in loss.parameters())):
        assert gradient is not None and torch.isfinite(gradient).all()
    assert set(monitors) == {"agreement_q2", "agreement_q4"}
    assert all(0 <= value <= 1 for value in monitors.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_gradients_are_finite_when_every_feature_is_the_same(dtype, value):
    pairs = torch.full((2, 8, 6), value, dtype=dtype, requires_grad=True)
    terms, _ = engine()(batch_of(*pairs))
    sum(terms.values()).backward()
    assert torch.isfinite(pairs.grad).all()


def test_autocast_does_not_round_the_self_learning_terms():
    """Under autocast the cosines had three digits, and tau = 0.1 multiplied the error by ten."""
    face, voice = torch.randn(2, 16, 6, generator=torch.Generator().manual_seed(6))
    expected, _ = engine()(batch_of(face, voice))
    with torch.autocast("cpu", torch.bfloat16):
        terms, _ = engine()(batch_of(face, voice))
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
    terms, _ = fresh(batch_of(face, voice))
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
    terms, monitors = InfoNCELoss(temperature=0.2)(batch_of(face, voice, classes=targets))
    expected = reference.infonce(face.numpy(), voice.numpy(), identity, 0.2)
    assert terms["L_NCE"].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert 0 <= monitors["pair_accuracy"] <= 1


def test_infonce_of_perfect_pairs_picks_all_of_them():
    targets = {"identity": torch.arange(4)}
    terms, monitors = InfoNCELoss(temperature=0.01)(
        batch_of(torch.eye(4), torch.eye(4), classes=targets)
    )
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
    terms, _ = loss(batch_of(face, voice, **inputs))
    assert terms["L_BiP"].item() == pytest.approx(bi_directional_loss(*logits, *labels).item())


def test_the_labeler_gets_room_for_wide_inputs_and_refuses_media():
    loss = PseudoLabelLoss(
        PseudoLabeler((2,), 6), PrototypeDiscriminator(), PredictedAgreement(), "input"
    )
    with pytest.raises(ValueError, match="label_space 'input': expected precomputed vectors"):
        loss.build(TrainingSet({}, input_dims=(None, 8)))
    loss.build(TrainingSet({}, input_dims=(40, 8)))
    inputs = {"face_input": torch.randn(8, 40), "voice_input": torch.randn(8, 8)}
    terms, _ = loss(batch_of(*torch.randn(2, 8, 6), **inputs))
    assert torch.isfinite(terms["L_BiP"])
    with pytest.raises(ValueError, match="label_space: expected one of refined, input, auto"):
        PseudoLabelLoss(None, None, None, label_space="pixels")


@pytest.mark.parametrize(
    ("widths", "space"), [((8, 8), "input"), ((None, 8), "refined"), ((None, None), "refined")]
)
def test_auto_clusters_the_inputs_where_both_are_vectors(widths, space):
    parts = PseudoLabeler((2,), 6), PrototypeDiscriminator(), PredictedAgreement()
    loss = PseudoLabelLoss(*parts, "auto")
    loss.build(TrainingSet({}, input_dims=widths))
    assert loss.label_space == space and loss.needs.inputs == (space == "input")


class Constant(Loss):
    """Returns given terms and monitors, whatever it declares."""

    def __init__(self, terms, returned, monitors=()):
        super().__init__()
        self.terms, self.returned, self.monitors = terms, returned, monitors

    def forward(self, batch):
        return tuple(dict.fromkeys(n, torch.ones(())) for n in (self.returned, self.monitors))


def test_two_terms_of_one_name_are_refused_and_can_be_renamed():
    """The second of two losses of one family used to replace the first one's term in silence."""
    warm, cold = InfoNCELoss(0.5), InfoNCELoss(0.05)
    with pytest.raises(ValueError, match="warm and cold have both a term L_NCE; rename one"):
        Objective({"warm": warm, "cold": cold})
    renamed = Renamed(cold, {"L_NCE": "L_cold", "pair_accuracy": "cold_accuracy"})
    objective = Objective({"warm": warm, "cold": renamed})
    assert objective.terms == ["L_NCE", "L_cold"]
    batch = batch_of(*torch.randn(2, 4, 6), classes={"identity": torch.arange(4)})
    terms, monitors = objective(batch)
    assert terms["L_NCE"] == warm(batch)[0]["L_NCE"] != terms["L_cold"]
    assert set(monitors) == {"pair_accuracy", "cold_accuracy"}
    with pytest.raises(ValueError, match="its monitor pair_accuracy has the name of another"):
        Objective({"warm": warm, "cold": Renamed(cold, {"L_NCE": "L_cold"})})(batch)


@pytest.mark.parametrize("returned", [(), ("a",), ("a", "b", "c"), ("b", "c")])
def test_a_loss_returns_the_terms_that_it_declares(returned):
    with pytest.raises(ValueError, match=r"expected the terms \['a', 'b'\] that it declares"):
        Objective({"odd": Constant(("a", "b"), returned)})(batch_of(*torch.ones(2, 1, 1)))


def test_what_is_no_loss_is_refused():
    with pytest.raises(ValueError, match="head: expected a subclass of .*Loss, got Linear"):
        Objective({"head": torch.nn.Linear(2, 2)})


@pytest.mark.parametrize("weight", ["abc", True, math.nan, math.inf, None])
def test_a_weight_is_a_finite_number(weight):
    with pytest.raises(ValueError, match="weights: a: expected a finite number"):
        LossWeights({"a": weight})


def test_an_objective_gathers_what_its_losses_need():
    class Videos(Loss):
        terms = ("v",)
        needs = Needs(voice=("video",), optional=("age",), inputs=True, pairs=False)

    objective = Objective({"videos": Videos(), "identity": IdentityLoss(4)})
    assert objective.attributes() == ["age", "video", "identity", "gender"]
    assert objective.attributes("face") == ["age", "identity", "gender"]
    assert objective.needing("video") == ["videos"] and objective.needing("gender") == []
    assert objective.needs_inputs and objective.needs_pairs == []
    assert Objective({"nce": InfoNCELoss()}).needs_pairs == ["nce"]


class Returning(Loss):
    """Returns what it is told to."""

    terms = ("L_constant",)

    def __init__(self, returned, terms=("L_constant",)):
        super().__init__()
        self.returned, self.terms = returned, terms

    def forward(self, batch):
        return self.returned


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (torch.zeros(()), "expected forward to return two dicts, .* got Tensor"),
        ({"L_constant": torch.zeros(())}, "expected forward to return two dicts, .* got dict"),
        (({"L_constant": torch.zeros(3)}, {}), r"L_constant: expected a scalar .*\[3\]"),
        (({"L_constant": 0.5}, {}), "L_constant: expected a scalar tensor, got float"),
    ],
)
def test_what_a_loss_may_not_return_is_told_with_its_name(returned, message):
    with pytest.raises(ValueError, match=f"losses: mine: {message}"):
        Objective({"mine": Returning(returned)})(Batch(torch.ones(2, 3), torch.ones(2, 3)))


def test_what_is_no_mapping_of_losses_or_weights_is_told():
    with pytest.raises(ValueError, match="losses: expected a mapping of names, .* got list"):
        Objective([Returning(None)])
    with pytest.raises(ValueError, match="weights: expected a mapping of names, .* got list"):
        LossWeights([1.0])
    with pytest.raises(ValueError, match="changes a loss of that name, and there are mine$"):
        Objective({"mine": Returning(None), "mien": {"margin": 0.5}})
    with pytest.raises(ValueError, match=r"mine: terms: expected a tuple .* \('L_constant',\)"):
        Objective({"mine": Returning(None, terms="L_constant")})
    with pytest.raises(ValueError, match=r"face: expected a tuple .* \('identity',\)"):
        Needs(face="identity")
    with pytest.raises(ValueError, match="expected one that is not 0, got 0 for every term"):
        LossWeights({"L_constant": 0.0}).check(["L_constant"])
