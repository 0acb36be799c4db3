"""Score files of others beside the truth: values, paired intervals, what is refused."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from speechbrain_fv.evaluation.score_files import compare_score_files
from speechbrain_fv.metrics import draw_weights
from speechbrain_fv.metrics.listed import official_eer
from tests.processes import recipe, run_forked
from tests.references import clip_pairs as reference
from tests.references.bootstrap import interval


@pytest.fixture
def files(tmp_path):
    """A, B, truth and people, in a folder; returns labels, distances and who it is."""
    rng = np.random.default_rng(0)
    face, voice = rng.integers(0, 6, (2, 80))
    labels = face == voice
    distances = [rng.normal(size=80) - scale * labels for scale in (1.0, 2.0)]
    keys = [f"k{row:07d}" for row in range(80)]
    for name, values in zip("AB", distances, strict=True):
        order = rng.permutation(80)  # the order of lines does not matter
        rows = "".join(f"{keys[row]} {float(values[row])!r}\n" for row in order)
        (tmp_path / f"{name}.txt").write_text(rows)
    (tmp_path / "T.txt").write_text(
        "".join(f"{key} {int(label)}\n" for key, label in zip(keys, labels, strict=True))
    )
    table = pd.DataFrame({"key": keys, "face": face, "voice": voice})
    table.to_csv(tmp_path / "P.csv", index=False)
    return labels, distances, face, voice


def compared(folder, **options):
    return compare_score_files([folder / "A.txt", folder / "B.txt"], folder / "T.txt", **options)


def test_values_and_paired_intervals(tmp_path, files):
    labels, distances, face, voice = files
    found = compared(tmp_path, people=tmp_path / "P.csv", num_replicates=40)
    node = found["list/auc"]
    expected = [roc_auc_score(labels, -values) for values in distances]
    assert [node["one"], node["other"]] == pytest.approx(expected)
    official = found["list/official_eer"]
    assert official["other"] == official_eer(labels, distances[1])
    rows = [(row, row, labels[row]) for row in range(80)]
    sides = [[{"identity": int(who)} for who in side] for side in (face, voice)]
    values = [
        [
            reference.rates(rows, np.diag(-of), *sides, weights)[0]
            for weights in draw_weights(6, 40, 0)
        ]
        for of in distances
    ]
    differences = np.array(values[1]) - np.array(values[0])
    differences = differences[~np.isnan(differences)]
    assert node["difference_interval"] == pytest.approx(interval(differences, node["difference"]))
    assert node["share_greater"] == pytest.approx(np.mean(differences > 0))
    assert compared(tmp_path)["list/eer"]["difference_interval"] is None


def test_a_wrong_direction_is_told(tmp_path, files, caplog):
    with caplog.at_level(logging.WARNING):
        found = compared(tmp_path, submitted="similarity")
    assert "A.txt: by its own labels the direction" in caplog.text
    right = compared(tmp_path)["list/official_eer"]["one"]
    assert found["list/official_eer"]["one"] == pytest.approx(1 - right, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("A.txt", "other123 0.5\n", "A.txt, line 1: none of its keys is in .* of another list"),
        ("A.txt", "k0000000 0.5\n", "A.txt: 79 keys of .* have no line, the first 'k0000001'"),
        ("A.txt", "key score\n", "A.txt, line 1: expected a finite score, got 'score'"),
        ("A.txt", "k0000000 inf\n", "A.txt, line 1: expected a finite score"),
        ("T.txt", "k0000000 2\n", "T.txt, line 1: expected a label of 0"),
        ("P.csv", "key,face,voice\nk0000000,1,2\n", "P.csv: no line for key 'k0000001'"),
    ],
)
def test_faulty_files_are_refused(tmp_path, files, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        compared(tmp_path, people=tmp_path / "P.csv")


def test_keys_beyond_the_list_and_contradicting_people_are_refused(tmp_path, files):
    with open(tmp_path / "A.txt", "a") as file:
        file.write("zzzzzzzz 1\n")
    with pytest.raises(ValueError, match="A.txt, line 81: key 'zzzzzzzz' is not in"):
        compared(tmp_path)
    (tmp_path / "A.txt").write_text((tmp_path / "B.txt").read_text())
    table = pd.read_csv(tmp_path / "P.csv")
    table.assign(voice=table.face).to_csv(tmp_path / "P.csv", index=False)
    with pytest.raises(ValueError, match=r"P.csv: key .* contradict the label 0"):
        compared(tmp_path, people=tmp_path / "P.csv")


def test_recipe_compares_score_files(tmp_path, files):
    command = recipe("compare", "A.txt", "B.txt", "--output_folder=out")
    result = run_forked([*command, "--truth=T.txt", "--people=P.csv"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "list/official_eer" in result.stdout
    content = json.loads((tmp_path / "out/compare.json").read_text())["values"]
    assert content == compared(tmp_path, people=tmp_path / "P.csv")
    refused = run_forked(command, tmp_path)
    assert refused.returncode == 2 and "truth: expected a file" in refused.stderr
