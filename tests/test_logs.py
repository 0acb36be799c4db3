"""What a run's log.txt keeps, and what its console shows."""

import subprocess
import sys

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
