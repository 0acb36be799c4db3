"""Scores: against slow references in every task, and null with the reason elsewhere."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_fv import scores
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.exact import evaluate, format_report, save_report
from speechbrain_fv.evaluation.groups import evaluate_groups
from speechbrain_fv.evaluation.report import check_value, value_at
from tests.clips import people_with_clips
from tests.references import metrics as metric_reference
from tests.references import scores as reference
from tests.scores import (
    AlwaysTheFirst,
    CosineOfCandidates,
    OneSided,
    Placed,
    SecretCosine,
    Stretched,
)
from tests.test_evaluation import ATTRIBUTES, assert_same, brute_force, random_case

STRETCHED = np.array([[2, 1], [0, -1]])
SCORES = {
    "cosine": (scores.Cosine(), metric_reference.exact_score),
    "inner product": (scores.InnerProduct(), reference.inner_product),
    "distance": (scores.NegativeL2(), reference.negative_distance),
    "distance of directions": (scores.NegativeL2(normalize=True), metric_reference.exact_score),
    "pairs": (OneSided(), reference.one_sided),
    "vectors of its own": (
        Stretched(),
        lambda face, voice: reference.inner_product(np.asarray(face) @ STRETCHED, voice),
    ),
}


@pytest.mark.parametrize("chunk_size", [7, 2**24])
@pytest.mark.parametrize("name", SCORES)
def test_report_equals_brute_force(name, chunk_size):
    score, slow = SCORES[name]
    for seed in range(6):
        embeddings, metadata = random_case(seed)
        options = {"num_replicates": 0, "chunk_size": chunk_size, "score": score}
        report = evaluate(embeddings, metadata, **options)
        assert report.get("score") == (None if name == "cosine" else score.name)
        expected = brute_force(embeddings, metadata, slow)
        for path in report["reasons"]:
            *parents, last = path.split("/")
            node = expected
            for parent in parents:
                node = node[parent]
            node[last] = None
        assert_same({key: report[key] for key in expected}, expected)


def test_no_score_is_the_cosine():
    embeddings, metadata = people_with_clips(dim=4)
    report = evaluate(embeddings, metadata, num_replicates=20)
    given = evaluate(embeddings, metadata, num_replicates=20, score=scores.Cosine())
    assert given == report and "score" not in report
    for path, values in report.replicates.items():
        np.testing.assert_array_equal(given.replicates[path], values)


def test_pairs_that_are_secretly_cosines_have_the_report_of_cosines():
    embeddings, metadata = people_with_clips(dim=4)
    report = evaluate(embeddings, metadata, num_replicates=20, score=SecretCosine())
    assert report.pop("score") == "SecretCosine"
    assert_same(report, evaluate(embeddings, metadata, num_replicates=20), 1e-9)


def test_distances_far_from_the_origin_keep_their_order_and_ties():
    """[a, |a|^2, 1] . [2b, -1, -|b|^2] loses its digits there; about the centre it keeps them."""
    embeddings, metadata = people_with_clips(dim=4)
    face, voice = (np.round(vectors * 64) for vectors in (embeddings.face, embeddings.voice))
    near = dataclasses.replace(embeddings, face=face, voice=voice)
    far = dataclasses.replace(embeddings, face=face + 1e6, voice=voice + 1e6)
    options = {"num_replicates": 0, "score": scores.NegativeL2()}
    assert_same(evaluate(far, metadata, **options), evaluate(near, metadata, **options))


def test_constant_pairs_score_exactly_chance():
    class Nothing(scores.PairScore):
        def forward(self, face, voice):
            return torch.full((len(face),), 1e6)

    embeddings, metadata = people_with_clips(dim=3)
    report = evaluate(embeddings, metadata, num_replicates=20, score=Nothing())
    for values in report["verification"].values():
        assert (values["auc"], values["eer"], values["auc_interval"]) == (0.5, 0.5, [0.5, 0.5])


def test_what_training_sees_is_differentiable_and_the_same_as_the_evaluation():
    face, voice = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for score in (scores.Cosine(), scores.NegativeL2(), scores.InnerProduct()):
        values = score(face, voice)
        (gradient,) = torch.autograd.grad(values.sum(), face, retain_graph=True)
        assert gradient.isfinite().all() and gradient.any()
        table = scores.frozen(score).table(face, voice)
        torch.testing.assert_close(table.diagonal(), values.detach(), atol=1e-7, rtol=0)
    distances = np.linalg.norm(face.detach()[:, None] - voice.detach()[None], axis=2)
    np.testing.assert_allclose(
        scores.frozen(scores.NegativeL2()).table(face, voice), -distances, atol=1e-6
    )


# Scores that rank candidates


@pytest.mark.parametrize("num_candidates", [2, 3])
@pytest.mark.parametrize("direction", ["F-V", "V-F"])
def test_ranked_candidates_equal_every_arrangement(direction, num_candidates):
    def rank(probe, candidates):
        found = [reference.inner_product(probe, candidate) for candidate in candidates]
        return [found[0] + (direction == "F-V"), *found[1:]]

    checked = 0
    for seed in range(8):
        embeddings, metadata = random_case(seed)
        people = metadata.set_index("identity").to_dict("index")
        sides = {
            "F": (embeddings.face, embeddings.face_identity),
            "V": (embeddings.voice, embeddings.voice_identity),
        }
        (queries, asks), (gallery, holds) = (sides[key] for key in direction.split("-"))
        if len(gallery) > 8:
            continue
        score = Placed(num_candidates)
        report = evaluate(embeddings, metadata, ("matching",), num_replicates=0, score=score)
        for stratum, values in report["matching"][direction].items():
            if values is None:
                continue
            accuracy, num_probes = reference.ranked_accuracy(
                *(rank, queries, gallery, asks, holds),
                lambda i, j, people=people, names=ATTRIBUTES[stratum]: metric_reference.is_allowed(
                    people[i], people[j], names
                ),
                num_candidates,
            )
            found = values[str(num_candidates)]
            assert found["num_probes"] == num_probes and found["sampled"] is False
            assert_same(found["accuracy"], accuracy)
            checked += num_probes
    assert checked > 20


def test_candidates_ranked_by_cosines_have_the_values_and_intervals_of_cosines():
    embeddings, metadata = people_with_clips(dim=4)
    options = {"tasks": ("matching",), "num_replicates": 30}
    expected = evaluate(embeddings, metadata, **options)["matching"]
    found = evaluate(embeddings, metadata, **options, score=CosineOfCandidates())["matching"]
    for direction, strata in expected.items():
        for stratum, values in strata.items():
            two = {key: found[direction][stratum]["2"][key] for key in values["2"]}
            assert_same(two, values["2"], 1e-12)


def test_a_sample_of_trials_is_near_all_of_them_and_says_its_size():
    embeddings, metadata = people_with_clips(dim=4)
    whole, part = CosineOfCandidates(), CosineOfCandidates()
    part.max_trials = 4000
    options = {"tasks": ("matching",), "num_replicates": 30}
    found, again, exact = (
        evaluate(embeddings, metadata, **options, score=score)["matching"]["F-V"]["U"]["2"]
        for score in (part, part, whole)
    )
    assert found == again
    assert exact["sampled"] is False and found["sampled"] is True
    assert (
        found["num_trials"]
        == 4000 // found["num_probes"] * found["num_probes"]
        < exact["num_trials"]
    )
    assert found["accuracy"] == pytest.approx(exact["accuracy"], abs=0.03)
    assert found["accuracy_interval"] == pytest.approx(exact["accuracy_interval"], abs=0.05)
    assert found["num_probes"] == exact["num_probes"]


@pytest.mark.parametrize("num_candidates", [2, 4])
def test_a_preference_for_a_place_is_exactly_chance(num_candidates):
    embeddings, metadata = people_with_clips(dim=4)
    score = AlwaysTheFirst(num_candidates)
    score.max_trials = 500
    report = evaluate(embeddings, metadata, ("matching",), num_replicates=0, score=score)
    found = report["matching"]["V-F"]["G"][str(num_candidates)]
    assert found["accuracy"] == pytest.approx(1 / num_candidates, abs=1e-12)


def test_an_n_beyond_the_largest_of_the_report_is_there_all_the_same():
    embeddings, metadata = people_with_clips(dim=4)
    score = CosineOfCandidates(5)
    score.max_trials = 500
    options = {"tasks": ("matching",), "max_candidates": 3, "num_replicates": 4}
    report = evaluate(embeddings, metadata, **options, score=score)
    values = report["matching"]["F-V"]["U"]
    assert list(values) == ["2", "3", "5"] and values["2"] is None
    assert values["5"]["accuracy"] > 0.2 and values["5"]["accuracy_interval"] is None
    reason = report["reasons"]["matching/F-V/U/5/accuracy_interval"]
    assert reason == "intervals of candidates are made for N = 2 only"


# What a score cannot do


def nulls(node, path=()):
    """Yields the paths of the strata, directions, N and intervals of a report that are None."""
    for name, value in node.items():
        if value is None:
            yield "/".join((*path, name))
        elif isinstance(value, dict):
            yield from nulls(value, (*path, name))


@pytest.mark.parametrize(
    "score",
    [
        CosineOfCandidates(),
        CosineOfCandidates(3, directions=["V-F"]),
        scores.Cosine(directions=["V-F"]),
        scores.NegativeL2(directions="F-V"),
    ],
    ids=lambda score: score.name,
)
def test_what_a_score_cannot_do_is_null_with_the_reason(score, tmp_path):
    embeddings, metadata = people_with_clips(dim=4)
    report = evaluate(embeddings, metadata, num_replicates=4, score=score)
    missing = {path for path in nulls(report) if not path.endswith("_interval")}
    assert missing == {path for path in report["reasons"] if not path.endswith("_interval")}
    for direction in scores.DIRECTIONS:
        able = direction in score.directions
        values = report["matching"][direction]
        assert (values["U"] is not None) == able
        if able and isinstance(score, scores.CandidateScore):
            assert {n for n, value in values["U"].items() if value} == {str(score.num_candidates)}
        ranks = able and not isinstance(score, scores.CandidateScore)
        assert (report["retrieval"][direction] is not None) == ranks
    save_report(tmp_path / "report.json", report)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    text = format_report(report)
    assert f"score: {score.name}" in text
    for path, reason in report["reasons"].items():
        assert reason in text, path
        for within in (path, f"{path}/accuracy"):
            with pytest.raises(ValueError, match="the report has no value: ") as error:
                value_at(report, within)
            assert reason in str(error.value)


def test_groups_of_a_score_without_pairs_say_why():
    embeddings, metadata = people_with_clips(dim=4)
    groups = evaluate_groups(embeddings, metadata, score=CosineOfCandidates(), num_replicates=0)
    for entry in groups["gender"]:
        assert entry["auc"] is None and "gives one pair no score" in entry["reason"]


@pytest.mark.parametrize(
    ("path", "score", "message"),
    [
        ("verification/U/auc", CosineOfCandidates(), "gives one pair no score"),
        ("matching/V-F/U/5/accuracy", CosineOfCandidates(), "ranks 2 candidates, no other number"),
        ("matching/F-V/U/2/accuracy", scores.Cosine(directions=["V-F"]), "direction V-F only"),
        ("auc", scores.Cosine(), "expected a path into the report such as verification/U/auc"),
        ("retrieval/V-V/map", scores.Cosine(), "expected one of F-V, V-F after retrieval"),
        ("verification/U/acu", scores.Cosine(), "expected one of auc, eer after verification/U"),
        ("verification/U", scores.Cosine(), "expected one of auc, eer after verification/U"),
        ("retrieval/V-F/map/U", scores.Cosine(), "expected nothing after retrieval/V-F/map"),
        ("matching/V-F/X/2/accuracy", scores.Cosine(), "expected one of U, G, N, GN after"),
        ("matching/V-F/U/2x/accuracy", scores.Cosine(), "expected one of 2, 3, .* after"),
    ],
)
def test_a_monitor_that_cannot_be_is_told_before_a_training(path, score, message):
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        check_value(path, score)
    check_value("matching/V-F/U/2/accuracy", score)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("verification/U/acc", "expected one of auc, .* in verification/U of the report"),
        ("retreival", "expected one of num_identities, .* in the report"),
        ("verification/U", "expected a number, got a dict, with auc, "),
        ("verification/A/auc", "has no value: the metadata has no column 'age'"),
        ("verification/U/auc/x", "expected one of nothing in verification/U/auc"),
    ],
)
def test_a_value_that_is_not_there_is_one_line(path, message):
    embeddings, metadata = people_with_clips(dim=4)
    report = evaluate(embeddings, metadata.drop(columns="age"), num_replicates=0)
    assert value_at(report, "verification/U/auc") == report["verification"]["U"]["auc"]
    with pytest.raises(ValueError, match=f"^{path}: .*{message}") as error:
        value_at(report, path)
    assert "\n" not in str(error.value)


class _Wrong(scores.PairScore):
    def __init__(self, result):
        super().__init__()
        self.result = result

    def forward(self, face, voice):
        return self.result(face)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("cosine", "score: expected an object of a class of speechbrain_fv.scores .*, got str"),
        (torch.nn.Linear(2, 1), "got Linear"),
        (_Wrong(lambda face: face), r"_Wrong: expected scores of shape \(\d+,\), got \(\d+, 4\)"),
        (_Wrong(lambda face: None), "got NoneType"),
        (_Wrong(lambda face: face[:, 0] / 0), "expected finite scores, got NaN or infinity"),
        (
            _Wrong(lambda face: face @ torch.ones(4)),
            "cannot compare embeddings of shape .* in float64: expected",
        ),
        (scores.PairScore(), "its class has no forward"),
        (scores.PairNetwork(torch.nn.Linear(3, 1)), "PairNetwork cannot compare embeddings of"),
    ],
)
def test_a_score_that_does_not_fit_is_one_line(score, message):
    embeddings, metadata = people_with_clips(dim=4)
    with pytest.raises(ValueError, match=message) as error:
        evaluate(embeddings, metadata, num_replicates=0, score=score)
    assert "\n" not in str(error.value)


def test_bad_options_of_scores_are_refused():
    with pytest.raises(ValueError, match="directions: expected some of"):
        scores.Cosine(directions=["V-V"])
    with pytest.raises(ValueError, match="num_candidates: expected an integer of at least 2"):
        CosineOfCandidates(1)
    network = scores.PairNetwork(torch.nn.Linear(4, 1))
    with pytest.raises(ValueError, match=r"score_weights: expected a file, since PairNetwork has"):
        scores.with_weights(network)


def test_weights_of_a_score_are_read_strictly(tmp_path):
    score, other = (scores.PairNetwork(torch.nn.Linear(4, 1)) for _ in range(2))
    torch.save(score.state_dict(), tmp_path / "score.ckpt")
    read = scores.with_weights(other, tmp_path / "score.ckpt")
    assert torch.equal(read.network.weight, score.network.weight)
    with pytest.raises(ValueError, match=r"score\.ckpt: not the weights of PairNetwork"):
        scores.with_weights(scores.PairNetwork(torch.nn.Linear(6, 1)), tmp_path / "score.ckpt")


def test_comparing_leaves_the_score_of_the_caller_as_it_was():
    score = scores.PairNetwork(torch.nn.Sequential(torch.nn.Linear(8, 1), torch.nn.Dropout()))
    embeddings, metadata = people_with_clips(dim=4)
    one, two = (evaluate(embeddings, metadata, num_replicates=0, score=score) for _ in range(2))
    assert one == two  # no dropout
    assert score.training and score.network[0].weight.dtype == torch.float32
    assert score.network[0].weight.requires_grad


def test_identities_without_a_side_are_no_trials():
    embeddings = Embeddings(np.eye(3), np.eye(3), ["a", "b", "c"], ["a", "b", "d"])
    metadata = pd.DataFrame({"identity": [*"abcd"], "gender": ["f", "m", "f", "f"]})
    report = evaluate(embeddings, metadata, num_replicates=4, score=CosineOfCandidates())
    found = report["matching"]["F-V"]
    assert found["U"]["2"]["num_probes"] == 2 and found["U"]["2"]["accuracy"] == 1.0
    assert found["G"]["2"]["num_probes"] == 1
    assert report["matching"]["V-F"]["N"] is None
