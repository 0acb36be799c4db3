"""`train`, `evaluate` and the like, which are the scripts in recipes/; and `yaml`."""

import runpy
import shutil
import sys
from pathlib import Path

from speechbrain_fv.commands.output import Outcome
from speechbrain_fv.shipped import shipped


def run_recipe(name, arguments):
    """Runs a script in recipes/ as ``python recipes/NAME.py`` does, and returns its exit code."""
    path = str(shipped("recipes") / f"{name}.py")
    sys.argv = [path, *arguments]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as left:
        return left.code
    return 0


def yaml(options):
    """Copies the shipped YAMLs into a new folder."""
    folder = Path(options.folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: expected a folder that is new or empty; choose another")
    shutil.copytree(shipped("hparams"), folder, dirs_exist_ok=True)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.yaml"))
    lines = [
        f"{len(files)} YAMLs in {folder}. Each says in its first lines what it is; edit one, then:",
        f"  speechbrain-fv train {folder / 'bipcm_fst.yaml'}",
    ]
    return Outcome({"folder": str(folder), "files": files}, lines)
