import numpy as np
import pytest
import torch
from sklearn.cluster import kmeans_plusplus

from speechbrain_fv.pseudo_labels import (
    PseudoLabeler,
    canonical_order,
    geometric_median,
    kmeans,
    rank_clusters,
    scale_columns,
    seed_centres,
)
from speechbrain_fv.pseudo_labels.labeler import full_float32
from tests.references import pseudo_labels as reference


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(seed=0, size=32, dim=6):
    """Faces and voices of a batch, in a few loose groups."""
    rng = generator(seed)
    centres = 3 * torch.randn(5, dim, generator=rng)
    groups = torch.randint(5, (2, size), generator=rng)
    return centres[groups] + torch.randn(2, size, dim, generator=rng)


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


def test_prototypes_run_as_equation_7():
    labeler = PseudoLabeler((2,), embedding_dim=3, momentum=0.9)
    history = []
    for step in range(4):
        current = torch.randn(2, 3, generator=generator(step))
        expected = reference.running_prototype(history, current.numpy(), 0.9)
        result = labeler.update_prototypes(current)
        np.testing.assert_allclose(result, expected, atol=1e-6)
        history.append(expected)


def test_a_cluster_without_points_has_the_last_rank():
    centres = torch.tensor([[[float("nan")], [2.0], [1.0]]])
    ranked = rank_clusters(torch.tensor([[1, 2, 1]]), centres, torch.zeros(1, 1))
    assert ranked.tolist() == [[1, 0, 1]]


@pytest.mark.parametrize("size", [27, 32])  # 27 is no multiple of either q
def test_labels_of_two_steps_equal_the_reference_from_the_same_seeds(size):
    labeler = PseudoLabeler((4, 9), 6)
    history = [[], []]
    for step in range(2):
        pairs = batch(step, size)
        pairs[0, :, 2] = 7.0  # a constant column
        pairs[1, 5] = pairs[1, 6]  # two equal rows
        labels = labeler(*pairs, generator(step))
        scaled = scale_columns(pairs)
        order = canonical_order(scaled).unsqueeze(2).expand_as(scaled)
        seeds = seed_centres(scaled.gather(1, order), 9, generator(step)).double().numpy()
        for modality, points in enumerate(pairs.double().numpy()):
            for index, q in enumerate((4, 9)):
                expected, prototype = reference.labels_of_a_batch(
                    points, seeds[modality, :q], history[modality], 0.9
                )
                assert labels[index, modality].tolist() == expected.tolist()
            history[modality].append(prototype)


def permuted_batches():
    plain = batch()
    repeated = plain[:, torch.arange(32) % 9]
    corners = torch.cat([torch.eye(6), -torch.eye(6)]).expand(2, -1, -1)  # all as far from eta
    grid = torch.cartesian_prod(*[torch.arange(2.0)] * 5).expand(2, -1, -1)
    return {"plain": plain, "repeated": repeated, "corners": corners, "grid": grid}


@pytest.mark.parametrize("kind", ["plain", "repeated", "corners", "grid"])
def test_labels_follow_a_permutation_of_the_batch(kind):
    """Sorted by distance to the prototype alone, equally far points kept the batch's order."""
    face, voice = permuted_batches()[kind]
    for seed in range(5):
        order = torch.randperm(len(face), generator=generator(seed))
        labels = PseudoLabeler((4, 8), face.shape[1])(face, voice, generator(1))
        permuted = PseudoLabeler((4, 8), face.shape[1])(face[order], voice[order], generator(1))
        assert torch.equal(labels[:, :, order], permuted)


@pytest.mark.parametrize("seed", range(10))
def test_labels_ignore_shift_and_scale_of_the_columns(seed):
    face, voice = batch(seed)
    face[:, 0] = 2.0
    scale = torch.rand(6, generator=generator(5)) * 4 + 0.5
    moved = [points * scale + torch.arange(6.0) for points in (face, voice)]
    labels = PseudoLabeler((4, 8), 6)(face, voice, generator(1))
    assert torch.equal(labels, PseudoLabeler((4, 8), 6)(*moved, generator(1)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_clustered_in_float32(dtype):
    face, voice = batch().to(dtype)
    labels = PseudoLabeler((4,), 6)(face, voice, generator(1))
    assert torch.equal(labels, PseudoLabeler((4,), 6)(face.float(), voice.float(), generator(1)))


def test_labels_are_the_same_under_autocast_and_reduced_matmul_precision():
    """SpeechBrain switches TensorFloat-32 on for all products; K-means must not use it."""
    face, voice = batch(size=64, dim=40)
    labels = PseudoLabeler((4, 16), 40)(face, voice, generator(1))
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            again = PseudoLabeler((4, 16), 40)(face, voice, generator(1))
        with full_float32("cpu"):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(precision)
    assert torch.equal(labels, again)


def test_evaluation_leaves_the_running_prototype_alone():
    labeler = PseudoLabeler((4,), 6).eval()
    labeler(*batch(), generator())
    assert labeler.num_batches == 0 and not labeler.past_prototypes.any()


@pytest.mark.parametrize("momentum", [-0.1, 1.5])
def test_momentum_must_be_a_weight(momentum):
    with pytest.raises(ValueError, match="momentum: expected a weight in"):
        PseudoLabeler((4,), 6, momentum=momentum)


def test_collapsed_features_still_get_labels():
    constant = torch.ones(8, 6)
    labels = PseudoLabeler((2, 4), 6)(constant, constant, generator())
    assert (labels >= 0).all() and (labels[0] < 2).all() and (labels[1] < 4).all()


def test_running_prototype_survives_a_checkpoint_bit_for_bit(tmp_path):
    first, second = batch(0), batch(1)
    labeler = PseudoLabeler((4,), 6)
    labeler(*first, generator())
    torch.save(labeler.state_dict(), tmp_path / "labeler.ckpt")
    labeler(*second, generator())
    resumed = PseudoLabeler((4,), 6)
    resumed.load_state_dict(torch.load(tmp_path / "labeler.ckpt"))
    resumed(*second, generator())
    assert torch.equal(labeler.past_prototypes, resumed.past_prototypes)
    assert labeler.num_batches == resumed.num_batches == 2
