"""Runs of a plan as jobs of submitit: its local executor, and its SLURM without a SLURM."""

import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

from speechbrain_fv.experiments.ablations import schedule
from speechbrain_fv.experiments.ablations.cluster import Cluster, starter
from tests.processes import wait_for
from tests.test_ablation_schedule import SCRIPT, make_run, starts

pytest.importorskip("submitit")


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def test_runs_are_jobs_that_fail_and_are_repeated_as_processes_are(script, tmp_path):
    options = {"good": [], "bad": ["--fail=no such thing"]}
    runs = [make_run(tmp_path, name, *own) for name, own in options.items()]
    start = Cluster("local", timeout_min=5).start
    for _ in range(2):
        failures = schedule.run_all(runs, script, ["cpu"] * 2, start=start)
        assert set(failures) == {"bad"}
        assert failures["bad"].endswith("exit code 1: error: no such thing")
    assert [len(starts(run)) for run in runs] == [1, 2]
    assert starts(runs[0])[0].split()[0] == "cpu"


def test_an_interrupt_ends_the_jobs(script, tmp_path):
    run = make_run(tmp_path, "long", "--train=600")
    begun = threading.Event()

    def interrupt():
        wait_for((run.folder / "manifests" / "preparation.json").exists)
        begun.set()
        os.kill(os.getpid(), signal.SIGINT)

    # A background job of a shell ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            schedule.run_all([run], script, ["cpu"], start=Cluster("local", timeout_min=5).start)
    finally:
        signal.signal(signal.SIGINT, before)
    assert begun.is_set() and not run.is_done
    wait_for(lambda: str(run.folder) not in printed(["ps", "-eo", "args"]))


def printed(command):
    return subprocess.run(command, capture_output=True, text=True).stdout


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands in the place of SLURM's: sbatch starts the script that submitit wrote."""
    folder = tmp_path / "bin"
    folder.mkdir()
    jobs = tmp_path / "jobs"
    commands = {
        "sbatch": f"""
            job=$$; cp "$1" {jobs}.script
            SLURM_JOB_ID=$job SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0 \\
                SLURM_LOCALID=0 setsid bash "$1" >/dev/null 2>&1 &
            echo "$job $!" >> {jobs}; echo "Submitted batch job $job" """,
        "srun": """while [[ "$1" == --* ]]; do
            case "$1" in --output|--error) shift;; esac; shift; done; exec "$@" """,
        "sacct": f"""
            echo "JobID|State|NodeList"
            while read job pid; do
                state=COMPLETED; kill -0 $pid 2>/dev/null && state=RUNNING
                echo "$job|$state|here"; done < {jobs}""",
        "scancel": f"""while read job pid; do [ $job = "$1" ] && kill -9 -- -$pid; done < {jobs}""",
    }
    for name, text in commands.items():
        path = folder / name
        path.write_text("#!/usr/bin/env bash\n" + text + "\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return jobs


def test_slurm_is_asked_for_what_is_told_and_a_job_in_its_queue_is_not_repeated(
    script, tmp_path, slurm
):
    run = make_run(tmp_path, "run", "--prepare=3")
    options = {"timeout_min": 30, "gpus_per_node": 1, "slurm_partition": "gpu"}
    command = (
        "from pathlib import Path\n"
        "from tests.test_ablation_cluster import Cluster, make_run, schedule\n"
        f"run = make_run(Path({str(tmp_path)!r}), 'run', '--prepare=3')\n"
        f"start = Cluster('slurm', **{options}).start\n"
        f"schedule.run_all([run], {str(script)!r}, ['cpu'], start=start)"
    )
    first = subprocess.Popen([sys.executable, "-c", command])
    wait_for((run.folder / "starts.txt").exists)
    first.kill()  # the job goes on without the command that has submitted it
    first.wait()
    assert not run.is_done
    assert schedule.run_all([run], script, ["cpu"], start=Cluster("slurm", **options).start) == {}
    assert run.is_done and len(starts(run)) == 1
    asked = (slurm.parent / "jobs.script").read_text()
    for line in ("--time=30", "--gpus-per-node=1", "--partition=gpu"):
        assert f"#SBATCH {line}\n" in asked


def test_a_job_whose_state_cannot_be_read_is_not_repeated(script, tmp_path, slurm):
    run = make_run(tmp_path, "run")
    (run.folder / "cluster").mkdir(parents=True)
    (run.folder / "cluster" / "job_id.txt").write_text("77")
    slurm.write_text("")  # of no job sacct tells anything
    with pytest.raises(
        ValueError, match=r"job_id.txt: the state of job 77 cannot be read .*squeue"
    ):
        schedule.run_all([run], script, ["cpu"], start=Cluster("slurm").start)
    assert not slurm.read_text()


class EndedJob:
    """A job that was taken off the queue before it began, so that nothing was printed."""

    device = "cpu"

    def __init__(self, run):
        self.run = run

    def is_over(self):
        return True

    def ending(self):
        return "job 1 CANCELLED"


def test_a_job_that_ends_before_it_begins_fails_alone_and_one_that_is_refused_is_told(
    script, tmp_path, slurm
):
    run = make_run(tmp_path, "run")
    failures = schedule.run_all([run], script, ["cpu"], start=lambda run, *_: EndedJob(run))
    assert failures == {"run": "job 1 CANCELLED: "}
    (slurm.parent / "bin" / "sbatch").write_text(
        "#!/bin/sh\necho 'invalid partition specified: gpu' >&2; exit 1\n"
    )
    with pytest.raises(ValueError, match="slurm takes no job .*invalid partition.*--cluster"):
        schedule.run_all([run], script, ["cpu"], start=Cluster("slurm").start)


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ({"timeout_min": 3}, "cluster: expected {cluster: slurm, timeout_min: 240}"),
        ("slurm", "cluster: expected {cluster: slurm, timeout_min: 240}"),
        ({"cluster": "lsf"}, "expected one of slurm, local, got 'lsf'"),
        ({"cluster": "local", "queue": "gpu"}, "cluster: local: .*queue"),
        ({"cluster": "slurm", "timeout_min": 3}, "cluster: slurm: .*srun"),
    ],
)
def test_wrong_clusters_are_refused(cluster, message):
    with pytest.raises(ValueError, match=message):
        starter(cluster, ["cpu"])


def test_without_a_cluster_the_devices_are_checked():
    assert starter(None, ["cpu"]) is None
    with pytest.raises(ValueError, match="cuda:99"):
        starter(None, ["cuda:99"])
