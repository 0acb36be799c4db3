"""The benchmark's data and brute force, and its command on a size that takes no time."""

import json

import numpy as np
import pytest
import torch

from speechbrain_fv.experiments.benchmarks import search as benchmark


def test_made_up_vectors(tmp_path):
    """The cosines that the docstring states; random directions have none to speak of."""
    benchmark.made_up_vectors(tmp_path, "identities", 2000, 256, 100)
    vectors, near, far = (np.load(tmp_path / f"{n}.npy") for n in ("vectors", "near", "far"))
    for rows in (vectors, near, far):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    same = [np.sort(side @ vectors.T, axis=1)[:, -6] for side in (vectors, near, far)]
    assert [side.mean() for side in same] == pytest.approx([0.67, 0.67, 0.26], abs=0.04)
    benchmark.made_up_vectors(tmp_path, "random", 2000, 256, 100)
    vectors, near = (np.load(tmp_path / f"{name}.npy") for name in ("vectors", "near"))
    assert np.abs(near @ vectors.T).max() < 0.4


def test_brute_force_finds_the_largest_products(monkeypatch):
    monkeypatch.setattr(benchmark, "CHUNK", 7)
    rng = np.random.default_rng(0)
    vectors, queries = (rng.normal(size=(n, 6)).astype(np.float32) for n in (40, 5))
    expected = np.argsort(-(queries @ vectors.T), axis=1)[:, :9]
    found = benchmark.brute_force(torch.from_numpy(vectors), queries, 9)
    np.testing.assert_array_equal(found, expected)


def test_command_writes_its_figures(tmp_path, capsys):
    pytest.importorskip("faiss")
    options = ["--sizes=300", "--dim=8", "--num_queries=20", "--data=identities", "--kinds=exact"]
    benchmark.main([*options, f"--json={tmp_path / 'figures.json'}"])
    (size,) = json.loads((tmp_path / "figures.json").read_text())["sizes"]
    assert (size["data"], size["count"], size["dim"]) == ("identities", 300, 8)
    assert list(size["methods"]) == ["torch", "faiss flat", "exact"]
    exact = size["methods"]["exact"]
    assert exact["recall"] == {"near": 1.0, "far": 1.0}
    assert exact["bytes"] > 300 * 8 * 4
    for figures in size["methods"].values():
        assert 0 < figures["query_least_ms"] <= figures["query_median_ms"]
        assert figures["query_median_ms"] <= figures["query_p95_ms"]
        assert figures["query_peak_gib"] > 0
    assert "1.000 (1.000)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "option, message",
    [
        ("--sizes=10,x", "--sizes: expected numbers of at least 10"),
        ("--sizes=9", "--sizes: expected numbers of at least 10"),
        ("--sizes=", "--sizes: expected numbers of at least 10"),
        ("--kinds=exact,pq", "--kinds: expected some of exact, coded"),
        ("--data=noise", "--data: expected some of identities, random"),
        ("--dim=0", "expected at least 1"),
    ],
)
def test_unusable_options_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        benchmark.main([option])
