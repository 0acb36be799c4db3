"""Runs trainings as processes, several at a time over the local devices, each at most once."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from speechbrain_fv.experiments.ablations.grids import Run
from speechbrain_fv.messages import progress_bar

CONSOLE_FILE = "console.txt"  # what a run printed at its last start
LOCK_FILE = ".lock"
POLL_SECONDS = 0.1


@dataclass
class LocalJob:
    """A run in progress: its process holds the lock of its folder, even if this one is killed."""

    run: Run
    device: str
    process: subprocess.Popen

    def is_over(self):
        """Whether the process has ended."""
        return self.process.poll() is not None

    def kill(self):
        """Ends the process and its children."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ending(self):
        """Returns how it ended."""
        code = self.process.returncode
        if code < 0:
            told = f"killed by {signal.Signals(-code).name}"
            return told + (" (out of memory?)" if code == -signal.SIGKILL else "")
        return f"exit code {code}" if code else "ended without a report"


def check_slots(devices, jobs):
    """Returns the devices as a list, one entry per run that may go on at a time.

    Arguments
    ---------
    devices : sequence of str or str
        Such as ["cpu"] or ["cuda:0", "cuda:1"].
    jobs : int
        Runs per device, at least 1.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If there is no device, or no run per device.

    Example
    -------
    >>> check_slots(["cuda:0", "cuda:1"], 2)
    ['cuda:0', 'cuda:1', 'cuda:0', 'cuda:1']
    """
    devices = [devices] if isinstance(devices, str) else list(devices or ())
    if not devices:
        raise ValueError("devices: expected at least one, such as [cpu] or [cuda:0]")
    if not isinstance(jobs, int) or jobs < 1:
        raise ValueError(f"jobs: expected runs per device, 1 or more, got {jobs!r}")
    return devices * jobs


def run_missing(runs, script, slots, title, start=None):
    """Runs what is not done, with a progress bar.

    Ctrl-C, or a termination signal, kills the runs in progress; they resume next time.

    Arguments
    ---------
    runs, script, slots, start
        As in `run_all`.
    title : str
        Of the bar.

    Returns
    -------
    failures : dict of str to str
    stopped : bool
        Whether it was interrupted.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    num_done = sum(run.is_done for run in runs)
    with progress_bar(total=len(runs), initial=num_done, unit="run", desc=title) as bar:

        def show(num_done, names):
            bar.n = num_done
            bar.set_postfix_str(", ".join(names))

        try:
            return run_all(runs, script, slots, show, start), False
        except KeyboardInterrupt:
            return {}, True


def finish(failures, stopped):
    """Says what failed, and leaves with exit code 1, or 130 if stopped, unless all went well.

    Arguments
    ---------
    failures : dict of str to str
    stopped : bool
        As `run_missing` returns them.
    """
    for name, failure in failures.items():
        print(f"failed: {name}: {failure}", file=sys.stderr)
    if stopped:
        print("stopped; the same command goes on from here", file=sys.stderr)
    if failures or stopped:
        sys.exit(130 if stopped else 1)


def run_all(runs, script, slots, show=lambda num_done, names: None, start=None):
    """Runs every training that is not done, and returns what failed.

    Until the first run has prepared its corpus it runs alone: the others find generated media and
    scans in the cache. A run that another process has in hand is waited for. On any exception, an
    interrupt included, the processes started here are killed; they resume next time.

    Arguments
    ---------
    runs : sequence of Run
    script : path
        The training script.
    slots : sequence of str
        The device of every run that may go on at a time, from `check_slots`. Without
        OMP_NUM_THREADS in the environment the processor's cores are divided among the slots.
    show : callable
        Called with the number of runs that have ended and the names of those going on, whenever
        either changes.
    start : callable, optional
        Called with a run, the script, a device, a number of threads and the locked file; returns a
        `LocalJob` or its like. By default it starts a process; see `cluster.Cluster`.

    Returns
    -------
    failures : dict of str to str
        Name of the run -> how it ended and the last line it printed.
    """
    waiting = [run for run in runs if not run.is_done]
    free, active, failures = list(slots), [], {}
    num_done, shown = len(runs) - len(waiting), None
    prepared, start = False, start or start_process
    threads = max(1, (os.cpu_count() or 1) // len(slots))
    try:
        while waiting or active:
            for job in [job for job in active if job.is_over()]:
                active.remove(job)
                free.append(job.device)
                num_done += 1
                if not job.run.is_done:
                    line = last_line(job.run.folder / CONSOLE_FILE)
                    failures[job.run.name] = f"{job.ending()}: {line}"
            prepared = prepared or any(map(_is_prepared, runs))
            limit = len(slots) if prepared else 1
            num_done += _start(waiting, active, free, limit, script, threads, start)
            names = tuple(job.run.name for job in active)
            state = (num_done, names or ("waiting for another process",) * bool(waiting))
            if state != shown:
                show(*state)
                shown = state
            time.sleep(POLL_SECONDS)
    finally:
        for job in active:
            job.kill()
    return failures


def _start(waiting, active, free, limit, script, threads, start):
    """Starts waiting runs on free slots, so that `limit` go on; returns how many were done."""
    num_found = 0
    for run in list(waiting):
        if len(active) >= limit:
            break
        lock = _lock(run.folder)
        if lock is None:
            continue
        with lock:
            waiting.remove(run)
            if run.is_done:  # another process had it
                num_found += 1
                continue
            run.write_record()
            device = free.pop(0)
            active.append(start(run, script, device, threads, lock))
    return num_found


def _is_prepared(run):
    return (run.folder / "manifests" / "preparation.json").exists()


def _lock(folder) -> BinaryIO | None:
    """Returns the folder's lock file, locked; None if somebody else has it.

    The lock is released when the last process that inherited the file has ended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / LOCK_FILE, "wb")  # noqa: SIM115 (the caller closes it)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def training_command(run, script, device):
    """Returns the command of a run, as a tuple of str."""
    options = (f"--seed={run.seed}", f"--output_folder={run.folder}", f"--device={device}")
    return (sys.executable, str(script), *run.arguments, *options, "--noprogressbar")


def start_process(run, script, device, threads, lock):
    """Returns the `LocalJob` of a run, in a process group of its own, which inherits the lock."""
    with open(run.folder / CONSOLE_FILE, "wb") as console:
        process = subprocess.Popen(
            training_command(run, script, device),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env={"OMP_NUM_THREADS": str(threads), **os.environ},
            start_new_session=True,
            pass_fds=[lock.fileno()],
        )
    return LocalJob(run, device, process)


def last_line(path):
    """Returns the last line of a log that is not blank, "" without one or without the file.

    Arguments
    ---------
    path : path
        A text file; a carriage return ends a line too, as in progress bars.

    Example
    -------
    >>> path = getfixture("tmp_path") / "log"
    >>> _ = path.write_text("first\\nlast\\n\\n")
    >>> last_line(path)
    'last'
    """
    path = Path(path)
    if not path.exists():  # of a job that a cluster has ended before it began
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
