"""The audit of trial lists: against slow references, and lists without embeddings."""

import importlib.util
import json

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.evaluation.audit import format_audit, promised_stratum
from speechbrain_fv.evaluation.lists import evaluate_lists
from speechbrain_fv.evaluation.unscored import Unscored, embeddings_of_names
from speechbrain_fv.protocols import ListFile, SampledTrials, TrialList, resolve_lists
from speechbrain_fv.protocols.leakage import check_leakage
from speechbrain_fv.settings.values import check_value
from tests.paths import HPARAMS, ROOT
from tests.references import audit as reference
from tests.references.metrics import exact_score
from tests.test_lists import random_embeddings, write
from tests.voxceleb import PEOPLE, STILLS, VOICES

TABLE = pd.DataFrame(
    {
        "identity": ["p0", "p1", "p2", "p3"],
        "gender": ["f", "f", "m", ""],
        "nationality": ["x", "x", "x", "y"],
        "age": ["20-29", "30-39", "20-29", "20-29"],
    }
)


def audited(embeddings, *sources, metadata=None, leakage=None):
    resolved = resolve_lists(sources, embeddings, metadata)
    found = evaluate_lists(embeddings, resolved, metadata, leakage=leakage)
    return [entry["audit"] for entry in found.values()]


def random_rows(seed, share):
    """Returns rows of which a share have the label of their position, some pairs listed again."""
    rng = np.random.default_rng(seed)
    return [
        (f"f{i}", f"v{j}", bool((row % 2 == 0) == (rng.random() < share)))
        for row, (i, j) in enumerate(rng.integers(8, size=(50, 2)))
    ]


@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_verification_lists_equal_the_reference(tmp_path, seed, share):
    embeddings, faces, voices, _ = random_embeddings(seed)
    rows = random_rows(seed, share)
    path = write(tmp_path / "list.csv", [(f, v, int(label)) for f, v, label in rows])
    (found,) = audited(embeddings, ListFile(path, "verification"))
    expected = reference.verification(rows, lambda f, v: exact_score(faces[f], voices[v]))
    flat = {**found, **found["alternation"], **found["positional"]}
    for name, value in expected.items():
        assert flat[name] == pytest.approx(float(value), abs=1e-12), name
    assert found["num_pairs"] == 50
    if share == 1:
        assert (flat["longest_run"], flat["agreement"], flat["perfect_auc"]) == (50, 1, 1)


@pytest.mark.parametrize("seed", range(3))
def test_matching_lists_equal_the_reference(tmp_path, seed):
    embeddings, *_, identity_of = random_embeddings(seed)
    rng = np.random.default_rng(seed)
    rows = [
        (f"v{rng.integers(3)}", *(f"f{k}" for k in rng.permutation(4)[:size]))
        for size in rng.integers(2, 5, size=40)
    ]
    (found,) = audited(embeddings, ListFile(write(tmp_path / "list.csv", rows), "matching"))
    expected = reference.matching(rows)
    assert expected["num_repeated_rows"] and expected["num_contradictory_pairs"]
    assert {name: found[name] for name in expected} == pytest.approx(
        {name: float(value) for name, value in expected.items()}
    )
    right = [
        [identity_of[name] == identity_of[row[0]] for name in row[1:]]
        == [True] + [False] * (len(row) - 2)
        for row in rows
    ]
    assert found["positional"]["agreement"] == pytest.approx(float(reference.share(right)))
    assert found["alternation"] is None


def test_retrieval_counts_the_pairs_of_one_person(tmp_path):
    embeddings, *_, identity_of = random_embeddings(0)
    queries, gallery = [f"f{k}" for k in range(7)], [f"v{k}" for k in (1, 3, 4, 5, 9)]
    path = write(tmp_path / "list.txt", [queries, gallery], " ")
    (found,) = audited(embeddings, ListFile(path, "retrieval"))
    same = [identity_of[one] == identity_of[two] for one in queries for two in gallery]
    assert found["positive_share"] == pytest.approx(float(reference.share(same)))
    assert (found["num_pairs"], found["num_repeated_rows"], found["positional"]) == (35, 0, None)


@pytest.mark.parametrize("kind", ["verification", "matching"])
@pytest.mark.parametrize("stratum", ["U", "G", "N", "A", "GN", "GNA"])
def test_what_the_name_promises_is_compared_with_the_negatives(tmp_path, stratum, kind):
    embeddings, *_, identity_of = random_embeddings(1)
    rng = np.random.default_rng(1)
    trios = [(f"f{i}", f"v{j}", f"v{k}") for i, j, k in rng.integers(12, size=(40, 3))]
    rows, negatives = trios, [(probe, other) for probe, _, other in trios]
    if kind == "verification":
        rows = [(probe, other, 0) for probe, other in negatives] + [("f0", "v0", 1)]
    path = write(tmp_path / f"list_{stratum}.csv", rows)
    (found,) = audited(embeddings, ListFile(path, kind), metadata=TABLE)
    people = [(identity_of[one], identity_of[two]) for one, two in negatives]
    names = {"U": [], "G": ["gender"], "N": ["nationality"], "A": ["age"]}
    attributes = [name for letter in stratum for name in names[letter]]
    asked = {name: [name] for name in attributes}
    if len(attributes) > 1:
        asked["together"] = attributes
    assert found["promise"]["stratum"] == stratum
    assert found["promise"]["negatives"].keys() == asked.keys()
    for name, columns in asked.items():
        table = dict(zip(TABLE.identity, TABLE[columns].values.tolist(), strict=True))
        expected = reference.kept_promise(people, table)
        assert expected["num_broken"]
        assert found["promise"]["negatives"][name] == pytest.approx(
            {key: float(value) for key, value in expected.items()}
        )


@pytest.mark.parametrize(
    ("name", "stratum"),
    [
        ("pins/veriflist_GNA_seenheard", "GNA"),
        ("pins/veriflist_random_unseenunheard", "U"),
        ("ssos/verify_g_f2v", "G"),
        ("ssos/verify_f2v", None),
        ("list_GG", None),
        ("GANG", None),
        ("G_against_N", None),
        ("NG", "NG"),
    ],
)
def test_the_stratum_in_a_name(name, stratum):
    assert promised_stratum(TrialList(name, "matching", "", None, None)) == stratum


def test_drawn_lists_keep_what_they_promise():
    embeddings, *_ = random_embeddings(0)
    source = SampledTrials(20, seed=0, strata=["G"], num_candidates=2)
    found = audited(embeddings, source, metadata=TABLE)
    assert [audit["promise"]["stratum"] for audit in found] == ["G"] * 3
    for audit in found:
        at = audit["promise"]["negatives"]["gender"]
        assert (at["share"], at["num_broken"]) == (1, 0) and at["num_pairs"]
    assert found[0]["positive_share"] == 0.5 and found[0]["alternation"]["longest_run"] == 2


def test_rows_that_are_left_out_keep_their_position(tmp_path):
    """A clip that is not there must not shift the rows behind it."""
    embeddings, *_ = random_embeddings(0)
    rows = [(f"f{row % 12}", f"v{row // 4}", int(row % 2 == 0)) for row in range(20)]
    rows[7] = ("f99", "v1", 0)
    (found,) = audited(embeddings, ListFile(write(tmp_path / "list.csv", rows), "verification"))
    assert found["positional"]["agreement"] == found["positional"]["perfect_auc"] == 1
    assert found["alternation"] == {"neighbours_differ": 1, "longest_run": 12}


def test_a_list_of_which_no_row_is_left_has_no_share(tmp_path):
    embeddings, *_ = random_embeddings(0)
    sources = [
        ListFile(write(tmp_path / "a_G.csv", [("f0", "x", 1)]), "verification"),
        ListFile(write(tmp_path / "b.csv", [("f0", "v1", "x")]), "matching"),
        ListFile(write(tmp_path / "c.txt", [["f0"], ["x"]], " "), "retrieval"),
    ]
    resolved = resolve_lists(sources, embeddings)
    section = evaluate_lists(embeddings, resolved, TABLE)
    audits = [entry["audit"] for entry in section.values()]
    assert [audit["positive_share"] for audit in audits] == [None] * 3
    assert audits[0]["alternation"] == {"neighbours_differ": None, "longest_run": 0}
    assert "no negative pair is known" in format_audit(section)
    json.dumps(audits, allow_nan=False)


def test_people_of_the_training_are_counted_and_told(tmp_path):
    embeddings, *_ = random_embeddings(0)
    rows = [("f0", "v0", 1), ("f0", "v1", 0), ("f2", "v1", 0)]
    source = ListFile(write(tmp_path / "list.csv", rows), "verification")
    resolved = resolve_lists(source, embeddings)
    leakage = check_leakage(["p2", "p9"], embeddings, resolved, allow_leakage=True)
    section = evaluate_lists(embeddings, resolved, leakage=leakage)
    assert section["list"]["audit"]["training"] == {
        "num_identities": 3,
        "num_leaked_identities": 1,
        "num_pairs": 3,
        "num_leaked_pairs": 1,
    }
    assert "1 of 3 identities are of the training, in 1 of 3 pairs" in format_audit(section)
    assert audited(embeddings, source)[0]["training"] is None


def recipe():
    """Returns the script recipes/evaluate.py as a module."""
    spec = importlib.util.spec_from_file_location("evaluate", ROOT / "recipes" / "evaluate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lists_without_embeddings_are_audited_only(tmp_path, meta_csv, capsys):
    rows = [(VOICES[0], STILLS[0], 1), (VOICES[0], STILLS[1], 0), (VOICES[1], STILLS[1], 0)]
    path = write(tmp_path / "own_G.csv", rows)
    (tmp_path / "trained.txt").write_text(f"{PEOPLE[1]}\n")
    include = f"{{file: {path}, kind: verification, probe: voice, meta_csv: {meta_csv}}}"
    recipe().main(
        [
            str(HPARAMS / "evaluate.yaml"),
            "--embeddings=null",
            f"--lists=!include:protocols/list_file.yaml {include}",
            f"--meta_csv={meta_csv}",
            f"--train_identities={tmp_path / 'trained.txt'}",
            f"--output_folder={tmp_path / 'out'}",
        ]
    )
    entry = json.loads((tmp_path / "out" / "report.json").read_text())["lists"]["own_G"]
    audit = entry["audit"]
    assert (entry["auc"], audit["positional"]["auc"]) == (None, None)
    assert "there are no embeddings" in entry["reason"]
    assert audit["positive_share"] == pytest.approx(1 / 3)
    assert audit["positional"]["agreement"] == pytest.approx(2 / 3)
    assert audit["promise"]["negatives"]["gender"]["num_pairs"] == 2
    assert audit["training"]["num_leaked_pairs"] == 2
    printed = capsys.readouterr().out
    assert "G promises gender: 100.00 % of 2 negative pairs agree" in printed
    assert not (tmp_path / "out" / "figures").exists()


def test_without_embeddings_names_must_tell_who_it_is(tmp_path, meta_csv):
    path = write(tmp_path / "list.csv", [(VOICES[0], STILLS[0], 1)])
    with pytest.raises(ValueError, match="its names tell no identity"):
        embeddings_of_names(ListFile(path, "verification", "voice"))
    with pytest.raises(ValueError, match="state probe: face or voice"):
        embeddings_of_names(ListFile(path, "verification", meta_csv=meta_csv))
    with pytest.raises(ValueError, match="are to be drawn"):
        embeddings_of_names(SampledTrials(4, seed=0))
    with pytest.raises(ValueError, match="there must be lists to audit"):
        recipe().main([str(HPARAMS / "evaluate.yaml"), "--embeddings=null"])


def test_without_embeddings_nothing_has_a_value(tmp_path, meta_csv):
    sources = [
        ListFile(write(tmp_path / "m.csv", [(VOICES[0], *STILLS)]), "matching", "voice", meta_csv),
        ListFile(write(tmp_path / "r.txt", [VOICES, STILLS], " "), "retrieval", "voice", meta_csv),
    ]
    people = embeddings_of_names(sources)
    assert (len(people.face), len(people.voice)) == (3, 3)
    found = evaluate_lists(people, resolve_lists(sources, people), score=Unscored())
    assert found["m"]["accuracy"]["3"]["accuracy"] is None and found["r"]["map"] is None
    assert found["r"]["audit"]["positive_share"] == pytest.approx(1 / 3)


def test_a_corpus_of_embeddings_needs_them():
    with pytest.raises(ValueError, match=r"embeddings.*expected a path, got null"):
        check_value(("corpus", "embeddings"), None)
    assert check_value(("embeddings",), None) is None
