"""Several files of a person, by every call and command that takes files: averages of embeddings."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from speechbrain_fv.commands import main
from speechbrain_fv.inference import FaceVoiceAssociation
from speechbrain_fv.search import Gallery
from tests.media import write_face, write_voice


@pytest.fixture(scope="module")
def model(bundle_folder):
    return FaceVoiceAssociation.from_hparams(bundle_folder)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Ann with two photos and three recordings, bob with one photo and two recordings."""
    folder = tmp_path_factory.mktemp("people")
    for name, photos, recordings in (("ann", 2, (1.1, 1.4, 2.0)), ("bob", 1, (1.2, 1.3))):
        for number in range(photos):
            write_face(folder / name / f"{number}.jpg", seed=10 * len(name) + number + ord(name[0]))
        for number, seconds in enumerate(recordings):
            write_voice(folder / name / "v" / f"{number}.wav", seconds, seed=number + ord(name[0]))
    (folder / "ann" / "notes.txt").write_text("about her")
    return folder


def mean(embeddings, weights=None):
    """The weighted mean of directions, as it is compared: by its direction."""
    rows = [row / np.linalg.norm(row) for row in embeddings.double().numpy()]
    return np.average(rows, axis=0, weights=weights)


def files(people, pattern):
    return sorted(people.glob(pattern))


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("weights", [None, [1.0, 3.0]])
def test_images_and_waveforms_of_one_person(model, weights):
    images = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    found = model.encode_person_face(images, weights)
    close(found, [mean(model.encode_face(images), weights)])
    wavs = torch.randn(2, 16000).clamp(-3, 3) / 4
    found = model.encode_person_voice(wavs, weights=weights)
    assert found.shape == (1, model.embedding_dim)
    close(found, [mean(model.encode_voice(wavs), weights)])
    assert torch.equal(model.encode_person_face(images[0]), model.encode_face(images[0]))


def test_people_of_files_and_folders(model, people):
    """A file, a list, a folder and a list with a folder; each counts its files."""
    ann, bob = files(people, "ann/v/*.wav"), files(people, "bob/v/*.wav")
    given = [ann[0], ann, people / "bob", [*ann[:1], people / "bob"]]
    found = model.encode_people_files("voice", given)
    assert (found.kept, found.num_clips) == ([0, 1, 2, 3], [1, 3, 2, 3])
    for row, listed in zip(found.embeddings, (ann[:1], ann, bob, ann[:1] + bob), strict=True):
        close(row, mean(model.encode_voice_files(listed)))


def test_measured_weights_are_the_seconds_that_the_model_hears(model, people):
    ann = files(people, "ann/v/*.wav")
    measured = []
    clips = model.encode_voice_files(ann, measured=measured)
    assert measured == [0.5, 0.5, 0.5]  # the model hears half a second of each
    model.readers["voice_reader"].num_samples = 24000
    try:
        measured = []
        clips = model.encode_voice_files(ann, measured=measured)
        assert measured == pytest.approx([1.1, 1.4, 1.5])
        found = model.encode_people_files("voice", [ann], "measured").embeddings[0]
    finally:
        model.readers["voice_reader"].num_samples = 8000
    close(found, mean(clips, measured))
    assert np.abs(found.numpy() - mean(clips)).max() > 1e-5
    given = model.encode_people_files("voice", [ann], [[2, 0, 0]]).embeddings[0]
    close(given, mean(model.encode_voice_files(ann[:1])))


def test_verify_and_match_take_people(model, people):
    face, voice = people / "ann" / "0.jpg", people / "bob" / "v" / "0.wav"
    faces, voices = (model.encode_people_files(m, [people / "ann"]) for m in ("face", "voice"))
    expected = model.verify(faces.embeddings, voices.embeddings).score
    for given in (people / "ann", [people / "ann"], [files(people, "ann/*.jpg")]):
        close(model.verify_files(given, people / "ann").score, expected)
    assert model.verify_files([face, face], [voice, voice]).score.shape == (2,)  # two pairs
    ranking = model.match_files(files(people, "ann/v/*.wav"), [people / "ann", people / "bob"])
    gallery = model.encode_people_files("face", [people / "ann", people / "bob"]).embeddings
    expected = model.match(voices.embeddings[0], gallery, "V-F")
    assert torch.equal(ranking.indices, expected.indices)
    close(ranking.scores, expected.scores)
    ranking = model.match_files(face, [people / "ann", voice])
    assert ranking.scores.shape == (2,)


def test_a_person_without_a_usable_file_is_left_out(model, people, tmp_path):
    (tmp_path / "broken.wav").write_text("no sound")
    (tmp_path / "also.wav").write_text("no sound")
    broken, ann = [tmp_path / "broken.wav", tmp_path / "also.wav"], files(people, "ann/v/*.wav")
    skipped = []
    found = model.encode_people_files("voice", [broken, [*ann, broken[0]]], skipped=skipped)
    assert (found.kept, found.num_clips) == ([1], [3])
    assert [path for path, _ in skipped] == [str(file) for file in (*broken, broken[0])]
    close(found.embeddings[0], mean(model.encode_voice_files(ann)))
    with pytest.raises(ValueError, match=r"broken.wav: no audio"):
        model.encode_people_files("voice", [broken])
    with open(ann[0], "rb") as closed:  # bears the name of a file of the folder
        pass
    found = model.encode_people_files("voice", [closed, people / "ann"], on_error="skip")
    assert (found.kept, found.num_clips) == ([1], [3])
    close(found.embeddings[0], mean(model.encode_voice_files(ann)))


@pytest.mark.parametrize(
    "given, options, message",
    [
        (lambda folder: [[]], {}, "voice: expected at least one file of a person, got none"),
        (lambda folder: [folder / "empty"], {}, "empty: no recording in this folder"),
        (lambda folder: [folder / "ann"], {"weights": "equal"}, "'measured', numbers or None, got"),
        (lambda folder: [folder / "ann"], {"weights": [[1], [1]]}, "those of 1 people, got 2"),
        (lambda folder: [folder / "ann"], {"weights": [[1]]}, r"expected 3 for .*0.wav and 2 more"),
        (
            lambda folder: [folder / "ann"],
            {"weights": [[0, 0, 0]]},
            "above 0 .* got none for '.*an",
        ),
    ],
)
def test_mistakes_in_people_are_named(model, people, given, options, message):
    (people / "empty").mkdir(exist_ok=True)
    with pytest.raises(ValueError, match=message):
        model.encode_people_files("voice", given(people), **options)
    (people / "empty").rmdir()


def test_a_folder_of_both_kinds_is_no_probe(model, people):
    with pytest.raises(ValueError, match="ann: images and recordings, expected one kind"):
        model.match_files(people / "ann", [people / "bob"])


def test_a_gallery_of_people(model, people, tmp_path):
    gallery = Gallery.from_folder(model, people, people=True)
    assert gallery.face_ids == gallery.voice_ids == ["ann", "bob"]
    probe = model.encode_people_files("voice", [people / "bob"]).embeddings[0]
    ids, scores = gallery.query_voice(probe)
    expected = model.match_files(files(people, "bob/v/*.wav"), [people / "ann", people / "bob"])
    assert ids == [["ann", "bob"][index] for index in expected.indices]
    close(scores, expected.scores)
    rows = [f"{path.stem}{path.parent.name},{path},," for path in files(people, "*/*.jpg")]
    lines = [f"{row}{'cem' if number else 'dan'}" for number, row in enumerate(rows)]
    (tmp_path / "clips.csv").write_text("\n".join(["id,face,wav,identity", *lines]))
    assert Gallery.from_csv(model, tmp_path / "clips.csv", people=True).face_ids == ["cem", "dan"]
    with pytest.raises(ValueError, match="0.jpg: people: expected it in the folder of a person"):
        Gallery.from_folder(model, people / "ann", people=True)
    (tmp_path / "clips.csv").write_text(f"id,face\n1,{people / 'ann' / '0.jpg'}\n")
    with pytest.raises(ValueError, match="clips.csv: people: expected the column identity"):
        Gallery.from_csv(model, tmp_path / "clips.csv", people=True)


def test_commands_take_people(model, bundle_folder, people, tmp_path, capsys):
    def run(*arguments):
        options = [f"--model={bundle_folder}", "--json"]
        assert main([*map(str, arguments), *options]) == 0
        return json.loads(capsys.readouterr().out)

    ann = files(people, "ann/v/*.wav")
    score = model.verify_files(people / "ann", people / "ann").score
    data = run("verify", people / "ann", people / "ann")
    assert (data["num_faces"], data["num_voices"]) == (2, 3)
    assert data["score"] == pytest.approx(score, abs=1e-6)
    (tmp_path / "ann").mkdir()
    for file in files(people, "ann/*.jpg"):
        (tmp_path / "ann" / file.name).symlink_to(file)
    (tmp_path / "ann" / "broken.jpg").write_bytes(b"no image")
    arguments = ["verify", tmp_path / "ann", people / "ann", f"--model={bundle_folder}", "--json"]
    assert main([*map(str, arguments)]) == 2 and "broken.jpg: no image" in capsys.readouterr().err
    assert main([*map(str, arguments), "--skip_broken"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["score"] == pytest.approx(score, abs=1e-6) and data["num_faces"] == 2
    assert [Path(left["file"]).name for left in data["left_out"]] == ["broken.jpg"]
    broken = tmp_path / "ann" / "broken.jpg"
    arguments = ["verify", people / "ann", people / "ann", f"--model={bundle_folder}", "--json"]
    assert main([*map(str, arguments), "--also", str(broken), "--skip_broken"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert [left["file"] for left in data["left_out"]] == [str(broken)]
    assert data["score"] == pytest.approx(score, abs=1e-6)
    also = [ann[1], people / "ann" / "1.jpg", ann[2]]
    data = run("verify", people / "ann" / "0.jpg", ann[0], "--also", *also)
    assert data["score"] == pytest.approx(score, abs=1e-6)
    expected = model.match_files(ann, [people / "bob", people / "ann"])
    data = run("match", ann[0], people / "bob", people / "ann", "--also", *ann[1:])
    assert data["num_probe_files"] == 3
    close([row["score"] for row in data["ranking"]], expected.scores)
    assert sorted(row["num_files"] for row in data["ranking"]) == [1, 2]
    data = run("search", "build", tmp_path / "gallery", people, "--people")
    assert (data["num_faces"], data["num_voices"]) == (2, 2)
    data = run("search", "query", tmp_path / "gallery", ann[0], "--also", *ann[1:], "--weighted")
    assert {hit["id"] for hit in data["hits"]} == {"ann", "bob"}
    close([hit["score"] for hit in data["hits"]], expected.scores)
    rows = [f"{path.stem}{path.parent.parent.name},{path},{path.parts[-3]}" for path in ann]
    (tmp_path / "clips.csv").write_text("\n".join(["id,wav,identity", *rows]))
    run("embed", tmp_path / "clips.csv", "--output", tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as arrays:
        assert arrays["voice_weight"].tolist() == [0.5] * 3
    data = run("search", "build", tmp_path / "g", tmp_path / "e.npz", "--people", "--weighted")
    assert data["num_voices"] == 1
    gallery = Gallery.load(tmp_path / "g", model)
    assert gallery.voice_ids == ["ann"]
    face = model.encode_face_files(people / "bob" / "0.jpg")[0]
    wanted = model.match(face, model.encode_people_files("voice", [ann]).embeddings, "F-V").scores
    close(gallery.query_face(face).scores, wanted)
