"""A run's record: what may change from one start to the next, and what may not."""

import json
import shutil

import pytest

from speechbrain_fv.training.record import restoring, settings_of
from tests.small_runs import equal, parameters, train, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """The output folder of a finished run."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    result = train(corpus, folder, "--number_of_epochs=1", "--steps_per_epoch=4")
    assert result.returncode == 0, result.stderr
    return folder


def content(folder):
    """Every file of a run that holds a result, with its bytes."""
    names = ("report.json", "hyperparams.yaml", "train_curves.csv", "embeddings_test.npz")
    files = [folder / name for name in names] + sorted((folder / "manifests").iterdir())
    return {file.name: file.read_bytes() for file in files}


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--num_clusters=[4]", "num_clusters"),
        ("--gamma1=0.5", "gamma1 was 10, is 0.5"),
        ("--lr=0.1", "lr was 0.0003, is 0.1"),
        ("--seed=7", "seed was 1234, is 7"),
        ("--batch_size=16", "batch"),
        ("--discriminator={temperature: 0.7}", "discriminator.temperature was 0.3, is 0.7"),
        ("--embedding_dim=64", "embedding_dim was 256, is 64"),
        ("--standardize=True", "standardize was false, is true"),
        ("--precision=bf16", "--precision was fp32, is bf16"),
        ("--test_only --gamma2=3.0", "gamma2 was 0.1, is 3"),
    ],
)
def test_a_finished_run_is_not_taken_for_another(corpus, finished, option, named):
    """The folder used to answer with the old results and a record of the new settings."""
    before = content(finished)
    options = ("--number_of_epochs=1", "--steps_per_epoch=4", *option.split(" --"))
    options = [text if text.startswith("--") else f"--{text}" for text in options]
    result = train(corpus, finished, *options)
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert named in line and "choose another --output_folder" in line
    assert content(finished) == before


@pytest.mark.parametrize(
    "option", ["--num_workers=1", "--patience=3", "--test_only", "--lr=3e-4", "--gamma1=10"]
)
def test_what_makes_no_result_may_change(corpus, finished, option, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    result = train(corpus, folder, "--number_of_epochs=1", "--steps_per_epoch=4", option)
    assert result.returncode == 0, result.stderr
    assert json.loads((folder / "report.json").read_text()) == json.loads(
        (finished / "report.json").read_text()
    )
    assert equal(parameters(folder), parameters(finished))


def test_settings_follow_aliases_and_leave_out_places():
    text = """
        q: &q [8, 32]
        labeler: !new:a.Labeler {num_clusters: *q, save_path: /here}
        output_folder: x
        corpus: {face_reader: !new:a.Reader {path: /p, key: k}, lr: 1, cache_folder: c}
    """
    assert settings_of(text) == {
        "q.0": "8",
        "q.1": "32",
        "labeler": "!new:a.Labeler",
        "labeler.num_clusters.0": "8",
        "labeler.num_clusters.1": "32",
        "corpus.face_reader": "!new:a.Reader",
        "corpus.face_reader.key": "k",
    }


def test_a_folder_is_put_back_after_an_error(tmp_path):
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.csv").write_text("old")
    with pytest.raises(ValueError, match="no"), restoring(folder):
        (folder / "a.csv").write_text("new")
        (folder / "b.csv").write_text("new")
        raise ValueError("no")
    assert [(p.name, p.read_text()) for p in folder.iterdir()] == [("a.csv", "old")]
    with restoring(folder):
        (folder / "a.csv").write_text("new")
    assert (folder / "a.csv").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 1
