"""The pure functions of pseudo-labels, against slow references."""

import numpy as np
import pytest
import torch
from sklearn.cluster import kmeans_plusplus

from speechbrain_fv.pseudo_labels import (
    canonical_pair_order,
    geometric_median,
    kmeans,
    rank_clusters,
    scale_columns,
    seed_centres,
)
from tests.label_batches import batch, generator
from tests.references import pseudo_labels as reference


@pytest.mark.parametrize("seed", range(5))
def test_scaled_columns_equal_the_reference(seed):
    points = torch.randn(9, 4, generator=generator(seed))
    points[:, 2] = 5.0  # a constant column
    expected = reference.scale_columns(points.numpy())
    np.testing.assert_allclose(scale_columns(points), expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_geometric_median_minimises_the_sum_of_distances(seed):
    points = torch.randn(2, 7 + seed, 3, generator=generator(seed))
    medians = geometric_median(points)
    for median, problem in zip(medians.numpy(), points.double().numpy(), strict=True):
        best = reference.sum_of_distances(reference.geometric_median(problem), problem)
        assert reference.sum_of_distances(median, problem) == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("shape, iterations", [((128, 256), 30), ((20, 3), 1000), ((9, 5), 1000)])
def test_geometric_median_is_where_a_minimiser_in_float64_finds_it(scale, shape, iterations):
    points = scale * (torch.randn(1, *shape, generator=generator(9)) + 1)
    expected = reference.weiszfeld(points[0].double().numpy(), iterations)
    assert reference.median_gradient_norm(expected, points[0].double().numpy()) < 1e-9
    np.testing.assert_allclose(geometric_median(points)[0] / scale, expected / scale, atol=2e-5)


def test_geometric_median_is_not_the_mean_and_may_be_a_sample():
    """Three of five points coincide: the median is exactly there, where 1 / distance blows up."""
    points = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [9.0, 1.0], [4.0, 8.0]]])
    assert torch.allclose(geometric_median(points), torch.zeros(1, 2), atol=1e-3)


def test_geometric_median_leaves_a_sample_that_is_not_the_median():
    """The mean, where the iteration starts, is a sample here, but the median lies elsewhere."""
    points = torch.tensor([[[0.0], [1.0], [2.0], [3.0], [9.0]]])
    assert points.mean() == 3.0
    assert geometric_median(points).item() == pytest.approx(2.0, abs=1e-3)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_geometric_median_of_identical_points_is_that_point(value):
    points = torch.full((1, 5, 3), value)
    assert torch.allclose(geometric_median(points), torch.full((1, 3), value), atol=1e-6)


@pytest.mark.parametrize("q", [1, 2, 5, 16, 32])
def test_kmeans_ends_at_a_fixed_point_without_empty_clusters(q):
    points = batch()
    labels, centres = kmeans(points, [q], generator())
    labels, (centres,) = labels[0], centres
    for problem in range(2):
        found = labels[problem].numpy()
        assert set(found) == set(range(q))
        assert reference.is_kmeans_fixed_point(points[problem].numpy(), found, q)
        for c in range(q):
            mean = points[problem][labels[problem] == c].mean(dim=0)
            assert torch.allclose(centres[problem, c], mean, atol=1e-5)


def test_kmeans_of_several_q_and_sets_equals_the_reference_from_the_same_seeds():
    points = batch(seed=4)
    labels, centres = kmeans(points, (3, 20), generator())
    seeds = seed_centres(points, 20, generator())
    for index, q in enumerate((3, 20)):
        for problem in range(2):
            expected, means = reference.lloyd(points[problem].numpy(), seeds[problem, :q].numpy())
            assert labels[index, problem].tolist() == expected.tolist()
            np.testing.assert_allclose(centres[index][problem], means, atol=1e-5)


def test_seeds_are_points_and_at_least_as_good_as_those_of_scikit_learn():
    points = torch.rand(20, 64, 5, generator=generator(2))
    seeds = seed_centres(points, 8, generator())
    ours = torch.cdist(points, seeds).amin(dim=2).square().sum(dim=1)
    assert (torch.cdist(points, seeds).amin(dim=1) < 1e-3).all()
    theirs = [kmeans_plusplus(x, 8, random_state=i)[0] for i, x in enumerate(points.numpy())]
    theirs = torch.cdist(points, torch.from_numpy(np.stack(theirs))).amin(dim=2).square()
    assert ours.mean() < 1.02 * theirs.sum(dim=1).mean()


def test_seeds_are_drawn_in_proportion_to_squared_distances():
    """With two centres the draws are two: from {0, 1, 3} the far point must prevail as computed."""
    points = torch.tensor([0.0, 1.0, 3.0]).view(1, 3, 1).expand(4000, -1, -1)
    seeds = seed_centres(points, 1, generator()).flatten()
    for value in (0.0, 1.0, 3.0):
        assert (seeds == value).float().mean().item() == pytest.approx(1 / 3, abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_seeds_of_pairs_are_those_of_long_points_and_equal_the_reference(seed):
    points = batch(seed, size=20)
    seeds = seed_centres(points, 12, generator(seed), same_rows=True)
    uniforms = torch.rand(12, 1, 20, generator=generator(seed)).squeeze(1)
    long_points = torch.cat(list(points), dim=1)
    rows = reference.greedy_seed_rows(long_points.double().numpy(), uniforms.double().numpy())
    assert torch.equal(seeds, points[:, rows])
    assert torch.equal(seed_centres(long_points.unsqueeze(0), 12, generator(seed))[0],
                       long_points[rows])  # fmt: skip


def test_kmeans_finds_well_separated_groups():
    centres = 100 * torch.eye(4)
    points = centres.repeat_interleave(8, dim=0) + torch.randn(32, 4, generator=generator())
    labels, _ = kmeans(points.unsqueeze(0), [4], generator())
    assert labels.view(4, 8).unique(dim=1).shape == (4, 1)
    assert labels.unique().numel() == 4


def test_kmeans_with_fewer_distinct_points_than_clusters_ends():
    points = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0]).view(1, 5, 1)
    labels, (centres,) = kmeans(points, [4], generator())
    found = labels[0, 0]
    assert found[0] == found[1] != found[2]
    assert found[2:].unique().numel() == 1
    assert centres.isnan().sum() == 2
    assert sorted(centres[~centres.isnan()].tolist()) == [0.0, 1.0]


@pytest.mark.parametrize("q", [4, 10, 30])
def test_repeated_rows_share_their_cluster_and_distinct_ones_part_when_there_are_enough(q):
    rows = torch.randn(10, 40, generator=generator(6))
    labels, _ = kmeans(rows.repeat(6, 1).unsqueeze(0), [q], generator())
    found = labels[0, 0].view(6, 10)
    assert (found == found[0]).all()
    assert found[0].unique().numel() == min(q, 10)


def test_empty_clusters_are_reseeded_with_the_farthest_points(monkeypatch):
    points = torch.tensor([0.0, 1.0, 2.0, 30.0, 50.0]).view(1, 5, 1)
    start = torch.ones(1, 3, 1)  # the second and third centre attract nothing
    monkeypatch.setattr(
        "speechbrain_fv.pseudo_labels.clustering.seed_centres", lambda *_: start.clone()
    )
    labels, _ = kmeans(points, [3], generator())
    expected, _ = reference.lloyd(points[0].numpy(), start[0])
    assert labels[0, 0].tolist() == expected.tolist() == [0, 0, 0, 2, 1]


@pytest.mark.parametrize("q", [0, 9])
def test_kmeans_rejects_more_clusters_than_points(q):
    with pytest.raises(ValueError, match=rf"8 points, got {q}; lower num_clusters"):
        kmeans(torch.randn(1, 8, 2), [q], generator())


def test_ranks_equal_the_reference_and_ties_break_by_index():
    points = batch()[:1]
    (labels,), (centres,) = kmeans(points, [6], generator())
    prototype = geometric_median(points)
    ranks = reference.ranks_by_distance(points[0].numpy(), labels[0].numpy(), 6, prototype[0])
    ranked = rank_clusters(labels, centres, prototype)
    assert ranked[0].tolist() == [ranks[c] for c in labels[0].tolist()]

    tied = torch.tensor([[[1.0], [-1.0], [0.5]]])
    assert rank_clusters(torch.tensor([[0, 1, 2]]), tied, torch.zeros(1, 1)).tolist() == [[1, 2, 0]]


def test_a_cluster_without_points_has_the_last_rank():
    centres = torch.tensor([[[float("nan")], [2.0], [1.0]]])
    ranked = rank_clusters(torch.tensor([[1, 2, 1]]), centres, torch.zeros(1, 1))
    assert ranked.tolist() == [[1, 0, 1]]


def test_ranked_together_clusters_of_one_index_share_the_rank_of_their_mean_distance():
    """Distances 0.5 and 4, 1 and 1, 3 alone, none: the means decide, an empty one is last."""
    nan = float("nan")
    centres = torch.tensor([[[0.5], [1.0], [nan], [nan]], [[4.0], [1.0], [3.0], [nan]]])
    labels = torch.tensor([[0, 1, 1, 0], [0, 1, 2, 0]])
    ranked = rank_clusters(labels, centres, torch.zeros(2, 1), together=True)
    assert ranked.tolist() == [[1, 0, 0, 1], [1, 0, 2, 1]]


def test_the_order_of_pairs_ignores_the_roles_except_of_mirror_images():
    pairs = torch.randn(2, 30, 4, generator=generator())
    order = canonical_pair_order(pairs)
    assert torch.equal(order, canonical_pair_order(pairs.flip(0)))
    assert sorted(order[0].tolist()) == list(range(30)) and torch.equal(order[0], order[1])
    mirrored = torch.cat([pairs, pairs.flip(0)], dim=1)
    shuffle = torch.randperm(60, generator=generator(1))
    ordered = [mirrored[:, canonical_pair_order(mirrored)[0]]]
    ordered.append(mirrored[:, shuffle][:, canonical_pair_order(mirrored[:, shuffle])[0]])
    assert torch.equal(*ordered)
