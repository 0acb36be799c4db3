"""MAV-Celeb from feature files: CSVs beside lists, trees of .npy, one run from files to a zip."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from speechbrain_fv.corpora.mavceleb_features import prepare_mavceleb_features
from speechbrain_fv.data.manifests import load_manifests
from tests.paths import HPARAMS
from tests.processes import recipe, run_forked

PEOPLE = [f"id{number:04d}" for number in range(1, 13)]
WIDTHS = {"face": 6, "voice": 4}


def write_csv(path, vectors, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(vectors)
    table["label"] = labels
    table.to_csv(path, header=False, index=False)


def write_packs(folder, language, people=PEOPLE, seed=0):
    """A train list and a test list of a language, with a row of both CSVs for each line."""
    rng = np.random.default_rng(seed)
    centres = {m: rng.normal(size=(len(people), width)) for m, width in WIDTHS.items()}
    lines, who = [], np.repeat(np.arange(len(people)), 3)
    for row, number in enumerate(who):
        person = people[number]
        lines.append(
            f"{person}/{language}/v{row % 3}/{row:05d}.wav {person}/{language}/w/{row // 3}.jpg"
        )
    (folder / f"{language}_train.txt").write_text("\n".join(lines) + "\n")
    tested = [
        f"k{row:07d} voices/{language}/{row}.wav faces/{language}/{row}.jpg" for row in range(8)
    ]
    (folder / f"{language}_test.txt").write_text("\n".join(tested) + "\n")
    files = {}
    for part, index in (("train", who), ("test", rng.integers(0, len(people), 8))):
        files[part] = {"list": str(folder / f"{language}_{part}.txt")}
        for modality, of in centres.items():
            vectors = of[index] + 0.3 * rng.normal(size=(len(index), WIDTHS[modality]))
            if part == "train" and modality == "face":  # one face in the three lines of a person
                vectors = np.repeat(vectors[::3], 3, axis=0)
            files[part][modality] = str(folder / f"{language}_{modality}s_{part}.csv")
            write_csv(folder / f"{language}_{modality}s_{part}.csv", vectors, index + 1)
    return files


def corpus(tmp_path):
    files = {language: write_packs(tmp_path, language) for language in ("English", "Urdu")}
    return {
        part: {language: of[part] for language, of in files.items()} for part in ("train", "test")
    }


def prepare(tmp_path, **options):
    options = {"version": "v1", "heard": "English", "held_out": (0.2, 0.2), **options}
    prepare_mavceleb_features(tmp_path / "m", tmp_path / "v.npz", **options)
    return load_manifests(tmp_path / "m")


def test_csvs_of_the_challenges_are_prepared(tmp_path):
    manifests = prepare(tmp_path, **corpus(tmp_path))
    assert set(manifests.identities.identity) == set(PEOPLE)
    assert set(manifests.voices["train"].language) == {"English"}
    assert set(manifests.voices["test"].language) == {"English", "Urdu"}
    faces, voices = manifests.challenge
    assert len(faces) == len(voices) == 16 and "faces/Urdu/3.jpg" in set(faces.ID)
    with np.load(tmp_path / "v.npz") as arrays:
        ids = arrays["voice_id"].tolist()
        row = manifests.voices["train"].ID.iloc[0]
        table = pd.read_csv(tmp_path / "English_voices_train.csv", header=None)
        lines = (tmp_path / "English_train.txt").read_text().splitlines()
        line = [text.split()[0] for text in lines].index(row)
        expected = table.iloc[line, :4].to_numpy(np.float32)
        assert np.array_equal(arrays["voice"][ids.index(row)], expected)


def test_labels_say_who_it_is_where_there_is_no_list(tmp_path):
    files = corpus(tmp_path)["train"]
    for of_language in files.values():
        del of_language["list"]
    manifests = prepare(tmp_path, train=files)
    assert set(manifests.identities.identity) == {str(number) for number in range(1, 13)}
    assert manifests.challenge is None


def test_a_tree_of_npy_is_prepared(tmp_path):
    rng = np.random.default_rng(0)
    for person in PEOPLE:
        for language in ("English", "Urdu"):
            for modality, width in WIDTHS.items():
                place = tmp_path / modality / person / language / "vid"
                place.mkdir(parents=True)
                np.save(place / "00000.npy", rng.normal(size=width))
    files = {modality: str(tmp_path / modality) for modality in WIDTHS}
    manifests = prepare(tmp_path, train={"English": files, "Urdu": files})
    assert set(manifests.identities.identity) == set(PEOPLE)
    assert len(manifests.voices["test"]) == 2 * len(set(manifests.voices["test"].spk_id))


def test_it_is_prepared_once_and_again_if_the_vectors_are_others(tmp_path):
    files = corpus(tmp_path)
    prepare(tmp_path, **files)
    stamp = (tmp_path / "m/preparation.json").stat().st_mtime_ns
    prepare(tmp_path, **files)
    assert (tmp_path / "m/preparation.json").stat().st_mtime_ns == stamp
    (tmp_path / "v.npz.key").write_text("another corpus")
    prepare(tmp_path, **files)
    assert (tmp_path / "m/preparation.json").stat().st_mtime_ns != stamp


def replace_line(path, line, text):
    lines = path.read_text().splitlines()
    lines[line - 1 : line] = [text] if text is not None else []
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("name", "line", "text", "message"),
    [
        ("English_faces_train.csv", 5, None, r"faces_train.csv: 35 rows, but .*train.txt has 36"),
        ("English_faces_train.csv", 5, "1,2,3,4,5,6,9", "faces_train.csv, line 5: label '9' of id"),
        ("English_faces_train.csv", 5, "1,2,x,4,5,6,2", "faces_train.csv, line 5"),
        (
            "English_faces_train.csv",
            2,
            "9,9,9,9,9,9,1",
            "faces_train.csv, line 2: .* has another vector than in line 1",
        ),
        (
            "Urdu_voices_test.csv",
            2,
            "0,0,0,0,1",
            "line 2: voices/Urdu/1.wav: vector is zero; every",
        ),
        ("Urdu_test.txt", 3, "k0000001 a b", "Urdu_test.txt, line 3: key 'k0000001' is that of li"),
        ("English_train.txt", 1, "voice", "English_train.txt, line 1: expected 'voice face'"),
    ],
)
def test_faulty_files_are_refused_with_file_and_line(tmp_path, name, line, text, message):
    files = corpus(tmp_path)
    replace_line(tmp_path / name, line, text)
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path, **files)


def test_other_mistakes_are_refused(tmp_path):
    files = corpus(tmp_path)
    with pytest.raises(ValueError, match="train: expected a language of v1, .* got 'Hindi'"):
        prepare(tmp_path, train={"Hindi": files["train"]["Urdu"]})
    with pytest.raises(ValueError, match="train: English: expected the file voice"):
        prepare(tmp_path, train={"English": {"face": files["train"]["English"]["face"]}})
    swapped = {"English": files["test"]["Urdu"]}
    with pytest.raises(ValueError, match="Urdu_test.txt, line 1: expected English, got Urdu"):
        prepare(tmp_path, train=files["train"], test=swapped)


def test_one_command_goes_from_files_to_a_zip(tmp_path):
    files = corpus(tmp_path)
    text = json.dumps({**files, "version": "v1", "vectors_file": "v.npz", "held_out": [0.2, 0.2]})
    result = run_forked(
        recipe(
            "train", HPARAMS / "infonce.yaml", "--output_folder=out", "--draw_figures=False",
            "--number_of_epochs=1", "--batch_size=8", "--steps_per_epoch=2",
            f"--corpus=!include:corpora/mavceleb_features.yaml {text}",
            "--face=!include:face/embedding.yaml {input_dim: 6}",
            "--voice=!include:voice/embedding.yaml {input_dim: 4}",
            "--sets={heard: {language: English}, unheard: {language: Urdu}}",
            "--lists=!include:protocols/fame.yaml {folder: .}",
        ),
        tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert set(report["sets"]) == {"heard", "unheard"} and "eer_interval" in report["mean"]
    assert {"+language", "=language"} == set(report["clip_strata"])
    assert "language" in report["groups"] and report["challenge"]["mean"]["eer"] is None
    with zipfile.ZipFile(tmp_path / "out/submission/submission.zip") as archive:
        names = archive.namelist()
    assert names == [f"sub_score_v1_English_{part}.txt" for part in ("heard", "unheard")]
    assert report["num_faces"] == len(pd.read_csv(tmp_path / "out/manifests/faces_test.csv"))


def test_flag_goes_from_its_folder_to_a_zip(tmp_path):
    folder = tmp_path / "flag"
    for part in ("no_gender", "gender"):
        (folder / part).mkdir(parents=True)
        for language in ("English", "Bangla"):
            files = write_packs(tmp_path, language, seed=len(part) + len(language))["test"]
            # A clip has one vector, and both parts have clips of their own.
            names = (
                Path(files["list"]).read_text().replace(f"{language}/", f"{language}/{len(part)}")
            )
            (folder / part / f"{language}.txt").write_text(names)
            for modality in WIDTHS:
                target = folder / part / f"{language}_{modality}s.csv"
                target.write_text(Path(files[modality]).read_text())
    files = write_packs(tmp_path, "English")["train"]
    (folder / "train.txt").write_text(flag_train(files["list"]))
    for modality in WIDTHS:
        (folder / f"train_{modality}s.csv").write_text(Path(files[modality]).read_text())
    result = run_forked(
        recipe(
            "train", HPARAMS / "flag.yaml", f"--folder={folder}", f"--output_folder={tmp_path}/out",
            "--draw_figures=False", "--number_of_epochs=1", "--batch_size=8", "--steps_per_epoch=2",
            "--num_clusters=[2]", "--corpus={held_out: [0.2, 0.2]}",
            "--face={input_dim: 6, num_coordinates: 3}",
            "--voice={input_dim: 4, num_coordinates: 3}",
        ),
        tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "submission.zip" in result.stdout
    with zipfile.ZipFile(tmp_path / "out/submission/submission.zip") as archive:
        for part in ("no_gender", "gender"):
            for name in ("English_heard", "Bangla_unheard"):
                text = archive.read(f"{part}/sub_score_v4_{name}.txt").decode()
                rows = [line.split(" ") for line in text.splitlines()]
                assert [key for key, _ in rows] == [f"k{row:07d}" for row in range(8)]
                assert all(np.isfinite(float(score)) for _, score in rows)
    pairs = pd.read_csv(tmp_path / "out/manifests/pairs_train.csv")
    assert len(pairs) == 3 * len(PEOPLE)


def flag_train(file):
    """FLAG's form of a train list: pair, label, voice, face, speaker and its number."""
    rows = [line.split() for line in Path(file).read_text().splitlines()]
    people = [voice.split("/")[0] for voice, _ in rows]
    return "".join(
        f"p{row:05d} 1 {voice} {face} {person} {PEOPLE.index(person)}\n"
        for row, ((voice, face), person) in enumerate(zip(rows, people, strict=True))
    )
