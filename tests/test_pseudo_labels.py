import numpy as np
import pytest
import torch

from speechbrain_fv.pseudo_labels import (
    PseudoLabeler,
    geometric_median,
    kmeans,
    rank_clusters,
    scale_columns,
)
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
    labels, centres = kmeans(points, [q, q], generator())
    for problem in range(2):
        found = labels[problem].numpy()
        assert set(found) == set(range(q))
        assert reference.is_kmeans_fixed_point(points[problem].numpy(), found, q)
        for c in range(q):
            mean = points[problem][labels[problem] == c].mean(dim=0)
            assert torch.allclose(centres[problem, c], mean, atol=1e-5)


def test_kmeans_of_several_q_keeps_each_problem_below_its_q():
    labels, _ = kmeans(batch().repeat(2, 1, 1), [3, 3, 20, 20], generator())
    assert labels.amax(dim=1).tolist() == [2, 2, 19, 19]


def test_kmeans_finds_well_separated_groups():
    centres = 100 * torch.eye(4)
    points = centres.repeat_interleave(8, dim=0) + torch.randn(32, 4, generator=generator())
    labels, _ = kmeans(points.unsqueeze(0), [4], generator())
    assert labels.view(4, 8).unique(dim=1).shape == (4, 1)
    assert labels.unique().numel() == 4


def test_kmeans_with_fewer_distinct_points_than_clusters_ends():
    points = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0]).view(1, 5, 1)
    labels, centres = kmeans(points, [4], generator())
    assert labels[0, 0] == labels[0, 1] != labels[0, 2]
    assert labels[0, 2:].unique().numel() == 1
    assert torch.isfinite(centres).all()


def test_an_empty_cluster_is_reseeded_with_the_farthest_point(monkeypatch):
    points = torch.tensor([0.0, 1.0, 2.0, 30.0]).view(1, 4, 1)
    start = torch.tensor([1.0, 1.0]).view(1, 2, 1)  # the second centre attracts nothing
    monkeypatch.setattr("speechbrain_fv.pseudo_labels.seed_centres", lambda *_: start)
    labels, _ = kmeans(points, [2], generator())
    assert labels.tolist() == [[0, 0, 0, 1]]


@pytest.mark.parametrize("q", [0, 9])
def test_kmeans_rejects_more_clusters_than_points(q):
    with pytest.raises(ValueError, match=rf"8 points, got {q}; lower num_clusters"):
        kmeans(torch.randn(1, 8, 2), [q], generator())


def test_ranks_equal_the_reference_and_ties_break_by_index():
    points = batch()[:1]
    labels, centres = kmeans(points, [6], generator())
    prototype = geometric_median(points)
    ranks = reference.ranks_by_distance(points[0].numpy(), labels[0].numpy(), 6, prototype[0])
    ranked = rank_clusters(labels, centres, prototype, [6])
    assert ranked[0].tolist() == [ranks[c] for c in labels[0].tolist()]

    tied = torch.tensor([[[1.0], [-1.0], [0.5]]])
    assert rank_clusters(torch.tensor([[0, 1, 2]]), tied, torch.zeros(1, 1), [3]).tolist() == [
        [1, 2, 0]
    ]


def test_prototypes_run_as_equation_7():
    labeler = PseudoLabeler((2,), embedding_dim=3, momentum=0.9)
    history = []
    for step in range(4):
        current = torch.randn(2, 3, generator=generator(step))
        expected = reference.running_prototype(history, current.numpy(), 0.9)
        result = labeler.update_prototypes(current)
        np.testing.assert_allclose(result, expected, atol=1e-6)
        history.append(expected)


def test_labels_of_the_whole_engine_equal_its_parts():
    """One batch by hand: scale, median, K-means on the scaled points, rank."""
    face, voice = batch()
    labels = PseudoLabeler((4, 9), 6)(face, voice, generator())
    for modality, points in enumerate((face, voice)):
        scaled = reference.scale_columns(points.double().numpy())
        prototype = reference.geometric_median(scaled)
        for index, q in enumerate((4, 9)):
            found = labels[index, modality].numpy()
            assert reference.is_kmeans_fixed_point(scaled, found, q)
            ranks = reference.ranks_by_distance(scaled, found, q, prototype)
            assert ranks == {c: c for c in range(q)}


def test_labels_follow_a_permutation_of_the_batch():
    face, voice = batch()
    order = torch.randperm(len(face), generator=generator(3))
    labels = PseudoLabeler((4, 8), 6)(face, voice, generator(1))
    permuted = PseudoLabeler((4, 8), 6)(face[order], voice[order], generator(1))
    assert torch.equal(labels[:, :, order], permuted)


def test_labels_ignore_shift_and_scale_of_the_columns():
    face, voice = batch()
    scale = torch.rand(6, generator=generator(5)) * 4 + 0.5
    moved = [points * scale + torch.arange(6.0) for points in (face, voice)]
    labels = PseudoLabeler((4, 8), 6)(face, voice, generator(1))
    assert torch.equal(labels, PseudoLabeler((4, 8), 6)(*moved, generator(1)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_clustered_in_float32(dtype):
    face, voice = batch().to(dtype)
    labels = PseudoLabeler((4,), 6)(face, voice, generator(1))
    assert torch.equal(labels, PseudoLabeler((4,), 6)(face.float(), voice.float(), generator(1)))


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
