"""DIMNet: `IdentityLoss` alone, on single clips; its formula is tested with the other terms."""

import math

import pytest
import torch

from speechbrain_fv.losses import Batch, IdentityLoss, TrainingSet
from tests.method_checks import CHANCE, WIDTH, finite_step, special_batches, trained_auc
from tests.references import losses as reference

METHODS = {
    "I": ("identity",),
    "IG": ("identity", "gender"),
    "IGN": ("identity", "gender", "nationality"),
    "N": ("nationality",),
}


def dimnet(method, width=WIDTH):
    return IdentityLoss(width, METHODS[method], optional=())


@pytest.mark.parametrize("method", METHODS)
def test_every_attribute_has_one_classifier_of_its_own_for_both_modalities(method):
    """Public code once trained the gender on the identities' classifier."""
    torch.manual_seed(0)
    loss = dimnet(method, width=5)
    sizes = {"identity": 7, "gender": 2, "nationality": 4}
    loss.build(TrainingSet(sizes))
    assert {name: c.out_features for name, c in loss.classifiers.items()} == {
        name: sizes[name] for name in METHODS[method]
    }
    face, voice = torch.randn(2, 6, 5)
    draw = {name: torch.randint(-1, size, (2, 6)) for name, size in sizes.items()}
    face_classes, voice_classes = ({n: c[i] for n, c in draw.items()} for i in (0, 1))
    terms, _ = loss(Batch(face, voice, face_classes, voice_classes))
    expected = 0.0
    for name, classifier in loss.classifiers.items():
        for rows, classes in ((face, face_classes), (voice, voice_classes)):
            logits = classifier(rows).detach().numpy()
            for row, label in zip(logits, classes[name].tolist(), strict=True):
                expected += reference.cross_entropy(row, label) / 6 if label >= 0 else 0
    assert terms["L_id"].item() == pytest.approx(expected, rel=1e-5)


def test_a_corpus_without_an_attribute_of_the_method_is_refused():
    with pytest.raises(ValueError, match="at least 2 classes of nationality .* got 1; label them"):
        dimnet("IGN").build(TrainingSet({"identity": 7, "gender": 2, "nationality": 1}))
    assert dimnet("IG").needs.face == ("identity", "gender") and not dimnet("IG").needs.pairs


@pytest.mark.parametrize("name", special_batches())
def test_special_batches_have_finite_gradients(name):
    loss = dimnet("IGN", width=4)
    loss.build(TrainingSet({"identity": 6, "gender": 2, "nationality": 2}))
    terms, _ = finite_step(loss, *special_batches()[name])
    if name == "unknown classes":
        assert terms["L_id"] == 0


@pytest.mark.parametrize("method", ["I", "IG", "IGN"])
def test_they_learn_from_coded_single_clips_and_not_from_shuffled_voices(method):
    assert trained_auc(dimnet(method), sampling="clips") > 0.95
    auc = trained_auc(dimnet(method), sampling="clips", shuffled=True)
    assert CHANCE[0] < auc < CHANCE[1]


def test_the_loss_of_untrained_classifiers_is_the_logarithm_of_the_classes():
    loss = dimnet("IG", width=4)
    loss.build(TrainingSet({"identity": 6, "gender": 2}))
    terms, _ = finite_step(loss, *special_batches(width=4)["zero inputs"])
    bias = sum(c.bias.abs().max().item() for c in loss.classifiers.values())
    assert terms["L_id"] == pytest.approx(2 * (math.log(6) + math.log(2)), abs=4 * bias)
