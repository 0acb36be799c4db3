"""What the figures show of embeddings equals a count pair by pair, whatever the chunk."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.groups import evaluate_groups
from speechbrain_fv.figures import analysis
from tests.references import figures as reference

GENDER = {"p0": "f", "p1": "m", "p2": "", "p3": "f", "p4": "m", "p5": "f"}


def people(num_faces=23, num_voices=31, seed=0):
    """Returns random embeddings of six people in mixed order; p5 has no voice."""
    rng = np.random.default_rng(seed)
    who = [rng.permutation([f"p{i % n}" for i in range(c)]) for c, n in ((num_faces, 6), (31, 5))]
    vectors = [rng.normal(size=(count, 4)) for count in (num_faces, num_voices)]
    return Embeddings(*vectors, *who)


def metadata():
    return pd.DataFrame({"identity": list(GENDER), "gender": list(GENDER.values())})


@pytest.mark.parametrize("chunk_size", [1, 70, 10**6])
def test_histograms_count_every_pair_once(chunk_size):
    embeddings = people()
    expected = reference.histograms(
        embeddings.face, embeddings.voice, embeddings.face_identity, embeddings.voice_identity,
        GENDER, num_bins=40,
    )  # fmt: skip
    counts = analysis.score_histograms(embeddings, metadata(), 40, chunk_size)
    assert counts["positives"].tolist() == expected["positives"].tolist()
    for stratum in ("U", "G"):
        assert counts["negatives"][stratum].tolist() == expected[stratum].tolist()
    assert counts["positives"].sum() + counts["negatives"]["U"].sum() == 23 * 31
    assert counts["edges"][[0, -1]].tolist() == [-1, 1]


def test_histograms_without_metadata_have_one_stratum():
    assert list(analysis.score_histograms(people())["negatives"]) == ["U"]


@pytest.mark.parametrize("direction", ["F-V", "V-F"])
def test_nearest_clips_are_the_highest_scores(direction):
    embeddings = people()
    sides = (
        [embeddings.face, embeddings.voice],
        [
            embeddings.face_identity,
            embeddings.voice_identity,
        ],
    )
    (asks, holds), (query_people, gallery_people) = (
        sides if direction == "F-V" else [side[::-1] for side in sides]
    )
    found = analysis.nearest_clips(embeddings, direction, num_queries=9, num_shown=4)
    assert sorted(query_people[row.query] for row in found) == ["p0", "p1", "p2", "p3", "p4"]
    for row in found:
        scores = np.array([reference.cosine(asks[row.query], clip) for clip in holds])
        order = np.argsort(-scores)
        assert row.gallery.tolist() == order[:4].tolist()
        assert row.scores == pytest.approx(scores[order[:4]], abs=1e-6)
        right = gallery_people[order] == query_people[row.query]
        assert row.right.tolist() == right[:4].tolist()
        assert row.first_right == np.flatnonzero(right)[0] + 1
        assert row.gallery_size == len(holds)
    again = analysis.nearest_clips(embeddings, direction, num_queries=9, num_shown=4)
    assert [row.query for row in again] == [row.query for row in found]


def test_nearest_clips_refuse_another_direction():
    with pytest.raises(ValueError, match="expected 'F-V' or 'V-F', got 'V-V'"):
        analysis.nearest_clips(people(), "V-V")


def test_chosen_clips_belong_to_the_same_people():
    embeddings = people()
    faces, voices = analysis.choose_clips(embeddings, num_identities=3, num_clips=2)
    chosen = embeddings.face_identity[faces].tolist()
    assert chosen == embeddings.voice_identity[voices].tolist()
    assert len(set(chosen)) == 3 and len(set(faces)) == 6
    assert "p5" not in set(embeddings.face_identity[analysis.choose_clips(embeddings)[0]])


def test_map_keeps_distant_people_apart():
    """Two tight bundles of directions stay two groups, however the vectors are scaled."""
    rng = np.random.default_rng(0)
    bundles = np.repeat([[1, 0, 0], [0, 1, 0]], 10, axis=0) + 0.01 * rng.normal(size=(20, 3))
    faces, voices = analysis.map_clips(bundles, 1000 * bundles)
    places = np.concatenate([faces, voices])
    first = np.tile(np.arange(20) < 10, 2)
    gap = np.linalg.norm(places[first].mean(axis=0) - places[~first].mean(axis=0))
    for group in (first, ~first):
        spread = np.linalg.norm(places[group] - places[group].mean(axis=0), axis=1)
        assert spread.max() < gap / 2


def test_map_of_equal_vectors_is_finite_and_of_three_clips_refused():
    faces, voices = analysis.map_clips(np.ones((4, 3)), np.ones((3, 3)))
    assert np.isfinite(faces).all() and np.isfinite(voices).all()
    with pytest.raises(ValueError, match="at least 4 clips, got 3"):
        analysis.map_clips(np.eye(2), np.ones((1, 2)))


def test_groups_are_scored_among_themselves():
    embeddings = people()
    groups = {entry["group"]: entry for entry in _groups(embeddings, min_identities=2)}
    assert list(groups) == ["f", "m", "unknown"]
    for name in ("f", "m"):
        faces, voices = (
            [row for row, person in enumerate(who) if GENDER[person] == name]
            for who in (embeddings.face_identity, embeddings.voice_identity)
        )
        scores = [
            reference.cosine(embeddings.face[face], embeddings.voice[voice])
            for face in faces
            for voice in voices
        ]
        same = [
            embeddings.face_identity[face] == embeddings.voice_identity[voice]
            for face in faces
            for voice in voices
        ]
        assert groups[name]["auc"] == pytest.approx(roc_auc_score(same, scores))
        assert groups[name]["num_faces"] == len(faces)
        assert groups[name]["num_positives"] == sum(same)
    assert groups["unknown"]["auc"] is None
    assert groups["unknown"]["num_identities"] == 1


def test_small_groups_are_pooled_or_left_unscored():
    kinds = [(entry["group"], entry["kind"]) for entry in _groups(people(), min_identities=3)]
    assert kinds == [("f", "group"), ("other (1)", "pooled"), ("unknown", "unknown")]
    pooled = _groups(people(), min_identities=5)[0]
    assert pooled["group"] == "other (2)" and pooled["num_identities"] == 5
    assert pooled["auc"] is not None
    assert _groups(people(), min_identities=6)[0]["auc"] is None


def test_age_groups_are_in_order_though_the_oldest_are_the_most():
    names, vectors = list("abcdef"), np.eye(6)
    ages = ["100-109"] * 3 + ["<18"] + ["20-29"] * 2
    table = pd.DataFrame({"identity": names, "age": ages})
    groups = evaluate_groups(Embeddings(vectors, vectors, names, names), table, 2, num_replicates=0)
    assert [entry["group"] for entry in groups["age"]] == ["20-29", "100-109", "other (1)"]


def test_a_group_of_faces_only_has_no_value():
    embeddings = Embeddings(np.eye(4), np.eye(4)[:2], list("abcd"), list("ab"))
    table = pd.DataFrame({"identity": list("abcd"), "gender": list("ffmm")})
    women, men = evaluate_groups(embeddings, table, min_identities=2)["gender"]
    assert women["auc"] == 1.0
    assert men["auc"] is None and men["num_voices"] == 0


def test_groups_of_one_person_are_refused():
    with pytest.raises(ValueError, match="min_identities: expected at least 2, got 1"):
        _groups(people(), min_identities=1)


def _groups(embeddings, min_identities):
    return evaluate_groups(embeddings, metadata(), min_identities=min_identities)["gender"]
