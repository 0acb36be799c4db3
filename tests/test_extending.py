"""The page on own losses, encoders, samplers and scores, run as it stands."""

import json
import re
import shlex
import sys

import pandas as pd
from ruamel.yaml import YAML

from tests.paths import ROOT
from tests.processes import run_forked

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = re.compile(r"^`(mine/[\w.]+)`:\n\n```\w+\n(.*?)^```$", re.M | re.S)
COMMAND = re.compile(r"^\$ python (.*)$", re.M)


def test_what_the_page_shows_trains_and_is_scored_by_its_own_classifier(tmp_path, monkeypatch):
    for name in ("hparams", "recipes"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "mine").mkdir()
    files = FILES.findall(PAGE)
    assert [name for name, _ in files] == [
        "mine/same_or_not.py",
        "mine/small_face.yaml",
        "mine/same_or_not.yaml",
        "mine/evaluate.yaml",
    ]
    for name, text in files:
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    train, evaluate = COMMAND.findall(PAGE)
    result = run_forked([sys.executable, *shlex.split(train)])
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "results/same_or_not/1234/report.json").read_text())
    assert report["score"] == "SameOrNot"
    assert report["training"]["monitor"] == "matching/V-F/U/2/accuracy"
    assert 0 <= report["verification"]["U"]["auc"] <= 1
    assert {"L_same", "same_accuracy"} <= set(
        pd.read_csv(tmp_path / "results/same_or_not/1234/train_curves.csv").name
    )
    checkpoints = (tmp_path / "results/same_or_not/1234/save").glob("CKPT*")
    best = max(checkpoints, key=lambda path: YAML().load(path / "CKPT.yaml")["monitor"])
    evaluate = evaluate.replace("CHECKPOINT", str(best))
    result = run_forked([sys.executable, *shlex.split(evaluate)])
    assert result.returncode == 0, result.stderr
    again = json.loads((tmp_path / "results/again/report.json").read_text())
    assert all(again[task] == report[task] for task in ("verification", "matching", "retrieval"))
