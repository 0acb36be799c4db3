"""Probabilities, the threshold and its error rates, against slow loops."""

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_fv import metrics
from speechbrain_fv.evaluation.calibration import error_rates, fit_calibration
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.exact import evaluate
from speechbrain_fv.scores import NegativeL2
from tests.references.bootstrap import interval
from tests.scores import CosineOfCandidates, SecretCosine

LABELS = pd.DataFrame(
    {
        "identity": [f"p{n:02}" for n in range(14)],
        "gender": ["f", "m"] * 7,
        "nationality": ["x", "x", "y", "y", "z", "", "x"] * 2,
        "age": [""] * 14,
    }
)


def embeddings(noise=1.0, seed=0, sign=1.0):
    rng = np.random.default_rng(seed)
    people = rng.normal(size=(14, 8))
    who = {"face": rng.permutation(np.repeat(range(14), 3)), "voice": np.repeat(range(14), 2)}
    vectors = {name: people[index] for name, index in who.items()}
    vectors["voice"] = sign * vectors["voice"]
    noisy = {name: value + noise * rng.normal(size=value.shape) for name, value in vectors.items()}
    names = {f"{name}_identity": LABELS.identity.to_numpy()[who[name]] for name in who}
    return Embeddings(**noisy, **names)


def scores(data):
    """All scores with whether the pair is of one person, by numpy alone."""
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (data.face, data.voice)]
    return unit[0] @ unit[1].T, data.face_identity[:, None] == data.voice_identity


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_probability_and_decision_cannot_contradict_each_other(noise):
    calibration = fit_calibration(embeddings(noise))
    cosines = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    accepted = cosines >= calibration.threshold
    assert torch.equal(calibration.probability(cosines) >= 0.5, accepted)
    assert calibration.probability(torch.tensor(calibration.threshold)).item() == pytest.approx(0.5)


def test_the_threshold_errs_little_more_often_than_that_of_the_equal_error_rate():
    data = embeddings()
    cosines, same = scores(data)
    threshold = fit_calibration(data).threshold
    wrong = (cosines[same] < threshold).mean() + (cosines[~same] >= threshold).mean()
    rate = evaluate(data, tasks=("verification",), num_replicates=0)["verification"]["U"]["eer"]
    assert wrong / 2 == pytest.approx(rate, abs=0.03)


def test_probabilities_are_those_of_balanced_pairs():
    """In each third of the probabilities the balanced share of true pairs is near their mean."""
    data = embeddings(noise=1.5)
    cosines, same = scores(data)
    found = fit_calibration(data).probability(torch.as_tensor(cosines)).numpy()
    weights = np.where(same, 1 / same.sum(), 1 / (~same).sum())
    for low, high in ((0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1)):
        bin_ = (found >= low) & (found < high)
        share = np.average(same[bin_], weights=weights[bin_])
        assert share == pytest.approx(np.average(found[bin_], weights=weights[bin_]), abs=0.1)


def test_probabilities_rise_with_the_score_and_stay_finite_when_scores_separate():
    calibration = fit_calibration(embeddings(noise=0.01))
    found = calibration.probability(torch.linspace(-1, 1, 50))
    assert (found.diff() > 0).all() and found[0] < 0.2 and found[-1] > 0.8
    assert np.isfinite(calibration).all()


def test_scores_below_chance_tell_nothing():
    calibration = fit_calibration(embeddings(sign=-1.0))
    assert calibration.slope == 0
    assert calibration.probability(torch.tensor([-1.0, 1.0])).tolist() == [0.5, 0.5]
    assert -1 < calibration.threshold < 1


def distances(data):
    """All negative distances with whether the pair is of one person, by numpy alone."""
    found = -np.linalg.norm(data.face[:, None] - data.voice[None], axis=2)
    return found, data.face_identity[:, None] == data.voice_identity


def test_distances_are_calibrated_over_their_own_range():
    data = embeddings()
    found, same = distances(data)
    calibration = fit_calibration(data, NegativeL2())
    missed = (found[same] < calibration.threshold).mean()
    passed = (found[~same] >= calibration.threshold).mean()
    assert calibration.threshold < -1
    assert calibration.probability(torch.tensor(calibration.threshold)).item() == pytest.approx(0.5)
    assert calibration.probability(torch.as_tensor(found[same])).mean() > 0.6
    rates = error_rates(data, None, calibration.threshold, num_replicates=2, score=NegativeL2())
    assert [rates["U"]["false_accept"], rates["U"]["false_reject"]] == pytest.approx(
        [passed, missed]
    )


def test_pairs_that_are_secretly_cosines_have_their_calibration():
    data = embeddings()
    found, expected = fit_calibration(data, SecretCosine()), fit_calibration(data)
    assert found == pytest.approx(expected, abs=1e-3)


def test_equal_scores_are_no_error():
    class Nothing(SecretCosine):
        def forward(self, face, voice):
            return torch.zeros(len(face))

    calibration = fit_calibration(embeddings(), Nothing())
    assert np.isfinite(calibration).all() and calibration.slope == 0


def test_a_score_without_pairs_cannot_be_calibrated():
    for fit in (fit_calibration, lambda *given, score: error_rates(*given, None, 0.0, score=score)):
        with pytest.raises(ValueError, match="calibration: .* gives one pair no score"):
            fit(embeddings(), score=CosineOfCandidates())


def test_one_identity_cannot_calibrate():
    with pytest.raises(ValueError, match="at least two identities"):
        fit_calibration(Embeddings(np.eye(2), np.eye(2), ["a", "a"], ["a", "a"]))


def reference(data, threshold, attributes, copies):
    """False accepts and false rejects by loops, with the identities counted as often as drawn."""
    cosines, _ = scores(data)
    labels = LABELS.set_index("identity")
    wrong = [0, 0]
    trials = [0, 0]
    for row, face in enumerate(data.face_identity):
        for column, voice in enumerate(data.voice_identity):
            accepted = cosines[row, column] >= threshold
            if face == voice:
                trials[1] += copies[face]
                wrong[1] += copies[face] * (not accepted)
                continue
            known = [
                labels.loc[face, name] != "" and labels.loc[face, name] == labels.loc[voice, name]
                for name in attributes
            ]
            if all(known):
                trials[0] += copies[face] * copies[voice]
                wrong[0] += copies[face] * copies[voice] * accepted
    return [w / t if t else np.nan for w, t in zip(wrong, trials, strict=True)], trials


@pytest.mark.parametrize(
    ("stratum", "attributes"),
    [("U", []), ("G", ["gender"]), ("N", ["nationality"]), ("GN", ["gender", "nationality"])],
)
def test_error_rates_and_their_intervals_are_those_of_loops(stratum, attributes):
    data, threshold = embeddings(), 0.3
    found = error_rates(data, LABELS, threshold, num_replicates=40, seed=3)[stratum]
    ones = dict.fromkeys(data.identities, 1)
    values, trials = reference(data, threshold, attributes, ones)
    assert [found["false_accept"], found["false_reject"]] == pytest.approx(values)
    assert [found["num_negatives"], found["num_positives"]] == trials
    draws = metrics.draw_weights(len(data.identities), 40, 3)
    replicates = [
        reference(data, threshold, attributes, dict(zip(data.identities, draw, strict=True)))[0]
        for draw in draws
    ]
    for name, value, column in zip(
        ("false_accept", "false_reject"), values, zip(*replicates, strict=True), strict=True
    ):
        assert found[f"{name}_interval"] == pytest.approx(interval(column, value))


def test_the_threshold_itself_is_accepted():
    """Cosines are exactly 1 for one person and exactly 0 for two."""
    names = ["ann", "bob", "eve"]
    data = Embeddings(np.eye(3), np.eye(3), names, names)
    for threshold, wrong in ((1.0, [0, 0]), (1.001, [0, 1]), (0.0, [1, 0]), (0.001, [0, 0])):
        found = error_rates(data, None, threshold, num_replicates=2)["U"]
        assert [found["false_accept"], found["false_reject"]] == wrong


def test_strata_without_labels_are_undefined():
    found = error_rates(embeddings(), LABELS, 0.3, num_replicates=2)
    assert found["A"] is None and found["GNA"] is None
    assert set(error_rates(embeddings(), None, 0.3, num_replicates=2)) == set(found)
