"""Work that is killed again and again, and must end as if it had not been.

A job is a function of a folder that writes there. `Trial.outcome` runs it in processes that are
killed by SIGKILL: before a change of the folder (a file that is opened for writing, made, renamed
or removed), before a call of torch.save returns, or at a random time. Then the job runs to its end.
"""

import json
import os
import shutil
import signal
import sys
import traceback
import zipfile
from pathlib import Path

import pandas as pd
import torch

from tests.processes import ENVIRONMENT, SERVER, runs_as
from tests.small_runs import equal

SECONDS = 600
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
TIMED = {"cost.json", "log.txt", "env.log", "console.txt", "costs.csv"}
"""Files that tell when or how long something ran; they must be there, with whatever content."""


def script(argv):
    """Returns a job that runs a command of `processes.recipe`."""
    return _Script([str(argument) for argument in argv])


class _Script:
    def __init__(self, argv):
        self.argv = argv

    def __call__(self):
        runs_as(self.argv)


class Trial:
    """A job, the folder that it writes to, and what it leaves there when nothing happens.

    Arguments
    ---------
    job : picklable callable without arguments
    folder : Path
        What is in it at first is there before every start.
    scratch : Path
        A folder for what the processes print.
    """

    def __init__(self, job, folder, scratch):
        self.job, self.folder, self.scratch = job, Path(folder), Path(scratch)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.before = self.scratch / "before"
        shutil.copytree(self.folder, self.before)
        self.num_changes = int(self._finish())
        self.expected = snapshot(self.folder)

    def outcome(self, rng, num_kills=3):
        """Kills the job, finishes it, and returns what differs from a run without kills.

        Arguments
        ---------
        rng : numpy.random.Generator
        num_kills : int
            Each start but the last ends by SIGKILL, unless it is done before.

        Returns
        -------
        list of str
            Empty where all is equal and nothing is left over.
        """
        shutil.rmtree(self.folder)
        shutil.copytree(self.before, self.folder)
        points = []
        for _ in range(num_kills):
            point = int(rng.integers(1, self.num_changes + 1))
            delay = rng.uniform(0, 0.1) if rng.random() < 0.3 else None  # and a while after it
            points.append((point, delay))
            process = self._start(point, delay)
            process.join(SECONDS)
            if process.exitcode not in (0, -signal.SIGKILL):
                return [f"after {points}: {self._printed()}"]
        try:
            self._finish()
        except AssertionError as error:
            return [f"after {points}: {error}"]
        return [
            f"after {points}: {difference}"
            for difference in differences(self.expected, snapshot(self.folder))
        ]

    def attempt(self, under):
        """Starts the job under something that stands in its way.

        Arguments
        ---------
        under : picklable callable without arguments
            Called first in the process of the job, such as to limit the sizes of files.

        Returns
        -------
        code : int
            How the process ended.
        printed : str
        """
        process = self._start(under=under)
        process.join(SECONDS)
        return process.exitcode, self._printed()

    def _start(self, point=None, delay=None, under=None):
        arguments = (self.job, str(self.folder), str(self.scratch), point, delay, under)
        process = SERVER.Process(target=_run, args=arguments)
        process.start()
        return process

    def _finish(self):
        """Runs the job to its end; returns the number of changes that it made."""
        process = self._start()
        process.join(SECONDS)
        assert process.exitcode == 0, self._printed()
        return (self.scratch / "changes").read_text()

    def _printed(self):
        return (self.scratch / "printed").read_text()[-4000:]


def _run(job, folder, scratch, point, delay, under):
    """Runs a job in this process, which is killed at a change of the folder, or tells how many."""
    descriptor = os.open(f"{scratch}/printed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(ENVIRONMENT)
    changes, code = 0, 0

    def change():
        nonlocal changes
        changes += 1
        if changes == point:
            if delay is None:
                os.kill(os.getpid(), signal.SIGKILL)
            signal.setitimer(signal.ITIMER_REAL, max(delay, 1e-6))

    def hook(event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if (writes or event in CHANGES) and _is_below(folder, event, arguments):
            change()

    def save(*arguments, **options):
        torch_save(*arguments, **options)
        change()

    torch_save, torch.save = torch.save, save
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    sys.addaudithook(hook)
    try:
        if under:
            under()
        job()
    except SystemExit as left:
        code = left.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if not under:
        done = changes  # before the next line makes one
        Path(scratch, "changes").write_text(str(done))
    os._exit(code)


def _is_below(folder, event, arguments):
    """Whether a change is in a folder; one by a descriptor of a folder is that of a removal."""
    relative = event in ("os.remove", "os.rmdir") and arguments[1] != -1
    return relative or str(arguments[0]).startswith(folder)


def snapshot(folder):
    """Returns what a folder holds, by the path of each file, in an order and form to compare."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        name = _without_time(str(path.relative_to(folder)))
        while name in found:
            name += "'"
        found[name] = None if path.is_dir() else _content(path)
    return found


def differences(expected, found):
    """Returns texts that tell which files are missing, left over or changed."""
    changed = [name for name in expected.keys() & found.keys() if not _equal(expected, found, name)]
    return [
        *(f"missing: {name}" for name in sorted(expected.keys() - found.keys())),
        *(f"left over: {name}" for name in sorted(found.keys() - expected.keys())),
        *(f"changed: {name}" for name in sorted(changed)),
    ]


def _equal(expected, found, name):
    return equal(expected[name], found[name])


def _without_time(name):
    """Returns a path without the time of a checkpoint."""
    parts = Path(name).parts
    return "/".join("CKPT" if part.startswith("CKPT+") else part for part in parts)


def _content(path):
    """Returns the content of a file; of what is written in the order of events, sorted lines."""
    tells_costs = path.stem == "table" and path.with_name("costs.csv").exists()
    if path.name in TIMED or path.name == "CKPT.yaml" or tells_costs:
        return "any"
    if path.name == "train_curves.csv":
        table = pd.read_csv(path).sort_values(["step", "name"], ignore_index=True)
        return table.to_csv().encode()
    if path.suffix == ".ckpt" and zipfile.is_zipfile(path):
        return torch.load(path, weights_only=False)
    if path.suffix == ".jsonl":
        return sorted({json.dumps(entry) for entry in _entries(path)})
    return path.read_bytes()


def _entries(path):
    """Yields the lines that were written whole: the next start passes over a torn one."""
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
