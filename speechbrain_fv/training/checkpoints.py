"""SpeechBrain's checkpointer with checkpoints that are whole, its epoch counter with a memory."""

import os
import shutil
from pathlib import Path

import yaml
from speechbrain.utils.checkpoints import (
    CKPT_PREFIX,
    METAFNAME,
    Checkpointer,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.epoch_loop import EpochCounter, EpochCounterWithStopper
from torch.distributed.optim import ZeroRedundancyOptimizer

from speechbrain_fv.messages import in_one_line


@register_checkpoint_hooks
class PatientEpochCounter(EpochCounterWithStopper):
    """SpeechBrain's `EpochCounterWithStopper`, whose patience survives a resume.

    SpeechBrain saves the number of the epoch alone: a run that is resumed would wait for a better
    epoch from the beginning, and one that had stopped would go on.

    Example
    -------
    >>> counter = PatientEpochCounter(limit=9, limit_to_stop=2, limit_warmup=0, direction="max")
    >>> for value, epoch in zip([0.6, 0.8, 0.7], counter, strict=False):
    ...     counter.update_metric(value)
    >>> counter._save(getfixture("tmp_path") / "counter")
    >>> resumed = PatientEpochCounter(limit=9, limit_to_stop=1, limit_warmup=0, direction="max")
    >>> resumed._recover(getfixture("tmp_path") / "counter")
    >>> resumed.current, resumed.best_limit, resumed.best_score, resumed.should_stop
    (3, 2, 0.8, True)
    """

    @mark_as_saver
    def _save(self, path):
        super()._save(path)

    @mark_as_loader
    def _recover(self, path, end_of_epoch=True):
        """Recovers the epoch and the best one; the patience is that of this run, not the saved."""
        if isinstance(yaml.safe_load(Path(path).read_text(encoding="utf-8")), int):
            EpochCounter._recover(self, path, end_of_epoch)  # of an earlier version
            return
        super()._recover(path, end_of_epoch)
        self.should_stop = self.current - self.best_limit >= self.limit_to_stop


class AtomicCheckpointer(Checkpointer):
    """SpeechBrain's `Checkpointer`, except that a kill while saving leaves no checkpoint behind.

    A folder is a checkpoint once it holds the metafile. SpeechBrain writes that file first, so a
    run killed while saving resumes from a checkpoint without its last files and stops with an
    error. Here the metafile gets its name last.

    Example
    -------
    >>> import torch
    >>> folder = getfixture("tmp_path")
    >>> checkpointer = AtomicCheckpointer(folder, {"layer": torch.nn.Linear(2, 2)})
    >>> checkpoint = checkpointer.save_checkpoint(meta={"auc": 0.8})
    >>> checkpointer.recover_if_possible(max_key="auc").meta["auc"]
    0.8
    """

    def save_checkpoint(self, *args, **kwargs):
        """Saves as SpeechBrain does, then marks the folder as a checkpoint.

        The parts of an optimiser that is spread over the processes are brought together first.

        Raises
        ------
        OSError
            If it cannot be written, as on a full disk; the earlier checkpoints stay as they were.
        """
        for recoverable in self.recoverables.values():
            if isinstance(recoverable, ZeroRedundancyOptimizer):
                recoverable.consolidate_state_dict()
        try:
            checkpoint = super().save_checkpoint(*args, **kwargs)
            if checkpoint is not None:  # the main process
                metafile = checkpoint.path / METAFNAME
                os.replace(_unfinished(metafile), metafile)
        except (OSError, RuntimeError) as error:  # of torch's writer, or of its own
            if if_main_process():
                self.remove_unfinished()
            raise OSError(
                f"{self.checkpoints_dir}: a checkpoint cannot be written "
                f"({in_one_line(_cause(error))}); make room and start again: the earlier "
                "checkpoints are whole"
            ) from error
        ddp_barrier()  # all processes list the same checkpoints
        return checkpoint

    def remove_unfinished(self):
        """Removes the folders that a kill while saving left, which are no checkpoints."""
        for folder in Path(self.checkpoints_dir).glob(f"{CKPT_PREFIX}+*"):
            if folder.is_dir() and not (folder / METAFNAME).exists():
                shutil.rmtree(folder)

    def find_best(self):
        """Returns the checkpoint of the best monitored value, or None.

        Runs of earlier versions name it "auc".
        """
        return self.find_checkpoint(max_key="monitor") or self.find_checkpoint(max_key="auc")

    def _save_checkpoint_metafile(self, fpath, *args, **kwargs):
        return super()._save_checkpoint_metafile(_unfinished(fpath), *args, **kwargs)


def _cause(error):
    """Returns the OSError that torch's writer answers with an error of its own, if there is one."""
    if isinstance(error, OSError):
        return error.strerror or error
    return next((e for e in (error.__cause__, error.__context__) if isinstance(e, OSError)), error)


def _unfinished(metafile):
    return Path(f"{metafile}.unfinished")
