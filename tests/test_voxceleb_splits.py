"""The named splits: malformed lists, and the published ones where they are at hand."""

from collections import Counter

import pandas as pd
import pytest

from speechbrain_fv.corpora.voxceleb_splits import (
    DIMNET_LEFT_OUT,
    PUBLISHED_COUNTS,
    dimnet_split,
    pins_split,
    read_meta,
)
from tests.paths import ROOT

REAL = ROOT.parent / "shared" / "data" / "voxceleb"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not on this machine")

# Both ends of the alphabet, and an identity that the split `dimnet` leaves out.
META = """VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet
id10001\tA.J._Buckley\tm\tIreland\tdev
id10003\tAamir_Khan\tm\tIndia\tdev
id10134\tBradley_Cooper\tm\tUSA\tdev
id10270\tEartha_Kitt\tf\tUSA\ttest
id10309\tEwan_McGregor\tm\tUK\ttest
id10317\tFaye_Dunaway\tf\tUSA\tdev
id11249\tZoe_Saldana\tf\tUSA\tdev
id11251\tZulay_Henao\tf\tColombia\tdev
id11250\tZooey_Deschanel\tf\tUSA\tdev
"""
PINS = """A.J._Buckley 1
Aamir_Khan 4
Bradley_Cooper 2
Eartha_Kitt 1
Ewan_McGregor 4
Faye_Dunaway 2
Zoe_Saldana 1
Zulay_Henao 1
Zooey_Deschanel 1
"""


@pytest.mark.parametrize(
    ("line", "number"), [("Nobody 1", 10), ("Zoe_Saldana 3", 10), ("Zoe_Saldana 1", 10), ("x", 10)]
)
def test_wrong_lines_of_the_pins_list_are_named(tmp_path, line, number):
    (tmp_path / "vox1_meta.csv").write_text(META)
    (tmp_path / "list.txt").write_text(PINS + line)
    with pytest.raises(ValueError, match=f"line {number}: expected a VGGFace name"):
        pins_split(read_meta(tmp_path / "vox1_meta.csv"), tmp_path / "list.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (META.replace("\t", ","), "expected cells separated by tabs, got commas"),
        (META + "id10003\tZzz\tm\tUK\tdev\n", "line 11: identity 'id10003' is listed twice"),
        (META + "id19999\tZoe_Saldana\tm\tUK\tdev\n", "line 11: name 'Zoe_Saldana' is listed"),
    ],
)
def test_a_wrong_meta_file_is_named(tmp_path, text, message):
    (tmp_path / "meta.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_meta(tmp_path / "meta.csv")


@real
def test_dimnet_split_equals_the_published_lists():
    split_of = dimnet_split(read_meta(REAL / "vox1_meta.csv"))
    assert Counter(split_of.values()) == PUBLISHED_COUNTS["dimnet"]
    for name, split in (("train", "train"), ("val", "valid"), ("test", "test")):
        published = pd.read_csv(REAL / "ssos" / f"vox1_{name}.csv")
        expected = set(published.VoxCeleb1_ID[published.Set != "none"])
        assert {identity for identity, part in split_of.items() if part == split} == expected
        left_out = set(published.VoxCeleb1_ID[published.Set == "none"])
        assert left_out == {f"id{n}" for n in DIMNET_LEFT_OUT.split()} & {*published.VoxCeleb1_ID}


@real
def test_people_of_the_dimnet_test_split():
    meta = read_meta(REAL / "vox1_meta.csv")
    people = meta[meta.identity.map(dimnet_split(meta)) == "test"]
    assert people.gender.value_counts().to_dict() == {"m": 115, "f": 74}
    assert people.nationality.nunique() == 18
    partners = {
        attributes: (people.groupby([*attributes]).identity.transform("size") > 1).sum()
        for attributes in (("nationality",), ("gender", "nationality"))
    }
    assert partners == {("nationality",): 179, ("gender", "nationality"): 174}


@real
def test_pins_split_has_the_published_counts():
    meta = read_meta(REAL / "vox1_meta.csv")
    split_of = pins_split(meta, REAL / "pins" / "Splits" / "identity_splits.txt")
    assert Counter(split_of.values()) == PUBLISHED_COUNTS["pins"]
    dimnet = dimnet_split(meta)
    tested = [name for name, part in split_of.items() if part == "test"]
    assert sum(dimnet.get(name) == "train" for name in tested) == 169
