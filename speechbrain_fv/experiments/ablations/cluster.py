"""Hands trainings to SLURM through submitit, which also runs them here for a trial."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from speechbrain_fv.evaluation.exact import check_device
from speechbrain_fv.experiments.ablations.job import Training
from speechbrain_fv.experiments.ablations.schedule import CONSOLE_FILE, training_command
from speechbrain_fv.files import replacing
from speechbrain_fv.messages import in_one_line

FOLDER = "cluster"  # in a run's folder: what submitit leaves of its jobs
ID_FILE = "job_id.txt"
CLUSTERS = ("slurm", "local")
GOING_ON = ("PENDING", "CONFIGURING", "RUNNING", "REQUEUED", "COMPLETING", "SUSPENDED")


class Cluster:
    """Starts runs as jobs of a cluster.

    Arguments
    ---------
    cluster : str
        "slurm", or "local" for processes of this machine.
    **options
        Of submitit's AutoExecutor, such as ``timeout_min``, minutes of a job before it is sent back
        to the queue, ``gpus_per_node``, ``cpus_per_task``, ``mem_gb``, ``slurm_partition``.

    Raises
    ------
    ValueError
        If submitit is not installed, there is no such cluster here, or no such option.
    """

    def __init__(self, cluster, **options):
        if cluster not in CLUSTERS:
            raise ValueError(f"cluster: expected one of {', '.join(CLUSTERS)}, got {cluster!r}")
        try:
            import submitit
        except ImportError as error:
            raise ValueError(
                "cluster: expected submitit; pip install 'speechbrain-fv[cluster]'"
            ) from error
        self.submitit, self.cluster, self.options = submitit, cluster, options
        with tempfile.TemporaryDirectory() as folder:
            self._executor(Path(folder))

    def _executor(self, folder):
        try:
            executor = self.submitit.AutoExecutor(folder, cluster=self.cluster)
            executor.update_parameters(**self.options)
        except (RuntimeError, ValueError, NameError, TypeError) as error:
            raise ValueError(f"cluster: {self.cluster}: {in_one_line(error)}") from error
        return executor

    def start(self, run, script, device, threads, lock):
        """Returns the `ClusterJob` of a run; one that is in the queue already is not repeated.

        Arguments
        ---------
        run : Run
        script : path
            The training script, on a disk that all nodes share, as the run's folder.
        device : str
        threads : int
            Not used: a job takes the cores that it is given.
        lock : file
            That of the run's folder; held until the job is over.

        Raises
        ------
        ValueError
            If the cluster refuses the job.
        """
        folder = run.folder / FOLDER
        executor = self._executor(folder)
        job = self._earlier(folder)
        if job is None:
            console = str((run.folder / CONSOLE_FILE).absolute())
            training = Training(training_command(run, script, device), os.getcwd(), console)
            executor.update_parameters(name=run.name)
            try:
                job = executor.submit(training)
            except RuntimeError as error:  # of submitit, with what sbatch printed
                raise ValueError(
                    f"cluster: {self.cluster} takes no job ({in_one_line(error)}); mend the "
                    "options of --cluster and start again"
                ) from error
            with replacing(folder / ID_FILE) as file:
                file.write(job.job_id.encode())
        return ClusterJob(run, device, job, os.dup(lock.fileno()))

    def _earlier(self, folder):
        """Returns the job that a killed command has left in the queue, or None.

        A job whose state cannot be read is neither lost nor finished: ValueError.
        """
        path = folder / ID_FILE
        if not path.is_file():
            return None
        kind = self.submitit.SlurmJob if self.cluster == "slurm" else self.submitit.LocalJob
        job = kind(folder, path.read_text(encoding="utf-8").strip())
        state = job.state
        if state == "UNKNOWN" and not job.paths.result_pickle.exists():
            raise ValueError(
                f"{path}: the state of job {job.job_id} cannot be read (sacct does not tell); try "
                "again later, or, if squeue does not list it, delete this file"
            )
        return job if state in GOING_ON else None


def starter(cluster, slots):
    """Returns what starts a run, for `schedule.run_all`: None for processes of this machine.

    Arguments
    ---------
    cluster : dict or None
        The arguments of `Cluster`.
    slots : sequence of str
        The devices, which this machine must have where the runs are its own.

    Raises
    ------
    ValueError
        If a device is absent, or the cluster cannot be used.
    """
    if cluster is None:
        for device in slots:
            check_device(device)
        return None
    if not isinstance(cluster, dict) or "cluster" not in cluster:
        raise ValueError(
            f"cluster: expected {{cluster: slurm, timeout_min: 240}} and more, got {cluster!r}"
        )
    return Cluster(**cluster).start


@dataclass
class ClusterJob:
    """A run in progress on a cluster."""

    run: object
    device: str
    job: object
    lock: int

    def is_over(self):
        """Whether the job has ended; then other commands may have the folder."""
        over = self.job.done()
        if over and self.lock is not None:
            os.close(self.lock)
            self.lock = None
        return over

    def kill(self):
        """Takes the job off the queue, or ends it; it resumes next time."""
        self.job.cancel(check=False)

    def ending(self):
        """Returns how it ended."""
        try:
            code = self.job.result()
        except Exception as error:  # of submitit, or what the job raised
            return f"job {self.job.job_id} {self.job.state}, {in_one_line(error)}"
        return f"job {self.job.job_id}, " + (f"exit code {code}" if code else "without a report")
