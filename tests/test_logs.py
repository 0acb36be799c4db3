"""What a run's log.txt keeps, and what its console shows."""

import subprocess
import sys
from types import SimpleNamespace

from speechbrain.utils.train_logger import TensorboardLogger

from speechbrain_fv.training.progress import log_epoch

WRITES = """
import logging, sys
import speechbrain as sb
from speechbrain_fv.settings.logs import LOG_CONFIG
sb.create_experiment_directory(sys.argv[1], log_config=LOG_CONFIG)
for name in ("matplotlib.font_manager", "PIL.PngImagePlugin", "speechbrain_fv.training.brain"):
    logging.getLogger(name).debug("detail of %s", name)
    logging.getLogger(name).warning("warning of %s", name)
"""


def written(folder):
    command = [sys.executable, "-c", WRITES, folder]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return result.stdout, (folder / "log.txt").read_text()


def test_log_without_details_of_other_libraries_and_console_without_quirks(tmp_path):
    console, log = written(tmp_path / "run")
    assert "detail of speechbrain_fv" in log
    assert "detail of matplotlib" not in log and "detail of PIL" not in log
    assert all(
        f"warning of {name}" in text for name in ("matplotlib", "PIL") for text in (console, log)
    )
    assert "quirks" in log and "quirks" not in console
    assert "detail of" not in console and "Beginning experiment!" in console


def test_the_tensorboard_of_a_resumed_training_goes_on_at_its_epoch():
    """SpeechBrain's logger counts its calls from 1, in every process anew."""
    logger, drawn = object.__new__(TensorboardLogger), []
    logger.global_step = {"train": {}, "valid": {}, "test": {}, "meta": 0}
    logger.writer = SimpleNamespace(add_scalar=lambda *scalar: drawn.append(scalar))
    log_epoch(logger, 7, {"loss": 0.5}, {"auc_U": 0.9})
    assert drawn == [("epoch", 7, 7), ("loss/train", 0.5, 7), ("auc_U/valid", 0.9, 7)]
