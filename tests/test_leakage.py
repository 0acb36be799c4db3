"""The leakage guard: what checkpoints store, what is counted, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_fv.evaluation.embeddings import Embeddings, save_embeddings
from speechbrain_fv.evaluation.sets import sets_leakage
from speechbrain_fv.protocols import ListFile, resolve_lists
from speechbrain_fv.protocols.leakage import TrainIdentities, check_leakage, read_train_identities
from speechbrain_fv.training.checkpoints import AtomicCheckpointer
from speechbrain_fv.training.starting import check_unseen
from tests.paths import HPARAMS
from tests.processes import recipe, run_forked

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


@pytest.mark.parametrize(
    ("trained", "tested"),
    [
        (["id10001"], ["vox/id10000", "vox/id10001", "vox/id10002"]),
        (["vox/id10001"], ["id10000", "id10001", "id10002"]),
        (["all/vox/id10001"], ["vox/id10000", "vox/id10001", "own/id10001"]),
        (["bob"], ["vox/Ann", "vox/Bob", "vox/eve"]),
    ],
)
def test_a_person_behind_the_name_of_a_joined_corpus_is_known(trained, tested):
    with pytest.raises(ValueError, match="leakage: .* 1 of 3 identities"):
        check_leakage(trained, embeddings(tested))
    others = [f"other/{name.rpartition('/')[2]}" for name in PEOPLE]
    assert check_leakage(["vox/ann", "vox/bob"], embeddings(others))["identities"] == []
    people = pd.DataFrame({"identity": tested, "split": "test"})
    with pytest.raises(ValueError, match="init_from: 1 people of validation and test"):
        check_unseen(trained, people, allow_leakage=False)
    check_unseen(trained, people.assign(split="train"), allow_leakage=False)


def test_names_behind_the_name_of_a_corpus_are_ids_too(tmp_path):
    (tmp_path / "meta.csv").write_text(META)
    for trained, tested in (
        (["vox/bob"], ["id10000", "id10001", "id10002"]),
        (["id10001"], [f"vox/{name}" for name in PEOPLE]),
    ):
        with pytest.raises(ValueError, match="leakage: .* 1 of 3 identities"):
            check_leakage(trained, embeddings(tested), meta_csv=tmp_path / "meta.csv")


def test_a_set_with_embeddings_of_its_own_is_compared(tmp_path, caplog):
    save_embeddings(tmp_path / "own.npz", embeddings())
    sets = {"own": {"embeddings": str(tmp_path / "own.npz")}, "part": {"language": "Urdu"}}
    with pytest.raises(ValueError, match="sets: own: leakage: .*bob"):
        sets_leakage(["bob"], sets)
    found = sets_leakage(["bob"], sets, allow_leakage=True)
    assert [*found] == ["own"] and found["own"]["identities"] == ["bob"]
    assert sets_leakage(["bob"], None) == {}
    nobody = Embeddings(np.eye(2), np.eye(2), ["", ""], ["", ""], ["f", "g"], ["v", "w"])
    assert check_leakage(["bob"], nobody) == {"checked": False}
    assert "not compared, since the embeddings do not tell who" in caplog.text


def test_the_recipe_compares_the_sets(tmp_path):
    save_embeddings(tmp_path / "other.npz", embeddings(["joe", "kim", "lee"]))
    save_embeddings(tmp_path / "own.npz", embeddings())
    (tmp_path / "people.txt").write_text("bob\n")
    command = recipe(
        *("evaluate", HPARAMS / "evaluate.yaml", "--embeddings=other.npz", "--output_folder=out"),
        *("--train_identities=people.txt", "--num_replicates=0", "--noprogressbar"),
        "--sets={own: {embeddings: own.npz}}",
    )
    refused = run_forked(command, tmp_path)
    assert refused.returncode == 2 and "sets: own: leakage: " in refused.stderr
    done = run_forked([*command, "--allow_leakage=True"], tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["leakage"]["identities"] == []
    assert report["leakage"]["sets"]["own"]["identities"] == ["bob"]


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_file_that_names_nobody_is_refused(tmp_path, text):
    (tmp_path / "people.txt").write_text(text)
    with pytest.raises(ValueError, match=r"people\.txt: no identity found"):
        read_train_identities(tmp_path / "people.txt")
    with pytest.raises(ValueError, match="no identity found; .* train_identities.ckpt"):
        read_train_identities(tmp_path)
    with pytest.raises(ValueError, match=r"absent\.txt: .*No such file"):
        read_train_identities(tmp_path / "absent.txt")
