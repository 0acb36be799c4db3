"""The report: against brute force, across chunk sizes, and with input it must refuse."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_fv import protocols
from speechbrain_fv.evaluation import exact as evaluation
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.exact import TASKS, save_report
from tests.clips import THREE_PEOPLE, people_with_clips, with_faces_shuffled
from tests.references import metrics as reference

evaluate = partial(evaluation.evaluate, num_replicates=20)  # 1,000 take a second

ATTRIBUTES = {"U": (), **{name: protocols.stratum_attributes(name) for name in ("G", "N", "A")}}
ATTRIBUTES |= {"GN": ("gender", "nationality"), "GNA": ("gender", "nationality", "age")}


def random_case(seed):
    """Returns embeddings and metadata with ties, unknown attributes and one-sided identities."""
    rng = np.random.default_rng(seed)
    names = [f"id{number}" for number in range(rng.integers(3, 9))]
    people = pd.DataFrame(
        {
            "identity": names,
            "gender": rng.choice(["f", "m", ""], len(names), p=[0.45, 0.45, 0.1]),
            "nationality": rng.choice(["uk", "us", ""], len(names), p=[0.45, 0.45, 0.1]),
            "age": rng.choice(["20", "40", ""], len(names), p=[0.45, 0.45, 0.1]),
        }
    )
    if seed % 5 == 0:
        people["age"] = ""
    # The first identity has both modalities; others may lack one.
    faces = ["id0", *rng.choice(names, rng.integers(1, 12))]
    voices = ["id0", *rng.choice(names, rng.integers(1, 12))]
    vectors = [rng.integers(-1, 3, (len(clips), 2)) for clips in (faces, voices)]
    for rows in vectors:
        rows[~rows.any(axis=1)] = 1
    return Embeddings(*vectors, faces, voices), people


def brute_force(embeddings, metadata, score=reference.exact_score):
    """Returns the report by loops over exact fractions; the score takes a face and a voice."""
    people = metadata.set_index("identity").to_dict("index")
    sides = {
        "F": (embeddings.face, embeddings.face_identity),
        "V": (embeddings.voice, embeddings.voice_identity),
    }
    report = {"verification": {}, "matching": {}, "retrieval": {}}
    for name in ("U", "G", "N", "A", "GN", "GNA"):
        positives, negatives = reference.pooled_scores(
            *(sides["F"][0], sides["V"][0], sides["F"][1], sides["V"][1]),
            *(people, ATTRIBUTES[name], score),
        )
        report["verification"][name] = {
            "auc": reference.auc(positives, negatives),
            "eer": reference.eer(positives, negatives),
            "num_positives": len(positives),
            "num_negatives": len(negatives),
        }
    for direction in ("F-V", "V-F"):
        (queries, query_identity), (gallery, gallery_identity) = (sides[m] for m in direction[::2])
        trials = (queries, gallery, query_identity, gallery_identity)
        directed = score if direction == "F-V" else lambda voice, face: score(face, voice)
        report["matching"][direction] = {name: {} for name in ("U", "G", "N", "GN")}
        for name, values in report["matching"][direction].items():
            for candidates in range(2, 11):
                accuracy, count = reference.matching(
                    *trials, people, ATTRIBUTES[name], candidates, directed
                )
                values[str(candidates)] = {"accuracy": accuracy, "num_probes": count}
        mean, per_identity, count = reference.retrieval(*trials, directed)
        relevant = [sum(gallery_identity == name) for name in query_identity]
        chances = [reference.chance_by_rankings(r, len(gallery)) for r in relevant if r]
        report["retrieval"][direction] = {
            "map": mean,
            "map_per_identity": per_identity,
            "chance_map": sum(chances) / len(chances),
            "num_queries": count,
            "gallery_size": len(gallery),
        }
    return report


def assert_same(found, expected, tolerance=1e-12):
    """Compares nested dicts; numbers to a tolerance, None only with None."""
    if isinstance(expected, dict):
        assert found.keys() - {"roc"} == expected.keys() - {"roc"}
        for key in expected:
            if key == "roc":  # curves that differ by rounding can have other corners
                continue
            assert_same(found[key], expected[key], tolerance)
    elif isinstance(expected, list):
        assert found == pytest.approx(expected, abs=tolerance)
    elif expected is None or isinstance(expected, str):
        assert found == expected
    else:
        assert found == pytest.approx(float(expected), abs=tolerance)


@pytest.mark.parametrize("seed", range(40))
def test_report_equals_brute_force(seed):
    embeddings, metadata = random_case(seed)
    report = evaluate(embeddings, metadata, num_replicates=0)
    expected = brute_force(embeddings, metadata)
    for path in report["reasons"]:
        *parents, stratum = path.split("/")
        node = expected
        for parent in parents:
            node = node[parent]
        node[stratum] = None
    assert_same({key: report[key] for key in expected}, expected)


def test_random_cases_reach_ties_unknowns_and_empty_trials():
    """The brute-force cases would prove little without them."""
    cases = [random_case(seed) for seed in range(40)]
    reports = [evaluate(*case, num_replicates=0) for case in cases]
    assert any((table == "").any(axis=None) for _, table in cases)
    assert any(set(e.face_identity) != set(e.voice_identity) for e, _ in cases)
    assert any(report["verification"]["GNA"] is None for report in reports)
    matching = [report["matching"]["F-V"]["U"] for report in reports]
    assert {values["5"]["accuracy"] is None for values in matching} == {True, False}
    scores = [(e.face @ e.voice.T).ravel() for e, _ in cases]
    assert any(len(np.unique(values)) < len(values) / 2 for values in scores)


@pytest.mark.parametrize("chunk_size", [1, 7, 50, 1000])
@pytest.mark.parametrize("dim", [2, 64])
def test_chunk_size_changes_nothing(chunk_size, dim):
    embeddings, metadata = people_with_clips(dim=dim)
    whole = evaluate(embeddings, metadata, chunk_size=10**6)
    assert_same(evaluate(embeddings, metadata, chunk_size=chunk_size), whole)


def test_constant_embeddings_score_exactly_chance():
    embeddings, metadata = people_with_clips(dim=3)
    constant = replace(
        embeddings,
        face=np.full_like(embeddings.face, 0.1),
        voice=np.full_like(embeddings.voice, 0.7) * [1, 2, 3],
    )
    report = evaluate(constant, metadata)
    for values in report["verification"].values():
        assert (values["auc"], values["eer"]) == (0.5, 0.5)
        assert values["auc_interval"] == values["eer_interval"] == [0.5, 0.5]
    for strata in report["matching"].values():
        for values in strata.values():
            for candidates, value in values.items():
                if value["num_probes"]:
                    assert value["accuracy"] == pytest.approx(1 / int(candidates), abs=1e-15)


def test_only_directions_count():
    """Scaling a clip's embedding or rotating all of them changes nothing."""
    embeddings, metadata = people_with_clips(dim=4)
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    moved = replace(
        embeddings,
        face=embeddings.face @ rotation * rng.uniform(0.1, 9, (40, 1)),
        voice=embeddings.voice @ rotation * rng.uniform(0.1, 9, (50, 1)),
    )
    assert_same(evaluate(moved, metadata), evaluate(embeddings, metadata))


def test_order_of_clips_and_swap_of_modalities():
    embeddings, metadata = people_with_clips(dim=4)
    shuffled = with_faces_shuffled(embeddings, seed=2)
    report = evaluate(embeddings, metadata)
    assert_same(evaluate(shuffled, metadata.sample(frac=1, random_state=0)), report)
    swapped = evaluate(
        Embeddings(
            embeddings.voice, embeddings.face, embeddings.voice_identity, embeddings.face_identity
        ),
        metadata,
    )
    assert_same(swapped["verification"], report["verification"])
    for task in ("matching", "retrieval"):
        assert_same(swapped[task]["F-V"], report[task]["V-F"])


def test_tasks_are_parts_of_the_whole():
    embeddings, metadata = people_with_clips(dim=4)
    whole = evaluate(embeddings, metadata)
    for task in TASKS:
        part = evaluate(embeddings, metadata, tasks=[task])
        assert set(part) & set(TASKS) == {task}
        assert part[task] == whole[task]


def test_schema():
    embeddings, metadata = people_with_clips(dim=4)
    report = evaluate(embeddings, metadata)
    assert list(report) == [
        *("num_identities", "num_faces", "num_voices", *TASKS, "bootstrap", "reasons")
    ]
    assert list(report["verification"]) == ["U", "G", "N", "A", "GN", "GNA"]
    assert list(report["verification"]["U"]) == [
        *("auc", "auc_interval", "eer", "eer_interval", "num_positives", "num_negatives", "roc")
    ]
    assert report["bootstrap"] == {
        "num_replicates": 20,
        "seed": 0,
        "num_identities": 12,
        "interval": "percentiles about the value",
    }
    for direction in ("F-V", "V-F"):
        assert list(report["matching"][direction]) == ["U", "G", "N", "GN"]
        for values in report["matching"][direction].values():
            assert list(values) == [str(n) for n in range(2, 11)]
            for value in values.values():
                assert list(value) == ["accuracy", "accuracy_interval", "num_probes"]
        assert list(report["retrieval"][direction]) == [
            *("map", "map_interval", "map_per_identity", "map_per_identity_interval"),
            *("chance_map", "num_queries", "gallery_size"),
        ]
    assert report["reasons"] == {}


def test_undefined_stratum_is_null_with_its_reason():
    embeddings, metadata = people_with_clips(dim=4)
    report = evaluate(embeddings, metadata.drop(columns="age").assign(nationality=""))
    assert report["verification"]["G"] is not None
    assert report["verification"]["A"] is None
    assert report["matching"]["V-F"]["GN"] is None
    assert report["reasons"]["verification/A"] == "the metadata has no column 'age'"
    assert report["reasons"]["matching/V-F/GN"] == "'nationality' is unknown for every identity"
    assert set(evaluate(embeddings)["reasons"].values()) == {
        *(f"no metadata, which {s} needs for {n}" for s, n in (("G", "gender"), ("A", "age"))),
        "no metadata, which N needs for nationality",
        "no metadata, which GN needs for gender and nationality",
        "no metadata, which GNA needs for gender and nationality and age",
    }


def test_stratum_without_trials_is_null_with_its_count(tmp_path):
    """Nobody shares a gender: no negatives, but positives are still counted."""
    names = ["ann", "bob"]
    metadata = pd.DataFrame({"identity": names, "gender": ["f", "m"]})
    report = evaluate(Embeddings(np.eye(2), np.eye(2), names, names), metadata)
    assert report["verification"]["G"] == {
        **{"auc": None, "auc_interval": None, "eer": None, "eer_interval": None},
        **{"num_positives": 2, "num_negatives": 0},
        "roc": {"false_accept": [], "true_accept": []},
    }
    expected = {"accuracy": None, "accuracy_interval": None, "num_probes": 0}
    assert report["matching"]["F-V"]["G"]["2"] == expected
    save_report(tmp_path / "new" / "report.json", report)
    strict = json.loads((tmp_path / "new" / "report.json").read_text(), parse_constant=pytest.fail)
    assert strict == report


def test_torch_and_integer_labels_are_accepted():
    report = evaluate(Embeddings(torch.eye(2), torch.eye(2), [7, 12], np.array([7, 12])))
    assert report["verification"]["U"]["auc"] == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["matchin"]}, r"tasks: expected some of .*got \['matchin'\]"),
        ({"max_candidates": 1}, "max_candidates: expected an integer of at least 2, got 1"),
        ({"chunk_size": 0}, "chunk_size: expected an integer of at least 1, got 0"),
        ({"chunk_size": "x"}, "chunk_size: expected an integer"),
        ({"num_replicates": -1}, "num_replicates: expected an integer of at least 0, got -1"),
        ({"num_replicates": True}, "num_replicates: expected an integer .* got True"),
        ({"bootstrap_seed": 0.5}, "bootstrap_seed: expected an integer"),
        ({"device": "nowhere"}, "device 'nowhere' cannot be used"),
        ({"metadata": pd.DataFrame({"identity": ["a"]})}, "2 of the 3 .* no row .b, c."),
        ({"metadata": pd.DataFrame({"identity": [*"abca"]})}, "1 identities are listed twice .a."),
        ({"metadata": pd.DataFrame({"name": [*"abc"]})}, "expected a column 'identity'"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        evaluate(Embeddings(**THREE_PEOPLE), **options)
