"""The protocol of FAME and FLAG: error rates, direction, submissions, what is refused."""

import json
import logging
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from speechbrain_fv.evaluation.challenge import evaluate_challenges, rates_of
from speechbrain_fv.evaluation.embeddings import Embeddings, save_embeddings
from speechbrain_fv.evaluation.lists import evaluate_lists, format_lists
from speechbrain_fv.evaluation.submission import check_submission
from speechbrain_fv.metrics import draw_weights
from speechbrain_fv.metrics.listed import listed_replicates, official_eer
from speechbrain_fv.protocols import ChallengeLists, FameLists, resolve_lists
from tests.paths import HPARAMS
from tests.processes import recipe, run_forked
from tests.references import clip_pairs as reference

LANGUAGES = ("English", "Urdu")


def clips(seed=0, num_people=5, each=4, labelled=True, noise=0.8):
    """Returns embeddings of the test layout, both languages, and who is on each clip."""
    rng = np.random.default_rng(seed)
    centres, sides, names = rng.normal(size=(num_people, 6)), [], []
    who = np.tile(np.arange(num_people), each)
    for kind, ending in (("faces", "jpg"), ("voices", "wav")):
        vectors = [centres[who] + noise * rng.normal(size=(len(who), 6)) for _ in LANGUAGES]
        sides.append(np.concatenate(vectors))
        names.append(
            [f"{kind}/{name}/{row:05d}.{ending}" for name in LANGUAGES for row in range(len(who))]
        )
    people = np.array([f"p{number}" for number in np.tile(who, 2)])
    known = [people if labelled else np.full(len(people), "")] * 2
    return Embeddings(*sides, *known, *names), dict(
        zip(names[0] + names[1], [*people] * 2, strict=True)
    )


def write_lists(folder, owner, seed=0, num_rows=40):
    """Writes <Language>_test.txt, and in truth/ the labels; returns the rows by language."""
    rng, written = np.random.default_rng(seed), {}
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    for language in LANGUAGES:
        voices = [name for name in owner if name.startswith(f"voices/{language}")]
        faces = [name for name in owner if name.startswith(f"faces/{language}")]
        rows = []
        for number in range(num_rows):
            voice = rng.choice(voices)
            same = [face for face in faces if owner[face] == owner[voice]]
            face = rng.choice(same if number % 3 == 0 else faces)
            key = f"{language[0].lower()}{number:07d}"
            rows.append((key, voice, face, int(owner[voice] == owner[face])))
        (folder / f"{language}_test.txt").write_text(
            "".join(f"{key} {voice} {face}\n" for key, voice, face, _ in rows)
        )
        (folder / "truth" / f"{language}_test.txt").write_text(
            "".join(f"{key} {label}\n" for key, _, _, label in rows)
        )
        written[language] = rows
    return written


def baseline_eer(labels, distances):
    """The equal error rate as FAME's public evaluation has it, written down again."""
    accepted, found, _ = roc_curve(labels, -np.array(distances))
    return brentq(lambda x: 1.0 - x - interp1d(accepted, found)(x), 0.0, 1.0)


def evaluated(folder, embeddings, score=None, trained_on="English", replicates=0, **options):
    lists = resolve_lists(FameLists(folder, "v1", trained_on, **options), embeddings)
    out = folder / f"out_{trained_on}"
    out.mkdir(exist_ok=True)
    report = evaluate_challenges(embeddings, lists, out, replicates, score=score)
    (out / "report.json").write_text(json.dumps({"challenge": report}))
    return report, out, lists


def test_the_official_error_rate_is_that_of_the_baseline(tmp_path):
    embeddings, owner = clips()
    rows = write_lists(tmp_path, owner)
    report, out, _ = evaluated(tmp_path, embeddings, truth_folder=tmp_path / "truth")
    vectors = dict(
        zip(embeddings.face_id, embeddings.face, strict=True)
    ) | dict(zip(embeddings.voice_id, embeddings.voice, strict=True))  # fmt: skip
    for part, language in (("heard", "English"), ("unheard", "Urdu")):
        node = report["lists"][part]
        distances, labels = [], []
        for _, voice, face, label in rows[language]:
            one, two = vectors[voice], vectors[face]
            cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
            distances.append(1 - cosine)
            labels.append(label)
        # What was written, read as the organisers do.
        file = out / "submission" / f"sub_score_v1_English_{part}.txt"
        written = pd.read_csv(file, sep=" ", header=None, names=["key", "score"])
        assert written["key"].tolist() == [key for key, *_ in rows[language]]
        assert written["score"].to_numpy() == pytest.approx(distances, abs=1e-12)
        assert node["official_eer"] == baseline_eer(labels, written["score"])
        assert node["eer"] == pytest.approx(node["official_eer"], abs=1e-9)
        assert node["language"] == language and node["num_rows"] == 40
    values = [node["eer"] for node in report["lists"].values()]
    assert report["mean"]["eer"] == pytest.approx(np.mean(values))


@pytest.mark.parametrize("seed", range(4))
def test_official_and_exact_rates_agree_with_ties(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 60).astype(bool)
    scores = rng.integers(0, 12, 60) + 3.0 * labels
    assert official_eer(labels, -scores) == baseline_eer(labels.astype(int), -scores)
    assert rates_of(labels, scores)["eer"] == pytest.approx(official_eer(labels, -scores), abs=1e-9)


def test_replicates_of_a_list_equal_a_slow_bootstrap():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 5, (2, 50))
    scores = rng.integers(0, 9, 50) + 2.0 * (one == other)
    weights = draw_weights(5, 30, 3)
    rows, labels = np.arange(50), one == other
    faces, voices = ([{"identity": int(who)} for who in side] for side in (one, other))
    table = np.diag(scores)
    pairs = [(row, row, labels[row]) for row in rows]
    exact = reference.rates(pairs, table, faces, voices, np.ones(5))
    found = listed_replicates(
        torch.as_tensor(scores), torch.as_tensor(labels), tuple(map(torch.as_tensor, (one, other))),
        torch.as_tensor(weights), *exact, chunk_size=400,
    )  # fmt: skip
    expected = [reference.rates(pairs, table, faces, voices, of) for of in weights]
    for place, values in enumerate(found):
        assert values.numpy() == pytest.approx([row[place] for row in expected], nan_ok=True)


def test_both_directions_have_a_mean_with_an_interval(tmp_path):
    embeddings, owner = clips()
    write_lists(tmp_path, owner)
    first, out, _ = evaluated(tmp_path, embeddings, replicates=50)
    second, _, _ = evaluated(
        tmp_path, clips(noise=1.1)[0], trained_on="Urdu", replicates=50, other=out
    )
    values = [node["eer"] for report in (first, second) for node in report["lists"].values()]
    assert second["overall"]["eer"] == pytest.approx(np.mean(values))
    assert second["overall"]["num_lists"] == 4
    low, high = second["overall"]["eer_interval"]
    assert low < np.mean(values) < high
    with pytest.raises(ValueError, match="expected a model trained on the other language"):
        evaluated(tmp_path, embeddings, other=out)
    with pytest.raises(ValueError, match="evaluate that first"):
        evaluated(tmp_path, embeddings, other=tmp_path / "nothing")


def test_lists_of_nobody_are_scored_and_submitted(tmp_path):
    embeddings, owner = clips(labelled=False)
    write_lists(tmp_path, owner)
    report, out, lists = evaluated(tmp_path, embeddings)
    assert report["lists"]["heard"]["eer"] is report["lists"]["heard"]["official_eer"] is None
    section = evaluate_lists(embeddings, lists)
    assert section["fame_English_heard"]["audit"] is None
    assert "no labels" in format_lists(section)
    check_submission(out / "submission/submission.zip", lists)
    # The truth, once it is published, is all that is missing.
    with_truth, _, _ = evaluated(tmp_path, embeddings, truth_folder=tmp_path / "truth")
    labelled, _, _ = evaluated(tmp_path, clips()[0])
    assert with_truth["lists"]["heard"]["eer"] == labelled["lists"]["heard"]["eer"]


def test_a_wrong_direction_is_told(tmp_path, caplog):
    embeddings, owner = clips(noise=0.1)
    flipped = Embeddings(
        -embeddings.face, embeddings.voice, embeddings.face_identity,
        embeddings.voice_identity, embeddings.face_id, embeddings.voice_id,
    )  # fmt: skip
    write_lists(tmp_path, owner)
    with caplog.at_level(logging.WARNING):
        report, _, _ = evaluated(tmp_path, flipped)
    assert "English_test.txt: by its own labels the direction of the scores is wrong" in caplog.text
    assert report["lists"]["heard"]["direction_is_wrong"]


def test_the_direction_is_a_setting(tmp_path):
    embeddings, owner = clips()
    write_lists(tmp_path, owner)
    distance, out, _ = evaluated(tmp_path, embeddings)
    file = out / "submission/sub_score_v1_English_heard.txt"
    distances = pd.read_csv(file, sep=" ", header=None)[1]
    similarity, _, _ = evaluated(tmp_path, embeddings, submitted="similarity")
    similarities = pd.read_csv(file, sep=" ", header=None)[1]
    assert np.allclose(distances, 1 - similarities)
    for part, node in distance["lists"].items():
        assert node["eer"] == similarity["lists"][part]["eer"]
        assert similarity["lists"][part]["official_eer"] == pytest.approx(node["official_eer"])


def test_scores_are_normalised_and_fused(tmp_path):
    embeddings, owner = clips(noise=1.5)
    other, _ = clips(noise=1.5, seed=0)
    rng = np.random.default_rng(1)
    other = Embeddings(
        other.face + rng.normal(size=other.face.shape), other.voice, other.face_identity,
        other.voice_identity, other.face_id, other.voice_id,
    )  # fmt: skip
    rows = write_lists(tmp_path, owner)["English"]
    _, out, _ = evaluated(tmp_path, other)
    (out / "submission").rename(tmp_path / "theirs")
    theirs = pd.read_csv(
        tmp_path / "theirs/sub_score_v1_English_heard.txt", sep=" ", header=None
    )[1]  # fmt: skip
    _, out, _ = evaluated(tmp_path, embeddings)
    file = out / "submission/sub_score_v1_English_heard.txt"
    ours = pd.read_csv(file, sep=" ", header=None)[1]
    evaluated(tmp_path, embeddings, fuse=[tmp_path / "theirs"], weights=[3, 1])
    fused = pd.read_csv(file, sep=" ", header=None)[1]
    expected = (3 * (ours - ours.mean()) / ours.std(ddof=0)) / 4
    expected += (theirs - theirs.mean()) / theirs.std(ddof=0) / 4
    assert np.allclose(fused, expected)
    evaluated(tmp_path, embeddings, normalize=True)
    normalised = -pd.read_csv(file, sep=" ", header=None)[1]
    # Slow: each score among those of its own face and of its own voice.
    units = units_of(embeddings)
    faces, voices = sorted({row[2] for row in rows}), sorted({row[1] for row in rows})
    for (_, voice, face, _), found in zip(rows, normalised, strict=True):
        of_face = [units[face] @ units[one] for one in voices]
        of_voice = [units[voice] @ units[one] for one in faces]
        score = units[face] @ units[voice]
        parts = [(score - np.mean(side)) / np.std(side) for side in (of_face, of_voice)]
        assert found == pytest.approx(np.mean(parts))
    with pytest.raises(ValueError, match="weights: expected 2 numbers above 0"):
        evaluated(tmp_path, embeddings, fuse=[tmp_path / "theirs"], weights=[1])
    with pytest.raises(ValueError, match="distance or similarity, got 'up'"):
        evaluated(tmp_path, embeddings, submitted="up")


def units_of(embeddings):
    """Returns the name of each clip -> its embedding, scaled to length 1."""
    return {
        name: vector / np.linalg.norm(vector)
        for ids, vectors in (
            (embeddings.face_id, embeddings.face),
            (embeddings.voice_id, embeddings.voice),
        )
        for name, vector in zip(ids, vectors, strict=True)
    }


def test_clips_of_a_group_are_averaged(tmp_path):
    embeddings, owner = clips(noise=1.5)
    rows = write_lists(tmp_path, owner)["English"]
    table = pd.DataFrame({"clip": list(owner), "group": list(owner.values())})
    table = table[table["clip"] != rows[0][1]]  # one voice has no line: it is alone
    table.to_csv(tmp_path / "groups.csv", index=False)
    report, out, _ = evaluated(tmp_path, embeddings, groups=str(tmp_path / "groups.csv"))
    file = out / "submission/sub_score_v1_English_heard.txt"
    found = 1 - pd.read_csv(file, sep=" ", header=None)[1]
    units = units_of(embeddings)
    group_of = dict(zip(table["clip"], table["group"], strict=True))
    for (_, voice, face, _), score in zip(rows, found, strict=True):
        sides = []
        for name in (voice, face):
            same = [one for one in group_of if group_of[one] == group_of.get(name)]
            kind = name.split("/")[0]
            same = [one for one in same if one.startswith(kind)] or [name]
            sides.append(np.mean([units[one] for one in same], axis=0))
        cosine = sides[0] @ sides[1] / np.linalg.norm(sides[0]) / np.linalg.norm(sides[1])
        assert score == pytest.approx(cosine)
    plain, _, _ = evaluated(tmp_path, embeddings)
    assert report["mean"]["eer"] < plain["mean"]["eer"]
    pd.concat([table, table[:1]]).to_csv(tmp_path / "groups.csv", index=False)
    with pytest.raises(ValueError, match=r"groups.csv, line \d+: clip .* is listed twice"):
        evaluated(tmp_path, embeddings, groups=str(tmp_path / "groups.csv"))


def test_groups_that_name_no_clip_are_refused(tmp_path):
    embeddings, owner = clips()
    write_lists(tmp_path, owner)
    groups = tmp_path / "groups.csv"
    table = pd.DataFrame({"clip": list(owner), "group": list(owner.values())})
    table.assign(clip="clips-" + table["clip"].str.replace("/", "-")).to_csv(groups, index=False)
    with pytest.raises(ValueError, match=r"groups.csv: none of its 80 clips .*'clips-faces-Engl"):
        evaluated(tmp_path, embeddings, groups=str(groups))
    # Spaces around a group do not split it.
    table.to_csv(groups, index=False)
    whole, _, _ = evaluated(tmp_path, embeddings, groups=str(groups))
    table.loc[::2, "group"] += " "
    table.to_csv(groups, index=False)
    spaced, _, _ = evaluated(tmp_path, embeddings, groups=str(groups))
    assert spaced["lists"] == whole["lists"]
    # Of faces alone: the voices are as they are.
    table[table["clip"].str.startswith("faces")].to_csv(groups, index=False)
    evaluated(tmp_path, embeddings, groups=str(groups))


def test_fused_scores_keep_their_own_direction(tmp_path, caplog):
    embeddings, owner = clips()
    write_lists(tmp_path, owner)
    _, out, _ = evaluated(tmp_path, embeddings, submitted="similarity")
    stated = json.loads((out / "submission/submitted.json").read_text())
    assert set(stated.values()) == {"similarity"} and len(stated) == 2
    with zipfile.ZipFile(out / "submission/submission.zip") as archive:
        assert set(archive.namelist()) == set(stated)
    theirs = tmp_path / "theirs"
    (out / "submission").rename(theirs)
    plain, _, _ = evaluated(tmp_path, embeddings)
    fused, _, _ = evaluated(tmp_path, embeddings, fuse=[theirs], weights=[1, 2])
    for part, node in plain["lists"].items():
        assert fused["lists"][part]["auc"] == pytest.approx(node["auc"])
    assert "contradict" not in caplog.text
    (theirs / "submitted.json").unlink()  # as others leave it: taken as ours, which is told
    evaluated(tmp_path, embeddings, fuse=[theirs], weights=[1, 2])
    assert "sub_score_v1_English_heard.txt: taken as distance, its scores contradict" in caplog.text
    (theirs / "submitted.json").write_text('{"a.txt": "up"}')
    with pytest.raises(ValueError, match="submitted.json: expected file names with distance or"):
        evaluated(tmp_path, embeddings, fuse=[theirs])


def test_a_zip_has_no_files_of_earlier_runs(tmp_path, caplog):
    embeddings, owner = clips()
    write_lists(tmp_path, owner)
    both = {"submission": tmp_path / "both"}
    evaluated(tmp_path, embeddings, trained_on="Urdu", **both)
    for name in ("sub_score_v2_English_heard.txt", "gender/sub_score_v4_English_heard.txt"):
        (tmp_path / "both" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "both" / name).write_text("stale 1\n")
    report, _, lists = evaluated(tmp_path, embeddings, **both)
    with zipfile.ZipFile(report["submission"]) as archive:
        assert archive.namelist() == [
            f"sub_score_v1_{name}_{part}.txt" for name in LANGUAGES for part in ("heard", "unheard")
        ]
    with zipfile.ZipFile(report["submission"], "a") as archive:
        archive.writestr("gender/sub_score_v4_English_heard.txt", "stale 1\n")
    with pytest.raises(ValueError, match=r"\['gender/sub_score_v4_.*belong to none of the lists"):
        check_submission(report["submission"], lists)
    report, _, _ = evaluated(tmp_path, embeddings, submitted="similarity", **both)
    with zipfile.ZipFile(report["submission"]) as archive:
        assert len(archive.namelist()) == 2
    assert "sub_score_v1_Urdu_heard.txt: left out of the zip" in caplog.text


def test_replicates_of_an_earlier_evaluation_go(tmp_path):
    embeddings, owner = clips()
    write_lists(tmp_path, owner)
    _, out, _ = evaluated(tmp_path, embeddings, replicates=20)
    assert (out / "challenge_replicates.npz").is_file()
    evaluated(tmp_path, embeddings)
    assert not (out / "challenge_replicates.npz").is_file()


@pytest.mark.parametrize(("name", "value"), [("version", "v2"), ("protocol", "flag")])
def test_the_other_direction_is_of_the_same_lists(tmp_path, name, value):
    embeddings, owner = clips()
    write_lists(tmp_path, owner)
    report, out, _ = evaluated(tmp_path, embeddings)
    (out / "report.json").write_text(json.dumps({"challenge": report | {name: value}}))
    with pytest.raises(ValueError, match=rf"report.json: expected {name} .*, got {value}"):
        evaluated(tmp_path, embeddings, trained_on="Urdu", other=out)
    del report[name]  # as in older reports
    (out / "report.json").write_text(json.dumps({"challenge": report}))
    evaluated(tmp_path, embeddings, trained_on="Urdu", other=out)


def test_flag_has_four_files(tmp_path):
    embeddings, owner = clips(labelled=False)
    names = {name: name.replace("Urdu", "Bangla") for name in owner}
    embeddings = Embeddings(
        embeddings.face, embeddings.voice, embeddings.face_identity, embeddings.voice_identity,
        [names[name] for name in embeddings.face_id], [names[name] for name in embeddings.voice_id],
    )  # fmt: skip
    lists = {}
    for folder in ("no_gender", "gender"):
        write_lists(tmp_path / folder, owner, seed=len(folder))
        (tmp_path / folder / "Urdu_test.txt").write_text(
            (tmp_path / folder / "Urdu_test.txt").read_text().replace("Urdu", "Bengali")
        )
        lists[folder] = {
            "English": tmp_path / folder / "English_test.txt",
            "Bengali": tmp_path / folder / "Urdu_test.txt",
        }
    resolved = resolve_lists(ChallengeLists("flag", "v4", "English", lists), embeddings)
    report = evaluate_challenges(embeddings, resolved, tmp_path, 0)
    with zipfile.ZipFile(report["submission"]) as archive:
        assert sorted(archive.namelist()) == [
            f"{folder}/sub_score_v4_{name}.txt"
            for folder in ("gender", "no_gender")
            for name in ("Bangla_unheard", "English_heard")
        ]
        lines = archive.read("gender/sub_score_v4_English_heard.txt").decode().splitlines()
    assert len(lines) == 40 and all(len(line.split(" ")) == 2 for line in lines)
    assert all(len(line.split(" ")[0]) == 8 for line in lines)
    # A part that is left out now is not in the zip, though its files lie there.
    lists["gender"] = None
    resolved = resolve_lists(ChallengeLists("flag", "v4", "English", lists), embeddings)
    with zipfile.ZipFile(evaluate_challenges(embeddings, resolved, tmp_path, 0)["submission"]) as z:
        assert {name.split("/")[0] for name in z.namelist()} == {"no_gender"}


def faulty_submission(path, text):
    with zipfile.ZipFile(path, "w") as archive:
        for part in ("heard", "unheard"):
            archive.writestr(f"sub_score_v1_English_{part}.txt", text)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: ["key score", *lines], "line 1: expected a finite score, got 'score'"),
        (lambda lines: lines[1:], "expected every key of the list once"),
        (lambda lines: [*lines, lines[0]], "expected every key of the list once"),
        (lambda lines: [lines[0].split()[0] + " nan", *lines[1:]], "line 1: expected a finite"),
        (lambda lines: [lines[0] + " 1", *lines[1:]], "line 1: expected 'key score'"),
    ],
)
def test_faulty_submissions_are_refused(tmp_path, change, message):
    embeddings, owner = clips(labelled=False)
    write_lists(tmp_path, owner)
    _, out, lists = evaluated(tmp_path, embeddings)
    lines = (out / "submission/sub_score_v1_English_heard.txt").read_text().splitlines()
    path = faulty_submission(tmp_path / "s.zip", "\n".join(change(lines)) + "\n")
    with pytest.raises(ValueError, match=message):
        check_submission(path, lists)


def test_contradictions_are_refused_with_file_and_line(tmp_path):
    embeddings, owner = clips()
    rows = write_lists(tmp_path, owner)["English"]
    truth = tmp_path / "truth/English_test.txt"
    lines = truth.read_text().splitlines()

    def refused(message, **options):
        with pytest.raises(ValueError, match=message):
            evaluated(tmp_path, embeddings, truth_folder=tmp_path / "truth", **options)

    key, _, _, label = rows[2]
    truth.write_text("\n".join([*lines[:2], f"{key} {1 - label}", *lines[3:]]))
    refused(rf"English_test.txt, line 3: label {1 - label} of key '{key}' contradicts the identit")
    truth.write_text("\n".join(lines[:-1]))
    refused(r"English_test.txt, line 40: key 'e0000039' has no label in .*truth")
    truth.write_text("\n".join([*lines, "zzzzzzzz 1"]))
    refused(r"truth/English_test.txt, line 41: key 'zzzzzzzz' is not in")
    truth.write_text("\n".join(lines))
    gone = tmp_path / "English_test.txt"
    gone.write_text(
        gone.read_text() + "zzzzzzzz voices/English/99999.wav faces/English/00000.jpg\n"
    )
    with pytest.raises(ValueError, match="line 41: voices/English/99999.wav is not among"):
        evaluated(tmp_path, embeddings)
    gone.write_text("zzzzzzzz voices/Urdu/00000.wav faces/Urdu/00000.jpg\n")
    with pytest.raises(ValueError, match=r"English_test.txt, line 1: expected .* in English"):
        evaluated(tmp_path, embeddings)


def test_recipe_goes_from_embeddings_to_a_zip(tmp_path):
    embeddings, owner = clips()
    write_lists(tmp_path, owner)
    save_embeddings(tmp_path / "E.npz", embeddings)
    unknown, _ = clips(labelled=False)
    np.savez(
        tmp_path / "U.npz", face=unknown.face, voice=unknown.voice,
        face_id=unknown.face_id, voice_id=unknown.voice_id,
    )  # fmt: skip
    for name in ("E", "U"):
        result = run_forked(
            recipe(
                "evaluate", HPARAMS / "evaluate.yaml", f"--embeddings={name}.npz",
                "--lists=!include:protocols/fame.yaml {folder: .}", f"--output_folder={name}",
                "--num_replicates=50", "--noprogressbar",
            ),
            tmp_path,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert "trained on English" in result.stdout and "submission.zip" in result.stdout
        assert (tmp_path / name / "submission/submission.zip").is_file()
    section = json.loads((tmp_path / "E/report.json").read_text())["challenge"]
    assert 0 <= section["mean"]["official_eer"] < 0.5
    refused = run_forked(
        recipe("evaluate", HPARAMS / "evaluate.yaml", "--embeddings=U.npz"), tmp_path
    )
    assert refused.returncode == 2 and "only lists can be scored" in refused.stderr
