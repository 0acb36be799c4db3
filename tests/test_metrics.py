"""Each formula against its reference: enumeration, exact fractions, scikit-learn, SpeechBrain."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from speechbrain.utils.metric_stats import EER

from speechbrain_fv import metrics
from speechbrain_fv.scores import unit
from tests.references import metrics as reference


@pytest.fixture(params=["ties", "no ties"])
def clips(request):
    """30 faces and 40 voices of 6 people."""
    rng = np.random.default_rng(0)
    vectors = [rng.normal(size=(size, 3)) for size in (30, 40)]
    if request.param == "ties":
        vectors = [rng.integers(-1, 2, rows.shape) + np.array([0, 0, 3]) for rows in vectors]
    who = [torch.as_tensor(rng.integers(0, 6, size)) for size in (30, 40)]
    return [metrics.sort_clips(torch.as_tensor(v), i, 6) for v, i in zip(vectors, who, strict=True)]


def pooled(clips, groups, chunk_size=100):
    """Returns the counts of a stratum given the group of each person."""
    return metrics.count_pairs(*clips, torch.tensor(groups)[:, None], chunk_size).within(1)


def scores_of(clips):
    """Returns all scores as numpy, in steps of 2^-36."""
    return metrics.integer_scores(clips[0].vectors, clips[1].vectors).numpy()


def pairs(clips, groups):
    """Returns label and score of every positive and allowed negative pair."""
    face_identity, voice_identity = (side.identity.numpy() for side in clips)
    groups = np.array(groups)
    face_group, voice_group = groups[face_identity][:, None], groups[voice_identity]
    same = face_identity[:, None] == voice_identity
    allowed = same | ((face_group == voice_group) & (face_group >= 0))
    return same[allowed], scores_of(clips)[allowed]


STRATA = {"all": [0] * 6, "two groups": [0, 1, 0, 1, 0, 1], "unknown": [0, 0, -1, 1, -1, 1]}


@pytest.mark.parametrize("groups", STRATA.values(), ids=STRATA)
def test_auc_equals_scikit_learn(clips, groups):
    counts = pooled(clips, groups)
    labels, scores = pairs(clips, groups)
    assert counts.num_negatives == (~labels).sum()
    assert metrics.area_under_curve(counts) == pytest.approx(
        roc_auc_score(labels, scores), abs=1e-12
    )


@pytest.mark.parametrize("groups", STRATA.values(), ids=STRATA)
def test_eer_lies_on_the_curve_of_scikit_learn(clips, groups):
    rate = metrics.equal_error_rate(pooled(clips, groups))
    accepted, found, _ = roc_curve(*pairs(clips, groups))
    # accepted - missed rises along the curve, at corners too; it is 0 at the equal error rate
    expected = np.interp(0, accepted - (1 - found), accepted)
    assert rate == pytest.approx(expected, abs=1e-12)


def test_eer_is_near_that_of_speechbrain(clips):
    """SpeechBrain's takes the nearest threshold: one step of the larger error off at most."""
    rate = metrics.equal_error_rate(pooled(clips, STRATA["all"]))
    labels, scores = pairs(clips, STRATA["all"])
    values = torch.as_tensor(scores).double()
    largest_tie = max(
        np.unique(scores[labels == kind], return_counts=True)[1].max() / (labels == kind).sum()
        for kind in (False, True)
    )
    theirs, _ = EER(values[torch.as_tensor(labels)], values[~torch.as_tensor(labels)])
    assert rate == pytest.approx(theirs, abs=largest_tie)


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [
        ([1, 1], [0, 0], 0.0),
        ([0, 0], [1, 1], 1.0),
        ([0, 1], [0, 1], 0.5),
        ([5], [1, 2, 3, 9], 0.25),  # accepting 9 and above misses all, 5 and above accepts one
        ([2, 2, 3], [2, 1, 1, 1], 2 / 11),  # m = 1/4 - 3/8 m, from (0, 1/4) to (2/3, 0)
    ],
)
def test_eer_by_hand(positives, negatives, expected):
    thresholds, num_positives = torch.tensor(positives).unique(return_counts=True)
    negatives = torch.tensor(negatives)
    below = (negatives < thresholds[:, None]).sum(dim=1)
    tied = (negatives == thresholds[:, None]).sum(dim=1)
    counts = metrics.PooledCounts(thresholds, num_positives, below, tied, len(negatives))
    brute = reference.eer(positives, negatives.tolist())
    assert metrics.equal_error_rate(counts) == pytest.approx(expected)
    assert float(brute) == pytest.approx(expected)


def test_without_trials_the_rates_are_nan(clips):
    counts = pooled(clips, [-1] * 6)
    assert counts.num_negatives == 0
    assert np.isnan(metrics.area_under_curve(counts))
    assert np.isnan(metrics.equal_error_rate(counts))


def test_win_probabilities_enumerate_every_draw():
    """Every (below, tied, above) with up to 6 negatives; N up to 5."""
    for below in range(5):
        for tied in range(4):
            for above in range(3):
                total = below + tied + above
                negatives = [-1] * below + [0] * tied + [1] * above
                found = metrics.win_probabilities(
                    *(torch.tensor([count]) for count in (below, tied, total)), max_candidates=5
                )
                for candidates, value in enumerate(found[:, 0].tolist(), start=2):
                    expected = reference.accuracy_by_draws(0, negatives, candidates)
                    if expected is None:
                        assert np.isnan(value)
                    else:
                        assert value == pytest.approx(float(expected), abs=1e-14)


def test_win_probabilities_stay_exact_for_large_counts():
    """C(r, 99) overflows float64 here; the recurrence does not."""
    below, total = 10**6 - 10**4, 10**6
    found = metrics.win_probabilities(
        torch.tensor([below]), torch.tensor([0]), torch.tensor([total]), max_candidates=100
    )
    expected = np.prod([(below - i) / (total - i) for i in range(99)])
    assert found[-1].item() == pytest.approx(expected, rel=1e-12)


def test_all_tied_is_chance():
    count = torch.arange(1, 50)
    found = metrics.win_probabilities(torch.zeros(49), count, count, max_candidates=10)
    for candidates, values in enumerate(found, start=2):
        defined = values[count >= candidates - 1]
        assert torch.allclose(defined, torch.full_like(defined, 1 / candidates), atol=1e-15)
        assert values[count < candidates - 1].isnan().all()


def ranked(clips, groups, **options):
    """Returns the scores of each face as a query: any other person, and one of the same group."""
    strata = metrics.Strata(torch.tensor(groups)[:, None], [0, 1])
    return metrics.score_queries(*clips, strata, **options)


def test_average_precision_equals_scikit_learn(clips):
    found = ranked(clips, STRATA["all"], chunk_size=100)
    scores = scores_of(clips)
    for query, value in enumerate(found.average_precision.tolist()):
        relevant = (clips[1].identity == clips[0].identity[query]).numpy()
        expected = average_precision_score(relevant, scores[query])
        assert value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("groups", STRATA.values(), ids=STRATA)
def test_roc_points_lie_on_the_curve_of_scikit_learn(clips, groups):
    counts = pooled(clips, groups)
    labels, scores = pairs(clips, groups)
    expected = set(
        zip(*np.round(roc_curve(labels, scores, drop_intermediate=False)[:2], 12), strict=True)
    )
    for num_points in (12, 10**6):
        accepted, found = metrics.roc_points(counts, num_points)
        assert len(accepted) <= max(num_points, 2)
        assert (accepted[0], found[0], accepted[-1], found[-1]) == (0, 0, 1, 1)
        assert (accepted.diff() >= 0).all() and (found.diff() >= 0).all()
        assert set(zip(*np.round([accepted, found], 12), strict=True)) <= expected
    assert np.trapezoid(found, accepted) == pytest.approx(metrics.area_under_curve(counts))


def test_chance_is_the_mean_over_every_ranking():
    for size in range(1, 8):
        positives = torch.arange(1, size + 1)
        found = metrics.chance_average_precision(positives, size)
        expected = [float(reference.chance_by_rankings(r, size)) for r in positives.tolist()]
        assert found.tolist() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("chunk_size", [1, 41, 333])
def test_chunks_change_nothing(clips, chunk_size):
    groups = STRATA["unknown"]
    whole, parts = (pooled(clips, groups, size) for size in (10**6, chunk_size))
    for one, other in zip(whole, parts, strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
    whole, parts = (ranked(clips, groups, chunk_size=size) for size in (10**6, chunk_size))
    for one, other in zip(whole, parts, strict=True):
        assert torch.allclose(one.double(), other.double(), rtol=0, atol=1e-12, equal_nan=True)


def test_a_query_without_positives_has_no_value():
    one, two = torch.eye(2), torch.tensor([0, 0])
    gallery = metrics.sort_clips(one, two, 2)
    strata = metrics.Strata(torch.empty(2, 0, dtype=torch.int64), [0])
    found = metrics.score_queries(metrics.sort_clips(one, two + 1, 2), gallery, strata)
    assert found.accuracy.isnan().all() and found.average_precision.isnan().all()


def test_equal_embeddings_tie_wherever_they_stand():
    """A matrix product may round a row differently by its place and by the size of the block."""
    rng = torch.Generator().manual_seed(0)
    row, other = unit(torch.randn(2, 257, generator=rng))
    copies = row.expand(101, -1)
    scores = [metrics.integer_scores(copies[:n], other.expand(n, -1)) for n in (1, 2, 17, 101)]
    assert torch.cat([values.flatten() for values in scores]).unique().numel() == 1


def test_integer_scores_are_rounded_cosines():
    rng = np.random.default_rng(0)
    one, other = (unit(torch.as_tensor(rng.normal(size=(9, 4)))) for _ in range(2))
    expected = np.rint(one.numpy() @ other.numpy().T * 2**36)
    assert np.abs(metrics.integer_scores(one, other).numpy() - expected).max() <= 1
    assert metrics.integer_scores(one, one).diagonal().tolist() == [2**36] * 9
