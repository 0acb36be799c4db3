"""Scripts that the tests run as processes of their own.

torch, SpeechBrain and timm take seconds to import. So `fork` starts a script from a process that
has imported them and done nothing else; `run` starts a new interpreter, in which every recipe runs
at least once.
"""

import multiprocessing
import multiprocessing.connection
import os
import runpy
import socket
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


def run_ranks(command, num_processes, folder=None):
    """Returns what torchrun's processes of a command give, as `run` does for one.

    They find what torchrun tells its processes. When one fails the others are ended.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    address = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    with tempfile.TemporaryDirectory() as texts:
        names = [[f"stdout.{rank}", f"stderr.{rank}"] for rank in range(num_processes)]
        paths = [[str(Path(texts, name)) for name in own] for own in names]
        processes = []
        for rank, own in enumerate(paths):
            told = {"RANK": rank, "LOCAL_RANK": rank}
            told |= {"WORLD_SIZE": num_processes, "LOCAL_WORLD_SIZE": num_processes}
            told = address | {name: str(value) for name, value in told.items()}
            processes.append(fork(command, folder, *own, told))
        end = time.monotonic() + SECONDS
        while any(process.is_alive() for process in processes):
            if time.monotonic() > end or any(process.exitcode for process in processes):
                for process in processes:
                    process.kill()
            multiprocessing.connection.wait([p.sentinel for p in processes if p.is_alive()], 1)
        texts = ["".join(Path(own[n]).read_text() for own in paths) for n in range(2)]
    code = next((process.exitcode for process in processes if process.exitcode), 0)
    return subprocess.CompletedProcess(command, code, *texts)


def fork(command, folder=None, stdout=os.devnull, stderr=os.devnull, variables=()):
    """Returns the started process of a command of `recipe`, a `multiprocessing.Process`."""
    arguments = (command[1:], folder, stdout, stderr, dict(variables))
    process = SERVER.Process(target=_become, args=arguments)
    process.start()
    return process


def _become(argv, folder, stdout, stderr, variables):
    import torch  # it was imported before the environment was set

    torch.set_num_threads(int(ENVIRONMENT["OMP_NUM_THREADS"]))
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.update(ENVIRONMENT | variables)
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
