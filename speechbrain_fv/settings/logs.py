"""The logging of a run: what its console shows and what its log.txt keeps."""

from pathlib import Path

LOG_CONFIG = str(Path(__file__).with_name("log_config.yaml"))
