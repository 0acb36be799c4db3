"""Attributes of clips: strata against loops over pairs, groups, sets, what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.evaluation.attributes import (
    clip_attributes,
    default_strata,
    evaluate_clip_groups,
    evaluate_strata,
)
from speechbrain_fv.evaluation.embeddings import Embeddings, save_embeddings
from speechbrain_fv.evaluation.exact import evaluate
from speechbrain_fv.evaluation.sets import add_attributes, evaluate_sets, format_sets
from speechbrain_fv.metrics import draw_weights
from speechbrain_fv.scores import NegativeL2
from tests.references import clip_pairs as reference
from tests.references.bootstrap import interval

STRATA = {
    "all": {"negatives": []},
    "+language": {"negatives": ["language"]},
    "=language": {"negatives": ["language"], "positives": ["language"]},
    "positives": {"positives": ["language", "device"]},
    "both": {"negatives": ["language", "gender"], "positives": ["device"]},
}


def people(seed=0, num_people=7, num_clips=30, ties=True):
    """Returns embeddings, the table of clips, metadata, and the scores."""
    rng = np.random.default_rng(seed)
    names = np.array([f"p{number}" for number in range(num_people)])
    vectors = rng.integers(-1, 2, (2, num_clips, 2)) + rng.normal(size=(2, num_clips, 2)) * (
        not ties
    )
    vectors[..., 0] += 2 * (vectors == 0).all(axis=-1)
    who = rng.integers(0, num_people, (2, num_clips))
    ids = [[f"{kind}{row}" for row in range(num_clips)] for kind in "fv"]
    embeddings = Embeddings(*vectors.astype(float), *names[who], *ids)
    clips = pd.DataFrame({"clip": ids[0] + ids[1], "modality": ["face"] * 30 + ["voice"] * 30})
    clips["language"] = rng.choice(["English", "Urdu", ""], 60, p=[0.5, 0.4, 0.1])
    clips["device"] = rng.choice(["phone", "studio"], 60)
    metadata = pd.DataFrame({"identity": names, "gender": rng.choice(["f", "m"], num_people)})
    units = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return embeddings, clips, metadata, np.round(units[0] @ units[1].T, 10)


def as_dicts(embeddings, clips, metadata):
    """Returns the clips of either side as dicts, for the slow reference."""
    gender = dict(zip(metadata.identity, metadata.gender, strict=True))
    rows = clips.set_index("clip").to_dict("index")
    return [
        [
            {**rows[clip], "identity": who, "gender": gender[who]}
            for clip, who in zip(ids, names, strict=True)
        ]
        for ids, names in (
            (embeddings.face_id.tolist(), embeddings.face_identity.tolist()),
            (embeddings.voice_id.tolist(), embeddings.voice_identity.tolist()),
        )
    ]


@pytest.mark.parametrize("chunk_size", [1, 50, 2**20])
@pytest.mark.parametrize("seed", range(3))
def test_strata_of_clips_equal_the_reference(seed, chunk_size):
    embeddings, clips, metadata, scores = people(seed)
    attributes = clip_attributes(embeddings, clips, metadata)
    found = evaluate_strata(embeddings, attributes, STRATA, 0, chunk_size=chunk_size)
    sides = as_dicts(embeddings, clips, metadata)
    once = dict.fromkeys(embeddings.identities, 1)
    for name, wanted in STRATA.items():
        pairs = reference.compared(*sides, wanted.get("negatives", []), wanted.get("positives"))
        auc, eer = reference.rates(pairs, scores, *sides, once)
        assert found[name]["auc"] == pytest.approx(auc, abs=1e-12)
        assert found[name]["eer"] == pytest.approx(eer, abs=1e-12)
        assert found[name]["num_positives"] == sum(same for _, _, same in pairs)
        assert found[name]["num_negatives"] == sum(not same for _, _, same in pairs)


def test_replicates_equal_a_slow_bootstrap():
    embeddings, clips, metadata, scores = people(3)
    attributes = clip_attributes(embeddings, clips, metadata)
    found = evaluate_strata(embeddings, attributes, STRATA, 20, bootstrap_seed=4)
    sides = as_dicts(embeddings, clips, metadata)
    draws = draw_weights(len(embeddings.identities), 20, 4)
    for name, wanted in STRATA.items():
        pairs = reference.compared(*sides, wanted.get("negatives", []), wanted.get("positives"))
        expected = [
            reference.rates(
                pairs, scores, *sides, dict(zip(embeddings.identities, weights, strict=True))
            )
            for weights in draws
        ]
        for place, key in enumerate(("auc", "eer")):
            # With few distinct scores every one has a bin of its own, and replicates are exact.
            values = found.replicates[f"{name}/{key}"]
            assert values == pytest.approx([row[place] for row in expected], abs=1e-9, nan_ok=True)


def test_without_restriction_it_is_the_stratum_u():
    embeddings, clips, metadata, _ = people(5, ties=False)
    for score in (None, NegativeL2()):
        whole = evaluate(embeddings, metadata, ("verification",), num_replicates=50, score=score)
        attributes = clip_attributes(embeddings, clips, metadata)
        strata = {"U": {"negatives": []}, "G": {"negatives": ["gender"]}}
        found = evaluate_strata(embeddings, attributes, strata, 50, score=score)
        for name in strata:
            for key in ("auc", "eer", "auc_interval", "eer_interval"):
                assert found[name][key] == pytest.approx(whole["verification"][name][key], abs=2e-3)


def test_further_attributes_of_people_are_strata_and_groups():
    embeddings, _, metadata, _ = people(4, num_people=8, ties=False)
    metadata["accent"] = list("aabbaabb")
    metadata["name"] = metadata.identity + " Smith"
    attributes = clip_attributes(embeddings, None, metadata)
    assert list(default_strata(attributes)) == ["+accent"]
    found = evaluate_strata(embeddings, attributes, default_strata(attributes), 0)["+accent"]
    as_gender = metadata.assign(gender=metadata.accent)
    expected = evaluate(embeddings, as_gender, ("verification",), num_replicates=0)
    assert found["auc"] == pytest.approx(expected["verification"]["G"]["auc"], abs=1e-12)
    groups = evaluate_clip_groups(embeddings, attributes, 2, num_replicates=0)
    assert [entry["num_identities"] for entry in groups["accent"]] == [4, 4]


def test_groups_are_the_clips_of_a_value():
    embeddings, clips, _, _ = people(1, ties=False)
    attributes = clip_attributes(embeddings, clips)
    groups = evaluate_clip_groups(embeddings, attributes, 2, num_replicates=0)
    assert set(groups) == {"language", "device"}
    assert [entry["group"] for entry in groups["language"]] == ["English", "Urdu"]
    english = dict(zip(clips["clip"], clips.language == "English", strict=True))
    kept = [[english[clip] for clip in ids] for ids in (embeddings.face_id, embeddings.voice_id)]
    alone = Embeddings(
        embeddings.face[kept[0]],
        embeddings.voice[kept[1]],
        embeddings.face_identity[kept[0]],
        embeddings.voice_identity[kept[1]],
    )
    expected = evaluate(alone, tasks=("verification",), num_replicates=0)["verification"]["U"]
    assert groups["language"][0]["auc"] == expected["auc"]
    assert groups["language"][0]["num_faces"] == sum(kept[0])


def test_sets_and_their_mean(tmp_path):
    embeddings, clips, metadata, _ = people(2, num_people=5, ties=False)
    attributes = clip_attributes(embeddings, clips, metadata)
    save_embeddings(tmp_path / "own.npz", embeddings)
    sets = {
        "heard": {"language": "english"},
        "unheard": {"language": ["Urdu"]},
        "across": {"face": {"language": "English"}, "voice": {"language": "Urdu"}},
        "own": {"embeddings": str(tmp_path / "own.npz")},
    }
    report = evaluate_sets(embeddings, attributes, sets, metadata, num_replicates=30)
    nodes = [node["verification"]["U"] for node in report["sets"].values()]
    assert report["mean"]["eer"] == pytest.approx(np.mean([node["eer"] for node in nodes]))
    own = evaluate(embeddings, num_replicates=30)
    assert nodes[3]["eer"] == own["verification"]["U"]["eer"]
    assert report["sets"]["across"]["num_voices"] == report["sets"]["unheard"]["num_voices"]
    same_people = {name: node["num_identities"] for name, node in report["sets"].items()}
    if len({*same_people.values()}) == 1:
        paths = [f"sets/{name}/verification/U/eer" for name in sets]
        spread = np.mean([report.replicates[path] for path in paths], axis=0)
        expected = interval(spread, report["mean"]["eer"])
        assert report["mean"]["eer_interval"] == pytest.approx(expected)
    lines = format_sets(report).splitlines()
    assert [line.split()[0] for line in lines] == ["Sets", *sets, "mean"]


def test_a_mean_over_sets_of_different_people_has_no_interval():
    embeddings, clips, metadata, _ = people(2, num_people=5, ties=False)
    metadata["gender"] = list("fmfmf")
    attributes = clip_attributes(embeddings, clips, metadata)
    sets = {"f": {"gender": "f"}, "m": {"gender": "m"}}
    report = evaluate_sets(embeddings, attributes, sets, metadata, num_replicates=10)
    assert "eer_interval" not in report["mean"] and "different people" in report["mean"]["reason"]


def test_attributes_of_a_comment_make_no_strata():
    embeddings, clips, _, _ = people()
    clips["comment"] = [f"text {row}" for row in range(len(clips))]
    clips["constant"] = "same"
    assert list(default_strata(clip_attributes(embeddings, clips))) == [
        *("+language", "=language", "+device", "=device")
    ]


def test_an_attribute_with_a_slash_makes_no_strata_and_ends_nothing(caplog):
    embeddings, clips, metadata, _ = people(4, num_people=8, ties=False)
    clips = clips.rename(columns={"device": "in/out"})
    metadata["a/b"] = list("aabbaabb")
    report = evaluate(embeddings, metadata, num_replicates=0)
    add_attributes(report, embeddings, clips, metadata, num_replicates=0)
    assert [*report["clip_strata"]] == ["+language", "=language"]
    assert "in/out, a/b: no strata of attributes with '/'" in caplog.text


def test_a_set_is_asked_for_in_any_spelling():
    embeddings, _, metadata, _ = people(4, num_people=8, ties=False)
    metadata = metadata.assign(gender=["Male", "female", "m", "f"] * 2)
    attributes = clip_attributes(embeddings, None, metadata)
    sets = {name: {"gender": name} for name in ("male", "m", "Male")}
    report = evaluate_sets(embeddings, attributes, sets, num_replicates=0)
    assert {node["num_identities"] for node in report["sets"].values()} == {4}


def test_the_spelling_of_values_splits_nothing():
    embeddings, clips, metadata, _ = people(4, num_people=8, ties=False)
    metadata["accent"] = list("aabbaabb")
    expected = clip_attributes(embeddings, clips, metadata)
    other = clips.assign(
        language=clips.language.where(clips.modality == "face", clips.language.str.lower())
    )
    other.loc[3, "language"] = f" {other.language[3].upper()} "
    mixed = metadata.assign(accent=list("aABbaabB"))
    found = clip_attributes(embeddings, other, mixed)
    for attributes in (expected, found):
        values = pd.concat([attributes.face, attributes.voice])
        assert values.language.nunique() == 3 and values.accent.nunique() == 2
    strata = default_strata(expected)
    assert evaluate_strata(embeddings, found, strata, 0) == evaluate_strata(
        embeddings, expected, strata, 0
    )


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"x": {"language": "Hindi"}}, "sets: x: language: expected one of English, Urdu, got 'Hi"),
        ({"x": {"accent": "RP"}}, "sets: x: accent: expected an attribute .* device, gender, iden"),
        ({"x/y": {"language": "Urdu"}}, "sets: expected names without"),
        ({"x": "Urdu"}, "expected names without '/' and mappings"),
        ({"x": {"embeddings": "a.npz", "speed": 1}}, "x: expected embeddings and metadata, got"),
    ],
)
def test_faulty_sets_are_refused(sets, message):
    embeddings, clips, metadata, _ = people()
    attributes = clip_attributes(embeddings, clips, metadata)
    with pytest.raises(ValueError, match=message):
        evaluate_sets(embeddings, attributes, sets, metadata, num_replicates=0)


def test_faulty_strata_and_tables_are_refused():
    embeddings, clips, metadata, _ = people()
    attributes = clip_attributes(embeddings, clips, metadata)
    with pytest.raises(ValueError, match="strata: x: no attribute accent of the face clips"):
        evaluate_strata(embeddings, attributes, {"x": {"negatives": ["accent"]}}, 0)
    with pytest.raises(ValueError, match="strata: x: expected a name without '/', and negatives"):
        evaluate_strata(embeddings, attributes, {"x": ["language"]}, 0)
    with pytest.raises(ValueError, match="face f0 has two rows"):
        clip_attributes(embeddings, pd.concat([clips, clips[:1]]))
    with pytest.raises(ValueError, match="no row is of a clip"):
        clip_attributes(embeddings, clips.assign(clip="x" + clips["clip"]))
    with pytest.raises(ValueError, match="expected a column 'clip'"):
        clip_attributes(embeddings, clips.rename(columns={"clip": "name"}))
    with pytest.raises(ValueError, match="face_id is missing"):
        clip_attributes(replace(embeddings, face_id=None), clips)


def test_a_stratum_without_pairs_has_a_reason():
    embeddings, clips, metadata, _ = people()
    clips.loc[clips.modality == "face", "language"] = "English"
    clips.loc[clips.modality == "voice", "language"] = "Urdu"
    attributes = clip_attributes(embeddings, clips, metadata)
    node = evaluate_strata(embeddings, attributes, {"x": STRATA["=language"]}, 5)["x"]
    assert node["auc"] is None and node["reason"] == "no positive pair is equal in what x asks for"
    node = evaluate_strata(embeddings, attributes, {"x": STRATA["+language"]}, 5)["x"]
    assert node["eer"] is None and node["eer_interval"] is None and "no negative" in node["reason"]
