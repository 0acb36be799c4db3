"""The benchmark of training, on sizes that take no time."""

import json

import pytest

from speechbrain_fv.experiments.benchmarks import training


def test_command_writes_every_way_to_read_and_every_part(tmp_path, capsys):
    options = ["--image_size=32", "--clip_seconds=0.5", "--batch_size=8", "--batches=1"]
    options += ["--people=2", "--model=test_resnet", "--rounds=1", "--precision=bf16"]
    training.main([*options, "--channels_last", "--fused", f"--json={tmp_path / 'figures.json'}"])
    results = json.loads((tmp_path / "figures.json").read_text())
    assert all(way["pairs_per_cpu_s"] > 0 for way in results["data_path"].values())
    assert results["cache"]["face"]["bytes"] == 3 * 37 * 37  # pixels of square faces
    ceiling, *others = results["training"].values()
    assert ceiling["of_ceiling"] == 1 and len(others) == 2
    for result in results["training"].values():
        assert set(result["ms"]) == {
            *("reading", "transfer, normalising", "features", "forward", "labels and losses"),
            *("backward", "optimiser"),
        }
        rate = result["pairs_per_cpu_s"] / ceiling["pairs_per_cpu_s"]
        assert result["of_ceiling"] == pytest.approx(rate)
    assert "of ceiling" in capsys.readouterr().out
