"""Ages in years become groups by one rule, in training and in evaluation."""

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.evaluation import evaluate, format_report
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.protocols import check_metadata
from speechbrain_fv.protocols.ages import group_ages, with_age_groups


def test_decades_and_edges_equal_a_slow_reference():
    ages = pd.Series([str(age) for age in range(0, 131)])
    decades = [f"{age // 10}0-{age // 10}9".lstrip("0") or "0" for age in range(131)]
    decades[:10] = ["0-9"] * 10
    assert group_ages(ages).tolist() == decades
    edges = [18, 40, 65]
    names = ["<18", "18-39", "40-64", "65+"]
    expected = [names[sum(age >= edge for edge in edges)] for age in range(131)]
    assert group_ages(ages, edges).tolist() == expected
    assert group_ages(pd.Series(["17.9", "18"]), [17.5, 18]).tolist() == ["17.5-<18", "18+"]


@pytest.mark.parametrize("groups", [["young", "old", ""], ["0", "1", "3"], ["20-29", "60+"]])
def test_groups_stay_as_they_are(groups):
    assert group_ages(pd.Series(groups)).tolist() == groups


@pytest.mark.parametrize(
    ("ages", "edges", "words"),
    [
        (["31", "old"], None, "found years and old"),
        (["31", "-1"], None, "from 0 to 130, found -1"),
        (["31", "1985"], None, "found 1985"),
        (["31"], [40, 18], "increasing"),
        (["31"], ["18"], "increasing"),
        (["31"], [18, float("nan")], "increasing"),
    ],
)
def test_what_cannot_be_is_told(ages, edges, words):
    with pytest.raises(ValueError, match=words):
        group_ages(pd.Series(ages), edges)


def test_every_reader_of_labels_groups_and_grouping_twice_changes_nothing():
    table = pd.DataFrame({"identity": ["a", "b"], "age": [34.0, np.nan]})
    assert check_metadata(table, ["b", "a"]).age.tolist() == ["", "30-39"]
    once = with_age_groups(table)
    assert with_age_groups(once).equals(once)
    assert with_age_groups(table[["identity"]]).columns.tolist() == ["identity"]


def test_years_give_negatives_within_decades_and_a_lonely_stratum_says_why():
    names = ["a", "b", "c"]
    vectors = np.random.default_rng(0).normal(size=(3, 4))
    embeddings = Embeddings(vectors, vectors, names, names)
    ages = pd.DataFrame({"identity": names, "age": ["31", "38", "52"]})
    report = evaluate(embeddings, ages, num_replicates=0)
    assert report["verification"]["A"]["num_negatives"] == 2
    ages["age"] = ["31", "48", "52"]
    report = evaluate(embeddings, ages, num_replicates=0)
    assert report["verification"]["A"]["auc"] is None
    reason = "A has no trials: no two people share age, or nobody has face and voice"
    assert report["reasons"]["verification/A/auc"] == reason
    assert report["matching"]["F-V"]["U"]["3"]["accuracy"] is not None
    assert report["reasons"]["matching/F-V/U/4/accuracy"] == "U has too few people in every group"
    assert f"A is undefined: {reason}" in format_report(report)


def test_every_value_of_a_report_that_is_null_has_a_reason():
    """Of each kind of lonely people: nothing is left out in silence."""
    generator = np.random.default_rng(1)
    for num_people in (1, 2, 3, 5):
        names = [f"p{number}" for number in range(num_people)]
        vectors = generator.normal(size=(num_people, 4))
        labels = pd.DataFrame(
            {
                "identity": names,
                "gender": generator.choice(["f", "m", ""], num_people),
                "nationality": generator.choice(["x", "y", "z"], num_people),
                "age": generator.choice(["21", "55", ""], num_people),
            }
        )
        report = evaluate(Embeddings(vectors, vectors, names, names), labels, num_replicates=0)
        for task in ("verification", "matching", "retrieval"):
            for path in nulls(report[task], task):
                assert path in report["reasons"]


def nulls(node, path):
    """Yields the paths of what is None."""
    if node is None:
        yield path
    for name, value in node.items() if isinstance(node, dict) else ():
        yield from nulls(value, f"{path}/{name}")
