"""Runs of a plan: side by side, failed, stopped."""

import multiprocessing
import os
import signal

import pytest

from speechbrain_fv.experiments.ablations import grids, schedule
from tests.processes import wait_for

# A training in short: counts its starts, takes its time, fails when told to, leaves a report.
SCRIPT = """
import os, sys, time
from pathlib import Path
options = dict(argument[2:].split("=") for argument in sys.argv[2:] if "=" in argument)
folder = Path(options["output_folder"])
with open(folder / "starts.txt", "a") as file:
    print(options["device"], os.environ["OMP_NUM_THREADS"], time.monotonic(), file=file)
time.sleep(float(options.get("prepare", 0)))
(folder / "manifests").mkdir(exist_ok=True)
(folder / "manifests" / "preparation.json").write_text("{}")
time.sleep(float(options.get("train", 0)))
if "fail" in options:
    sys.exit("error: " + options["fail"])
if "killed" in options:
    os.kill(os.getpid(), 9)
(folder / "report.json").write_text("{}")
(folder / "ended.txt").write_text(str(time.monotonic()))
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def make_run(folder, name, *options):
    return grids.Run(name, ("some.yaml", *options), f"key of {options}", 1, folder / name)


def starts(run):
    return (run.folder / "starts.txt").read_text().splitlines()


@pytest.mark.parametrize(("devices", "jobs"), [([], 1), (["cpu"], 0), ("cpu", 1.5)])
def test_wrong_slots_are_refused(devices, jobs):
    with pytest.raises(ValueError, match="devices: expected|jobs: expected"):
        schedule.check_slots(devices, jobs)


def test_runs_go_on_side_by_side_once_the_first_is_prepared(script, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    runs = [make_run(tmp_path, name, "--prepare=0.3", "--train=1") for name in "abc"]
    seen = []
    slots = schedule.check_slots(["cpu", "other"], 1)
    failures = schedule.run_all(runs, script, slots, lambda *state: seen.append(state))
    assert failures == {} and all(run.is_done for run in runs)
    fields = [starts(run)[0].split() for run in runs]
    assert {device for device, _, _ in fields[:2]} == {"cpu", "other"}
    assert {int(threads) for _, threads, _ in fields} == {max(1, os.cpu_count() // 2)}
    begin = [float(moment) for _, _, moment in fields]
    end = [float((run.folder / "ended.txt").read_text()) for run in runs]
    assert begin[0] + 0.3 <= begin[1] < end[0]  # after its preparation, before its end
    assert begin[2] >= min(end[:2])
    assert seen[0] == (0, ("a",)) and seen[-1] == (3, ())


def test_failures_are_told_and_only_they_are_repeated(script, tmp_path):
    options = {"good": [], "bad": ["--fail=no such thing"], "dead": ["--killed=1"], "last": []}
    runs = [make_run(tmp_path, name, *own) for name, own in options.items()]
    for _ in range(2):
        assert schedule.run_all(runs, script, ["cpu"]) == {
            "bad": "exit code 1: error: no such thing",
            "dead": "killed by SIGKILL (out of memory?): ",
        }
    assert [len(starts(run)) for run in runs] == [1, 2, 2, 1]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_stopped_runs_are_killed_or_waited_for_and_nothing_runs_twice(
    script, tmp_path, stop, interruptible
):
    """An interrupt takes the children along. Killed outright it cannot: they go on, and hold a lock
    that keeps the next command from starting the same runs beside them."""
    runs = [make_run(tmp_path, name, "--train=3") for name in "abc"]
    context = multiprocessing.get_context("fork")
    command = context.Process(target=schedule.run_all, args=(runs, script, ["cpu"] * 2))
    command.start()
    wait_for(lambda: all((run.folder / "starts.txt").exists() and starts(run) for run in runs[:2]))
    os.kill(command.pid, stop)
    command.join()
    assert not any(run.is_done for run in runs)
    assert schedule.run_all(runs, script, ["cpu"] * 2) == {}
    assert all(run.is_done for run in runs)
    expected = [2, 2, 1] if stop == signal.SIGINT else [1, 1, 1]
    assert [len(starts(run)) for run in runs] == expected
