import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from speechbrain_fv.losses import Batch, CMPCLoss, TrainingEmbeddings, TrainingSet
from speechbrain_fv.losses.cmpc import recalibration_weights
from speechbrain_fv.losses.memory import concentrations, lloyd
from tests.method_checks import CHANCE, WIDTH, finite_step, special_batches, trained_auc
from tests.references import cmpc as reference

VIDEOS = [3, 0, 11, 7, 3, 5, 1, 9]
SHARES = (0.2, 0.4)  # of 12 videos: 2 and 5 clusters


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def built(width=5, num_videos=12, **options):
    loss = CMPCLoss(width, cluster_shares=SHARES, **options)
    loss.build(TrainingSet({"video": num_videos}))
    return loss.double()


def training_set(seed=1, width=5, num_videos=12):
    """What `embed` returns: two faces and one voice of every video."""
    videos = torch.arange(num_videos)
    faces, voices = random(2 * num_videos, width, seed=seed), random(num_videos, width, seed=9)
    classes = {"video": videos.repeat(2)}, {"video": videos}
    return lambda: TrainingEmbeddings(faces, voices, *classes)


def batch_of(clips, videos=None, step=0, num_steps=4):
    classes = {"video": torch.tensor(videos or VIDEOS)}
    return Batch(*clips, classes, classes, step=step, num_steps=num_steps)


def clustered(**options):
    loss = built(warmup_share=0.0, **options)
    loss.on_training_start(training_set())
    loss.on_epoch_start(1, None)
    return loss


def test_before_the_clusters_it_is_the_instance_term_alone():
    clips, loss = random(2, 8, 5), built(temperature=0.1)
    terms, monitors = loss(batch_of(clips))
    face, voice = clips.numpy()
    there = reference.instance(voice, face, VIDEOS, 0.1)
    back = reference.instance(face, voice, VIDEOS, 0.1)
    assert terms["L_instance"].item() == pytest.approx(np.mean(there + back), rel=1e-9)
    assert terms["L_prototype"] == 0 and monitors["mean_weight"] == 1


@pytest.mark.parametrize("delta", [-1.0, 0.5])
def test_with_clusters_both_terms_equal_the_reference(delta):
    """Every clustering counts alike, and every logit is divided by the phi of its own cluster."""
    clips, loss = random(2, 8, 5), clustered(temperature=0.1, delta=delta, kappa=0.4)
    centres = [getattr(loss, f"centres_{r}").numpy().copy() for r in range(2)]
    phi = [getattr(loss, f"phi_{r}").numpy().copy() for r in range(2)]
    clusters = loss.clusters.numpy().copy()
    assert [len(c[0]) for c in centres] == [2, 5]
    assert len(set(phi[1][0])) > 1
    terms, _ = loss(batch_of(clips))
    face, voice = clips.numpy()
    prototype = sum(
        reference.prototype(anchors, VIDEOS, clusters[r, other], centres[r][other], phi[r][other])
        for r in range(2)
        for anchors, other in ((voice, 0), (face, 1))
    )
    rho = [reference.unit(f) @ reference.unit(v) for f, v in zip(face, voice, strict=True)]
    for row, video in enumerate(VIDEOS):
        for r in range(2):
            sides = (centres[r][side][clusters[r, side, video]] for side in (0, 1))
            rho[row] -= np.dot(*sides)
    weights = reference.weights(rho, delta, 0.4)
    instance = reference.instance(voice, face, VIDEOS, 0.1)
    instance = instance + reference.instance(face, voice, VIDEOS, 0.1)
    expected = [np.sum(weights * x) / np.sum(weights) for x in (instance, prototype / 2)]
    assert [term.item() for term in terms.values()] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("num_clusters", [1, 4, 15])
def test_lloyd_equals_scikit_learn_from_the_same_rows(num_clusters):
    points = random(60, 3)
    labels, centres = lloyd(points, num_clusters)
    rows = np.arange(num_clusters) * 60 // num_clusters
    model = KMeans(num_clusters, init=points.numpy()[rows], n_init=1, max_iter=20, tol=0)
    model.fit(points.numpy())
    assert labels.tolist() == model.labels_.tolist()
    np.testing.assert_allclose(centres.numpy(), model.cluster_centers_, rtol=1e-9)


def test_empty_clusters_have_a_centre_and_a_concentration():
    """Means of no points would be NaN, and everything after them."""
    for points in (torch.ones(6, 3), random(3, 3)):
        labels, centres = lloyd(points, 5)
        phi = concentrations(points, labels, centres)
        assert torch.isfinite(centres).all() and torch.isfinite(phi).all() and (phi > 0).all()
        assert torch.isfinite(torch.cdist(points, centres)).all()


@pytest.mark.parametrize("num_points", [5, 12, 60])
def test_concentrations_equal_the_reference(num_points):
    points = random(num_points, 3)
    labels, centres = lloyd(points, 7)
    found = concentrations(points, labels, centres, 0.3)
    expected = reference.concentrations(points.numpy(), labels.tolist(), centres.numpy(), 0.3)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_recalibration_weights_equal_the_reference_and_follow_the_order():
    rho = random(20)
    weights = recalibration_weights(rho)
    np.testing.assert_allclose(weights.numpy(), reference.weights(rho.numpy(), -1.0, 0.1))
    assert torch.equal(weights.argsort()[:10], rho.argsort()[:10]) and weights.max() == 1
    assert recalibration_weights(torch.full((4,), 0.3)).tolist() == [1] * 4
    assert recalibration_weights(torch.tensor([0.3])).tolist() == [1]


@pytest.mark.parametrize("videos", [VIDEOS, [4] * 8, list(range(8))])
def test_each_memory_is_moved_once_by_its_own_modality(videos):
    loss, clips = built(), random(2, 8, 5)
    loss.on_training_start(training_set())
    torch.testing.assert_close(loss.memory.norm(dim=2), torch.ones(2, 12).double())
    before = loss.memory.numpy().copy()
    loss(batch_of(clips, videos))
    for side in (0, 1):
        expected = reference.remembered(before[side], videos, clips[side].numpy(), 0.5)
        np.testing.assert_allclose(loss.memory[side].numpy(), expected, rtol=1e-9)


def test_clusters_are_made_after_the_warm_up_and_kept_until_the_next():
    loss, made = built(warmup_share=0.3), []
    loss.on_training_start(training_set())
    for epoch in range(1, 7):
        before = loss.clustered_epoch.item()
        loss.on_epoch_start(epoch, None)
        made += [epoch] * (loss.clustered_epoch.item() != before)
        for step in range(2):
            clips = random(2, 8, 5, seed=epoch)
            terms, _ = loss(batch_of(clips, step=2 * (epoch - 1) + step, num_steps=12))
            assert (terms["L_prototype"] > 0) == bool(made)
    assert made == [3, 5]  # 2 of 12 steps are done before epoch 2, 4 before epoch 3


def test_a_restored_state_goes_on_as_the_first_and_evaluation_changes_nothing():
    first, second = clustered(), built(warmup_share=0.0)
    first(batch_of(random(2, 8, 5)))
    second.load_state_dict(first.state_dict())
    for epoch in (2, 3):
        values = []
        for loss in (first, second):
            loss.on_epoch_start(epoch, None)
            values.append(loss(batch_of(random(2, 8, 5, seed=epoch)))[0])
        assert values[0] == values[1]
    state = {name: value.clone() for name, value in first.state_dict().items()}
    first.eval()(batch_of(random(2, 8, 5)))
    assert all(torch.equal(state[name], value) for name, value in first.state_dict().items())


@pytest.mark.parametrize("epochs", [0, 1])
@pytest.mark.parametrize("name", special_batches())
def test_special_batches_have_finite_gradients(name, epochs):
    loss = built(4, 6, warmup_share=0.0).float()
    face, voice, classes = special_batches()[name]
    loss.on_training_start(lambda: TrainingEmbeddings(face, voice, classes, classes))
    if epochs and name not in ("unknown classes", "zero inputs"):  # nothing to cluster
        loss.on_epoch_start(1, None)
    terms, _ = finite_step(loss, face, voice, classes)
    if name.startswith("one identity") or name == "a single row":
        assert terms["L_instance"] == 0


def test_it_learns_from_coded_inputs_and_not_from_shuffled_voices():
    found = trained_auc(CMPCLoss(WIDTH), sampling="videos")
    assert found > 0.95, found
    auc = trained_auc(CMPCLoss(WIDTH), sampling="videos", shuffled=True)
    assert CHANCE[0] < auc < CHANCE[1]


def test_it_learns_with_a_cluster_per_person_as_the_main_term():
    loss = CMPCLoss(WIDTH, cluster_shares=(0.25,), warmup_share=0.25)
    weights = {"L_instance": 0.05, "L_prototype": 1.0}
    assert trained_auc(loss, weights, sampling="videos") > 0.95


def test_rows_of_two_videos_are_refused():
    video, other = ({"video": torch.tensor(v)} for v in ([0, 1], [1, 0]))
    with pytest.raises(ValueError, match="expected faces and voices of one video in every row"):
        built()(Batch(*random(2, 2, 5), video, other))


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0},
        {"kappa": 0},
        {"cluster_shares": []},
        {"cluster_shares": [0.0]},
        {"warmup_share": 2},
        {"momentum": 1},
        {"every_epochs": 0},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        CMPCLoss(4, **options)
