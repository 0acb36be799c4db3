"""The report: against brute force, across chunk sizes, and with input it must refuse."""


import numpy as np
import pandas as pd
import pytest

from speechbrain_fv import protocols
from speechbrain_fv.evaluation import Embeddings, evaluate
from tests.references import metrics as reference

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
    # The first identity has both modalities; others may lack one.
    faces = ["id0", *rng.choice(names, rng.integers(1, 12))]
    voices = ["id0", *rng.choice(names, rng.integers(1, 12))]
    vectors = [rng.integers(-1, 3, (len(clips), 2)) for clips in (faces, voices)]
    for rows in vectors:
        rows[~rows.any(axis=1)] = 1
    return Embeddings(*vectors, faces, voices), people


def brute_force(embeddings, metadata):
    """Returns the report by loops over exact fractions."""
    people = metadata.set_index("identity").to_dict("index")
    sides = {
        "F": (embeddings.face, embeddings.face_identity),
        "V": (embeddings.voice, embeddings.voice_identity),
    }
    report = {"verification": {}, "matching": {}, "retrieval": {}}
    for name in ("U", "G", "N", "A", "GNA"):
        positives, negatives = reference.pooled_scores(
            *(sides["F"][0], sides["V"][0], sides["F"][1], sides["V"][1]), people, ATTRIBUTES[name]
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
        report["matching"][direction] = {name: {} for name in ("U", "G", "N", "GN")}
        for name, values in report["matching"][direction].items():
            for candidates in range(2, 11):
                accuracy, count = reference.matching(*trials, people, ATTRIBUTES[name], candidates)
                values[str(candidates)] = {"accuracy": accuracy, "num_probes": count}
        mean, per_identity, count = reference.retrieval(*trials)
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
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key], tolerance)
    elif expected is None:
        assert found is None
    else:
        assert found == pytest.approx(float(expected), abs=tolerance)


@pytest.mark.parametrize("seed", range(40))
def test_report_equals_brute_force(seed):
    embeddings, metadata = random_case(seed)
    report = evaluate(embeddings, metadata)
    expected = brute_force(embeddings, metadata)
    if not report["reasons"]:
        assert_same({key: report[key] for key in expected}, expected)
