"""What a training says on the console: how it begins, a line per epoch, and how it ends."""

import time
from contextlib import contextmanager
from datetime import timedelta

from speechbrain import core

from speechbrain_fv.evaluation.report import higher_is_better
from speechbrain_fv.messages import metric_label, progress_bar

SHOWN = ("verification/U/auc", "verification/G/auc")


class Progress:
    """Tells how far a training is, how good, and how long the rest takes.

    Arguments
    ---------
    counter : speechbrain_fv.training.checkpoints.PatientEpochCounter
        It knows the epoch, and the best one.
    num_steps : int
        Optimiser steps of the whole training.
    monitor : str
        The path of the value in the report that chooses the checkpoint.
    """

    def __init__(self, counter, num_steps, monitor):
        self.counter, self.num_steps, self.monitor = counter, num_steps, monitor
        self.sign = 1 if higher_is_better(monitor) else -1
        self.start, self.first_step = time.monotonic(), 0
        self.was_over = False  # before it began

    def begin(self, step):
        """Starts the clock; returns what of the training was done before, "" if nothing was.

        Arguments
        ---------
        step : int
            Optimiser steps done, when the last checkpoint has been recovered.
        """
        self.start, self.first_step = time.monotonic(), step
        self.was_over = self.is_over
        if self.was_over:
            return f"nothing left to train after epoch {self.counter.current}  {self._best()}"
        if step:
            return (
                f"resumed at step {step} of {self.num_steps}, in epoch {self.counter.current + 1} "
                f"of {self.counter.limit}"
            )
        return ""

    @property
    def is_over(self):
        """Whether there is no epoch left, or none of the last ones was better."""
        return self.counter.should_stop or self.counter.current >= self.counter.limit

    def line(self, step, loss, valid, monitored):
        """Returns the line of an epoch, which the counter has been told of.

        Arguments
        ---------
        step : int
            Optimiser steps done.
        loss : float or None
            Mean over the epoch, its terms weighted as they are trained; None if nothing was.
        valid : dict of str to float
            Areas under the curve of the validation: ``auc_<stratum>``, in [0, 1].
        monitored : float
            Higher is better, as the counter has it.

        Example
        -------
        >>> from speechbrain_fv.training.checkpoints import PatientEpochCounter
        >>> counter = PatientEpochCounter(12, 5, 0, "max")
        >>> epoch = next(counter)
        >>> counter.update_metric(0.8194)
        >>> valid = {"auc_U": 0.8194, "auc_G": 0.7851}
        >>> progress = Progress(counter, 240, "verification/U/auc")
        >>> progress.line(20, 38.4159, valid, 0.8194).rsplit("  ", 1)[0]
        'epoch 1/12 step 20/240 loss 38.42  AUC U 81.94 G 78.51 %  best 81.94 % (epoch 1)'
        """
        parts = []
        if loss is not None:
            place = (
                f"epoch {self.counter.current}/{self.counter.limit} step {step}/{self.num_steps}"
            )
            parts.append(f"{place} loss {loss:.4g}")
        shares = [
            f"{stratum} {100 * valid[f'auc_{stratum}']:.2f}"
            for stratum in "UG"
            if f"auc_{stratum}" in valid
        ]
        parts += [f"AUC {' '.join(shares)} %"] if shares else []
        if self.monitor not in SHOWN:
            parts.append(f"{metric_label(self.monitor)} {100 * self.sign * monitored:.2f} %")
        if loss is not None:
            parts += [self._best(), f"{self._left(step)} left"]
        return "  ".join(parts)

    def end(self):
        """Returns why the training stopped before its last epoch, "" if it did not do so now."""
        stopped = self.counter.should_stop and self.counter.current < self.counter.limit
        if stopped and not self.was_over:
            since = self.counter.current - self.counter.best_limit
            return f"stopped: no better for {since} epochs (patience)  {self._best()}"
        return ""

    def _best(self):
        """Returns the best monitor so far, named where it is not the first value shown."""
        if not self.counter.best_limit:
            return ""
        name = "" if self.monitor == SHOWN[0] else f"{metric_label(self.monitor)} "
        best = 100 * self.sign * self.counter.best_score
        return f"best {name}{best:.2f} % (epoch {self.counter.best_limit})"

    def _left(self, step):
        """Returns the time of the steps left, at the pace since the clock was started."""
        pace = (time.monotonic() - self.start) / max(1, step - self.first_step)
        return timedelta(seconds=round(pace * (self.num_steps - step)))


def log_epoch(train_logger, epoch, train, valid):
    """Logs the values of an epoch; SpeechBrain's TensorBoard logger, too, at that epoch.

    It counts its own calls, so that after a resume it would begin again at 1.

    Arguments
    ---------
    train_logger : speechbrain.utils.train_logger.TrainLogger
    epoch : int
        From 1.
    train, valid : dict of str to float
    """
    if hasattr(train_logger, "global_step"):
        before = epoch - 1
        train_logger.global_step |= {
            "meta": before,
            "train": dict.fromkeys(train, before),
            "valid": dict.fromkeys(valid, before),
        }
    train_logger.log_stats({"epoch": epoch}, train, valid_stats=valid)


@contextmanager
def vanishing_bars():
    """Removes each of SpeechBrain's bars when it is full, and draws them rarely in files.

    What is kept of a training is a line per epoch.
    """
    kept = core.tqdm

    def bar(*args, disable, **kwargs):
        return progress_bar(*args, disable=disable or None, leave=False, **kwargs)

    core.tqdm = bar
    try:
        yield
    finally:
        core.tqdm = kept
