"""What a job of a cluster does; little is imported, for submitit reads it back on every node."""

import os
import signal
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Training:
    """What a job does: the training as a process of its own, printing to the run's console file."""

    command: tuple
    folder: str
    console: str

    def __call__(self):
        """Returns the exit code.

        An interrupt kills the training at once: submitit's local executor kills this process a
        second after it, and the training would go on alone.
        """
        threads = str(len(os.sched_getaffinity(0)))
        with open(self.console, "wb") as console:
            process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={"OMP_NUM_THREADS": threads, **os.environ},
            )

        def end(*_):
            process.kill()
            raise KeyboardInterrupt

        signal.signal(signal.SIGINT, end)
        return process.wait()

    def checkpoint(self):
        """Returns what submitit puts back into the queue when the time of a job is over.

        The training then goes on from its last checkpoint.
        """
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
