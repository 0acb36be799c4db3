"""Output folders that somebody else writes to, or nobody can, and full disks: one line."""

import importlib.util
import resource
import subprocess
import sys

import numpy as np
import pytest

from speechbrain_fv import commands
from speechbrain_fv.settings.script import run_script
from tests.paths import HPARAMS, ROOT
from tests.small_runs import OPTIONS, write_corpus

HOLDER = """
import fcntl, sys
file = open(sys.argv[1] + "/.running", "a+")
fcntl.lockf(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """A folder that another process writes to; it holds figures/, held likewise."""
    folders = [tmp_path / "held", tmp_path / "held" / "figures"]
    holders = []
    for folder in folders:
        folder.mkdir()
        command = [sys.executable, "-c", HOLDER, str(folder)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        holders.append(subprocess.Popen(command, **pipes))
        holders[-1].stdout.readline()
    yield folders[0]
    for holder in holders:
        holder.communicate()


def arguments(name, folder, tmp_path):
    """Returns what a script is given to write to a folder; its inputs need not be there."""
    there = tmp_path / "there"
    there.mkdir(exist_ok=True)
    if name == "train":
        corpus = write_corpus(there)
        return [HPARAMS / "bipcm_fst.yaml", corpus, *OPTIONS, f"--output_folder={folder}"]
    return {
        "evaluate": [HPARAMS / "evaluate.yaml", "--embeddings=e.npz", f"--output_folder={folder}"],
        "compare": ["a.npz", "b.npz", f"--output_folder={folder}"],
        "figures": [there, f"--output_folder={folder}"],
        "publish": [there, "--repo=owner/name", f"--bundle_folder={folder}"],
        "search build": ["search", "build", folder, there, "--model=nowhere"],
    }[name]


def told(name, folder, tmp_path, monkeypatch, capsys):
    """Returns the one line that a script ends with."""
    argv = list(map(str, arguments(name, folder, tmp_path)))
    if name == "search build":
        code = commands.main(argv)
    else:
        path = ROOT / "recipes" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"recipe_{name}", path)
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        monkeypatch.setattr(sys, "argv", [str(path), *argv])
        code = run_script(script.main, script.__doc__)
    shown = capsys.readouterr().err.splitlines()
    assert code == 2 and "Traceback" not in "".join(shown)
    (line,) = [line for line in shown if "error:" in line]
    return line


LOCKED = ("train", "evaluate", "compare", "figures", "publish", "search build")


@pytest.mark.parametrize("name", LOCKED)
def test_a_second_start_in_one_folder_is_refused(name, held, tmp_path, monkeypatch, capsys):
    line = told(name, held, tmp_path, monkeypatch, capsys)
    assert str(held) in line and "another process" in line and "choose another folder" in line


@pytest.mark.parametrize("name", LOCKED)
def test_a_folder_that_cannot_be_made_is_one_line(name, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    line = told(name, tmp_path / "file" / "run", tmp_path, monkeypatch, capsys)
    assert str(tmp_path / "file") in line


@pytest.mark.parametrize("name", ["evaluate", "compare"])
def test_a_disk_without_room_is_one_line_and_leaves_no_part(name, tmp_path, monkeypatch, capsys):
    """A limit to the size of files stands for the disk: the system refuses the same write."""
    monkeypatch.chdir(tmp_path)
    vectors = np.random.default_rng(0).normal(size=(6, 4))
    people = [f"p{number}" for number in range(6)]
    clips = {"face": vectors, "voice": vectors, "face_identity": people, "voice_identity": people}
    for file in ("a.npz", "b.npz", "e.npz"):
        np.savez(file, **clips)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        line = told(name, tmp_path / "run", tmp_path, monkeypatch, capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in line and str(tmp_path / "run") in line
    assert not [path for path in (tmp_path / "run").rglob("*") if "partial" in path.name]
