"""The benchmark's own arithmetic, and its command on sizes that take no time."""

import json

import pytest
import torch

from speechbrain_fv.experiments.benchmarks import pseudo_labels, size


def test_inertias_equal_the_definition():
    points = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(9).expand(1, 2, -1) % 4
    expected = [
        sum(
            (x[labels[0, 0] == c] - x[labels[0, 0] == c].mean(dim=0)).square().sum().item()
            for c in range(4)
        )
        for x in points
    ]
    assert pseudo_labels.inertias(points, labels)[0].tolist() == pytest.approx(expected, rel=1e-5)
    one_set = pseudo_labels.inertias(points[:1], labels[:, :1])
    assert one_set.tolist() == [pytest.approx(expected[:1], rel=1e-5)]


def test_command_writes_every_method_and_part(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(pseudo_labels, "SIZES", ((24, 6, (2, 5), 1),))
    pseudo_labels.main([f"--json={tmp_path / 'figures.json'}"])
    (size,) = json.loads((tmp_path / "figures.json").read_text())["sizes"]
    problems = [f"{kind}, {clusters}" for clusters in ("separate or paired", "shared")
                for kind in ("identities", "noise")]  # fmt: skip
    assert list(size["methods"]) == problems
    for problem, methods in size["methods"].items():
        paired = [] if problem.endswith("shared") else ["ours, paired"]
        assert list(methods) == ["scikit-learn", "faiss", "torch loop", "ours", *paired]
        for name, result in methods.items():
            if "missing" in result:
                assert name == "faiss" and "pip install" in result["missing"]
            else:
                assert set(result["inertia"]) == {"q2", "q5"} and result["least_ms"] > 0
    assert size["parts"]["label step"]["share"] == 1
    for clusters in ("paired", "shared"):
        assert size["parts"][f"label step, {clusters}"]["least_ms"] > 0
    assert "24 x 6, two modalities" in capsys.readouterr().out


def test_rows_of_a_corpus_lie_in_no_process_of_their_own(tmp_path, capsys):
    """A dict per row cost every reading process 370 bytes a row."""
    size.main(["--sizes=100,20000", f"--json={tmp_path / 'size.json'}"])
    small, large = json.loads((tmp_path / "size.json").read_text())
    assert (large["worker_mib"] - small["worker_mib"]) * 2**20 < 60 * 2 * 20000
    assert "bytes per row in every reading process" in capsys.readouterr().out
