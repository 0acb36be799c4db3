"""The scalars of training steps, which wait on the device so that no step waits for them."""

import math
import time

import numpy as np
import torch
from speechbrain.utils.distributed import if_main_process

LOG_SECONDS = 0.2
"""The least time between two transfers of scalars from the device, and writings of them."""


def log_dtype(device):
    """Returns the type in which scalars wait on a device: Apple's MPS has no float64."""
    return torch.float32 if torch.device(device).type == "mps" else torch.float64


class StepLog:
    """Keeps the scalars of steps, and writes the means over their batches to the curves.

    Arguments
    ---------
    curves : CurveLog
    device : str or torch.device
        Where the scalars lie.
    """

    def __init__(self, curves, device):
        self.curves = curves
        self.kept = {"device": device, "dtype": log_dtype(device)}
        self.batches = []  # names and values of the batches whose gradients wait for a step
        self.steps = []  # (step, epoch, lr, batches)
        self.losses = []  # (step of the epoch, loss)
        self.written = 0.0  # when, on the monotonic clock

    @property
    def is_due(self):
        """Whether the last writing is `LOG_SECONDS` ago."""
        return time.monotonic() - self.written >= LOG_SECONDS

    def add_batch(self, scalars):
        """Keeps the scalars of a batch, a dict of str to torch.Tensor of one element."""
        values = torch.stack([value.reshape(()).to(**self.kept) for value in scalars.values()])
        self.batches.append(([*scalars], values))

    def add_step(self, step, epoch, lr):
        """Makes a step of the batches since the last one."""
        self.steps.append((step, epoch, lr, self.batches))
        self.batches = []

    def drop_batches(self):
        """Forgets batches that make no step, at the end of an epoch."""
        self.batches = []

    def add_loss(self, step, loss):
        """Keeps the loss of a batch, by its number in the epoch, for the mean of `write`."""
        self.losses.append((step, loss))

    def write(self, mean):
        """Writes what was kept, brought over in one transfer.

        Arguments
        ---------
        mean : float
            SpeechBrain's running mean of the epoch's losses.

        Returns
        -------
        mean : float
            With the losses since then; as in SpeechBrain, without those that are not finite.
        """
        (steps, self.steps), (losses, self.losses) = (self.steps, []), (self.losses, [])
        tensors = [values for *_, batches in steps for _, values in batches]
        tensors += [loss.view(1).to(log_dtype(loss.device)) for _, loss in losses]
        numbers = iter(torch.cat(tensors).tolist() if tensors else ())
        rows = []
        for step, epoch, lr, batches in steps:
            values = {}
            for names, _ in batches:
                for name in names:
                    values.setdefault(name, []).append(next(numbers))
            means = {name: float(np.mean(of_batches)) for name, of_batches in values.items()}
            rows.append((step, epoch, {"loss": means.pop("loss"), "lr": lr, **means}))
        if if_main_process():
            self.curves.extend(rows)
        for step, _ in losses:
            loss = next(numbers)
            if math.isfinite(loss):
                mean -= mean / step
                mean += loss / step
        self.written = time.monotonic()
        return mean
