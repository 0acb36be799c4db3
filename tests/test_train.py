"""The main job on small data, through its command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_fv.curves import CurveLog
from tests.paths import HPARAMS, ROOT

NUM_IDENTITIES, CLIPS_EACH, DIM = 60, 4, 16


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def write_corpus(folder):
    """Vectors of people whose faces and voices share a latent; returns the --corpus override."""
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.normal(size=(NUM_IDENTITIES, 6)), CLIPS_EACH, axis=0)

    def view():
        mixed = shared @ rng.normal(size=(6, DIM))
        return (mixed + 0.5 * rng.normal(size=mixed.shape)).astype(np.float32)

    names = np.repeat([f"p{n:02}" for n in range(NUM_IDENTITIES)], CLIPS_EACH)
    clips = [f"c{n}" for n in range(len(names))]
    genders = np.where(np.arange(len(names)) // CLIPS_EACH % 2, "f", "m")
    np.savez(folder / "vectors.npz", clip=clips, face_vectors=view(), voice_vectors=view())
    table = pd.DataFrame({"clip": clips, "identity": names, "gender": genders})
    table.to_csv(folder / "clips.csv", index=False)
    return (
        f"--corpus=!include:corpora/embeddings.yaml {{clips_csv: {folder / 'clips.csv'}, "
        f"embeddings: {folder / 'vectors.npz'}, face_key: face_vectors, voice_key: voice_vectors}}"
    )


def arguments(corpus, output_folder, *options):
    replaced = {option.split("=")[0] for option in options}
    defaults = [
        corpus,
        f"--face=!include:face/embedding.yaml {{input_dim: {DIM}}}",
        f"--voice=!include:voice/embedding.yaml {{input_dim: {DIM}}}",
        f"--output_folder={output_folder}",
        "--num_clusters=[4, 16]",
        "--batch_size=32",
        "--steps_per_epoch=20",
        "--number_of_epochs=4",
        "--draw_figures=False",
    ]
    kept = [option for option in defaults if option.split("=")[0] not in replaced]
    script = [str(ROOT / "recipes" / "train.py"), str(HPARAMS / "bipcm_fst.yaml")]
    return [sys.executable, *script, *kept, *options]


def train(corpus, output_folder, *options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        arguments(corpus, output_folder, *options),
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )


def parameters(output_folder):
    """All weights, buffers and optimiser state of the last checkpoint."""
    folder = max((output_folder / "save").glob("CKPT*"), key=lambda path: path.name)
    names = ("face_encoder", "voice_encoder", "cmwr", "objective", "optimizer")
    return {name: torch.load(folder / f"{name}.ckpt") for name in names}


def equal(first, second):
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """The output folder of a whole run, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    result = train(corpus, folder, "--draw_figures=True")
    assert result.returncode == 0, result.stderr
    return folder, result


def test_the_main_job_learns_and_leaves_its_results(finished):
    folder, result = finished
    report = json.loads((folder / "report.json").read_text())
    assert report["verification"]["U"]["auc"] > 0.75
    assert report["verification"]["N"] is None
    assert report["training"]["num_epochs"] == 4 and report["training"]["num_steps"] == 80
    curves = pd.read_csv(folder / "train_curves.csv")
    expected = {"loss", "L_cma", "L_BiP", "L_id", "L_KL", "agreement_q4", "agreement_q16"}
    assert expected < set(curves.name)
    assert (curves[curves.name == "L_BiP"].step == range(1, 81)).all()
    assert "verification" in result.stdout.lower()
    for name in ("embeddings_test.npz", "metadata_test.csv", "train_log.txt", "hyperparams.yaml"):
        assert (folder / name).is_file()
    assert list((folder / "figures").glob("*.png"))


def test_the_test_embeddings_give_the_same_report_again(finished, tmp_path):
    folder, _ = finished
    subprocess.run(
        [
            sys.executable,
            str(ROOT / "recipes" / "evaluate.py"),
            str(HPARAMS / "evaluate.yaml"),
            f"--embeddings={folder / 'embeddings_test.npz'}",
            f"--metadata={folder / 'metadata_test.csv'}",
            f"--output_folder={tmp_path}",
        ],
        check=True,
        capture_output=True,
    )
    again = json.loads((tmp_path / "report.json").read_text())
    report = json.loads((folder / "report.json").read_text())
    for task in ("verification", "matching", "retrieval"):
        assert again[task] == report[task]


def test_the_same_seed_gives_the_same_run(corpus, finished, tmp_path):
    folder, _ = finished
    assert train(corpus, tmp_path).returncode == 0
    assert equal(parameters(folder), parameters(tmp_path))
    first, second = (pd.read_csv(f / "train_curves.csv") for f in (folder, tmp_path))
    pd.testing.assert_frame_equal(first, second)


def test_a_killed_run_resumes_to_the_same_result(corpus, finished, tmp_path):
    """SIGKILL in mid-epoch, after a mid-epoch checkpoint; the same command then finishes."""
    folder, _ = finished
    options = ("--ckpt_interval_minutes=0", "--ckpt_interval_steps=3")
    process = subprocess.Popen(
        arguments(corpus, tmp_path, *options),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    curves = tmp_path / "train_curves.csv"
    deadline = time.monotonic() + 200
    while not (curves.exists() and "\n29," in curves.read_text()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "report.json").exists()

    result = train(corpus, tmp_path, *options)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report == json.loads((folder / "report.json").read_text())
    assert equal(parameters(folder), parameters(tmp_path))
    first, second = (
        pd.read_csv(f / "train_curves.csv").sort_values(["step", "name"], ignore_index=True)
        for f in (folder, tmp_path)
    )
    pd.testing.assert_frame_equal(first, second)


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
        "--draw_figures=True",
    ]
    for _ in range(2):
        result = train("--corpus=", tmp_path / "run", *options)
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
    assert "checkpoints were trained on other data" in result.stderr


def test_bipcm_plus_learns_with_labels_from_the_inputs(corpus, tmp_path):
    command = arguments(corpus, tmp_path)
    command[2] = str(HPARAMS / "bipcm_plus.yaml")
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
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
    result = train(corpus, tmp_path, option)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "report.json").read_text())
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
        (["--loss_weights={weights: {L_new: 1.0}}"], "L_new"),
        (["--face=!include:face/timm.yaml {model: resnet35}"], "timm knows no 'resnet35'"),
        (["--face=!include:face/embedding.yaml {input_dim: 7}"], "expected width 7, got 16"),
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


def test_a_missing_yaml_gives_one_line():
    result = subprocess.run(
        [sys.executable, str(ROOT / "recipes" / "train.py"), "nowhere.yaml"],
        capture_output=True,
        text=True,
    )
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
