"""Replicates and intervals against a slow bootstrap with the very same draws."""

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_fv import metrics
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.exact import evaluate
from tests.clips import with_faces_shuffled
from tests.references import bootstrap as reference


def people(num_people, clips_each, ties, seed=0, noise=1.0):
    """Returns embeddings, metadata, the scores, and who is on each side."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_people, 6))
    sides = []
    for _ in range(2):
        who = np.sort(np.r_[np.arange(num_people), rng.integers(0, num_people, clips_each)])
        vectors = centres[who] + noise * rng.normal(size=(len(who), 6))
        # Few directions of few lengths make many ties.
        sides.append((np.round(vectors[:, :2]) + np.array([0, 0.5]) if ties else vectors, who))
    names = np.array([f"id{number:03d}" for number in range(num_people)])
    metadata = pd.DataFrame({"identity": names, "gender": rng.choice(["f", "m", ""], num_people)})
    embeddings = Embeddings(*(v for v, _ in sides), *(names[who] for _, who in sides))
    units = [v / np.linalg.norm(v, axis=1, keepdims=True) for v, _ in sides]
    scores = np.round(units[0] @ units[1].T, 10)
    return embeddings, metadata, scores, *(who for _, who in sides)


def allowed_pairs(metadata, stratum):
    """Returns the matrix of identities that are negatives of each other."""
    gender = metadata.gender.to_numpy()
    same = (gender[:, None] == gender) & (gender != "")
    return same if stratum == "G" else np.ones_like(same)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("chunk_size", [50, 10**6])
def test_small_replicates_equal_the_slow_bootstrap(ties, chunk_size):
    embeddings, metadata, scores, one, other = people(7, 5, ties)
    report = evaluate(
        embeddings, metadata, num_replicates=30, bootstrap_seed=3, chunk_size=chunk_size
    )
    found = report.replicates
    for r, weights in enumerate(reference.draws(7, 30, seed=3)):
        for stratum in "UG":
            allowed = allowed_pairs(metadata, stratum)
            auc, eer = reference.verification(scores, one, other, allowed, weights)
            path = f"verification/{stratum}"
            # A distinct score has a bin of its own here.
            assert found[f"{path}/auc"][r] == pytest.approx(auc, abs=1e-9, nan_ok=True)
            assert found[f"{path}/eer"][r] == pytest.approx(eer, abs=1e-9, nan_ok=True)
            for n in (2, 3):
                for name, trials in (
                    ("F-V", (scores, one, other)),
                    ("V-F", (scores.T, other, one)),
                ):
                    expected = reference.matching(*trials, allowed, weights, n)
                    value = found[f"matching/{name}/{stratum}/{n}/accuracy"][r]
                    assert value == pytest.approx(expected, abs=1e-9, nan_ok=True)
        expected = reference.retrieval(scores, one, other, weights)
        found_map = [found[f"retrieval/F-V/{name}"][r] for name in ("map", "map_per_identity")]
        assert found_map == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("num_bins", "auc_error", "eer_error", "roc_error"),
    [(100, 1e-3, 1e-2, 2e-2), (1024, 2e-5, 1e-4, 1.5e-2)],
)
def test_replicates_from_bins_are_those_of_the_slow_bootstrap(
    num_bins, auc_error, eer_error, roc_error
):
    _, _, scores, one, other = case = people(30, 60, ties=False, seed=1)
    faces, voices = (
        metrics.sort_clips(torch.as_tensor(getattr(case[0], key)), torch.as_tensor(who), 30)
        for key, who in (("face", one), ("voice", other))
    )
    draws = reference.draws(30, 200, seed=0)
    labels = torch.empty(30, 0, dtype=torch.int64)
    pairs = metrics.PairReplicates(torch.as_tensor(draws), faces, voices, labels, num_bins=num_bins)
    counts = metrics.count_pairs(faces, voices, labels, users=[pairs]).within(0)
    exact = metrics.area_under_curve(counts), metrics.equal_error_rate(counts)
    everyone = np.ones((30, 30), dtype=bool)
    expected = [reference.verification(scores, one, other, everyone, w) for w in draws]
    for found, values, tolerance in zip(
        pairs.rates(0, *exact), np.transpose(expected), (auc_error, eer_error), strict=True
    ):
        assert found.numpy() == pytest.approx(values, abs=tolerance)
    curve = metrics.roc_points(counts)
    expected = [
        reference.true_accepts(scores, one, other, everyone, w, curve[0].numpy()) for w in draws
    ]
    ends = np.transpose(list(map(reference.interval, np.transpose(expected), curve[1].numpy())))
    found = np.array(metrics.band(pairs.accepted(0, *curve).numpy(), curve[1].numpy()))
    assert np.abs(found - ends).max() < roc_error < np.diff(ends, axis=0).mean() / 5


def test_sampled_positives_give_the_replicates_of_all():
    """Matching takes 125 of 1,420 positives here; the tolerance is in standard deviations."""
    embeddings, metadata, *_, one, other = people(40, 200, ties=False, seed=2, noise=2.0)
    labels = torch.as_tensor(metadata.gender.map({"f": 0, "m": 1, "": -1}).to_list())[:, None]
    sides = [
        metrics.sort_clips(torch.as_tensor(getattr(embeddings, key)), torch.as_tensor(who), 40)
        for key, who in (("face", one), ("voice", other))
    ]
    strata = metrics.Strata(labels, [0, 1])
    draws = torch.as_tensor(reference.draws(40, 300, seed=0))
    results = []
    for size in (10**6, 1000):
        replicates = metrics.QueryReplicates(draws, *sides, strata, 10, num_sampled=size)
        metrics.score_queries(*sides, strata, 10, chunk_size=5000, replicates=replicates)
        results.append(replicates.values())
    for exact, found in zip(*results, strict=True):
        error = (found - exact).square().mean(dim=-1).sqrt()
        assert (error < 0.2 * exact.std(dim=-1)).all()
    # 1:2 is linear in the gallery's weights.
    assert torch.allclose(results[0][0][:, 0], results[1][0][:, 0], rtol=0, atol=1e-6)


def test_weights_of_one_give_the_exact_values():
    embeddings, metadata, *_, one, other = people(20, 60, ties=False)
    report = evaluate(embeddings, metadata, num_replicates=0)
    sides = [
        metrics.sort_clips(torch.as_tensor(getattr(embeddings, key)), torch.as_tensor(who), 20)
        for key, who in (("face", one), ("voice", other))
    ]
    strata = metrics.Strata(torch.empty(20, 0, dtype=torch.int64), [0])
    ones = torch.ones(1, 20, dtype=torch.int64)
    for num_sampled in (50, 10**6):
        replicates = metrics.QueryReplicates(ones, *sides, strata, 10, num_sampled=num_sampled)
        metrics.score_queries(*sides, strata, replicates=replicates)
        accuracy, mean, per_identity = replicates.values()
        values = report["matching"]["F-V"]["U"].values()
        assert accuracy.flatten().tolist() == pytest.approx([v["accuracy"] for v in values])
        retrieval = report["retrieval"]["F-V"]
        assert mean.item() == pytest.approx(retrieval["map"])
        assert per_identity.item() == pytest.approx(retrieval["map_per_identity"])


def test_draws_depend_on_the_people_alone():
    """Other embeddings in another order of clips are drawn alike: reports are paired."""
    embeddings, metadata, *_ = people(9, 20, ties=False)
    shuffled = with_faces_shuffled(embeddings, seed=1)
    one, other = (evaluate(e, metadata, num_replicates=40) for e in (embeddings, shuffled))
    for path, values in one.replicates.items():
        if path == "identities":
            assert (values == other.replicates[path]).all()
        else:
            assert other.replicates[path] == pytest.approx(values, abs=1e-9, nan_ok=True)


def test_an_interval_needs_replicates_that_are_defined():
    assert metrics.interval(np.r_[np.full(5, np.nan), np.arange(95.0)], 50) is not None
    assert metrics.interval(np.r_[np.full(6, np.nan), np.arange(94.0)], 50) is None
    assert metrics.interval([0.5], 0.5) is None
    assert metrics.interval(np.arange(95.0), None) is None
    assert metrics.interval(np.arange(95.0), np.nan) is None


@pytest.mark.parametrize("value", [-2.5, -0.3, 0.0, 0.4, 2.0, 9.0])
def test_an_interval_holds_its_value(value):
    """A mAP used to lie below its own interval: a gallery that repeats people ranks them higher."""
    replicates = np.random.default_rng(0).normal(size=1000)
    low, high = metrics.interval(replicates, value)
    assert low <= value <= high
    assert [low, high] == pytest.approx(reference.interval(replicates, value))
    mirrored = metrics.interval(-replicates, -value)
    assert mirrored == pytest.approx([-high, -low])


def test_an_interval_beyond_its_replicates_begins_at_the_value():
    replicates = np.linspace(1, 2, 100)
    assert metrics.interval(replicates, 0.5) == pytest.approx([0.5, 1.27], abs=0.01)
    assert metrics.interval(np.ones(100), 1.0) == [1.0, 1.0]


def test_one_identity_has_no_interval():
    report = evaluate(Embeddings(np.eye(2), np.eye(2), ["a", "a"], ["a", "a"]), num_replicates=10)
    assert report["retrieval"]["F-V"]["map"] == 1.0
    assert report["retrieval"]["F-V"]["map_interval"] is None
    assert np.isnan(report.replicates["retrieval/F-V/map"]).all()
