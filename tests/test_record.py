"""A run's record: what may change from one start to the next, and what may not."""

import json
import shutil

import numpy as np
import pytest

from speechbrain_fv.settings.run_options import DEFAULTS
from speechbrain_fv.training.record import (
    RUN_OPTIONS,
    check_record,
    restoring,
    settings_of,
    write_record,
)
from tests.processes import fork
from tests.small_runs import command, curves, equal, parameters, train, wait_for_step, write_corpus


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
    assert ("nothing left to train after epoch 1  best" in result.stdout) == (
        option != "--test_only"
    )
    assert json.loads((folder / "report.json").read_text()) == json.loads(
        (finished / "report.json").read_text()
    )
    assert equal(parameters(folder), parameters(finished))


def test_a_corpus_may_move(corpus, finished, tmp_path):
    """Another place, other times of writing: the same clips, the same vectors."""
    folder, data = tmp_path / "run", tmp_path / "data"
    shutil.copytree(finished, folder)
    data.mkdir()
    moved = write_corpus(data)
    options = ("--number_of_epochs=1", "--steps_per_epoch=4")
    result = train(moved, folder, *options)
    assert result.returncode == 0, result.stderr
    assert equal(parameters(folder), parameters(finished))
    assert curves(folder).equals(curves(finished))

    vectors = dict(np.load(data / "vectors.npz"))
    vectors["face_vectors"][5, 3] += 1e-3
    np.savez(data / "vectors.npz", **vectors)
    refused = train(moved, folder, *options)
    assert refused.returncode == 2 and "trained on other data than this run's" in refused.stderr


def test_fewer_clips_are_other_data(corpus, finished, tmp_path):
    folder, data = tmp_path / "run", tmp_path / "data"
    shutil.copytree(finished, folder)
    data.mkdir()
    moved = write_corpus(data)
    table = (data / "clips.csv").read_text().splitlines()
    (data / "clips.csv").write_text("\n".join(table[:-1]) + "\n")
    refused = train(moved, folder, "--number_of_epochs=1", "--steps_per_epoch=4")
    assert refused.returncode == 2 and "trained on other data than this run's" in refused.stderr
    assert content(folder) == content(finished)


def test_a_record_of_an_earlier_version_compares_the_key(tmp_path):
    settings = {f"--{name}": str(DEFAULTS[name]) for name in RUN_OPTIONS}
    now = {"settings": settings, "clips": "c", "corpus": "key", "global_batch": 8}
    write_record(tmp_path, {**now, "clips": None})
    check_record(tmp_path, now, True)
    with pytest.raises(ValueError, match="other data"):
        check_record(tmp_path, {**now, "corpus": "moved"}, True)
    write_record(tmp_path, now)
    check_record(tmp_path, {**now, "corpus": "moved"}, True)
    with pytest.raises(ValueError, match="other data"):
        check_record(tmp_path, {**now, "clips": "others"}, True)


def test_a_folder_has_one_run_at_a_time(corpus, tmp_path):
    folder = tmp_path / "run"
    first = fork(command(corpus, folder, "--number_of_epochs=40"))
    try:
        wait_for_step(folder, 1, first.is_alive)
        second = train(corpus, folder, "--number_of_epochs=40")
        (line,) = [line for line in second.stderr.splitlines() if line.startswith("error: ")]
        assert second.returncode == 2 and "another process" in line and str(folder) in line
        assert first.is_alive()
    finally:
        first.kill()
        first.join()
    # What the killed one may have left, of each kind.
    (folder / "save" / "CKPT+2026-01-01+00-00-00+00").mkdir()
    (folder / "save" / "CKPT+2026-01-01+00-00-00+00" / "voice_encoder.ckpt").write_bytes(b"half")
    (folder / "manifests" / ".identities.csv.123.partial").write_text("half")
    result = train(corpus, folder, "--number_of_epochs=40", "--test_only")
    assert result.returncode in (0, 2)
    left = [path for path in folder.rglob("*") if "partial" in path.name or path.name == ".running"]
    assert not left and not (folder / "save" / "CKPT+2026-01-01+00-00-00+00").exists()


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


def test_places_play_no_part_at_the_top_or_below():
    text = """
        folder: /data/flag
        corpus: {prepare: !name:a.prepare {face_pack: /p, train_lists: [/l], vectors: v, seed: 1}}
    """
    assert settings_of(text) == {"corpus.prepare": "!name:a.prepare", "corpus.prepare.seed": "1"}
