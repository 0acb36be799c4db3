"""The benchmark's peer gives the same values, and its command runs on sizes that take no time."""

import json

import pytest

from speechbrain_fv.evaluation.exact import evaluate
from speechbrain_fv.experiments.benchmarks import evaluation as benchmark


def test_peer_agrees():
    data = benchmark.made_up_people(60, 70, 12, 16)
    report = evaluate(*data, num_replicates=0)
    assert benchmark.largest_difference(report, benchmark.peer_report(*data)) < 1e-9


def test_command_writes_its_figures(tmp_path, capsys):
    sizes = ["--num_faces=60", "--num_voices=80", "--num_identities=20", "--dim=8"]
    benchmark.main([*sizes, f"--json={tmp_path / 'figures.json'}"])
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["exact_and_intervals"]["peak_gib"] > 0
    assert figures["peer"]["clips"] == [60, 80]
    assert figures["peer"]["extrapolated_seconds"] == pytest.approx(figures["peer"]["seconds"])
    assert "extrapolated" in capsys.readouterr().out
