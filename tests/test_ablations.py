"""The command that runs an ablation: stopped, resumed, tabulated."""

import json
import runpy
import signal
import subprocess

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from tests.paths import HPARAMS, ROOT
from tests.processes import recipe, wait_for
from tests.small_runs import OPTIONS, write_corpus
from tests.tables import tabulars


def write_ablation(folder):
    """Writes vectors of people and a YAML of two variants on them; returns its path."""
    shipped = YAML(typ="safe").load(HPARAMS / "ablations.yaml")
    content = shipped | {
        "hparams_file": str(HPARAMS / "bipcm_fst.yaml"),
        "output_folder": str(folder / "out"),
        "seeds": [1, 2],
        "jobs": 2,
        "base": [write_corpus(folder, clips_each=2), *OPTIONS],
        "ablations": {
            "parts": {
                "reference": "all",
                "figures": ["bars", "agreement"],
                "variants": {"id": shipped["ablations"]["table4"]["variants"]["id"], "all": []},
            },
            "broken": {"variants": {"bad": "--num_clusters=[64]"}},
        },
    }
    with (folder / "ablations.yaml").open("w") as file:
        YAML(typ="safe").dump(content, file)
    return folder / "ablations.yaml"


@pytest.fixture
def ablate():
    """The command's main function; the handler that it sets is taken back."""
    handler = signal.getsignal(signal.SIGTERM)
    yield runpy.run_path(str(ROOT / "recipes" / "ablate.py"))["main"]
    signal.signal(signal.SIGTERM, handler)


def test_a_grid_is_stopped_resumed_and_tabulated(
    tmp_path, ablate, capsys, monkeypatch, interruptible
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yaml, out = write_ablation(tmp_path), tmp_path / "out"
    command = recipe("ablate", yaml, "--grids=parts")
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(out.glob("parts/*/*/save/CKPT*/*.ckpt")) or first.poll(), 300)
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate()
    assert first.returncode == 130 and "the same command goes on from here" in errors
    assert not list(out.rglob("report.json"))

    ablate([str(yaml), "--grids=parts"])
    assert f"Tables and figures: {out}" in capsys.readouterr().out
    reports = {path: path.stat().st_mtime_ns for path in out.rglob("report.json")}
    assert len(reports) == 4
    assert "Loading a checkpoint" in (out / "parts" / "id" / "1" / "log.txt").read_text()
    table = pd.read_csv(out / "ablations.csv")
    auc = table[(table.metric == "verification/U/auc") & (table.variant == "all")]
    own = [json.loads((out / "parts" / "all" / seed / "report.json").read_text()) for seed in "12"]
    own = [report["verification"]["U"]["auc"] for report in own]
    assert auc.value.tolist() == pytest.approx([*own, np.mean(own)])
    # Six people for validation have twelve pairs, too few for q = 16.
    agreement = {f"agreement/{name}" for name in ("train/4", "train/16", "valid/4", "shuffled/4")}
    assert {name for name in table.metric if name.startswith("agreement")} == agreement
    assert "q = [16] is left out" in (out / "parts" / "all" / "1" / "console.txt").read_text()
    text = (out / "table.md").read_text()
    assert f"{100 * np.mean(own):.1f} ± {100 * np.std(own, ddof=1):.1f} [" in text
    tabulars(out / "table.tex")
    names = {path.name for path in (out / "figures").glob("*.png")}
    assert names == {"parts_bars.png", "parts_agreement.png"}

    with pytest.raises(SystemExit) as exit_code:
        ablate([str(yaml), "--seeds=[1]"])
    assert exit_code.value.code == 1
    message = "failed: broken/bad/1: exit code 2: error: num_clusters: q = 64 is larger"
    assert message in capsys.readouterr().err
    assert "Not done: broken/bad/1" in (out / "table.md").read_text()
    assert reports == {path: path.stat().st_mtime_ns for path in out.rglob("report.json")}


def test_a_dry_run_lists_and_runs_nothing(tmp_path, ablate, capsys):
    yaml = write_ablation(tmp_path)
    arguments = [str(yaml), "--grids=parts", "--seeds=[7]", '--base=["--lr=0.5"]']
    arguments.append("--devices=[nowhere:0]")  # only what runs needs the devices
    ablate([*arguments, "--dry_run"])
    printed = capsys.readouterr().out
    assert "to do parts/all/7 --lr=0.5\n" in printed and "2 cells, 2 runs, 0 done" in printed
    with pytest.raises(ValueError, match="device 'nowhere:0' cannot be used"):
        ablate(arguments)
    assert not (tmp_path / "out").exists()
