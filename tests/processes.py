"""Scripts that the tests run as processes of their own.

torch, SpeechBrain and timm take seconds to import. So `fork` starts a script from a process that
has imported them and done nothing else; `run` starts a new interpreter, in which every recipe runs
at least once.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from tests.paths import ROOT

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
SECONDS = 300

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *("torch._dynamo", "sklearn.manifold", "matplotlib.backends.backend_agg"),
        *(f"speechbrain_fv.{name}" for name in ("training.setup", "encoders", "data.readers")),
        *(f"speechbrain_fv.{name}" for name in ("figures.run_figures", "evaluation.groups")),
        *(f"speechbrain_fv.{name}" for name in ("protocols.leakage", "figures.loggers")),
        "tests.described",
    ]
)


def recipe(name, *arguments):
    """Returns the command that runs recipes/<name>.py."""
    return [sys.executable, str(ROOT / "recipes" / f"{name}.py"), *map(str, arguments)]


def run(command, folder=None):
    """Returns the finished process of a command, with what it printed."""
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS
    )


def run_forked(command, folder=None):
    """Returns the same as `run`, for a command of `recipe`."""
    with tempfile.TemporaryDirectory() as texts:
        paths = [str(Path(texts, name)) for name in ("stdout", "stderr")]
        process = fork(command, folder, *paths)
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, SECONDS)
        texts = [Path(path).read_text() for path in paths]
    return subprocess.CompletedProcess(command, process.exitcode, *texts)


def fork(command, folder=None, stdout=os.devnull, stderr=os.devnull):
    """Returns the started process of a command of `recipe`, a `multiprocessing.Process`."""
    process = SERVER.Process(target=_become, args=(command[1:], folder, stdout, stderr))
    process.start()
    return process


def _become(argv, folder, stdout, stderr):
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.update(ENVIRONMENT)
    os.chdir(folder or os.getcwd())
    runs_as(argv)


def runs_as(argv):
    """Runs a script in this process, which then ends."""
    warnings.simplefilter("ignore")
    sys.argv = argv
    sys.path.insert(0, str(Path(argv[0]).parent))
    runpy.run_path(argv[0], run_name="__main__")


def wait_for(condition, seconds=60):
    """Returns once the condition holds; fails when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


def printed_by(code):
    """Returns what a new interpreter prints when it runs the code."""
    result = run([sys.executable, "-c", code])
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
