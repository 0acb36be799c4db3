import pytest
import torch

from speechbrain_fv.training.checkpoints import AtomicCheckpointer


class Unsavable:
    """Stands for a process that dies while this object is being saved."""


def killed(obj, path):
    raise KeyboardInterrupt


def test_a_kill_while_saving_leaves_the_earlier_checkpoint(tmp_path):
    """SpeechBrain's own checkpointer takes the unfinished folder for the most recent checkpoint."""
    layer = torch.nn.Linear(2, 2)
    whole = AtomicCheckpointer(tmp_path, {"layer": layer}).save_checkpoint()
    dying = AtomicCheckpointer(
        tmp_path,
        {"layer": layer, "other": Unsavable()},
        custom_save_hooks={"other": killed},
        custom_load_hooks={"other": killed},
    )
    with pytest.raises(KeyboardInterrupt):
        dying.save_checkpoint()
    assert len(list(tmp_path.iterdir())) == 2
    assert AtomicCheckpointer(tmp_path, {"layer": layer}).recover_if_possible().path == whole.path


def test_the_best_and_the_last_checkpoint_are_kept(tmp_path):
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": torch.nn.Linear(2, 2)})
    for epoch, auc in enumerate([0.5, 0.8, 0.7, 0.6], start=1):
        checkpointer.save_and_keep_only(meta={"auc": auc, "epoch": epoch}, max_keys=["auc"])
    kept = {checkpoint.meta["epoch"] for checkpoint in checkpointer.list_checkpoints()}
    assert kept == {2, 4}
    assert checkpointer.find_checkpoint(max_key="auc").meta["epoch"] == 2
    assert checkpointer.find_best().meta["epoch"] == 2  # as earlier versions name it


def test_the_best_checkpoint_is_that_of_the_monitor(tmp_path):
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": torch.nn.Linear(2, 2)})
    assert checkpointer.find_best() is None
    for epoch, monitor in enumerate([-0.3, -0.2, -0.4], start=1):  # equal error rates
        meta = {"auc": epoch / 10, "monitor": monitor, "epoch": epoch}
        checkpointer.save_and_keep_only(meta=meta, max_keys=["monitor"])
    assert checkpointer.find_best().meta["epoch"] == 2
