"""The command that compares methods: real runs on vectors, in folds."""

import json
import runpy
import signal

import pandas as pd
import pytest
from ruamel.yaml import YAML

from speechbrain_fv.data.manifests import load_manifests
from tests.paths import HPARAMS, ROOT
from tests.processes import recipe, run_forked
from tests.small_runs import DIM, NUM_IDENTITIES, write_corpus


def coordinates(number):
    """Arguments of a ridge CCA of so many coordinates."""
    inside = f"input_dim: {DIM}, num_coordinates: {number}, hidden_dim: 0"
    return [
        f"--embedding_dim={number}",
        f"--face=!include:face/canonical.yaml {{{inside}}}",
        f"--voice=!include:voice/canonical.yaml {{{inside}, network_dim: {number}}}",
    ]


def write_comparison(folder):
    """Writes vectors of people, and a YAML of two methods in closed form; returns its path."""
    shipped = YAML(typ="safe").load(HPARAMS / "comparison.yaml")
    own = {"hparams_file": str(HPARAMS / "ridge_cca.yaml")}
    content = shipped | {
        "output_folder": str(folder / "out"),
        "seeds": [3],
        "num_folds": 2,
        "reference": None,
        "base": [write_corpus(folder, clips_each=2), "--draw_figures=False"],
        "tuning": {"shipped": []},
        "methods": {
            "four": own | {"arguments": coordinates(4), "published": "pins"},
            "tuned": own | {"arguments": coordinates(1), "tuning": {"six": coordinates(6)}},
            "video": {"reason": "there are no videos"},
        },
    }
    with (folder / "comparison.yaml").open("w") as file:
        YAML(typ="safe").dump(content, file)
    return folder / "comparison.yaml"


@pytest.fixture
def script():
    """The names of the script; the handler that it sets is taken back."""
    handler = signal.getsignal(signal.SIGTERM)
    yield runpy.run_path(str(ROOT / "recipes" / "compare_methods.py"))
    signal.signal(signal.SIGTERM, handler)


def test_methods_are_tuned_trained_and_tabulated_in_folds(tmp_path, script, capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yaml, out = write_comparison(tmp_path), tmp_path / "out"
    script["main"]([str(yaml), "--dry_run"])
    listed = capsys.readouterr().out
    assert "to do tuned/fold_1/six/3" in listed and "6 runs to tune, then 0 more" in listed
    assert not out.exists()

    hparams = YAML(typ="safe").load(yaml)
    *ready, last = script["distinct"](script["planned"](hparams)[2].values())
    for run in ready:  # as the command would, but without an interpreter for each
        run.write_record()
        options = [f"--seed={run.seed}", f"--output_folder={run.folder}"]
        result = run_forked(recipe("train", *run.arguments, *options))
        assert result.returncode == 0, result.stderr
    before = {path: path.stat().st_mtime_ns for path in out.rglob("report.json")}
    assert len(before) == 5 and not last.is_done
    script["main"]([str(yaml)])
    assert last.is_done and f"Tables and figure: {out}" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())

    folders = [out / "four" / f"fold_{fold}" / "shipped" / "3" for fold in range(2)]
    manifests = [load_manifests(folder / "manifests") for folder in folders]
    tested = [set(part.faces["test"].spk_id) for part in manifests]
    assert not set.intersection(*tested) and len(set.union(*tested)) == NUM_IDENTITIES
    tuned = pd.read_csv(out / "tuning.csv")
    chosen = tuned[tuned.chosen & (tuned.method == "tuned")]
    assert chosen.candidate.tolist() == ["six", "six"]  # the people have six latent coordinates
    table = pd.read_csv(out / "comparison.csv").query("metric == 'verification/U/auc'")
    own = [
        json.loads((out / "tuned" / f"fold_{fold}" / "six" / "3" / "report.json").read_text())
        for fold in range(2)
    ]
    own = [report["verification"]["U"]["auc"] for report in own]
    row = table[(table.method == "tuned") & (table.fold == "all") & table.seed.isna()].iloc[0]
    assert row.value == pytest.approx(sum(own) / 2) and row.value > 0.8
    assert row.low < row.value < row.high and row.difference_low < row.difference_high
    text = (out / "table.md").read_text()
    assert "-: video: there are no videos" in text and "## AUC G by fold" in text
    assert "| four | 0 | 0 | 0." in text  # parameters and seconds


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--num_folds=1", "num_folds: expected a number of 2 or more, got 1"),
        ("--only=fuor", "only: no method 'fuor'; did you mean 'four'"),
        ("--seeds=[1, 1]", "seeds: expected distinct numbers"),
        ("--reference=nobody", "reference: 'nobody' is none of four, tuned, video"),
        ("--jobs=0", "jobs: expected runs per device"),
        ("--devices=[nowhere:0]", "device 'nowhere:0' cannot be used"),
        ('--base=["--lrr=1"]', "method four, shipped: .*lrr"),
    ],
)
def test_mistakes_are_told_before_any_work(tmp_path, script, option, message):
    yaml = write_comparison(tmp_path)
    with pytest.raises(ValueError, match=message):
        script["main"]([str(yaml), option])
    assert not (tmp_path / "out").exists()


def test_a_closed_form_corpus_of_pixels_says_why_it_has_no_cca(capsys, script):
    script["main"](
        [
            str(HPARAMS / "comparison.yaml"),
            "--only=ridge_cca,infonce",
            "--tune=False",
            "--reference=infonce",
            "--dry_run",
        ]
    )
    assert "1 runs to tune, then 2 more of what is chosen" in capsys.readouterr().out
