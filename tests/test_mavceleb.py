"""MAV-Celeb from media: the layouts of every version, lists, missing files, what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile

from speechbrain_fv.corpora.mavceleb import challenge_rows, prepare_mavceleb, split_people
from speechbrain_fv.corpora.mavceleb_layout import (
    VERSIONS,
    language_of,
    list_clips,
    parse_name,
)
from speechbrain_fv.corpora.mavceleb_lists import read_pairs, read_truth
from speechbrain_fv.corpora.scan import Scanner
from speechbrain_fv.data.listed import ListedSampler
from speechbrain_fv.data.manifests import load_manifests
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.protocols import ChallengeLists, resolve_lists
from tests.media import vowels, write_face, write_voice

PEOPLE = [f"id{number:04d}" for number in range(1, 9)]
VIDEO = "A8Ch7g_--Jl"  # dashes and an underscore, as YouTube has them
RATES = (16000, 44100, 22050)


def write_corpus(folder, version="v1", people=PEOPLE):
    """Media of people in both languages: a voice and a face each, at odd rates."""
    for number, person in enumerate(people):
        for language in VERSIONS[version].languages:
            place = f"{person}/{language}/{VIDEO}"
            rate = RATES[number % len(RATES)]
            write_voice(folder / "voices" / place / "00000.wav", 1.2, rate, seed=number)
            write_face(folder / "faces" / place / "0007775.jpg", seed=number)
    return folder


def write_test(folder, version="v1", count=3):
    """The test layout of a version, with a list of each language."""
    lists = {}
    for language in VERSIONS[version].languages:
        place = "{kind}/" + language
        if version == "v3":
            place = language + "_test/{kind}"
        rows = []
        for number in range(count):
            names = [place.format(kind=kind) for kind in ("voices", "faces")]
            write_voice(folder / names[0] / f"0000{number}.wav", 1.2, RATES[number % 3])
            write_face(folder / names[1] / f"0000{number}.jpg", seed=number)
            # Lists name the clips as in v1, whatever the folder.
            rows.append(
                f"key{language[:2]}{number:03d} voices/{language}/0000{number}.wav "
                f"faces/{language}/0000{number}.jpg"
            )
        lists[language] = folder / f"{language}_test.txt"
        lists[language].write_text("\n".join(rows) + "\n")
    return lists


def prepare(tmp_path, folder=None, **options):
    scanner = Scanner(cache_folder=str(tmp_path / "cache"), vad=False, num_workers=0)
    settings = {"version": "v1", "scanner": scanner, **options}
    prepare_mavceleb(tmp_path / "manifests", folder or tmp_path / "corpus", **settings)
    return load_manifests(tmp_path / "manifests")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("below", [".", "mavceleb_train/data"])
def test_every_version_is_prepared(tmp_path, version, below):
    folder = tmp_path / "corpus"
    write_corpus(folder / below, version)
    lists = write_test(folder / "test", version)
    first, second = VERSIONS[version].languages
    manifests = prepare(
        tmp_path,
        version=version,
        heard=first,
        test_lists={"heard": lists[first], "un": lists[second]},
    )
    for split in ("train", "valid"):
        assert set(manifests.voices[split].language) == {first}
        assert set(manifests.faces[split].language) == {first}
    assert set(manifests.voices["test"].language) == {first, second}
    assert set(manifests.identities.identity) == set(PEOPLE)
    faces, voices = manifests.challenge
    assert len(faces) == len(voices) == 6 and set(faces.spk_id) == {""}
    assert set(voices.language) == {first, second}
    notes = manifests.preparation["notes"]
    assert notes["people"] == {"expected": VERSIONS[version].num_train, "found": len(PEOPLE)}
    num_held_out = (manifests.identities.split != "test").sum()
    assert sum(left["voices"] for left in notes["left_out"].values()) == num_held_out


@pytest.mark.parametrize("version", VERSIONS)
def test_the_lists_of_a_challenge_find_its_clips(tmp_path, version):
    write_corpus(tmp_path / "corpus", version)
    lists = write_test(tmp_path / "corpus", version)
    faces, voices = prepare(tmp_path, version=version, test_lists=lists).challenge
    rng = np.random.default_rng(0)
    embeddings = Embeddings(
        *(rng.normal(size=(6, 4)) for _ in range(2)), [""] * 6, [""] * 6,
        faces.ID.tolist(), voices.ID.tolist(),
    )  # fmt: skip
    first = VERSIONS[version].languages[0]
    for resolved in resolve_lists(ChallengeLists("fame", version, first, lists), embeddings):
        language = resolved.trials.challenge.language
        for manifest, column, rows in (
            (voices, "wav", resolved.probes),
            (faces, "image", resolved.targets),
        ):
            found = manifest.iloc[np.ravel(rows)]
            assert set(found.language) == {language}
            stems = [path.split("/")[-1].split(".")[0] for path in found[column]]
            assert stems == ["00000", "00001", "00002"]


def test_voices_of_a_challenge_are_cut_to_speech(tmp_path):
    write_corpus(tmp_path / "corpus")
    lists = write_test(tmp_path / "corpus")
    quiet = np.zeros(2 * 16000, np.float32)
    sound = np.concatenate([quiet, vowels(3.0), quiet])
    soundfile.write(tmp_path / "corpus/voices/Urdu/00000.wav", sound, 16000)
    scanner = Scanner(cache_folder=str(tmp_path / "cache"), vad=True, num_workers=0)
    clips, _ = list_clips([tmp_path / "corpus"], "v1")
    tests = {"unheard": read_pairs(lists["Urdu"], "v1")}
    _, voices = challenge_rows(clips, tests, scanner)
    speech = voices.set_index(voices.wav.str[-9:-4]).speech
    edges = [int(edge) for edge in speech["00000"].replace(";", ":").split(":")]
    assert 1.5 * 16000 < edges[0] < 3 * 16000 and 4 * 16000 < edges[-1] < 5.5 * 16000
    assert speech["00001"] == ""  # noise: no speech is found, all of it is taken


def test_odd_rates_keep_their_length(tmp_path):
    write_corpus(tmp_path / "corpus")
    voices = pd.concat(prepare(tmp_path).voices.values())
    assert np.allclose(voices.duration, 1.2, atol=1e-3)
    assert len(set(voices.stop)) == len(RATES)


def test_the_split_is_by_name_and_not_by_what_is_there():
    people = [f"id{number:04d}" for number in range(60)]
    whole = split_people(people, "v1", (0.1, 0.15)).set_index("identity").split
    fewer = split_people(people[:-1], "v1", (0.1, 0.15)).set_index("identity").split
    assert (whole[fewer.index] != fewer).sum() <= 2  # at the edges of the shares
    assert whole.value_counts().to_dict() == {"train": 45, "test": 9, "valid": 6}
    assert (whole != split_people(people, "v2", (0.1, 0.15)).set_index("identity").split).any()


def test_a_csv_gives_splits_and_labels(tmp_path):
    write_corpus(tmp_path / "corpus")
    table = pd.DataFrame({"identity": PEOPLE, "gender": ["m", "f"] * 4, "split": "train"})
    table.loc[:3, "split"] = ["valid", "valid", "test", "test"]
    table.to_csv(tmp_path / "people.csv", index=False)
    identities = prepare(tmp_path, people_csv=tmp_path / "people.csv").identities
    assert identities[["identity", "gender", "split"]].equals(table)


def train_list(tmp_path, rows):
    file = tmp_path / "English_train.txt"
    file.write_text("\n".join(rows) + "\n")
    return file


def test_train_lists_are_honoured(tmp_path):
    corpus = write_corpus(tmp_path / "corpus")
    for number, person in enumerate(PEOPLE):
        write_face(corpus / f"faces/{person}/English/Y16ltGEvXzI/0000025.jpg", seed=70 + number)
    rows = [
        f"{person}/English/{VIDEO}/00000.wav {person}/English/Y16ltGEvXzI/0000025.jpg"
        for person in PEOPLE
    ]
    manifests = prepare(tmp_path, heard="English", train_lists=train_list(tmp_path, rows))
    assert set(manifests.faces["train"].video.str.split("/").str[-1]) == {"Y16ltGEvXzI"}
    assert len(manifests.faces["test"]) == 3 * len(set(manifests.faces["test"].spk_id))
    pairs = tmp_path / "manifests" / "pairs_train.csv"
    sampler = ListedSampler(manifests.faces["train"], manifests.voices["train"], 2, pairs)
    drawn = [pair[:2] for batch in sampler for pair in batch]
    assert len(drawn) == len(manifests.voices["train"]) and len(set(drawn)) == len(drawn)
    for face, voice in drawn:
        assert sampler.faces.spk_id[face] == sampler.voices.spk_id[voice]


def test_missing_files_of_a_list_are_counted_and_named(tmp_path):
    write_corpus(tmp_path / "corpus")
    rows = [f"{p}/English/{VIDEO}/00000.wav {p}/English/{VIDEO}/0007775.jpg" for p in PEOPLE]
    rows.append(f"{PEOPLE[0]}/English/gone/00000.wav {PEOPLE[0]}/English/{VIDEO}/0007775.jpg")
    lists = train_list(tmp_path, rows)
    with pytest.raises(ValueError, match=r"1 clips .*English_train.txt, line 9: not on disk"):
        prepare(tmp_path, train_lists=lists)
    scanner = Scanner(
        cache_folder=str(tmp_path / "cache"), vad=False, num_workers=0, max_excluded_share=0.1
    )
    prepare(tmp_path, train_lists=lists, scanner=scanner)
    excluded = pd.read_csv(tmp_path / "manifests" / "excluded.csv")
    assert excluded.reason.tolist() == [f"{lists}, line 9: not on disk"]
    notes = json.loads((tmp_path / "manifests/preparation.json").read_text())["notes"]
    assert notes["missing_listed"] == 1


def test_a_test_clip_without_a_file_is_refused_with_its_line(tmp_path):
    write_corpus(tmp_path / "corpus")
    lists = write_test(tmp_path / "corpus")
    (tmp_path / "corpus/faces/Urdu/00001.jpg").unlink()
    with pytest.raises(ValueError, match=r"Urdu_test.txt, line 2: faces/Urdu/00001.jpg is not on"):
        prepare(tmp_path, test_lists={"unheard": lists["Urdu"]})
    (tmp_path / "corpus/faces/Urdu/00001.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"Urdu_test.txt, line 2: .*00001.jpg: .*needs a score"):
        prepare(tmp_path, test_lists={"unheard": lists["Urdu"]})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["voices/English/0.wav"], "line 1: expected 'voice face' or 'key voice face' or"),
        (["k voices/English/0.wav faces/English/0.jpg", "k2 voices/English/0.wav"],
         "line 2: expected 'key voice face', got"),
        (["k voices/English/0.wav faces/English/0.jpg"] * 2, "line 2: key 'k' is that of line 1"),
        (["k voices/Hindi/0.wav faces/English/0.jpg"], "line 1: expected a language of v1"),
        (["k faces/English/0.jpg voices/English/0.wav"], "line 1: expected a voice, "),
        (["k voices/English/0.wav notes.txt"], "line 1: expected a face, .*'notes.txt'"),
        (["p 1 id0001/English/v/0.wav id0002/English/v/0.jpg s 1"],
         "line 1: label 1 contradicts the folders, id0001 and id0002"),
        (["p 0 id0001/English/v/0.wav id0001/English/v/0.jpg s 1"], "label 0 contradicts"),
        (["p 2 id0001/English/v/0.wav id0001/English/v/0.jpg s 1"], "line 1: expected a label"),
        (["id0001/English/v/0.wav id0002/English/v/0.jpg"], "label 1 contradicts the folders"),
        ([], "the list is empty"),
    ],
)  # fmt: skip
def test_faulty_lists_are_refused_with_file_and_line(tmp_path, rows, message):
    file = tmp_path / "list.txt"
    file.write_text("\n".join(rows))
    with pytest.raises(ValueError, match=f"list.txt.*{message}"):
        read_pairs(file, "v1")


def test_lists_of_flag_are_read(tmp_path):
    file = tmp_path / "train.txt"
    file.write_text("p1 1 id0001/English/v/0.wav id0001/English/w/0.jpg id0001 1\n")
    assert read_pairs(file, "v4").table.label.tolist() == [1]


def test_truth_is_read_with_and_without_names(tmp_path):
    (tmp_path / "a").write_text("k1 1\nk2 0\n")
    (tmp_path / "b").write_text("k1 1 v f\nk2 0 v f\n")
    assert read_truth(tmp_path / "a") == read_truth(tmp_path / "b")
    (tmp_path / "c").write_text("k1 1\nk1 0\n")
    with pytest.raises(ValueError, match="c, line 2: key 'k1' is that of line 1 already"):
        read_truth(tmp_path / "c")


def test_a_language_that_the_corpus_lacks_is_refused(tmp_path):
    write_corpus(tmp_path / "corpus", "v2")
    with pytest.raises(ValueError, match=r"Hindi/.*: expected a language of v1, English or Urdu"):
        prepare(tmp_path)
    with pytest.raises(ValueError, match="heard: expected a language of v2, .* got 'Urdu'"):
        prepare(tmp_path, version="v2", heard="Urdu")


def test_a_folder_without_clips_is_refused(tmp_path):
    (tmp_path / "corpus").mkdir()
    with pytest.raises(ValueError, match="no file voices/idNNNN"):
        prepare(tmp_path)
    write_voice(tmp_path / "corpus/voices/x.wav")
    with pytest.raises(ValueError, match=r"1 files have other names, as .*x\.wav"):
        prepare(tmp_path)


def test_names_of_all_layouts_are_one_clip():
    names = ["voices/Bangla/1.wav", "./v4/voices/bengali/1.wav", "Bengali_test/voices/1.wav"]
    assert len({parse_name(name).key for name in names}) == 1
    assert language_of("Bengali", "v4") == "Bangla"


def test_an_interrupted_scan_goes_on(tmp_path):
    write_corpus(tmp_path / "corpus")
    prepare(tmp_path)
    store = next((tmp_path / "cache/scan").glob("voice*"))
    lines = store.read_bytes().splitlines()
    store.write_bytes(b"\n".join(lines[:5]))
    (tmp_path / "manifests/preparation.json").unlink()
    prepare(tmp_path)
    assert len({*store.read_bytes().splitlines()} - {b""}) == len({*lines} - {b""})
