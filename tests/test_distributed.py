"""Two processes against one with the same global batch, on the CPU with gloo.

torchrun starts some; the others are forked with what it tells its processes.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

from speechbrain_fv.data.pairs import evaluation_loader
from tests import small_runs
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, recipe, run, run_forked, run_ranks
from tests.small_runs import OPTIONS, curves, equal, parameters, train, wait_for_step, write_corpus

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
GLOBAL_BATCH = 64
SHORT = ("--number_of_epochs=1", "--num_clusters=[8, 32]")
LINEAR = (
    "--discriminator=!new:speechbrain_fv.losses.LinearDiscriminator "
    "{embedding_dim: !ref <embedding_dim>, num_clusters: !ref <num_clusters>}",
    "--grad_accumulation_factor=2",
    "--steps_per_epoch=40",
    # Gradient descent without clipping shows a wrong scale, which Adam would hide.
    "--opt_class=!name:torch.optim.SGD {lr: !ref <lr>}",
    "--lr=1.0e-3",
    "--max_grad_norm=1000000",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def command(corpus, output_folder, num_processes, *options):
    """The training, as a command for `run_ranks`, that also saves its labels."""
    replaced = {option.split("=")[0] for option in options}
    short = [option for option in SHORT if option.split("=")[0] not in replaced]
    options = (*short, f"--batch_size={GLOBAL_BATCH // num_processes}", *options)
    if num_processes > 1:
        options = ("--distributed_backend=gloo", "--device=cpu", *options)
    python, *script = small_runs.command(corpus, output_folder, *options)
    record = [str(ROOT / "tests" / "record_labels.py"), str(output_folder / "labels")]
    return [python, *record, *script]


def by_torchrun(command):
    return [*TORCHRUN, *command[1:]]


def finish(corpus, output_folder, num_processes, *options):
    output_folder.mkdir(exist_ok=True)
    training = command(corpus, output_folder, num_processes, *options)
    if num_processes == 1:
        result = run_forked(training, ROOT)
    elif options:
        result = run_ranks(training, num_processes, ROOT)
    else:
        result = run(by_torchrun(training), ROOT)
    assert result.returncode == 0, result.stderr
    return output_folder


def largest_difference(first, second):
    """Between all weights and buffers of two output folders, in absolute value."""
    first, second = parameters(first), parameters(second)
    differences = [
        (value - second[name][key]).abs().max().item()
        for name in ("face_encoder", "voice_encoder", "cmwr", "objective")
        for key, value in first[name].items()
    ]
    return max(differences)


def auc(output_folder):
    report = json.loads((output_folder / "report.json").read_text())
    return report["verification"]["U"]["auc"]


@pytest.fixture(scope="module")
def pair(corpus, tmp_path_factory):
    """Output folders of one process and of two, with the default discriminator."""
    folder = tmp_path_factory.mktemp("pair")
    return finish(corpus, folder / "one", 1), finish(corpus, folder / "two", 2)


def same_labels(one, two):
    """Whether two processes gave the labels of one in every step.

    Their gradients are sums of two halves, whose last digits differ. On some processors K-means
    turns that into other labels from the second step on, and from there the runs part.
    """
    return equal(torch.load(two / "labels.0"), torch.load(one / "labels.0"))


def assert_alike(one, two):
    labels = torch.load(one / "labels.0")
    assert len(labels) >= 20
    of_ranks = [torch.load(two / f"labels.{rank}") for rank in range(2)]
    assert equal(*of_ranks)
    assert torch.equal(of_ranks[0][0], labels[0])
    first = [table[table.step == 1] for table in (curves(one), curves(two))]
    pd.testing.assert_frame_equal(*first, rtol=1e-4)
    # The second step shows the gradient of the first; L_id depends on no label.
    second = [t[(t.step == 2) & (t.name == "L_id")] for t in (curves(one), curves(two))]
    pd.testing.assert_frame_equal(*second, rtol=1e-5)
    if same_labels(one, two):
        assert largest_difference(one, two) < 1e-5
        assert auc(two) == pytest.approx(auc(one), abs=1e-4)
        pd.testing.assert_frame_equal(curves(one), curves(two), rtol=1e-4)
    else:
        assert auc(two) == pytest.approx(auc(one), abs=0.02)


def test_two_processes_equal_one(pair):
    assert_alike(*pair)


def test_two_processes_equal_one_with_linear_discriminators_and_accumulation(corpus, tmp_path):
    one = finish(corpus, tmp_path / "one", 1, *LINEAR)
    assert_alike(one, finish(corpus, tmp_path / "two", 2, *LINEAR))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bipcm_fst", "dimnet_ig", "infonce"])
def test_methods_differ_by_rounding(corpus, tmp_path, method):
    """With -s it prints a row of the table in docs/distributed.md."""
    options = [corpus, *OPTIONS[:2], "--steps_per_epoch=20", "--number_of_epochs=1"]
    options += ["--draw_figures=False", *(["--num_clusters=[8, 32]"] * (method == "bipcm_fst"))]
    folders = [tmp_path / name for name in ("one", "two")]
    for num_processes, folder in enumerate(folders, 1):
        folder.mkdir()
        backend = ["--distributed_backend=gloo", "--device=cpu"] if num_processes > 1 else []
        batch_size = f"--batch_size={GLOBAL_BATCH // num_processes}"
        yaml = ROOT / "hparams" / f"{method}.yaml"
        training = recipe(
            "train", yaml, f"--output_folder={folder}", batch_size, *backend, *options
        )
        run_one = run_forked if num_processes == 1 else partial(run_ranks, num_processes=2)
        result = run_one(training, folder=ROOT)
        assert result.returncode == 0, result.stderr
    of_weights = largest_difference(*folders)
    losses = [table[table.name == "loss"].value.to_numpy() for table in map(curves, folders)]
    of_loss = abs(losses[1] / losses[0] - 1).max()
    areas = [auc(folder) for folder in folders]
    row = f"| {method} | {of_weights:.1e} | {of_loss:.1e} | {areas[0]:.6f}, {areas[1]:.6f} |"
    print(row)
    assert of_weights < 1e-5 and of_loss < 1e-5 and areas[1] == pytest.approx(areas[0], abs=1e-4), (
        row
    )


def test_a_process_that_dies_ends_the_run_and_any_number_resumes(corpus, pair, tmp_path):
    """SIGKILL of one of two in mid-epoch; then two finish to the same weights, one to like ones."""
    options = ("--ckpt_interval_minutes=0", "--ckpt_interval_steps=3")
    killed = tmp_path / "killed"
    killed.mkdir()
    process = subprocess.Popen(
        by_torchrun(command(corpus, killed, 2, *options)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        cwd=ROOT,
    )
    wait_for_step(killed, 8, lambda: process.poll() is None)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    assert process.wait(timeout=100) != 0
    assert not (killed / "report.json").exists()

    alone = shutil.copytree(killed, tmp_path / "alone")
    result = train(corpus, alone, *SHORT, *options, "--batch_size=32")
    assert result.returncode == 2
    assert "trained with another batch than this run's 32 pairs" in result.stderr

    finish(corpus, killed, 2, *options)
    assert equal(parameters(killed), parameters(pair[1]))
    finish(corpus, alone, 1, *options)
    if same_labels(*pair):
        assert largest_difference(alone, pair[0]) < 1e-5
    else:
        assert auc(alone) == pytest.approx(auc(pair[0]), abs=0.02)


def test_debug_works(corpus, tmp_path):
    """Every process would have a temporary folder of checkpoints, and wait for the others'."""
    finish(corpus, tmp_path, 2, "--debug")


def error_lines(result):
    return [line for line in result.stderr.splitlines() if line.startswith("error: ")]


def test_a_mistake_of_all_processes_gives_one_line(corpus, tmp_path):
    result = run(by_torchrun(command(corpus, tmp_path, 2, "--num_clusters=[65]")), ROOT)
    assert result.returncode != 0
    (line,) = error_lines(result)
    assert "q = 65 is larger than the batch of 64 pairs" in line


def test_a_mistake_of_one_process_gives_one_line():
    result = run([*TORCHRUN, "-m", "tests.distributed_checks", "fail"], ROOT)
    assert result.returncode != 0
    assert error_lines(result) == ["error: a clip of rank 1 is broken"]
    assert "[rank" not in result.stderr  # no traceback of a process


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpus_are_one_line(corpus, tmp_path):
    result = run_ranks(command(corpus, tmp_path, 2, "--distributed_backend=nccl"), 2, ROOT)
    assert result.returncode != 0
    assert "expected a GPU for each of the 2 processes" in error_lines(result)[0]


@pytest.mark.parametrize("num_processes", [2, 3])
def test_what_the_processes_exchange(num_processes):
    """Gathering and its gradients, BatchNorm, dropout: see distributed_checks.py."""
    checks = [sys.executable, str(ROOT / "tests" / "distributed_checks.py"), "all"]
    result = run_ranks(checks, num_processes, ROOT)
    assert result.returncode == 0, result.stderr


def test_the_processes_share_the_clips_of_an_evaluation():
    faces, voices = list(range(10)), list(range(3))
    batches = [
        list(evaluation_loader(faces, voices, 2, 0, rank, 2).batch_sampler) for rank in range(2)
    ]
    assert [batch[0] for batch in batches[0]] == [
        ("face", 0),
        ("voice", 0),
        ("face", 4),
        ("face", 8),
    ]
    seen = [clip for rank in batches for batch in rank for clip in batch]
    assert sorted(seen) == [*(("face", n) for n in range(10)), *(("voice", n) for n in range(3))]
