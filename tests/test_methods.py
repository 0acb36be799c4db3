"""Every method's YAML through the command line: it learns, resumes, and runs in two processes."""

import json

import pandas as pd
import pytest

from tests.paths import HPARAMS, ROOT
from tests.processes import fork, recipe, run_forked, run_ranks
from tests.small_runs import DIM, curves, equal, parameters, wait_for_step, write_corpus

OPTIONS = (
    f"--face=!include:face/embedding.yaml {{input_dim: {DIM}}}",
    f"--voice=!include:voice/embedding.yaml {{input_dim: {DIM}}}",
    "--steps_per_epoch=15",
    "--number_of_epochs=2",
    "--lr=1.0e-3",
    "--draw_figures=False",
    "--device=cpu",
)
METHODS = {
    "cmpc": (),
    "dimnet_i": (),
    "dimnet_ig": (),
    "dimnet_ign": (),
    "fop": (),
    "fop gated": ("--fusion=gated",),
    "fv_cme": (),
    "infonce": ("--learnable=True",),
    "infonce_id": (),
    "lafv": (),
    "lafv F-V": ("--direction=F-V",),
    "ldje": (),
    "pins": (),
    "ssnet": ("--lr=1.0e-2",),
    "ssnet git": ("--git=True", "--weights={L_git: 1.0}", "--lr=1.0e-2"),
    "ssos": (),
    "ssos as written": ("--weight_ce=True",),
    "supcon": (),
    "svhf": ("--lr=2.0e-3", "--steps_per_epoch=60"),
    "svhf F-V": ("--direction=F-V", "--lr=2.0e-3", "--steps_per_epoch=60"),
    "vfmr3": (),
    "vfmr3 semi-hard": ("--negatives=semi_hard",),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Vectors of people with a gender and a nationality; every clip is a video."""
    folder = tmp_path_factory.mktemp("corpus")
    option = write_corpus(folder)
    table = pd.read_csv(folder / "clips.csv")
    number = table.identity.str[1:].astype(int)
    table["nationality"] = number.map(lambda n: ("Italy", "India", "Ghana")[n % 3])
    table.to_csv(folder / "clips.csv", index=False)
    return option


def command(corpus, method, folder, *options, batch_size=32):
    """The training of a method in as many steps as tell that it learns.

    An option of a method replaces the one of its name that the others have.
    """
    name = f"{method.split()[0]}.yaml"
    own = {option.split("=")[0] for option in METHODS[method]}
    common = [option for option in OPTIONS if option.split("=")[0] not in own]
    options = (*common, f"--batch_size={batch_size}", *METHODS[method], *options)
    return recipe("train", HPARAMS / name, corpus, f"--output_folder={folder}", *options)


def auc_of(folder):
    """The AUC of a model, or its 1:2 accuracy, which is an AUC too, where that is all it has."""
    report = json.loads((folder / "report.json").read_text())
    if report["verification"]["U"] is None:
        (found,) = (m["U"] for m in report["matching"].values() if m["U"])
        return found["2"]["accuracy"]
    return report["verification"]["U"]["auc"]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_learns_and_a_killed_run_of_it_resumes_to_the_same_result(
    corpus, method, tmp_path
):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    result = run_forked(command(corpus, method, whole))
    assert result.returncode == 0, result.stderr
    assert auc_of(whole) > 0.7

    options = ("--ckpt_interval_minutes=0", "--ckpt_interval_steps=2")
    process = fork(command(corpus, method, killed, *options))
    wait_for_step(killed, 19, process.is_alive)
    process.kill()
    process.join()
    assert not (killed / "report.json").exists()
    result = run_forked(command(corpus, method, killed, *options))
    assert result.returncode == 0, result.stderr
    assert equal(parameters(whole), parameters(killed))
    pd.testing.assert_frame_equal(curves(whole), curves(killed))


@pytest.mark.parametrize("method", ["lafv", "supcon"])
def test_two_processes_of_a_method_equal_one(corpus, method, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    result = run_forked(command(corpus, method, one))
    assert result.returncode == 0, result.stderr
    training = command(corpus, method, two, "--distributed_backend=gloo", batch_size=16)
    result = run_ranks(training, 2, ROOT)
    assert result.returncode == 0, result.stderr
    pd.testing.assert_frame_equal(curves(one), curves(two), rtol=1e-4)
    assert auc_of(two) == pytest.approx(auc_of(one), abs=1e-3)
