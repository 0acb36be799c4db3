"""Strata: who may be whose negative."""

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.protocols import (
    check_metadata,
    stratum_attributes,
    stratum_groups,
    undefined_reason,
)

PEOPLE = pd.DataFrame(
    {
        "identity": ["ann", "bob", "eve", "joe", "kim"],
        "gender": ["f", "m", "f", "m", None],
        "nationality": ["uk", "uk", "uk", " ", "us"],
        "age": [20, 40, 20, 20, np.nan],
    }
)
IDENTITIES = PEOPLE.identity.tolist()


def allowed_pairs(stratum):
    """Returns the pairs of people with the same known group."""
    groups = stratum_groups(check_metadata(PEOPLE, IDENTITIES), stratum)
    return {
        (IDENTITIES[i], IDENTITIES[j])
        for i in range(5)
        for j in range(i)
        if groups[i] == groups[j] and groups[i] >= 0
    }


@pytest.mark.parametrize(
    ("stratum", "expected"),
    [
        ("G", {("eve", "ann"), ("joe", "bob")}),
        ("N", {("bob", "ann"), ("eve", "ann"), ("eve", "bob")}),
        ("A", {("eve", "ann"), ("joe", "ann"), ("joe", "eve")}),
        ("GN", {("eve", "ann")}),
        ("GNA", {("eve", "ann")}),
    ],
)
def test_negatives_share_known_attributes(stratum, expected):
    assert allowed_pairs(stratum) == expected


def test_any_two_are_allowed_in_u():
    assert len(allowed_pairs("U")) == 10


def test_metadata_is_put_in_order_and_trimmed():
    extra = pd.DataFrame({"identity": ["zoe"], "gender": ["f"]})
    table = check_metadata(pd.concat([extra, PEOPLE]), ["kim", "joe"])
    assert table.index.tolist() == ["kim", "joe"]
    assert table.nationality.tolist() == ["us", ""]
    assert table.gender.tolist() == ["", "m"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (PEOPLE.drop(columns="identity"), "expected a column 'identity', found"),
        (pd.concat([PEOPLE, PEOPLE[1:2]]), "1 identities are listed twice .bob."),
        (PEOPLE[3:], "3 of the 5 identities .* have no row .ann, bob, eve."),
    ],
)
def test_bad_metadata_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        check_metadata(table, IDENTITIES)


@pytest.mark.parametrize("stratum", ["", "X", "GG", "UG", "g"])
def test_unknown_strata_are_refused(stratum):
    with pytest.raises(ValueError, match="expected 'U' or letters of 'GNA'"):
        stratum_attributes(stratum)


@pytest.mark.parametrize(
    ("table", "stratum", "reason"),
    [
        (None, "U", None),
        (PEOPLE, "GNA", None),
        (None, "A", "no metadata, which A needs for age"),
        (PEOPLE.drop(columns="age"), "GNA", "no column 'age'"),
        (PEOPLE.assign(gender=""), "GN", "'gender' is unknown for every identity"),
    ],
)
def test_reason_why_a_stratum_is_undefined(table, stratum, reason):
    table = None if table is None else check_metadata(table, IDENTITIES)
    found = undefined_reason(table, stratum)
    assert found is None if reason is None else reason in found
