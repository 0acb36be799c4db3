"""The leakage guard: what checkpoints store, what is counted, and what is refused."""

import numpy as np
import pytest
import torch

from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.protocols import ListFile, resolve_lists
from speechbrain_fv.protocols.leakage import TrainIdentities, check_leakage, read_train_identities
from speechbrain_fv.training.checkpoints import AtomicCheckpointer

PEOPLE = ["ann", "bob", "eve"]
META = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\n" + "".join(
    f"id1000{number}\t{name}\tf\tUK\n" for number, name in enumerate(PEOPLE)
)


def embeddings(names=PEOPLE):
    """Returns two faces and one voice of each person."""
    return Embeddings(
        np.ones((6, 2)),
        np.ones((3, 2)),
        list(names) * 2,
        list(names),
        [f"f{row}" for row in range(6)],
        [f"v{row}" for row in range(3)],
    )


def lists(folder):
    texts = {
        "verification": "f0,v0,1\nf0,v1,0\nf1,v2,0\nf2,v2,1\n",
        "matching": "f0,v0,v1\nf0,v0,v1,v2\nf1,v1,v2\n",
        "retrieval": "f0 f1 f4\nv0 v1 v2\n",
    }
    sources = []
    for kind, text in texts.items():
        (folder / f"{kind}.csv").write_text(text)
        sources.append(ListFile(folder / f"{kind}.csv", kind, name=kind))
    return resolve_lists(sources, embeddings())


def checkpointer(folder, identities):
    recoverables = {
        "layer": torch.nn.Linear(2, 2),
        "train_identities": TrainIdentities(identities),
    }
    return AtomicCheckpointer(folder, recoverables), recoverables["train_identities"]


def test_checkpoints_store_the_identities_and_every_folder_finds_them(tmp_path):
    saver, _ = checkpointer(tmp_path / "save", ["eve", "ann", "eve"])
    path = saver.save_checkpoint().path
    for place in (tmp_path, tmp_path / "save", path, path / "train_identities.ckpt"):
        assert read_train_identities(place) == ["ann", "eve"]


def test_a_model_that_goes_on_with_others_has_seen_both(tmp_path):
    checkpointer(tmp_path, ["ann"])[0].save_checkpoint()
    resumed, identities = checkpointer(tmp_path, ["bob"])
    resumed.recover_if_possible()
    assert identities.identities == ["ann", "bob"]
    resumed.save_checkpoint()
    assert read_train_identities(tmp_path) == ["ann", "bob"]


def test_affected_identities_and_pairs_are_counted(tmp_path):
    """bob has the faces f1 and f4 and the voice v1."""
    report = check_leakage(["bob", "joe"], embeddings(), lists(tmp_path), allow_leakage=True)
    counts = {
        name: [
            part[f"num_{key}"]
            for key in ("identities", "leaked_identities", "pairs", "leaked_pairs")
        ]
        for name, part in report.pop("parts").items()
    }
    assert counts == {
        "embeddings": [3, 1, 18, 10],
        "verification": [3, 1, 4, 2],
        "matching": [3, 1, 7, 4],
        "retrieval": [3, 1, 9, 7],
    }
    assert report == {
        "checked": True,
        "allowed": True,
        "num_train_identities": 2,
        "identities": ["bob"],
    }


def test_leakage_is_refused_with_its_numbers(tmp_path):
    with pytest.raises(ValueError, match="leakage: .*bob") as error:
        check_leakage(["bob"], embeddings(), lists(tmp_path))
    for text in (
        "embeddings: 1 of 3 identities, 10 of 18 pairs",
        "matching: 1 of 3 identities, 4 of 7 pairs",
        "allow_leakage: True",
    ):
        assert text in str(error.value)


def test_other_people_pass_and_unknown_training_is_stated():
    report = check_leakage(["joe"], embeddings())
    assert report["identities"] == []
    assert report["parts"]["embeddings"]["num_leaked_pairs"] == 0
    assert check_leakage(None, embeddings()) == {"checked": False}


@pytest.mark.parametrize(
    ("trained", "tested"),
    [(["bob"], ["id10000", "id10001", "id10002"]), (["id10001"], PEOPLE)],
)
def test_names_and_ids_are_one_identity(tmp_path, trained, tested):
    (tmp_path / "meta.csv").write_text(META)
    with pytest.raises(ValueError, match="one side has VoxCeleb1 ids, .* give meta_csv"):
        check_leakage(trained, embeddings(tested))
    with pytest.raises(ValueError, match=r"leakage: .*\(id10001\): .* 1 of 3 identities"):
        check_leakage(trained, embeddings(tested), meta_csv=tmp_path / "meta.csv")


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_file_that_names_nobody_is_refused(tmp_path, text):
    (tmp_path / "people.txt").write_text(text)
    with pytest.raises(ValueError, match=r"people\.txt: no identity found"):
        read_train_identities(tmp_path / "people.txt")
    with pytest.raises(ValueError, match="no identity found; .* train_identities.ckpt"):
        read_train_identities(tmp_path)
    with pytest.raises(ValueError, match=r"absent\.txt: .*No such file"):
        read_train_identities(tmp_path / "absent.txt")
