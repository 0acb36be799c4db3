"""The report on the disk and in the terminal, and the recipe that makes both."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.evaluation import exact as evaluation
from speechbrain_fv.evaluation.embeddings import Embeddings, save_embeddings
from speechbrain_fv.evaluation.exact import format_report, load_metadata, save_report
from speechbrain_fv.evaluation.people import evaluate_people
from speechbrain_fv.evaluation.report import load_report
from speechbrain_fv.scores import Cosine, NegativeL2
from tests.clips import people_with_clips
from tests.paths import HPARAMS
from tests.processes import recipe, run, run_forked
from tests.references.bootstrap import interval

evaluate = partial(evaluation.evaluate, num_replicates=20)  # 1,000 take a second


def test_a_failed_write_leaves_the_old_file(tmp_path):
    save_report(tmp_path / "report.json", {"auc": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_report(tmp_path / "report.json", {"auc": float("nan")})
    assert json.loads((tmp_path / "report.json").read_text()) == {"auc": 0.5}
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_an_empty_metadata_file_is_refused_by_name(tmp_path):
    table = tmp_path / "M.csv"
    table.write_text("")
    with pytest.raises(ValueError, match=r"M.csv: not a readable CSV.*No columns"):
        load_metadata(table)


def test_metadata_text_is_kept(tmp_path):
    """An identity called 007 keeps its zeros, the nationality NA is one, an empty field is none."""
    path = tmp_path / "M.csv"
    path.write_text("identity,nationality\n007,NA\n008,\n")
    table = load_metadata(path)
    assert table.identity.tolist() == ["007", "008"]
    assert table.nationality.tolist() == ["NA", ""]


def test_table_shows_undefined_values_and_reasons():
    names = ["ann", "bob"]
    metadata = pd.DataFrame({"identity": names, "gender": ["f", "m"]})
    sides = Embeddings(np.eye(2), np.eye(2), names, names)
    text = format_report(evaluate(sides, metadata, num_replicates=0))
    lines = text.splitlines()
    assert lines[0] == "2 identities, 2 faces, 2 voices; values in %"
    assert f"{'U':<16}{'100.00':>20}{'0.00':>20}" in lines
    assert f"{'G':<16}{'-':>20}{'-':>20}" in lines
    assert "GN is undefined: the metadata has no column 'nationality'" in lines
    alone = "G has no trials: no two people share gender, or nobody has face and voice"
    assert f"G is undefined: {alone}" in lines


def test_table_with_intervals_fits_the_terminal():
    lines = format_report(evaluate(*people_with_clips(dim=4))).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(" [" in line for line in lines) >= 16


def test_without_a_bootstrap_there_are_no_intervals(tmp_path):
    embeddings, metadata = people_with_clips(dim=4)
    report = evaluate(embeddings, metadata, num_replicates=0)
    assert "bootstrap" not in report and report.replicates is None
    assert "interval" not in json.dumps(report)
    whole = evaluate(embeddings, metadata)
    assert report["retrieval"]["V-F"]["map"] == whole["retrieval"]["V-F"]["map"]
    save_report(tmp_path / "report.json", whole)
    save_report(tmp_path / "report.json", report)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_every_value_has_its_interval_from_its_replicates(tmp_path):
    report = evaluate(*people_with_clips(dim=4), num_replicates=50)
    save_report(tmp_path / "report.json", report)
    read = load_report(tmp_path)
    assert read == report
    paths = set(read.replicates) - {"identities", "seed"}
    assert len(paths) == 6 * 2 + 2 * 4 * 9 + 2 * 2
    for path in paths:
        *parents, name = path.split("/")
        node = read
        for parent in parents:
            node = node[parent]
        values = read.replicates[path]
        assert values.shape == (50,)
        if node[f"{name}_interval"]:
            assert node[f"{name}_interval"] == pytest.approx(interval(values, node[name]))


def test_recipe_writes_report_and_figures(tmp_path):
    embeddings, metadata = people_with_clips(dim=4)
    save_embeddings(tmp_path / "E.npz", embeddings)
    metadata.to_csv(tmp_path / "M.csv", index=False)
    options = ("--embeddings=E.npz", "--metadata=M.csv", "--output_folder=out")
    command = recipe("evaluate", HPARAMS / "evaluate.yaml", *options, "--num_replicates=20")
    result = run(command, tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report.pop("leakage") == {"checked": False}
    people = evaluate_people(embeddings, metadata, num_replicates=20)
    assert report.pop("people")["matching"] == people["matching"]
    assert report == evaluate(embeddings, metadata, num_replicates=20)
    assert format_report(report) in result.stdout
    figures = {path.name for path in (tmp_path / "out/figures").iterdir()}
    names = ("matching", "verification", "roc")
    assert figures >= {f"{name}.{suffix}" for name in names for suffix in ("png", "pdf")}
    assert (tmp_path / "out/report.html").is_file()


def test_recipe_answers_a_mistake_with_one_line(tmp_path):
    command = recipe("evaluate", HPARAMS / "evaluate.yaml", "--embeddings=nowhere.npz")
    result = run_forked(command, tmp_path)
    assert result.returncode == 2
    assert "nowhere.npz" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("option", "score"),
    [
        ("!new:speechbrain_fv.scores.NegativeL2", NegativeL2()),
        (
            "!new:speechbrain_fv.scores.Cosine {directions: [V-F]}",
            Cosine(directions=["V-F"]),
        ),
    ],
)
def test_recipe_takes_a_score(tmp_path, option, score):
    embeddings, _ = people_with_clips(dim=4)
    save_embeddings(tmp_path / "E.npz", embeddings)
    options = ("--embeddings=E.npz", "--num_replicates=0", "--output_folder=out")
    command = recipe("evaluate", HPARAMS / "evaluate.yaml", *options, f"--score={option}")
    result = run_forked(command, tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "out/report.json").read_text())
    expected = evaluate(embeddings, num_replicates=0, score=score)
    assert {key: report[key] for key in expected} == expected
    assert report["score"] == score.name and f"score: {score.name}" in result.stdout


def test_recipe_refuses_a_score_with_random_weights(tmp_path):
    embeddings, _ = people_with_clips(dim=4)
    save_embeddings(tmp_path / "E.npz", embeddings)
    network = "!new:torch.nn.Linear {in_features: 8, out_features: 1}"
    score = f"--score=!new:speechbrain_fv.scores.PairNetwork {{network: {network}}}"
    command = recipe("evaluate", HPARAMS / "evaluate.yaml", "--embeddings=E.npz", score)
    result = run_forked(command, tmp_path)
    assert result.returncode == 2
    assert "score_weights: expected a file, since PairNetwork has weights" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
