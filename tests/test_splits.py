"""Folds over people, and the corpora that take them."""

from collections import Counter

import pytest

from speechbrain_fv.data.schema import SPLITS
from speechbrain_fv.data.splits import Folds, split_identities
from speechbrain_fv.settings.loading import load_hparams
from tests.paths import HPARAMS
from tests.test_embeddings_corpus import clips, prepare, vectors

PEOPLE = [f"p{number:02}" for number in range(47)]
SPLIT_OF = split_identities(PEOPLE)
GENDER = {name: "f" if number % 3 else "m" for number, name in enumerate(PEOPLE)}
LANGUAGE = {name: "en" if number % 7 else "en+ur" for number, name in enumerate(PEOPLE)}
STRATA = {name: (GENDER[name], LANGUAGE[name]) for name in PEOPLE}


def people_in(assigned, split):
    return {name for name, part in assigned.items() if part == split}


@pytest.mark.parametrize("num_folds", [2, 5, 9])
def test_each_person_is_tested_once_and_strata_are_alike(num_folds):
    folds = [Folds(fold, num_folds).assign(SPLIT_OF, STRATA) for fold in range(num_folds)]
    tested = Counter(name for fold in folds for name in people_in(fold, "test"))
    assert tested == dict.fromkeys(PEOPLE, 1)
    for values in (dict.fromkeys(PEOPLE), GENDER, STRATA):
        for value in set(values.values()):
            counts = [
                sum(values[name] == value for name in people_in(fold, "test")) for fold in folds
            ]
            assert max(counts) - min(counts) <= 1
    for fold in folds:
        assert list(fold) == PEOPLE and set(fold.values()) == set(SPLITS)
        others = len(PEOPLE) - len(people_in(fold, "test"))
        valid = people_in(fold, "valid")
        assert len(valid) == round(0.2 * others)
        expected = len(valid) * sum(value == "m" for value in GENDER.values()) / len(PEOPLE)
        assert abs(sum(GENDER[name] == "m" for name in valid) - expected) < 2


def test_folds_follow_the_seed_and_not_the_order_of_the_people():
    first = Folds(0).assign(SPLIT_OF, STRATA)
    assert Folds(0).assign(dict(reversed(SPLIT_OF.items())), STRATA) == first
    assert Folds(0, seed=1).assign(SPLIT_OF, STRATA) != first


def test_people_of_other_splits_stay_unseen():
    assigned = [Folds(fold, among=["train", "valid"]).assign(SPLIT_OF) for fold in range(5)]
    unseen = people_in(SPLIT_OF, "test")
    assert all(set(PEOPLE) - set(fold) == unseen for fold in assigned)


def test_without_a_fold_nothing_changes(tmp_path):
    assert Folds().assign(SPLIT_OF) is SPLIT_OF and Folds(num_folds=3).options == {}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain = prepare(tmp_path / "a", clips(), vectors())
    again = prepare(tmp_path / "b", clips(), vectors(), folds=Folds(num_folds=3, seed=4))
    assert again.identities.equals(plain.identities)
    options = [manifests.preparation["options"] for manifests in (plain, again)]
    assert all("folds" not in each and each["shares"] == [0.7, 0.1, 0.2] for each in options)


def test_a_corpus_of_vectors_in_folds(tmp_path):
    """Genders are spelled anew before they are strata; a person's languages are one stratum."""
    table = clips(
        gender=["m"] * 4 + ["male"] * 4 + ["F"] * 12,
        language=(["en", "ur"] * 2 + ["en"] * 4) + (["en", "ur"] * 2 + ["en"] * 8),
    )
    tested = []
    for fold in range(2):
        manifests = prepare(
            tmp_path, table, vectors(), folds=Folds(fold, 2, valid_share=0.4, seed=3)
        )
        people = manifests.identities.set_index("identity")
        assert set(manifests.faces["test"].spk_id) == people_in(people.split.to_dict(), "test")
        genders = people[people.split == "test"].gender.value_counts().to_dict()
        assert genders == {"m": 2, "f": 3}
        spoken = table[table.identity.isin(people.index[people.split == "test"])]
        assert (spoken.groupby("identity").language.nunique() == 2).sum() == 2
        tested.append(set(people.index[people.split == "test"]))
        assert manifests.preparation["options"]["folds"]["fold"] == fold
    assert not set.intersection(*tested) and len(set.union(*tested)) == 10
    few = Folds(1, 2, valid_share=0.4, among=["train", "test"], seed=3)
    manifests = prepare(tmp_path, table, vectors(), folds=few)
    assert len(manifests.identities) == 8  # of ten, two are valid without folds
    rows = [*manifests.faces.values(), *manifests.voices.values()]
    assert {name for part in rows for name in part.spk_id} == set(manifests.identities.identity)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fold": 5}, "fold: expected null or 0 to 4, got 5"),
        ({"fold": -1}, "fold: expected null or 0 to 4, got -1"),
        ({"fold": "0"}, "fold: expected null or 0 to 4, got '0'"),
        ({"num_folds": 1}, "num_folds: expected a number of 2 or more, got 1"),
        ({"valid_share": 1.0}, "fold_valid_share: expected a share above 0 and below 1, got 1.0"),
        ({"among": ["dev"]}, r"fold_among: expected some of train, valid, test, got \['dev'\]"),
        ({"among": []}, "fold_among: expected some of"),
    ],
)
def test_senseless_folds_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Folds(**arguments)


@pytest.mark.parametrize(("number", "num_folds", "share"), [(9, 5, 0.2), (10, 2, 0.9), (4, 2, 0.2)])
def test_too_few_people_are_refused(number, num_folds, share):
    people = dict.fromkeys(PEOPLE[:number], "train")
    with pytest.raises(ValueError, match=f"got {number} people for {num_folds} folds; take fewer"):
        Folds(0, num_folds, share).assign(people)


CORPORA = ["embedded", "embeddings", "own_data", "voxceleb_vggface"]


@pytest.mark.parametrize("name", CORPORA)
def test_every_corpus_hands_on_its_folds(name):
    path = HPARAMS / "corpora" / f"{name}.yaml"
    lines = path.read_text().splitlines()
    given = [line.replace("!PLACEHOLDER", "x") for line in lines if "!PLACEHOLDER" in line]
    given = [line.split(" #")[0].strip() for line in given]
    include = f"!include:{path} {{{', '.join([*given, 'fold: 3', 'num_folds: 4'])}}}"
    _, hparams, _ = load_hparams([str(HPARAMS / "infonce.yaml"), f"--corpus={include}"])
    folds = hparams["corpus"]["prepare"].keywords["folds"]
    assert (folds.fold, folds.num_folds, folds.among) == (3, 4, SPLITS)
    wrong = include.replace("fold: 3", "fold: 4")
    with pytest.raises(ValueError, match="fold: expected null or 0 to 3, got 4"):
        load_hparams([str(HPARAMS / "infonce.yaml"), f"--corpus={wrong}"])
