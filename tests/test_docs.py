"""Every command, option and snippet of README and docs.

Run as they stand: the README's embeddings, with the very output it shows, and what README and pages
do with a model, in Python and on the command line, on a model of a minute. Run elsewhere:
docs/extending.md by test_extending.py. Read only, since they take long, or need data, weights or
devices that are not here: all other commands. Their YAMLs, keys, values, includes and names are
resolved as the command itself does before it begins; the options of the others are parsed by their
own parsers.
"""

import argparse
import os
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from PIL import Image

from speechbrain_fv.commands import main as fv
from speechbrain_fv.commands.arguments import RECIPES, make_parser
from speechbrain_fv.inference import FaceVoiceAssociation
from speechbrain_fv.settings import reads
from speechbrain_fv.settings.loading import load_hparams, resolve_hparams
from speechbrain_fv.shipped import shipped_yaml
from tests.media import write_face, write_voice
from tests.pages import PAGES, blocks, commands, inline_commands
from tests.paths import ROOT
from tests.processes import run_forked

EXTRAS = {"test", *re.findall(r'^    "(\w+)": \[', (ROOT / "setup.py").read_text(), re.M)}
READ = {"train": (reads.TRAIN, None), "evaluate": (reads.EVALUATE, reads.EVALUATE_OPTIONS)}
GRIDS = {
    "ablate": (reads.ABLATE, reads.ABLATE_OPTIONS),
    "compare_methods": (reads.COMPARE, reads.COMPARE_OPTIONS),
}
ELSEWHERE = {"extending"}  # pages that a test of their own runs
README, DOCS = ROOT / "README.md", ROOT / "docs"
PEOPLE = ("ann", "people/ann", "people/bob")
CORPUS = next(
    shlex.split(re.sub("input_dim: [FV]", "input_dim: 8", block.text))
    for block in blocks(DOCS / "results.md")
    if block.kind == "options"
)


def shown():
    """Yields the name of a page and the words of each command that it shows."""
    for page in PAGES:
        if page.stem in ELSEWHERE:
            continue
        texts = [block.text for block in blocks(page) if block.kind == "shell"]
        found = [words for text in texts for words in commands(text)]
        for words in found + inline_commands(page):
            yield pytest.param(words, id=f"{page.stem}: {' '.join(words)[:60]}")


def options():
    """Yields the options that pages show by themselves: those of a training or an evaluation."""
    for page in PAGES:
        for block in blocks(page):
            if block.kind == "options":
                for words in shlex.split(block.text, comments=True):
                    yield pytest.param(words, id=f"{page.stem}: {words[:60]}")


class Parsed(Exception):
    """A parser was content with a command."""


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A working folder that looks like a clone, and is empty beside."""
    for name in ("hparams", "recipes", "constraints.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])  # folders of YAMLs become importable
    return tmp_path


@pytest.mark.parametrize("words", shown())
def test_commands_are_understood(words, clone, monkeypatch):
    program, *arguments = words
    if program == "torchrun":
        launcher, *arguments = arguments
        assert launcher.startswith("--nproc_per_node=")
        program = "python"
    if program == "pip":
        assert arguments[0] == "install"
        _check_install(arguments[1:])
    elif arguments[:2] == ["-m", "speechbrain_fv.commands"]:
        _check_recipe(arguments[2], arguments[3:], monkeypatch)
    elif program == "python" and arguments[0].startswith("recipes/"):
        assert Path(arguments[0]).is_file()
        _check_recipe(Path(arguments[0]).stem, arguments[1:], monkeypatch)
    elif program == "speechbrain-fv" and arguments[0] in RECIPES:
        _check_recipe(arguments[0], arguments[1:], monkeypatch)
    elif program == "speechbrain-fv":
        if arguments != ["embed"]:  # the name of the command alone
            make_parser().parse_args(arguments)
    else:  # of an environment that is made, and of tools
        assert program in ("python3", ".", "pytest", "cd", "git", "pre-commit")


def _check_recipe(name, arguments, monkeypatch):
    arguments = [part for word in arguments for part in (CORPUS if word == "CORPUS" else [word])]
    arguments = [word for word in arguments if "=cuda" not in word]  # refused where there is none
    if arguments[0].startswith("my_hparams/"):  # what `speechbrain-fv yaml` has copied
        arguments[0] = arguments[0].removeprefix("my_")
    if name in READ:
        resolve_hparams(arguments, *READ[name])
    elif name in GRIDS:
        _, hparams, _ = load_hparams(arguments, *GRIDS[name])
        method = hparams.get("hparams_file") or shipped_yaml("bipcm_fst.yaml")
        if name == "compare_methods":
            method = shipped_yaml("bipcm_fst.yaml")
        resolve_hparams([method, *hparams["base"]], reads.TRAIN)
    else:
        _parse(name, arguments, monkeypatch)


def _parse(name, arguments, monkeypatch):
    """Lets a script parse its command line, and stops it there."""
    parse = argparse.ArgumentParser.parse_args

    def parsed(parser, args=None, namespace=None):
        parse(parser, args, namespace)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    with pytest.raises(Parsed):
        runpy.run_path(str(ROOT / "recipes" / f"{name}.py"))["main"](arguments)


def _check_install(words):
    while words:
        word = words.pop(0)
        if word == "-c":
            assert Path(words.pop(0)).is_file()
        elif word != "-e":
            name, _, extras = word.removesuffix("]").partition("[")
            assert name in (".", "pre-commit")
            assert set(filter(None, extras.split(","))) <= EXTRAS


@pytest.mark.parametrize("words", options())
def test_options_are_understood(words, clone):
    if words.startswith("--base="):
        return  # CORPUS, which the commands of its page have
    if "wandb." in words:
        pytest.importorskip("wandb", reason="the extra wandb is not installed")
    for name in ("train", "evaluate"):
        method = "hparams/evaluate.yaml" if name == "evaluate" else "hparams/bipcm_fst.yaml"
        try:
            resolve_hparams([method, words], *READ[name])
        except ValueError as error:
            failure = error
        else:
            return
    raise failure


@pytest.mark.parametrize(
    ("page", "read"), [("comparison", reads.COMPARE), ("encoders", reads.ENCODERS)]
)
def test_yamls_are_understood(page, read, clone):
    (block,) = (block for block in blocks(DOCS / f"{page}.md") if block.kind == "yaml")
    (clone / "mine.yaml").write_text(block.text)
    resolve_hparams(["mine.yaml"], read)


def command_with(page, part):
    """Returns the one command of a page that holds a word, and the text of its block."""
    ((words, text),) = (
        (words, block.text)
        for block in blocks(page)
        if block.kind == "shell"
        for words in commands(block.text)
        if part in words
    )
    return words, text


def run_shown(words, *more):
    """Runs a recipe as a page shows it; returns what it prints."""
    assert words[0] == "python"
    result = run_forked([sys.executable, *words[1:], *more])
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_embeddings_are_scored_and_compared_as_the_pages_show(clone):
    (snippet,) = (block.text for block in blocks(README) if block.kind == "python")
    exec(snippet, {})
    words, text = command_with(README, "recipes/evaluate.py")
    printed = run_shown(words)
    table = text.partition("\n\n")[2].removesuffix("...").strip()
    assert "\nU  " in table and table in printed
    for name in ("RUN_A", "RUN_B"):
        Path(name).symlink_to("results/scored")
    printed = run_shown(command_with(DOCS / "evaluation.md", "RUN_B")[0])
    assert "Comparison: results/comparison/" in printed and "RUN_B/compare.json" in printed


@pytest.fixture
def media(clone, bundle_folder):
    """The files that the pages name, and a published model under the names that it has there."""
    files = ["face.jpg", "a.jpg", "b.jpg", "c.jpg", "b1.jpg", "b2.jpg", "cem.jpg", "voice.wav"]
    files += ["someone.wav", "voice1.wav", "voice2.wav", "voice3.wav"]
    files += [f"{who}/{n}.{kind}" for who in PEOPLE for n in (1, 2) for kind in ("jpg", "wav")]
    for seed, name in enumerate(files):
        write = write_face if name.endswith("jpg") else write_voice
        write(clone / name, seed=seed)
    (clone / "owner").mkdir()
    for name in ("bundle", "owner/name"):
        (clone / name).symlink_to(bundle_folder)
    return clone


def test_a_model_is_used_as_the_pages_show_in_python(media):
    """The pages go on from each other: what one has made, the next has."""
    model = FaceVoiceAssociation.from_hparams("owner/name")
    names = {
        "images": [Image.open(name) for name in ("a.jpg", "b.jpg", "c.jpg")],
        "wavs": torch.tensor([soundfile.read(f"voice{n}.wav")[0] for n in (1, 2)]).float(),
    }
    for page in ("models", "search", "people"):
        for block in blocks(DOCS / f"{page}.md"):
            if block.kind == "python":
                exec(block.text, names)
    assert sorted(names["ranking"].indices.tolist()) == [0, 1, 2]
    assert names["score"] == model.verify_files("face.jpg", "voice.wav").score
    assert names["face"].shape == names["voice"].shape == (1, 256)
    assert names["people"].kept == [0, 1, 2] and names["people"].num_clips == [2, 2, 1]
    assert len(names["ids"]) == len(names["scores"]) == 4


def test_a_model_is_used_as_the_pages_show_on_the_command_line(media, capsys):
    for page in ("command_line", "people"):
        shutil.rmtree("people.gallery", ignore_errors=True)  # both pages begin one
        for block in blocks(DOCS / f"{page}.md"):
            for program, *arguments in commands(block.text) if block.kind == "shell" else ():
                if arguments[0] in {"verify", "match", "search", "yaml"} or "people/" in arguments:
                    if "--detect_faces" in arguments:  # there is none on these pictures
                        arguments.remove("--detect_faces")
                    code = fv(arguments)
                    assert (program, code) == ("speechbrain-fv", 0), capsys.readouterr().err
    assert Path("my_hparams/bipcm_fst.yaml").is_file() and Path("people.npz").is_file()


def test_a_model_ranks_as_the_readme_shows(clone, media_run, bundle_folder, capsys):
    """The training is that of conftest.py, on twenty people instead of five hundred."""
    (clone / "data").symlink_to(media_run.parent)
    (clone / "results" / "first").mkdir(parents=True)
    (clone / "results" / "first" / "bundle").symlink_to(bundle_folder)
    _, text = command_with(README, "recipes/publish.py")
    (_, folder), (_, *arguments) = commands(text)[1:]
    os.chdir(*Path().glob(folder))
    bundle = f"--model={clone}/results/first/bundle"  # "../.." of a link is not the clone
    arguments = [bundle if word.startswith("--model=") else word for word in arguments]
    assert fv([name for word in arguments for name in _expanded(word)]) == 0
    printed = capsys.readouterr().out.splitlines()
    shown = text.partition("\n\n")[2].splitlines()
    assert len(printed) == len(shown) and printed[0].split() == shown[0].split()
    faces = [{line.split()[1] for line in lines[1:]} for lines in (printed, shown)]
    assert faces[0] == faces[1]


def _expanded(word):
    """Returns what a shell makes of a word with wildcards."""
    return sorted(map(str, Path().glob(word))) if "[" in word else [word]
