"""Trials drawn from a seed: they estimate the exact values, and others can score them."""

from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.exact import evaluate
from speechbrain_fv.evaluation.lists import evaluate_lists, save_list_files
from speechbrain_fv.metrics.candidates import draw_distinct
from speechbrain_fv.protocols import ListFile, SampledTrials, resolve_lists
from tests.clips import with_faces_shuffled


def population(seed=0, num_people=12):
    """Returns embeddings with unequal numbers of clips, and their metadata."""
    rng = np.random.default_rng(seed)
    names = [f"p{number}" for number in range(num_people)]
    labels = [np.repeat(names, rng.integers(1, 6, num_people)) for _ in range(2)]
    means = dict(zip(names, rng.normal(size=(num_people, 4)), strict=True))
    parts = [
        np.array([means[name] for name in part]) + rng.normal(size=(len(part), 4))
        for part in labels
    ]
    ids = [[f"{m}{row}" for row in range(len(part))] for m, part in zip("fv", labels, strict=True)]
    metadata = pd.DataFrame({"identity": names, "gender": ["f", "m", "f", ""] * 3})
    return Embeddings(*parts, *labels, *ids), metadata


def test_draws_estimate_the_exact_values():
    """Within five standard deviations of a share over 40,000 trials (a half of them positive)."""
    embeddings, metadata = population()
    exact = evaluate(embeddings, metadata, tasks=("verification", "matching"))
    lists = resolve_lists(SampledTrials(40_000, seed=1, num_candidates=4), embeddings, metadata)
    found = evaluate_lists(embeddings, lists, metadata)
    bound = 5 * 0.5 / np.sqrt(20_000)
    for stratum in ("U", "G"):
        drawn = found[f"sampled/verification_{stratum}"]
        assert abs(drawn["auc"] - exact["verification"][stratum]["auc"]) < bound
        assert drawn["num_contradictions"] == 0
        assert drawn["drawn"] == {"seed": 1, "num_trials": 40_000, "stratum": stratum}
        for direction in ("F-V", "V-F"):
            drawn = found[f"sampled/matching_{direction}_{stratum}"]
            expected = exact["matching"][direction][stratum]["4"]["accuracy"]
            assert abs(drawn["accuracy"]["4"]["accuracy"] - expected) < bound
            assert drawn["num_contradictions"] == 0
    assert found["sampled/matching_V-F_G"]["negatives_agree"]["gender"]["share"] == 1


def test_a_draw_depends_on_its_seed_alone_and_others_can_score_it(tmp_path):
    embeddings, metadata = population()
    source = SampledTrials(50, seed=3, num_candidates=3)
    lists = resolve_lists(source, embeddings, metadata)
    again = source.read(with_faces_shuffled(embeddings, seed=0), metadata)
    other = SampledTrials(50, seed=4, num_candidates=3).read(embeddings, metadata)
    save_list_files(tmp_path, lists)
    found = evaluate_lists(embeddings, lists)
    for resolved, same, different in zip(lists, again, other, strict=True):
        trials = resolved.trials
        assert trials.probes.tolist() == same.probes.tolist()
        assert trials.targets.tolist() == same.targets.tolist()
        assert trials.probes.tolist() != different.probes.tolist()
        source = ListFile(tmp_path / f"{trials.name}.csv", trials.kind, name="read")
        read = evaluate_lists(embeddings, resolve_lists(source, embeddings))["read"]
        value = "auc" if trials.kind == "verification" else "accuracy"
        assert read[value] == found[trials.name][value]
        assert read["direction"] == resolved.direction


def test_distinct_draws_are_uniform_over_subsets():
    drawn = draw_distinct(np.full(60_000, 5), 3, np.random.default_rng(0))
    counts = Counter(tuple(sorted(row)) for row in drawn.tolist())
    assert counts.keys() == set(combinations(range(5), 3))
    assert max(abs(count - 6000) for count in counts.values()) < 5 * np.sqrt(6000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_trials": 1, "seed": 0}, "num_trials: expected an integer of at least 2"),
        ({"num_trials": 2, "seed": -1}, "seed: expected an integer of at least 0"),
        ({"num_trials": 2, "seed": 0, "num_candidates": 1}, "num_candidates: expected"),
        ({"num_trials": 2, "seed": 0, "strata": ["A"]}, "strata: A cannot be drawn: .*'age'"),
        ({"num_trials": 2, "seed": 0, "num_candidates": 99}, "U has no probe with 98 negatives"),
    ],
)
def test_draws_that_cannot_be_made_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SampledTrials(**options).read(*population())
