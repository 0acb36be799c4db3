"""The main job on small data, through its command line."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_fv.training.curves import CurveLog
from tests.paths import HPARAMS
from tests.processes import fork, recipe, run, run_forked
from tests.small_runs import (
    command,
    curves,
    equal,
    parameters,
    train,
    wait_for_step,
    write_corpus,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """The output folder of a whole run, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    result = run(command(corpus, folder, "--draw_figures=True", "--num_workers=2"))
    assert result.returncode == 0, result.stderr
    return folder, result


def test_the_main_job_learns_and_leaves_its_results(finished):
    folder, result = finished
    report = json.loads((folder / "report.json").read_text())
    assert report["verification"]["U"]["auc"] > 0.75
    assert report["verification"]["N"] is None
    assert report["training"]["num_epochs"] == 4 and report["training"]["num_steps"] == 80
    table = pd.read_csv(folder / "train_curves.csv")
    expected = {"loss", "L_cma", "L_BiP", "L_id", "L_KL", "agreement_q4", "agreement_q16"}
    assert expected < set(table.name)
    assert (table[table.name == "L_BiP"].step == range(1, 81)).all()
    assert "verification" in result.stdout.lower()
    for name in ("embeddings_test.npz", "metadata_test.csv", "train_log.txt", "hyperparams.yaml"):
        assert (folder / name).is_file()
    assert list((folder / "figures").glob("*.png"))


def test_the_console_has_a_line_per_epoch_and_nothing_of_other_libraries(finished):
    """Each reading process used to warn of deprecated storages and of resized outputs."""
    folder, result = finished
    table = pd.read_csv(folder / "train_curves.csv").groupby(["name", "epoch"]).value.mean()
    lines = [line for line in result.stdout.splitlines() if line.startswith("epoch ")]
    aucs = table["valid_auc_U"]
    for number, line in enumerate(lines, start=1):
        best = aucs[:number].idxmax()
        assert len(line) <= 100 and line.endswith(" left")
        assert line.startswith(
            f"epoch {number}/4 step {20 * number}/80 loss {table['loss', number]:.4g}  "
            f"AUC U {100 * aucs[number]:.2f} G {100 * table['valid_auc_G', number]:.2f} %  "
            f"best {100 * aucs[best]:.2f} % (epoch {best})  0:"
        )
    assert len(lines) == 4
    assert (folder / "train_log.txt").read_text().count("train L_BiP") == 4
    for text in ("Warning", "it/s", "quirks", "checkpoint", "Going into"):
        assert text not in result.stdout + result.stderr


def test_the_test_embeddings_give_the_same_report_again(finished, tmp_path):
    folder, _ = finished
    options = {
        "embeddings": folder / "embeddings_test.npz",
        "metadata": folder / "metadata_test.csv",
        "output_folder": tmp_path,
    }
    options = [f"--{name}={value}" for name, value in options.items()]
    result = run_forked(recipe("evaluate", HPARAMS / "evaluate.yaml", *options))
    assert result.returncode == 0, result.stderr
    again = json.loads((tmp_path / "report.json").read_text())
    report = json.loads((folder / "report.json").read_text())
    for task in ("verification", "matching", "retrieval"):
        assert again[task] == report[task]


def test_the_same_seed_gives_the_same_run(corpus, finished, tmp_path):
    """Also with torch's repeatable algorithms alone, which on the CPU are those of every run."""
    folder, _ = finished
    assert train(corpus, tmp_path, "--deterministic=True").returncode == 0
    assert equal(parameters(folder), parameters(tmp_path))
    first, second = (pd.read_csv(f / "train_curves.csv") for f in (folder, tmp_path))
    pd.testing.assert_frame_equal(first, second)


def test_a_killed_run_resumes_to_the_same_result(corpus, finished, tmp_path):
    """SIGKILL in mid-epoch, after a mid-epoch checkpoint; the same command then finishes."""
    folder, _ = finished
    options = ("--ckpt_interval_minutes=0", "--ckpt_interval_steps=3")
    process = fork(command(corpus, tmp_path, *options))
    wait_for_step(tmp_path, 29, process.is_alive)
    process.kill()
    process.join()
    assert not (tmp_path / "report.json").exists()

    result = train(corpus, tmp_path, *options)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report == json.loads((folder / "report.json").read_text())
    assert re.search(r"^resumed at step \d+ of 80, in epoch [234] of 4$", result.stdout, re.M)
    assert equal(parameters(folder), parameters(tmp_path))
    pd.testing.assert_frame_equal(curves(folder), curves(tmp_path))


def test_pixels_and_waveforms_run_end_to_end(tmp_path):
    """The embedded corpus, made small, through ResNet and DIMNet-voice; a second run reuses it."""
    options = [
        "--corpus=!include:corpora/embedded.yaml "
        f"{{num_identities: 20, cache_folder: {tmp_path}, generation_workers: 1}}",
        "--face=!include:face/timm.yaml {model: resnet10t}",
        "--voice=!include:voice/dimnet.yaml",
        "--batch_size=16",
        "--steps_per_epoch=2",
        "--number_of_epochs=1",
    ]
    for execute, figures in ((run, True), (run_forked, False)):
        result = execute(
            command("--corpus=", tmp_path / "run", *options, f"--draw_figures={figures}")
        )
        assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["num_faces"] == report["num_voices"] == 20
    assert report["training"]["num_epochs"] == 1
    assert len(list(tmp_path.glob("embedded-*"))) == 1


def test_a_folder_trained_on_other_data_is_not_resumed(corpus, finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "save", tmp_path / "save")
    other = corpus.replace("voice_key: voice_vectors", "voice_key: face_vectors")
    result = train(other, tmp_path)
    assert result.returncode == 2
    assert "voice_key was voice_vectors, is face_vectors; choose another" in result.stderr


def test_bipcm_plus_learns_with_labels_from_the_inputs(corpus, tmp_path):
    result = train(corpus, tmp_path, method="bipcm_plus")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verification"]["U"]["auc"] > 0.75
    assert {"L_BiP", "L_NCE", "L_id"} < set(pd.read_csv(tmp_path / "train_curves.csv").name)


@pytest.mark.parametrize(
    ("option", "num_steps"),
    [
        ("--debug", 4),  # SpeechBrain's two batches in each of two epochs
        ("--optimizer_step_limit=5", 5),
        ("--grad_accumulation_factor=2", 40),
    ],
)
def test_run_options_of_speechbrain_work(corpus, tmp_path, option, num_steps):
    folder = tmp_path / "run"
    result = train(corpus, folder, option)
    assert result.returncode == 0, result.stderr
    if option == "--debug":  # in a folder of its own: it must not replace a finished run
        assert not folder.exists()
        folder = tmp_path / "run-debug"
    report = json.loads((folder / "report.json").read_text())
    assert report["training"]["num_steps"] == num_steps


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_one_line(corpus, tmp_path):
    result = train(corpus, tmp_path, "--device=cuda")
    assert result.returncode == 2
    assert "error: device 'cuda' cannot be used" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--test_only"], "no checkpoint to evaluate; train at least one epoch first"),
        (["--num_clusters=[64]"], "q = 64 is larger than the batch of 32 pairs"),
        (["--no_such_key=1"], "no_such_key"),
        (["--sampling=random"], "sampling: expected 'identities' or 'clips', got 'random'"),
        (["--weights={L_new: 1.0}"], "no loss has a term L_new"),
        (["--monitor=verfication/U/auc"], "monitor: verfication/U/auc: expected a path"),
        (["--monitor=verification/N/auc"], "of the validation split, 'nationality' is unknown"),
        (["--score=cosine"], "score: expected an object of a class of speechbrain_fv.scores"),
        (["--final_lr=1.0"], "final_lr: expected a number above 0 and at most"),
        (["--opt_class={betas: 3}"], "opt_class: "),
        (
            [
                "--sampler=!name:torch.utils.data.BatchSampler {batch_size: !ref <batch_size>, "
                "drop_last: !ref <steps_per_epoch>}"
            ],
            "sampler: expected a subclass of speechbrain_fv.data.samplers.BatchSampler by !name:",
        ),
        (["--face=!include:face/timm.yaml {model: resnet35}"], "timm knows no 'resnet35'"),
        (["--face=!include:face/embedding.yaml {input_dim: 7}"], "expected 16, the width of"),
        (["--corpus=!include:corpora/own_data.yaml {clips_csv: nowhere.csv}"], "nowhere.csv"),
        (["--lr=1.0e+30"], "NaN or infinite embeddings at epoch 1, step"),
    ],
)
def test_mistakes_give_one_line(corpus, tmp_path, options, message):
    result = train(corpus, tmp_path, *options)
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("option", ["--monitor=verification/U/acu", "--weights={L_new: 1.0}"])
def test_a_method_that_does_not_fit_is_told_before_anything_starts(corpus, tmp_path, option):
    result = train(corpus, tmp_path / "run", option)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
    for name in ("log.txt", "hyperparams.yaml", "manifests"):
        assert not (tmp_path / "run" / name).exists()


def test_a_missing_yaml_gives_one_line():
    result = run_forked(recipe("train", "nowhere.yaml"))
    assert result.returncode == 2
    assert "nowhere.yaml" in result.stderr and "Traceback" not in result.stderr


def test_curves_rewind_to_a_step_and_survive_a_torn_line(tmp_path):
    log = CurveLog(tmp_path / "curves.csv")
    for step in range(1, 5):
        log.append(step, 1, {"loss": step / 3})
    with log.path.open("a") as file:
        file.write("5,1,lo")
    log.rewind(3)
    table = pd.read_csv(log.path)
    assert table.step.tolist() == [1, 2, 3] and table.value[2] == 1.0
    assert log.epoch_means(1) == {"loss": pytest.approx(2 / 3)}
    log.append(3, 1, {"valid_auc": 0.5})
    log.append(3, 2, {"valid_auc": 0.6})  # of an epoch that made no step, not kept
    log.rewind(3, epoch=1)
    assert pd.read_csv(log.path).query("name == 'valid_auc'").value.tolist() == [0.5]
    log.path.write_text("")  # killed, or the disk full, before the first row
    log.rewind(0)
    log.append(1, 1, {"loss": 2.0})
    assert log.epoch_means(1) == {"loss": 2.0}


def test_the_means_of_an_epoch_are_read_from_the_end_of_the_curves(tmp_path):
    """Of a training of 100 epochs an epoch reads one block, and means what the whole file would."""
    log = CurveLog(tmp_path / "curves.csv")
    assert log.epoch_means(1) == {}
    expected, read = {}, {}
    for epoch in range(1, 101):
        values = np.random.default_rng(epoch).normal(size=epoch % 7 * 30 + 1)
        for step, value in enumerate(values):
            log.append(step, epoch, {"loss": value, "term": 2 * value})
        expected[epoch] = values.mean()
        read[epoch] = len(log._rows_from(epoch))
        means = log.epoch_means(epoch)
        assert means == {"loss": pytest.approx(expected[epoch]), "term": 2 * means["loss"]}
    assert log.path.stat().st_size > 5 * 2**16 and max(read.values()) <= 2**16
    assert log.epoch_means(3)["loss"] == pytest.approx(expected[3])
    assert log.epoch_means(101) == {}
    (tmp_path / "curves.csv").write_text("step,epoch,name,value\n")
    assert log.epoch_means(1) == {}
