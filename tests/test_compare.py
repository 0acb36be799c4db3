"""Paired comparison of two reports, and the recipe's answers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from speechbrain_fv.evaluation.embeddings import save_embeddings
from speechbrain_fv.evaluation.exact import evaluate, save_report
from speechbrain_fv.evaluation.paired import compare_reports, open_report
from speechbrain_fv.scores import NegativeL2
from tests.clips import people_with_clips
from tests.processes import recipe, run, run_forked
from tests.references.bootstrap import interval


def noisier(embeddings, scale):
    """Returns the embeddings with noise on the faces."""
    noise = np.random.default_rng(5).normal(size=embeddings.face.shape)
    return replace(embeddings, face=embeddings.face + scale * noise)


@pytest.fixture(scope="module")
def reports():
    embeddings, metadata = people_with_clips(dim=8)
    return [
        evaluate(sides, metadata, num_replicates=100)
        for sides in (embeddings, noisier(embeddings, 0.3))
    ]


def test_differences_are_paired(reports):
    one, other = reports
    found = compare_reports(one, other)
    assert set(found) == set(one.replicates) - {"identities", "seed"}
    node = found["verification/G/auc"]
    values = [report["verification"]["G"]["auc"] for report in reports]
    assert [node["one"], node["other"]] == values
    assert node["difference"] == pytest.approx(values[1] - values[0])
    differences = other.replicates["verification/G/auc"] - one.replicates["verification/G/auc"]
    assert node["difference_interval"] == pytest.approx(interval(differences, node["difference"]))
    assert node["share_greater"] == pytest.approx(np.mean(differences > 0))


def test_a_report_equals_itself(reports):
    for node in compare_reports(reports[0], reports[0]).values():
        if node["one"] is not None:
            assert node["difference"] == 0 and node["share_greater"] == 0.5
            assert node["difference_interval"] in ([0, 0], None)


def test_undefined_values_have_no_difference(reports):
    embeddings, metadata = people_with_clips(dim=8)
    alone = evaluate(embeddings, metadata.assign(gender=metadata.identity), num_replicates=100)
    node = compare_reports(alone, reports[1])["verification/G/auc"]
    assert node["one"] is None and node["other"] is not None
    assert node["difference"] is node["difference_interval"] is node["share_greater"] is None


def test_unpaired_reports_are_refused(reports):
    embeddings, metadata = people_with_clips(dim=8)
    seed = evaluate(embeddings, metadata, num_replicates=100, bootstrap_seed=1)
    with pytest.raises(ValueError, match=r"seed and number are \(0, 100\) .* \(1, 100\) in the se"):
        compare_reports(reports[0], seed)
    renamed = metadata.assign(identity="new_" + metadata.identity)
    others = replace(
        embeddings,
        face_identity=np.char.add("new_", embeddings.face_identity),
        voice_identity=np.char.add("new_", embeddings.voice_identity),
    )
    with pytest.raises(ValueError, match="identities differ: 12 are in the first .*'new_id0'"):
        compare_reports(reports[0], evaluate(others, renamed, num_replicates=100))
    with pytest.raises(ValueError, match="num_replicates: expected at least 2"):
        compare_reports(reports[0], evaluate(embeddings, metadata, num_replicates=0))


def test_a_folder_without_a_report_is_refused(tmp_path, reports):
    with pytest.raises(ValueError, match="report.json: not found; evaluate"):
        open_report(tmp_path)
    save_report(tmp_path / "report.json", reports[0])
    (tmp_path / "replicates.npz").write_bytes(b"half")
    with pytest.raises(ValueError, match="cannot be read .*; evaluate anew"):
        open_report(tmp_path)


def test_recipe_compares_a_run_with_an_embeddings_file(tmp_path, reports):
    embeddings, metadata = people_with_clips(dim=8)
    save_report(tmp_path / "run/report.json", reports[0])
    save_embeddings(tmp_path / "B.npz", noisier(embeddings, 0.3))
    metadata.to_csv(tmp_path / "M.csv", index=False)
    command = recipe("compare", "run", "B.npz", "--metadata=M.csv")
    result = run([*command, "--num_replicates=100", "--output_folder=out"], tmp_path)
    assert result.returncode == 0, result.stderr
    content = json.loads((tmp_path / "out/compare.json").read_text())
    assert content["values"] == compare_reports(*reports)
    text = (tmp_path / "out/table.md").read_text()
    assert "## run (A) and B.npz (B)" in text and "| AUC, same gender (G) | " in text
    assert r"\toprule" in (tmp_path / "out/table.tex").read_text()
    lines = result.stdout.splitlines()
    assert [lines.pop(0), lines.pop(0)] == ["A: run", "B: B.npz"]
    assert " ".join(lines[0].split()) == "value in % A B B - A [95 %] B > A"
    assert max(map(len, lines)) <= 100
    by_distance = [*command, "--num_replicates=100", "--output_folder=out"]
    by_distance += ["--score=!new:speechbrain_fv.scores.NegativeL2"]
    assert run_forked(by_distance, tmp_path).returncode == 0
    other = evaluate(noisier(embeddings, 0.3), metadata, num_replicates=100, score=NegativeL2())
    content = json.loads((tmp_path / "out/compare.json").read_text())
    assert content["values"] == compare_reports(reports[0], other)
    swapped = recipe("compare", "B.npz", "run", "--output_folder=out")
    refused = run_forked(swapped, tmp_path)
    assert refused.returncode == 2 and "holds the comparison of run and B.npz" in refused.stderr
    refused = run_forked(command, tmp_path)
    assert refused.returncode == 2 and len(refused.stderr.strip().splitlines()) == 1
    assert "not paired" in refused.stderr
