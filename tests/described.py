"""Imported before the scripts that tests fork: SpeechBrain asks pip once what is installed.

It does so for the log of every run, at two seconds each; what is installed stays the same.
"""

import functools

from speechbrain.utils import logger

logger.get_environment_description = functools.cache(logger.get_environment_description)
logger.get_environment_description()
