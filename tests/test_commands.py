"""The command `speechbrain-fv`: results as the model's, exit codes, clean streams, short errors."""

import json
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_fv.bundles.config import CAUTIONS
from speechbrain_fv.commands import embedding, main, matching, searching
from speechbrain_fv.commands.arguments import RECIPES, make_parser
from speechbrain_fv.evaluation.embeddings import load_embeddings
from speechbrain_fv.inference import FaceVoiceAssociation
from speechbrain_fv.search import Gallery, store
from tests.browser import hear_interrupts
from tests.media import write_face, write_voice
from tests.processes import printed_by

COMMAND = [sys.executable, "-m", "speechbrain_fv.commands"]


@pytest.fixture(scope="module")
def model(bundle_folder):
    return FaceVoiceAssociation.from_hparams(bundle_folder)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Two people with a face and a voice each; and files that are no media."""
    folder = tmp_path_factory.mktemp("people")
    for number, name in enumerate(("ann", "bob")):
        write_face(folder / name / "1.jpg", seed=number)
        write_voice(folder / name / "1.wav", 1.5, seed=number)
    (folder / "notes.txt").write_text("about them")
    return folder


@pytest.fixture
def broken(people, tmp_path):
    """The folder with a picture that is none."""
    folder = tmp_path / "broken"
    for path in people.rglob("1.*"):
        copy = folder / path.relative_to(people)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (folder / "cem.png").write_text("no picture")
    return folder


@pytest.fixture
def fv(bundle_folder, capsys):
    """Runs a command; returns exit code, stdout and stderr."""

    def run(*arguments, model=True):
        options = [f"--model={bundle_folder}"] if model else []
        try:
            code = main([*map(str, arguments), *options])
        except SystemExit as exit:  # of argparse
            code = exit.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_verify_is_the_models(fv, model, people):
    pair = people / "ann/1.jpg", people / "bob/1.wav"
    code, out, err = fv("verify", *pair, "--json")
    data = json.loads(out)
    verdict = model.verify_files(*pair)
    assert (code, err) == (0, "")
    assert data["score"] == pytest.approx(verdict.score, abs=1e-6)
    assert data["probability"] == pytest.approx(verdict.probability, abs=1e-6)
    assert data["decision"] == verdict.decision
    assert data["threshold"] == model.threshold
    assert data["error_rates"] == model.config["error_rates"]
    assert data["model"] == {"name": "owner/small", "version": model.version}
    code, out, _ = fv("verify", *pair)
    assert code == 0
    answer = "one person" if data["decision"] else "two people"
    caution, line, *_ = out.splitlines()
    assert caution == CAUTIONS["embedded"]
    assert line.startswith(f"taken for {answer}: the score {data['score']:.3f} ")
    assert "Of 100 pairs of one person, it misses" in out


@pytest.mark.parametrize("kind", ["face", "voice"])
def test_match_is_the_models(fv, model, people, kind, monkeypatch):
    probe, suffix = ("ann/1.jpg", "wav") if kind == "face" else ("ann/1.wav", "jpg")
    candidates = [str(people / name / f"1.{suffix}") for name in ("bob", "ann")]
    code, out, _ = fv("match", people / probe, *candidates, "--json")
    data = json.loads(out)
    wanted = model.match_files(people / probe, candidates)
    assert code == 0 and data["probe_kind"] == kind
    assert [row["file"] for row in data["ranking"]] == [candidates[i] for i in wanted.indices]
    np.testing.assert_allclose(
        [[row["score"], row["probability"]] for row in data["ranking"]],
        torch.stack(wanted[1:], dim=1),
        atol=1e-6,
    )
    assert [row["rank"] for row in data["ranking"]] == [1, 2]
    assert [row["decision"] for row in data["ranking"]] == [
        score >= model.threshold for score in wanted.scores.tolist()
    ]
    _, out, _ = fv("match", people / probe, *candidates)
    lines = out.splitlines()
    assert lines[2].startswith(f"1. {data['ranking'][0]['file']}  ") and len(lines) == 4
    monkeypatch.setattr(matching, "load_model", lambda options: model)
    monkeypatch.setattr(model, "threshold", wanted.scores[0].item())  # who reaches it passes
    data = json.loads(fv("match", people / probe, *candidates, "--json")[1])
    assert [row["decision"] for row in data["ranking"]] == [True, False]


def test_a_model_of_invented_people_says_so_first(fv, model, people, tmp_path, monkeypatch):
    """Before any score and any error rate, in text and JSON; another says nothing of the kind."""
    caution = CAUTIONS["embedded"]
    assert [*model.config][:3] == ["format", "name", "caution"] and "real people" in caution
    pair, gallery = (people / "ann/1.jpg", people / "bob/1.wav"), tmp_path / "gallery"
    for module in (embedding, matching, searching):
        monkeypatch.setattr(module, "load_model", lambda options: model)
    for arguments in (
        ("verify", *pair),
        ("match", *pair),
        ("embed", people, "--output", tmp_path / "a.npz"),
        ("search", "build", gallery, people),
        ("search", "add", gallery, tmp_path / "b.npz"),
        ("search", "query", gallery, pair[0]),
    ):
        if arguments[1] == "add":
            np.savez(tmp_path / "b.npz", face=model.encode_face_files(pair[0]).numpy())
        assert fv(*arguments)[1].splitlines()[0] == caution, arguments
        more = ["--replace"] if "build" in arguments else []
        if arguments[1] != "add":
            out = fv(*arguments, *more, "--json")[1]
            assert next(iter(json.loads(out).items())) == ("caution", caution)
    monkeypatch.delitem(model.config, "caution")
    assert fv("verify", *pair)[1].startswith("taken for ")
    assert "caution" not in json.loads(fv("verify", *pair, "--json")[1])


def test_files_that_are_left_out_make_exit_code_1(fv, people, broken):
    arguments = "match", people / "ann/1.wav", people / "ann/1.jpg", broken / "cem.png"
    code, out, err = fv(*arguments, "--skip_broken", "--json")
    (left_out,) = json.loads(out)["left_out"]
    assert code == 1 and left_out["file"] == str(broken / "cem.png")
    assert err.startswith(f"left out: {broken / 'cem.png'}: no image") and err.count("cem") <= 3
    assert fv(*arguments, "--skip_broken", "--json", "--quiet")[::2] == (1, "")
    code, out, err = fv(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("speechbrain-fv match: error: ") and len(err.splitlines()) == 1
    code, out, err = fv(*arguments[:2], broken / "cem.png", "--skip_broken")
    assert code == 2 and "no candidate can be used; the first: " in err


def test_what_a_folder_holds_besides_is_named_and_counted(fv, people, broken, tmp_path):
    """Files that nobody reads were passed over in silence, with exit code 0."""
    (broken / "cem.png").unlink()
    (broken / "phone.m4a").write_bytes(b"\0\0\0\x1cftypM4A \0\0\2\0" + bytes(100))
    (broken / "Thumbs.db").write_bytes(bytes(100))
    for arguments in (
        ("embed", broken, "--output", tmp_path / "a.npz"),
        ("search", "build", tmp_path / "gallery", broken),
        ("search", "add", tmp_path / "gallery", broken),
    ):
        if arguments[1] == "add":
            for path in broken.rglob("1.*"):
                path.rename(path.with_name(f"new{path.suffix}"))
        code, out, err = fv(*arguments, "--json")
        assert code == 1, err
        (left_out,) = json.loads(out)["left_out"]
        assert left_out["file"] == "phone.m4a" and "M4A" in left_out["reason"]
        assert err.count("phone.m4a") == 1
    code, out, _ = fv("embed", broken, "--output", tmp_path / "b.npz")
    assert code == 1 and out.endswith("2 faces and 2 voices; files left out: 1\n")


def test_names_that_are_no_unicode_are_printed_escaped(fv, people, tmp_path):
    odd = write_face(tmp_path / "b\udcf6b.png")  # as Linux gives a name in Latin-1
    code, out, _ = fv("match", people / "ann/1.wav", odd)
    assert code == 0 and r"b\udcf6b.png" in out
    code, out, _ = fv("match", people / "ann/1.wav", odd, "--json")
    assert code == 0 and json.loads(out)["ranking"][0]["file"] == str(odd)
    odd.write_text("no picture")
    code, _, err = fv("match", people / "ann/1.wav", odd)
    assert code == 2 and r"b\udcf6b.png: " in err and len(err.splitlines()) == 1


def test_names_with_line_ends_stay_in_their_line(fv, people, tmp_path):
    """A name could add lines to a ranking, and send commands to the terminal."""
    odd = write_face(tmp_path / "a\nb\x1b[2J.png")
    code, out, _ = fv("match", people / "ann/1.wav", odd)
    assert code == 0 and r"a\nb\x1b[2J.png" in out and len(out.splitlines()) == 3
    code, out, _ = fv("match", people / "ann/1.wav", odd, "--json")
    assert json.loads(out)["ranking"][0]["file"] == str(odd)


def test_conversions_are_noted_on_stderr_only(fv, people, tmp_path):
    samples = np.random.default_rng(0).normal(0, 0.1, (12000, 2))
    soundfile.write(tmp_path / "phone.ogg", samples, 8000)
    arguments = "verify", people / "ann/1.jpg", tmp_path / "phone.ogg", "--json"
    code, out, err = fv(*arguments)
    assert code == 0 and json.loads(out)["decision"] in (True, False)
    assert f"note: {tmp_path / 'phone.ogg'}: 8000 Hz resampled to 16000 Hz" in err.splitlines()
    assert fv(*arguments, "--quiet") == (0, out, "")


def test_embed_writes_what_a_gallery_reads(fv, model, people, tmp_path):
    code, out, _ = fv("embed", people, f"--output={tmp_path / 'e.npz'}", "--json")
    data = json.loads(out)
    assert code == 0 and (data["num_faces"], data["num_voices"]) == (2, 2)
    with np.load(tmp_path / "e.npz", allow_pickle=False) as arrays:
        assert str(arrays["model_version"]) == model.version
        assert arrays["face_id"].tolist() == ["ann/1.jpg", "bob/1.jpg"]
        assert "face_identity" not in arrays
        faces = model.encode_face_files([people / "ann/1.jpg", people / "bob/1.jpg"])
        np.testing.assert_allclose(arrays["face"], faces, atol=1e-6)
    gallery = Gallery.from_npz(model, tmp_path / "e.npz")
    ids, _ = gallery.query_voice(people / "ann/1.wav")
    ranking = model.match_files(
        people / "ann/1.wav", [people / f"{n}/1.jpg" for n in ("ann", "bob")]
    )
    assert ids == [["ann/1.jpg", "bob/1.jpg"][index] for index in ranking.indices]


def test_embed_of_single_files_takes_their_content_for_what_they_are(fv, people, tmp_path):
    odd = tmp_path / "face.dat"
    odd.write_bytes((people / "ann/1.jpg").read_bytes())
    output = tmp_path / "deep" / "e.npz"
    assert fv("embed", odd, people / "bob/1.wav", f"--output={output}")[0] == 0
    with np.load(output) as arrays:
        assert arrays["face_id"].tolist() == [str(odd)]
        assert arrays["voice_id"].tolist() == [str(people / "bob/1.wav")]


def test_embed_of_a_csv_with_identities_is_an_evaluation_input(fv, people, tmp_path):
    lines = ["id,face,wav,identity"]
    lines += [
        f"{name}_1,{people / name / '1.jpg'},{people / name / '1.wav'},{name}"
        for name in ("ann", "bob")
    ]
    csv = tmp_path / "clips.csv"
    csv.write_text("\n".join(lines))
    assert fv("embed", csv, f"--output={tmp_path / 'e.npz'}")[0] == 0
    embeddings = load_embeddings(tmp_path / "e.npz")
    assert embeddings.face_identity.tolist() == embeddings.voice_identity.tolist() == ["ann", "bob"]
    assert embeddings.voice_id.tolist() == ["ann_1", "bob_1"]
    code, _, err = fv("embed", csv, people, f"--output={tmp_path / 'f.npz'}")
    assert code == 2 and "its identity is not known, those of others are" in err
    other = tmp_path / "voices.csv"  # of other people, under the same ids
    other.write_text(
        "id,wav,identity\n" + "\n".join(f"{n}_1,{people / n / '1.wav'},eve" for n in ("ann", "bob"))
    )
    csv.write_text(
        "id,face,identity\n"
        + "\n".join(f"{n}_1,{people / n / '1.jpg'},{n}" for n in ("ann", "bob"))
    )
    assert fv("embed", csv, other, f"--output={tmp_path / 'e.npz'}")[0] == 0
    with np.load(tmp_path / "e.npz") as arrays:
        assert arrays["face_identity"].tolist() == ["ann", "bob"]
        assert arrays["voice_identity"].tolist() == ["eve", "eve"]
    other.write_text(other.read_text().replace("identity", "note"))
    code, _, err = fv("embed", csv, other, f"--output={tmp_path / 'f.npz'}")
    assert code == 2 and "its identity is not known, those of others are" in err
    csv.write_text("\n".join([*lines, f"cem,{people / 'ann/1.jpg'},,"]))
    code, _, err = fv("embed", csv, f"--output={tmp_path / 'f.npz'}")
    assert code == 2 and "clips.csv, line 4: identity is empty" in err
    assert not (tmp_path / "f.npz").exists()


def test_embed_leaves_out_only_when_told_to(fv, broken, tmp_path):
    output = f"--output={tmp_path / 'e.npz'}"
    code, _, err = fv("embed", broken, output)
    assert code == 2 and "cem.png" in err and err.rstrip().endswith("or pass --skip_broken")
    assert not (tmp_path / "e.npz").exists()
    code, out, _ = fv("embed", broken, output, "--skip_broken", "--json")
    assert code == 1 and json.loads(out)["left_out"][0]["file"] == "cem.png"
    code, _, err = fv("embed", broken, broken, output)
    assert code == 2 and "would have the same id 'ann/1.jpg'" in err


def test_a_gallery_is_built_searched_and_changed(fv, model, people, broken, tmp_path):
    gallery = tmp_path / "people.gallery"
    code, out, _ = fv("search", "build", gallery, people, "--json")
    data = json.loads(out)
    assert code == 0 and (data["num_faces"], data["num_voices"]) == (2, 2)
    assert data["index"] == {"face": "exact", "voice": "exact"}
    assert "pass --replace" in fv("search", "build", gallery, people)[2]
    assert fv("search", "build", gallery, broken, "--replace", "--skip_broken")[0] == 1
    for probe, suffix in (("ann/1.wav", "jpg"), ("bob/1.jpg", "wav")):
        code, out, _ = fv("search", "query", gallery, people / probe, "--json")
        hits = json.loads(out)["hits"]
        files = [people / hit["id"] for hit in hits]
        ranking = model.match_files(people / probe, files)
        assert code == 0 and ranking.indices.tolist() == [0, 1]
        assert all(file.suffix == f".{suffix}" for file in files)
        numbers = [[hit["score"], hit["probability"]] for hit in hits]
        np.testing.assert_allclose(numbers, torch.stack(ranking[1:], dim=1), atol=1e-5)
    assert (
        len(json.loads(fv("search", "query", gallery, people / probe, "-k=1", "--json")[1])["hits"])
        == 1
    )
    assert fv("search", "remove", gallery, "ann/1.jpg", "bob/1.wav", model=False)[0] == 0
    code, out, _ = fv("search", "info", gallery, "--check", "--json", model=False)
    data = json.loads(out)
    assert (data["num_faces"], data["num_voices"]) == (1, 1)
    assert data["model_version"] == model.version
    code, _, err = fv("search", "add", gallery, people)
    assert code == 2 and "'bob/1.jpg' is already in the gallery" in err


@pytest.mark.parametrize("action", ["add", "remove"])
def test_changes_of_a_gallery_wait_for_each_other(
    fv, model, bundle_folder, people, tmp_path, action
):
    """Of two commands at once the first to save was forgotten, and both said that all was well."""
    gallery, vectors, codes = tmp_path / "g", tmp_path / "e.npz", []
    assert fv("search", "build", gallery, people)[0] == 0
    np.savez(vectors, face=np.eye(1, 256), face_id=["new"])
    options = [str(vectors), f"--model={bundle_folder}"] if action == "add" else ["bob/1.jpg"]
    command = threading.Thread(
        target=lambda: codes.append(main(["search", action, str(gallery), *options]))
    )
    with store.changing(gallery):
        command.start()
        command.join(2)
        assert not codes
        changed = Gallery.load(gallery, model.version)
        changed.remove("ann/1.jpg")
        changed.save(gallery)
    command.join(60)
    assert codes == [0]
    left = {"add": ["bob/1.jpg", "new"], "remove": []}[action]
    assert Gallery.load(gallery, model.version).face_ids == left


def test_galleries_take_embeddings_of_the_same_model_only(fv, people, tmp_path):
    own, other, gallery = tmp_path / "e.npz", tmp_path / "f.npz", tmp_path / "g"
    fv("embed", people, f"--output={own}")
    assert fv("search", "build", gallery, own)[0] == 0
    with np.load(own) as arrays:
        renamed = {name: arrays[name] for name in arrays}
    renamed["face_id"] = np.array(["cem", "dan"])
    np.savez(other, **{name: renamed[name] for name in ("face", "face_id", "model_version")})
    assert fv("search", "add", gallery, other)[0] == 0
    data = json.loads(fv("search", "info", gallery, "--json", model=False)[1])
    assert (data["num_faces"], data["num_voices"]) == (4, 2)
    np.savez(other, **{**renamed, "model_version": "another"})
    code, _, err = fv("search", "add", gallery, other)
    assert code == 2 and "made by model version 'another'" in err
    np.savez(other, face=np.array(1.0))
    code, _, err = fv("search", "add", gallery, other)
    assert code == 2 and "face: expected embeddings (B, K), got ndarray of shape ()" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("veryfy",), "invalid choice: 'veryfy'"),
        (("verify", "a.jpg"), "the following arguments are required: VOICE"),
        (("verify", "absent.jpg", "{people}/ann/1.wav"), "absent.jpg: not found"),
        (("verify", "{people}/ann/1.wav", "{people}/ann/1.wav"), "a recording, expected an image"),
        (("verify", "{people}/ann/1.jpg", "{people}/notes.txt"), "notes.txt: "),
        (("match", "{people}/ann/1.wav", "{people}/bob/1.wav"), "a recording, expected an image"),
        (("match", "{people}/notes.txt", "{people}/ann/1.jpg"), "notes.txt: "),
        (("verify", "a.jpg", "b.wav", "--device=cuda:77"), "cuda:77"),
        (("verify", "a.jpg", "b.wav", "--device="), "device '' cannot be used"),
        (("verify", "a.jpg", "b.wav", "--devic=cpu"), "unrecognized arguments: --devic=cpu"),
        (("embed", "{people}/nothing", "--output=e.npz"), "nothing: not found"),
        (("search", "query", "{people}", "{people}/ann/1.jpg"), "no gallery is there"),
        (("search", "query", "{people}", "{people}/ann/1.jpg", "-k=0"), "above 0, got '0'"),
        (("search", "query", "{people}", "{people}/ann/1.jpg", "-k=²"), "above 0, got '²'"),
        (("search", "build", "g", "{people}/ann/1.jpg"), "1.jpg"),
        (("search", "build", "{people}/notes.txt", "{people}"), "a file, expected the name of a"),
        (("embed", "{people}", "--output={people}"), "a folder, expected the name of a file"),
        (("embed", "{people}", "--output=e.npz/"), "a folder, expected the name of a file"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(fv, people, arguments, message):
    code, out, err = fv(*(text.format(people=people) for text in arguments))
    assert (code, out) == (2, "")
    assert message in err and len(err.splitlines()) == 1
    assert err.startswith("speechbrain-fv") and ": error: " in err


def test_a_model_that_is_not_there_is_one_line(fv, people, tmp_path):
    pair = people / "ann/1.jpg", people / "ann/1.wav"
    code, _, err = fv("verify", *pair, f"--model={tmp_path}", model=False)
    assert (
        code == 2 and "no hyperparams.yaml, model.safetensors" in err and len(err.splitlines()) == 1
    )


def test_the_model_is_loaded_as_the_options_say(fv, monkeypatch):
    given = []

    def load(source, **options):
        given.append((source, options))
        raise ValueError("seen")

    monkeypatch.setattr(FaceVoiceAssociation, "from_hparams", load)
    command = ["verify", "a.jpg", "b.wav", "--model=a/b"]
    fv(*command, model=False)
    fv(*command, "--revision=v1", "--device=cuda:1", "--trust_remote_code", model=False)
    names = ("revision", "trust_remote_code", "run_opts")
    assert given == [
        ("a/b", dict(zip(names, (None, False, {"device": "cpu"}), strict=True))),
        ("a/b", dict(zip(names, ("v1", True, {"device": "cuda:1"}), strict=True))),
    ]


def parsers(parser):
    """Yields a parser and those below it."""
    yield parser
    for action in parser._actions:
        if hasattr(action, "choices") and isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from parsers(below)


def test_every_command_has_help_with_an_example():
    found = list(parsers(make_parser()))
    assert len(found) == 12 + len(RECIPES)
    for parser in found[1:]:
        assert f"example: {parser.prog} " in parser.format_help().replace("\n", " ")
        for action in parser._actions:
            assert action.help or action.choices, f"{parser.prog} {action.dest}"


def test_help_imports_nothing_that_takes_time():
    """torch alone takes a second; numpy and pandas add to it."""
    code = (
        "import contextlib, io, sys\n"
        "from speechbrain_fv.commands import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    main(['search', 'build', '--help'])\n"
        "print({'torch', 'numpy', 'pandas', 'gradio', 'speechbrain'} & set(sys.modules))"
    )
    assert printed_by(code) == "set()"


def test_a_reader_that_has_enough_and_an_interrupt_make_no_traceback(bundle_folder, people):
    """As under `| head`: stdout is closed before anything is written; as Ctrl-C while it loads."""
    pair = str(people / "ann/1.jpg"), str(people / "ann/1.wav")
    command = [*COMMAND, "verify", *pair, f"--model={bundle_folder}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    closed, interrupted = (
        subprocess.Popen(command, preexec_fn=hear_interrupts, **pipes) for _ in range(2)
    )
    closed.stdout.close()
    with pytest.raises(subprocess.TimeoutExpired):
        interrupted.wait(2)  # Python itself has started
    interrupted.send_signal(signal.SIGINT)
    assert (interrupted.wait(60), interrupted.stderr.read()) == (130, "")
    assert (closed.wait(120), closed.stderr.read()) == (0, "")
    for process in (closed, interrupted):
        process.stderr.close()
    interrupted.stdout.close()
