"""The labels of a batch under the three readings of how clusters of two modalities belong."""

import numpy as np
import pytest
import torch

from speechbrain_fv.precision import full_float32
from speechbrain_fv.pseudo_labels import (
    PseudoLabeler,
    canonical_order,
    canonical_pair_order,
    scale_columns,
    seed_centres,
)
from speechbrain_fv.pseudo_labels.labeler import CLUSTERS
from tests.label_batches import batch, generator
from tests.references import pseudo_labels as reference


def test_prototypes_run_as_equation_7():
    labeler = PseudoLabeler((2,), embedding_dim=3, momentum=0.9)
    history = []
    for step in range(4):
        current = torch.randn(2, 3, generator=generator(step))
        expected = reference.running_prototype(history, current.numpy(), 0.9)
        result = labeler.update_prototypes(current)
        np.testing.assert_allclose(result, expected, atol=1e-6)
        history.append(expected)


def two_steps(clusters, size):
    """A labeler, and two batches with a constant column and two equal rows, each with its seeds."""
    steps = []
    for step in range(2):
        pairs = batch(step, size)
        pairs[0, :, 2] = 7.0
        pairs[1, 5] = pairs[1, 6]
        scaled = scale_columns(pairs)
        if clusters == "shared":
            scaled = scaled.flatten(0, 1).unsqueeze(0)
        paired = clusters == "paired"
        order = canonical_pair_order(scaled) if paired else canonical_order(scaled)
        points = scaled.gather(1, order.unsqueeze(2).expand_as(scaled))
        seeds = seed_centres(points, 9, generator(step), same_rows=paired)
        steps.append((pairs, seeds.double().numpy()))
    return PseudoLabeler((4, 9), 6, clusters=clusters), steps


@pytest.mark.parametrize("size", [27, 32])
def test_shared_labels_of_two_steps_equal_the_reference_from_the_same_seeds(size):
    labeler, steps = two_steps("shared", size)
    history = []
    for step, (pairs, seeds) in enumerate(steps):
        labels = labeler(*pairs, generator(step))
        for index, q in enumerate((4, 9)):
            *expected, prototype = reference.labels_of_a_shared_batch(
                *pairs.double().numpy(), seeds[0, :q], history, 0.9
            )
            assert labels[index].tolist() == expected
        history.append(prototype)


@pytest.mark.parametrize("size", [27, 32])
def test_paired_labels_of_two_steps_equal_the_reference_from_the_same_seeds(size):
    labeler, steps = two_steps("paired", size)
    histories = [[], []]
    for step, (pairs, seeds) in enumerate(steps):
        labels = labeler(*pairs, generator(step))
        for index, q in enumerate((4, 9)):
            *expected, prototypes = reference.labels_of_a_paired_batch(
                *pairs.double().numpy(), seeds[:, :q], histories, 0.9
            )
            assert labels[index].tolist() == expected
        for history, prototype in zip(histories, prototypes, strict=True):
            history.append(prototype)


@pytest.mark.parametrize("size", [27, 32])  # 27 is no multiple of either q
def test_labels_of_two_steps_equal_the_reference_from_the_same_seeds(size):
    labeler, steps = two_steps("separate", size)
    history = [[], []]
    for step, (pairs, seeds) in enumerate(steps):
        labels = labeler(*pairs, generator(step))
        for modality, points in enumerate(pairs.double().numpy()):
            for index, q in enumerate((4, 9)):
                expected, prototype = reference.labels_of_a_batch(
                    points, seeds[modality, :q], history[modality], 0.9
                )
                assert labels[index, modality].tolist() == expected.tolist()
            history[modality].append(prototype)


def agreement(clusters, q, face, voice, seed=0):
    """The share of pairs with two equal labels."""
    labels = PseudoLabeler((q,), face.shape[1], clusters=clusters)(face, voice, generator(seed))[0]
    return (labels[0] == labels[1]).float().mean().item()


def view(kind, size, dim, seed):
    """Rows to be seen twice: plain ones, and such that stand at equal distances or repeat."""
    rng = generator(seed)
    points = torch.randn(size, dim, generator=rng)
    if kind == "repeated":
        return points[torch.randint(max(2, size // 4), (size,), generator=rng)]
    if kind == "constant columns":
        points[:, ::2] = 3.0
    return {"corners": points > 0, "grid": points.round()}.get(kind, points).float()


@pytest.mark.parametrize("clusters", ["shared", "paired"])
@pytest.mark.parametrize("kind", ["plain", "repeated", "constant columns", "corners", "grid"])
@pytest.mark.parametrize("size, dim", [(5, 1), (8, 40), (27, 7), (33, 3), (128, 256)])
def test_identical_views_agree_in_every_pair(clusters, kind, size, dim):
    """Also with more clusters than distinct rows, where several centres lie on one point."""
    for seed, q in enumerate(sorted({2, 3, size // 2, size - 1, size})):
        points = view(kind, size, dim, seed)
        assert agreement(clusters, q, points, points.clone(), seed) == 1


@pytest.mark.parametrize("seed, size, dim", [(154, 54, 37), (317, 17, 34), (328, 27, 11)])
def test_identical_views_agree_where_rounding_decides(seed, size, dim):
    """Corners of a cube stand as near to one centre as to another, and products of equal rows
    round differently where they lie in memory: the two modalities had two partitions."""
    points = torch.randint(0, 2, (size, dim), generator=generator(seed)).float()
    assert all(agreement("paired", 3, points, points, seed) == 1 for seed in range(100))


@pytest.mark.parametrize("q", [8, 32, 64])
def test_identical_views_disagree_when_each_draws_its_own_seeds(q):
    """The fault of separate clusters. With q = B each point is a cluster, which hides it."""
    for seed in range(5):
        points = torch.randn(128, 256, generator=generator(seed))
        assert agreement("separate", q, points, points, seed) < 0.5
        # All but two points that are as far from the median, up to rounding.
        assert agreement("separate", 128, points, points, seed) > 0.95


@pytest.mark.parametrize("clusters", ["shared", "paired"])
def test_agreement_falls_with_the_noise_between_the_views(clusters):
    people, noise = torch.randn(3, 128, 256, generator=generator(1)).split([1, 2])
    values = []
    for scale in (0.0, 0.15, 0.7, 50.0):
        values.append(agreement(clusters, 32, *(people[0] + scale * noise)))
    assert values[0] == 1 and values == sorted(values, reverse=True) and values[-1] < 0.5


def permuted_batches():
    plain = batch()
    repeated = plain[:, torch.arange(32) % 9]
    corners = torch.cat([torch.eye(6), -torch.eye(6)]).expand(2, -1, -1)  # all as far from eta
    grid = torch.cartesian_prod(*[torch.arange(2.0)] * 5).expand(2, -1, -1)
    return {"plain": plain, "repeated": repeated, "corners": corners, "grid": grid}


def label(clusters, face, voice, num_clusters=(4, 8)):
    return PseudoLabeler(num_clusters, face.shape[1], clusters=clusters)(face, voice, generator(1))


@pytest.mark.parametrize("clusters", CLUSTERS)
@pytest.mark.parametrize("kind", ["plain", "repeated", "corners", "grid"])
def test_labels_follow_a_permutation_of_the_batch(clusters, kind):
    """Sorted by distance to the prototype alone, equally far points kept the batch's order."""
    face, voice = permuted_batches()[kind]
    for seed in range(5):
        order = torch.randperm(len(face), generator=generator(seed))
        labels = label(clusters, face, voice)
        assert torch.equal(labels[:, :, order], label(clusters, face[order], voice[order]))


@pytest.mark.parametrize("clusters", ["shared", "paired"])
def test_labels_follow_a_permutation_of_more_clusters_than_distinct_pairs(clusters):
    """Equal pairs lie on several equal centres: rounding gave them labels by their places."""
    for seed in range(60):
        rng = generator(seed)
        rows = torch.randint(4, (10,), generator=rng)
        face, voice = torch.randn(2, 4, 5 + seed % 30, generator=rng)[:, rows]
        order = torch.randperm(10, generator=rng)
        labels = label(clusters, face, voice)
        assert torch.equal(labels[:, :, order], label(clusters, face[order], voice[order]))


@pytest.mark.parametrize("clusters", ["shared", "paired"])
@pytest.mark.parametrize("kind", ["plain", "repeated"])
def test_labels_change_roles_with_face_and_voice(clusters, kind):
    face, voice = permuted_batches()[kind]
    labels = label(clusters, face, voice)
    assert torch.equal(labels.flip(1), label(clusters, voice, face))
    assert not torch.equal(labels[:, 0], labels[:, 1])


@pytest.mark.parametrize("clusters", CLUSTERS)
@pytest.mark.parametrize("seed", range(10))
def test_labels_ignore_shift_and_scale_of_the_columns(seed, clusters):
    face, voice = batch(seed)
    face[:, 0] = 2.0
    scale = torch.rand(6, generator=generator(5)) * 4 + 0.5
    moved = [points * scale + torch.arange(6.0) for points in (face, voice)]
    assert torch.equal(label(clusters, face, voice), label(clusters, *moved))


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


def test_clusters_must_be_one_of_the_three_readings():
    with pytest.raises(ValueError, match="clusters: expected one of shared, paired, separate, got"):
        PseudoLabeler((4,), 6, clusters="joint")


@pytest.mark.parametrize("clusters", CLUSTERS)
def test_more_clusters_than_pairs_are_rejected(clusters):
    labeler = PseudoLabeler((2, 9), 3, clusters=clusters)
    with pytest.raises(ValueError, match="8 points, got 9; lower num_clusters or raise batch_size"):
        labeler(*torch.randn(2, 8, 3), generator())


@pytest.mark.parametrize("clusters", CLUSTERS)
def test_collapsed_features_still_get_labels(clusters):
    constant = torch.ones(8, 6)
    labels = label(clusters, constant, constant, (2, 4))
    assert (labels >= 0).all() and (labels[0] < 2).all() and (labels[1] < 4).all()


@pytest.mark.parametrize("clusters", CLUSTERS)
def test_running_prototype_survives_a_checkpoint_bit_for_bit(tmp_path, clusters):
    first, second = batch(0), batch(1)
    labeler = PseudoLabeler((4,), 6, clusters=clusters)
    labeler(*first, generator())
    torch.save(labeler.state_dict(), tmp_path / "labeler.ckpt")
    labels = labeler(*second, generator())
    resumed = PseudoLabeler((4,), 6, clusters=clusters)
    resumed.load_state_dict(torch.load(tmp_path / "labeler.ckpt"))
    assert torch.equal(labels, resumed(*second, generator()))
    assert torch.equal(labeler.past_prototypes, resumed.past_prototypes)
    assert labeler.num_batches == resumed.num_batches == 2


@pytest.mark.parametrize("clusters, rows", [("shared", 1), ("paired", 2), ("separate", 2)])
def test_state_is_one_prototype_for_all_points_or_one_for_each_modality(clusters, rows):
    state = PseudoLabeler((4,), 6, clusters=clusters).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes == {"past_prototypes": (rows, 6), "num_batches": ()}
