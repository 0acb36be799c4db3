"""People, not clips: averages against a plain loop, and what they are worth in an evaluation."""

import json

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.evaluation.embeddings import Embeddings, load_embeddings, save_embeddings
from speechbrain_fv.evaluation.exact import evaluate, save_report
from speechbrain_fv.evaluation.paired import compare_reports, format_comparison
from speechbrain_fv.evaluation.people import (
    add_people,
    evaluate_people,
    format_people,
    people_of,
)
from speechbrain_fv.evaluation.report import format_report, load_report
from speechbrain_fv.figures import report_tables
from speechbrain_fv.scores import Cosine, NegativeL2
from speechbrain_fv.scores.averaging import averaged
from tests.paths import HPARAMS
from tests.processes import recipe, run_forked

NAMES = [f"p{number:02}" for number in range(30)]


def noisy(noise=1.5, seed=0, clips=(2, 9), quality=None):
    """Clips of people who have a direction, in noise; `quality` of a clip divides its noise."""
    rng = np.random.default_rng(seed)
    people, parts = rng.standard_normal((len(NAMES), 8)), {}
    for modality in ("face", "voice"):
        who = np.repeat(np.arange(len(NAMES)), rng.integers(*clips, len(NAMES)))
        scale = np.ones(len(who)) if quality is None else rng.choice(quality, len(who))
        vectors = people[who] + noise * rng.standard_normal((len(who), 8)) / scale[:, None]
        order = rng.permutation(len(who))
        parts |= {
            modality: vectors[order].astype(np.float32),
            f"{modality}_identity": np.array(NAMES)[who[order]],
        }
        if quality is not None:
            parts[f"{modality}_weight"] = scale[order] ** 2
    return Embeddings(**parts)


@pytest.mark.parametrize("score", [None, Cosine(), NegativeL2()])
@pytest.mark.parametrize("weighted", [False, True])
def test_averages_are_those_of_a_loop(score, weighted):
    rng = np.random.default_rng(0)
    clips, owners = rng.standard_normal((40, 5)), rng.permutation(np.arange(40) % 7)
    weights = rng.uniform(0, 2, 40) if weighted else None
    names = NAMES[:7]
    found = averaged(clips, owners, names, weights, score)
    for person in range(7):
        total, mean = 0, np.zeros(5)
        for row in np.flatnonzero(owners == person):
            clip = (
                clips[row]
                if isinstance(score, NegativeL2)
                else clips[row] / np.sqrt(sum(value**2 for value in clips[row]))
            )
            weight = 1 if weights is None else weights[row]
            total, mean = total + weight, mean + weight * clip
        np.testing.assert_allclose(found[person], mean / total, atol=1e-12)


def test_a_clip_of_weight_0_does_not_count_and_scale_plays_no_part():
    clips = np.array([[1.0, 0.0], [-7.0, 3.0], [0.0, 2.0]])
    people = averaged(clips, np.array([0, 0, 1]), ["a", "b"], np.array([5.0, 0.0, 1e-9]))
    np.testing.assert_allclose(people, [[1, 0], [0, 1]])


@pytest.mark.parametrize(
    "clips, weights, message",
    [
        (np.eye(2), [1.0], r"weights: expected 2, one per clip, got the shape \(1,\)"),
        (np.eye(2), [1.0, -1.0], "finite numbers of at least 0, got -1 for clip 1"),
        (np.eye(2), [1.0, np.nan], "finite numbers of at least 0, got nan for clip 1"),
        (np.eye(2), [0.0, 0.0], "expected some above 0 for each person, got none for 'ann'"),
        (np.array([[1.0, 2.0], [-2.0, -4.0]]), None, "clips of 'ann' point in opposite directions"),
    ],
)
def test_what_has_no_average_is_refused(clips, weights, message):
    with pytest.raises(ValueError, match=message):
        averaged(clips, np.zeros(2, int), ["ann"], weights)


def test_on_noisy_clips_people_are_told_apart_better():
    """Averaging n clips divides the variance of the noise by n."""
    embeddings = noisy()
    clips, people = evaluate(embeddings), evaluate_people(embeddings)
    one, other = (report["verification"]["U"] for report in (clips, people))
    assert other["auc"] > one["auc"] + 0.1
    assert other["auc_interval"][0] > one["auc_interval"][1] - 0.05
    for direction in ("F-V", "V-F"):
        values = [r["matching"][direction]["U"]["10"]["accuracy"] for r in (clips, people)]
        assert values[1] > values[0] + 0.1
    comparison = compare_reports(clips, people)  # paired: both draw the same people
    assert comparison["verification/U/auc"]["difference_interval"][0] > 0.05


def test_weights_that_tell_the_noise_are_better_than_equal_ones():
    weighted = noisy(quality=(0.3, 3.0))
    fields = ("face", "voice", "face_identity", "voice_identity")
    equal = Embeddings(*(getattr(weighted, name) for name in fields))
    values = [
        evaluate_people(given, num_replicates=0)["verification"]["U"]["auc"]
        for given in (equal, weighted)
    ]
    assert values[1] > values[0] + 0.02


def test_people_of_single_clips_are_the_clips():
    embeddings = noisy(clips=(1, 2))
    report = evaluate(embeddings, num_replicates=50)
    expected = dict(report)
    people = evaluate_people(embeddings, num_replicates=50)
    assert people["verification"]["U"]["auc"] == pytest.approx(
        report["verification"]["U"]["auc"], abs=1e-12
    )
    add_people(report, embeddings)
    assert dict(report) == expected and format_people(report) == ""


def test_the_report_has_people_beside_clips(tmp_path):
    embeddings = noisy(quality=(1.0, 2.0))
    metadata = pd.DataFrame({"identity": NAMES, "gender": ["f", "m"] * 15})
    options = {"num_replicates": 60, "bootstrap_seed": 3}
    report = evaluate(embeddings, metadata, **options)
    add_people(report, embeddings, metadata, **options)
    counts = pd.Series(embeddings.face_identity).value_counts()
    assert report["people"]["clips"]["face"] == {
        "least": counts.min(),
        "median": counts.median(),
        "most": counts.max(),
        "total": len(embeddings.face),
    }
    assert report["people"]["weights"] == {"face": "given", "voice": "given"}
    assert report["people"]["num_faces"] == report["people"]["num_voices"] == 30
    alone = evaluate(people_of(embeddings), metadata, **options)
    assert report["people"]["verification"] == alone["verification"]
    assert report["people"]["verification"]["G"]["num_positives"] == 30
    save_report(tmp_path / "report.json", report)
    again = load_report(tmp_path)
    path = "people/verification/G/auc"
    np.testing.assert_array_equal(again.replicates[path], alone.replicates["verification/G/auc"])
    shown = format_comparison(compare_reports(again, again))
    assert path in shown and "people/matching/F-V/U/10/accuracy" in shown
    assert "people/matching/F-V/U/9/accuracy" not in shown
    text = format_people(json.loads((tmp_path / "report.json").read_text()))
    assert text.startswith("People, each the average of ") and "given weights" in text
    auc = 100 * report["people"]["verification"]["U"]["auc"]
    assert f"{auc:.2f}" in text
    tables = report_tables.people(again)
    assert tables[0].title == "Verification, people"
    assert f"{auc:.2f}" in str(tables[0].rows)


@pytest.mark.parametrize(
    "weights, message",
    [
        (
            np.ones(2),
            r"face_weight: expected \d+ numbers, one per clip, got float64 of shape \(2,\)",
        ),
        (None, "face_weight: row 1 is -1, expected a finite number of at least 0"),
    ],
)
def test_weights_of_another_form_are_refused(weights, message):
    embeddings = noisy()
    if weights is None:
        weights = np.ones(len(embeddings.face))
        weights[1] = -1
    with pytest.raises(ValueError, match=message):
        Embeddings(**{**vars(embeddings), "face_weight": weights})


def test_a_person_without_weight_is_named():
    embeddings = noisy(quality=(1.0, 2.0))
    embeddings.voice_weight[embeddings.voice_identity == "p03"] = 0
    with pytest.raises(ValueError, match="voice: weights: .* got none for 'p03'"):
        evaluate_people(embeddings)


def test_the_evaluation_of_files_tells_of_people(tmp_path):
    embeddings = noisy(quality=(0.5, 2.0))
    save_embeddings(tmp_path / "e.npz", embeddings)
    np.testing.assert_array_equal(
        load_embeddings(tmp_path / "e.npz").face_weight, embeddings.face_weight
    )
    result = run_forked(
        recipe(
            "evaluate",
            HPARAMS / "evaluate.yaml",
            f"--embeddings={tmp_path / 'e.npz'}",
            f"--output_folder={tmp_path / 'out'}",
            "--num_replicates=20",
        )
    )
    assert result.returncode == 0, result.stderr
    assert "People, each the average of" in result.stdout
    report = load_report(tmp_path / "out")
    expected = evaluate_people(embeddings, num_replicates=20)["verification"]
    assert report["people"]["verification"] == expected
    assert "Verification, people" in (tmp_path / "out" / "report.html").read_text()


def test_clips_that_cancel_each_other_are_told_and_cost_nothing_else():
    """One person in one dimension: an evaluation goes on, and says why people have no values."""
    clips = np.array([[1.0], [-1.0], [1.0], [1.0]])
    names = ["ann", "ann", "bob", "eve"]
    embeddings = Embeddings(clips, clips, names, names)
    report = evaluate(embeddings, num_replicates=0)
    add_people(report, embeddings, num_replicates=0)
    assert report["people"] is None and "'ann'" in report["reasons"]["people"]
    assert report["verification"]["U"]["auc"] is not None
    assert format_people(report) == "" and "people is undefined: face: " in format_report(report)
