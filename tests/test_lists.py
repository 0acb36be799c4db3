"""Trial lists: against slow references, clips that are not there, malformed files."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.lists import evaluate_lists, format_lists, save_list_files
from speechbrain_fv.protocols import ListFile, resolve_lists
from speechbrain_fv.scores import Cosine, NegativeL2
from tests.references import lists as reference
from tests.references import scores as score_reference
from tests.scores import AlwaysTheFirst, CosineOfCandidates, OneSided


def random_embeddings(seed, num_clips=12, num_people=4):
    """Returns embeddings of small integers (many ties) and a dict of vectors per modality."""
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-1, 2, size=(2, num_clips, 2))
    vectors[..., 0] += 2 * (vectors == 0).all(axis=-1)
    people = [f"p{number % num_people}" for number in range(num_clips)]
    names = [[f"{modality}{row}" for row in range(num_clips)] for modality in "fv"]
    embeddings = Embeddings(*vectors.astype(float), people, people, *names)
    by_name = [dict(zip(*part, strict=True)) for part in zip(names, vectors, strict=True)]
    identity_of = dict(zip(names[0] + names[1], people * 2, strict=True))
    return embeddings, *by_name, identity_of


def write(path, rows, separator=","):
    path.write_text("".join(separator.join(map(str, row)) + "\n" for row in rows))
    return path


def score(embeddings, *sources, metadata=None, **options):
    resolved = resolve_lists(sources, embeddings, metadata)
    return list(evaluate_lists(embeddings, resolved, metadata, **options).values())


@pytest.mark.parametrize("chunk_size", [1, 7, 2**20])
@pytest.mark.parametrize("seed", range(3))
def test_verification_lists_equal_the_reference(tmp_path, seed, chunk_size):
    embeddings, faces, voices, _ = random_embeddings(seed)
    rng = np.random.default_rng(seed)
    rows = [
        (f"f{i}", f"v{j}", int(label))
        for i, j, label in zip(
            *rng.integers(12, size=(2, 60)), rng.integers(2, size=60), strict=True
        )
    ]
    (found,) = score(
        embeddings,
        ListFile(write(tmp_path / "list.csv", rows), "verification"),
        chunk_size=chunk_size,
    )
    auc, eer = reference.verification([(f, v, label == 1) for f, v, label in rows], faces, voices)
    assert found["auc"] == pytest.approx(float(auc), abs=1e-12)
    assert found["eer"] == pytest.approx(float(eer), abs=1e-12)
    assert found["num_positives"] + found["num_negatives"] == found["num_rows"][0] == 60


@pytest.mark.parametrize("direction", ["F-V", "V-F"])
@pytest.mark.parametrize("seed", range(3))
def test_matching_lists_with_rows_of_many_lengths_equal_the_reference(tmp_path, seed, direction):
    embeddings, faces, voices, _ = random_embeddings(seed)
    rng = np.random.default_rng(seed)
    probe, target = direction.lower().split("-")
    rows = [
        (f"{probe}{rng.integers(12)}", *(f"{target}{k}" for k in rng.permutation(12)[:size]))
        for size in rng.integers(2, 6, size=50)
    ]
    path = write(tmp_path / "list.csv", [("probe", "positive", "negative"), *rows])
    (found,) = score(embeddings, ListFile(path, "matching"), chunk_size=5)
    vectors = {"f": faces, "v": voices}
    expected = reference.matching(rows, vectors[probe], vectors[target])
    assert found["direction"] == direction
    assert found["accuracy"].keys() == {str(size) for size in expected}
    for size, (accuracy, num_rows) in expected.items():
        at = found["accuracy"][str(size)]
        assert at["accuracy"] == pytest.approx(float(accuracy), abs=1e-12)
        assert (at["num_trials"], at["chance"]) == (num_rows, 1 / size)


@pytest.mark.parametrize("direction", ["F-V", "V-F"])
def test_retrieval_lists_equal_the_reference(tmp_path, direction):
    embeddings, faces, voices, identity_of = random_embeddings(0)
    probe, target = direction.lower().split("-")
    queries, gallery = [f"{probe}{k}" for k in range(8)], [f"{target}{k}" for k in (1, 3, 4, 5, 9)]
    path = write(tmp_path / "list.txt", [queries, gallery], " ")
    (found,) = score(embeddings, ListFile(path, "retrieval"), chunk_size=4)
    vectors = {"f": faces, "v": voices}
    expected = reference.retrieval(queries, gallery, vectors[probe], vectors[target], identity_of)
    assert found["map"] == pytest.approx(float(expected), abs=1e-12)
    assert (found["num_queries"], found["num_queries_without_positive"]) == (6, 2)
    assert (found["gallery_size"], found["direction"]) == (5, direction)


def test_clips_that_are_not_there_are_counted_listed_and_left_out(tmp_path):
    embeddings, faces, voices, _ = random_embeddings(1)
    known = [("f0", "v0", 1), ("f1", "v2", 0), ("f2", "v2", 1), ("f3", "v1", 0)]
    unknown = [("f99", "v0", 1), ("f0", "v98", 0), ("f99", "v98", 0)]
    path = write(tmp_path / "list.csv", known + unknown)
    resolved = resolve_lists(ListFile(path, "verification"), embeddings)
    found = evaluate_lists(embeddings, resolved)["list"]
    auc, _ = reference.verification([(f, v, label == 1) for f, v, label in known], faces, voices)
    assert found["auc"] == pytest.approx(float(auc))
    assert (found["num_rows"], found["num_unresolved_rows"]) == ([7], 3)
    assert (found["num_unresolved_clips"], found["unresolved_clips"]) == (2, ["f99", "v98"])
    save_list_files(tmp_path, resolved)
    table = pd.read_csv(tmp_path / "unresolved.csv")
    assert table.values.tolist() == [["list", "face", "f99", 2], ["list", "voice", "v98", 2]]
    assert "7, 3" in format_lists({"list": found})


def test_a_labelled_list_of_nobody_is_scored_without_its_unknown_clips(tmp_path):
    embeddings, faces, voices, _ = random_embeddings(1)
    names = (embeddings.face_id, embeddings.voice_id)
    nobody = Embeddings(embeddings.face, embeddings.voice, [""] * 12, [""] * 12, *names)
    known = [("f0", "v0", 1), ("f1", "v2", 0), ("f2", "v2", 1), ("f3", "v1", 0)]
    path = write(tmp_path / "list.csv", [("f99", "v0", 1), *known])
    (found,) = score(nobody, ListFile(path, "verification"))
    auc, _ = reference.verification([(f, v, label == 1) for f, v, label in known], faces, voices)
    assert found["auc"] == pytest.approx(float(auc))
    assert found["num_unresolved_rows"] == 1


def test_clips_missing_from_a_gallery_are_left_out(tmp_path):
    embeddings, faces, voices, identity_of = random_embeddings(2)
    path = write(tmp_path / "r.txt", [["f0", "f1", "f77"], ["v4", "v5", "v6", "v88"]], " ")
    (found,) = score(embeddings, ListFile(path, "retrieval"))
    expected = reference.retrieval(["f0", "f1"], ["v4", "v5", "v6"], faces, voices, identity_of)
    assert found["map"] == pytest.approx(float(expected))
    assert (found["gallery_size"], found["num_unresolved_rows"], found["num_rows"]) == (
        3,
        2,
        [3, 4],
    )


def test_a_list_of_which_no_row_is_left_has_no_value(tmp_path):
    embeddings, *_ = random_embeddings(0)
    sources = [
        ListFile(write(tmp_path / "a.csv", [("f0", "x", 1)]), "verification"),
        ListFile(write(tmp_path / "b.csv", [("f0", "v1", "x")]), "matching"),
        ListFile(write(tmp_path / "c.txt", [["f0"], ["x"]], " "), "retrieval"),
    ]
    verification, matching, retrieval = score(embeddings, *sources)
    assert (verification["auc"], verification["eer"], verification["num_positives"]) == (
        None,
        None,
        0,
    )
    assert matching["accuracy"]["2"] == {"accuracy": None, "chance": 0.5, "num_trials": 0}
    assert (retrieval["map"], retrieval["chance_map"], retrieval["gallery_size"]) == (None, None, 0)
    json.dumps([verification, matching, retrieval], allow_nan=False)


def test_a_gallery_without_queries_has_no_value(tmp_path):
    embeddings, *_ = random_embeddings(0)
    source = ListFile(write(tmp_path / "list.txt", [["x"], ["v0"]], " "), "retrieval", "face")
    (found,) = score(embeddings, source)
    assert (found["map"], found["chance_map"], found["num_queries"]) == (None, None, 0)
    assert (found["gallery_size"], found["num_queries_without_positive"]) == (1, 0)


def test_answers_that_the_embeddings_contradict_are_counted(tmp_path):
    embeddings, *_ = random_embeddings(0)
    rows = [("f0", "v0", 0), ("f0", "v4", 1), ("f0", "v1", 1)]
    trios = [("f0", "v0", "v1"), ("f0", "v1", "v2"), ("f0", "v0", "v4")]
    sources = [
        ListFile(write(tmp_path / "a.csv", rows), "verification"),
        ListFile(write(tmp_path / "b.csv", trios), "matching"),
    ]
    assert [found["num_contradictions"] for found in score(embeddings, *sources)] == [2, 2]


def test_packed_files_are_read_and_agreement_is_reported(tmp_path):
    embeddings, *_ = random_embeddings(0)
    text = "probe,target,label\nf0,v0,1\nf0,v1,0\nf0,v2,0\nf1,v3,0\n"
    (tmp_path / "list.csv.gz").write_bytes(gzip.compress(text.encode()))
    metadata = pd.DataFrame(
        {"identity": ["p0", "p1", "p2", "p3"], "gender": ["f", "f", "m", ""], "age": "20"}
    )
    source = ListFile(tmp_path / "list.csv", "verification")
    (found,) = score(embeddings, source, metadata=metadata)
    assert found["negatives_agree"] == {
        "gender": {"share": 0.5, "num_pairs": 2},
        "age": {"share": 1.0, "num_pairs": 3},
    }


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("verification", "f0,v0,1\nf0,v0\n", "line 2: expected probe,target,label .*'f0 v0'"),
        ("verification", "probe,target,label\nf0,v0,yes\n", "line 2: .* label 0 or 1"),
        ("verification", "f0,,1\n", "line 1: expected"),
        ("verification", "f0,v0,1\n\nf0,v0,1\n", "line 2: expected"),
        ("verification", "probe,target,label\n", "no row below the header"),
        ("verification", "", "the list is empty"),
        ("verification", '"f0,v0,1\n', "not a readable list"),
        ("matching", "f0,v0,v1\nf0,v0\n", "line 2: expected probe, positive and negatives"),
        ("retrieval", "f0 f1\n", "expected two lines, queries and gallery, got 1"),
        ("retrieval", "f0 f1\nv0 v1 v0\n", "line 2: 1 clips are listed more than once .v0."),
    ],
)
def test_malformed_files_are_refused_with_file_and_line(tmp_path, kind, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"list\.csv.*{message}"):
        ListFile(tmp_path / "list.csv", kind).read()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "b", 1)], "none of its clips is among the embeddings .*'a'.*'f0'"),
        ([("f0", "v0", 1), ("v1", "f1", 1)], "some probes are faces .f0., some voices .v1."),
    ],
)
def test_lists_that_do_not_fit_the_embeddings_are_refused(tmp_path, rows, message):
    embeddings, *_ = random_embeddings(0)
    with pytest.raises(ValueError, match=message):
        resolve_lists(ListFile(write(tmp_path / "list.csv", rows), "verification"), embeddings)


def test_clips_called_alike_in_both_modalities_need_the_probe_stated(tmp_path):
    people = ["p0", "p1"]
    embeddings = Embeddings(np.eye(2), np.eye(2)[::-1], people, people, ["a", "b"], ["a", "b"])
    path = write(tmp_path / "list.csv", [("a", "b", 0)])
    with pytest.raises(ValueError, match="both faces and voices .*'a'; state probe"):
        resolve_lists(ListFile(path, "verification"), embeddings)
    for probe, direction in (("face", "F-V"), ("voice", "V-F")):
        (found,) = score(embeddings, ListFile(path, "verification", probe))
        assert found["direction"] == direction


def test_other_misuse_is_refused(tmp_path):
    embeddings, *_ = random_embeddings(0)
    with pytest.raises(ValueError, match="kind: expected one of verification"):
        ListFile("x", "verify")
    with pytest.raises(ValueError, match="probe: expected face, voice"):
        ListFile("x", "matching", probe="ear")
    with pytest.raises(ValueError, match=r"none\.csv: not found, nor with \.gz"):
        ListFile(tmp_path / "none.csv", "matching").read()
    source = ListFile(write(tmp_path / "list.csv", [("f0", "v0", 1)]), "verification")
    with pytest.raises(ValueError, match="two are called list"):
        resolve_lists([source, source], embeddings)
    nameless = Embeddings(np.eye(2), np.eye(2), ["a", "b"], ["a", "b"])
    with pytest.raises(ValueError, match="face_id is missing"):
        resolve_lists(source, nameless)


def write_lists(folder, direction):
    """Returns sources of a verification, a matching and a retrieval list, and their rows."""
    rng = np.random.default_rng(3)
    probe, target = direction.lower().split("-")
    pairs = [(f"f{i}", f"v{j}", int(rng.integers(2))) for i, j in rng.integers(12, size=(40, 2))]
    rows = [
        (f"{probe}{rng.integers(12)}", *(f"{target}{k}" for k in rng.permutation(12)[:size]))
        for size in rng.integers(2, 5, size=40)
    ]
    queries, gallery = [f"{probe}{k}" for k in range(8)], [f"{target}{k}" for k in (1, 3, 4, 5, 9)]
    sources = [
        ListFile(write(folder / "pairs.csv", pairs), "verification"),
        ListFile(
            write(folder / "rows.csv", [("probe", "positive", "negative"), *rows]), "matching"
        ),
        ListFile(write(folder / "ranks.txt", [queries, gallery], " "), "retrieval"),
    ]
    return sources, pairs, rows, queries, gallery


@pytest.mark.parametrize("direction", ["F-V", "V-F"])
@pytest.mark.parametrize(
    ("given", "slow"),
    [(NegativeL2(), score_reference.negative_distance), (OneSided(), score_reference.one_sided)],
)
def test_lists_by_other_scores_equal_the_reference(tmp_path, direction, given, slow):
    embeddings, faces, voices, identity_of = random_embeddings(4)
    sources, pairs, rows, queries, gallery = write_lists(tmp_path, direction)
    verified, matched, retrieved = score(embeddings, *sources, score=given, chunk_size=30)
    directed = slow if direction == "F-V" else lambda voice, face: slow(face, voice)
    probes, targets = (faces, voices) if direction == "F-V" else (voices, faces)
    labelled = [(face, voice, label == 1) for face, voice, label in pairs]
    auc, eer = reference.verification(labelled, faces, voices, slow)
    assert [verified["auc"], verified["eer"]] == pytest.approx([float(auc), float(eer)])
    expected = reference.matching(rows, probes, targets, directed)
    for size, (accuracy, _) in expected.items():
        assert matched["accuracy"][str(size)]["accuracy"] == pytest.approx(float(accuracy))
    mean = reference.retrieval(queries, gallery, probes, targets, identity_of, directed)
    assert retrieved["map"] == pytest.approx(float(mean))


def test_lists_of_candidates_are_scored_for_their_number_alone(tmp_path):
    embeddings, faces, voices, _ = random_embeddings(4)
    sources, _, rows, _, _ = write_lists(tmp_path, "V-F")
    resolved = resolve_lists(sources, embeddings)
    section = evaluate_lists(embeddings, resolved, score=CosineOfCandidates(3))
    verified, matched, retrieved = section.values()
    assert (verified["auc"], verified["eer"], retrieved["map"]) == (None, None, None)
    assert "gives one pair no score" in verified["reason"]
    assert "not a whole gallery" in retrieved["reason"]
    accuracy, num_rows = reference.matching(rows, voices, faces)[3]
    assert matched["accuracy"]["3"]["accuracy"] == pytest.approx(float(accuracy), abs=1e-12)
    assert matched["accuracy"]["3"]["num_trials"] == num_rows
    for size in ("2", "4"):
        assert matched["accuracy"][size]["accuracy"] is None
        assert "ranks 3 candidates, no other number" in matched["accuracy"][size]["reason"]
    assert "ranks 3 candidates, no other number" in format_lists(section)
    first = evaluate_lists(embeddings, resolved, score=AlwaysTheFirst(3))["rows"]
    assert first["accuracy"]["3"]["accuracy"] == pytest.approx(1 / 3)


def test_lists_of_a_direction_that_is_not_the_scores_are_null(tmp_path):
    embeddings, *_ = random_embeddings(4)
    sources, *_ = write_lists(tmp_path, "F-V")
    verified, matched, retrieved = score(embeddings, *sources, score=Cosine(directions=["V-F"]))
    assert verified["auc"] is not None and "reason" not in verified
    assert matched["accuracy"]["2"]["accuracy"] is None and retrieved["map"] is None
    assert matched["reason"] == retrieved["reason"]
    assert "compares in the direction V-F only" in matched["reason"]
