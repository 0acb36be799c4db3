"""What the scripts in recipes/ share: help, and errors a person can read; imports no torch."""

import argparse
import logging
import os
import sys
from contextlib import suppress

from speechbrain_fv import __version__
from speechbrain_fv.messages import in_one_line
from speechbrain_fv.settings.help import settings_help, wants_help

logger = logging.getLogger(__name__)


class Parser(argparse.ArgumentParser):
    """A parser whose help begins with the script's usage, and whose errors are `ValueError`.

    Arguments
    ---------
    name : str
        The script's.
    usage : str
        Its docstring.
    """

    def __init__(self, name, usage):
        kind = argparse.RawDescriptionHelpFormatter
        super().__init__(name, description=usage.strip(), formatter_class=kind, allow_abbrev=False)

    def error(self, message):
        """Raises ValueError."""
        raise ValueError(f"{message}; {self.prog} --help tells more")


def answer(usage, default_yaml=None, options=None, parse=None):
    """Answers ``--help``, ``--version`` and a command without arguments, and ends the process.

    A script calls it before it imports what takes seconds.

    Arguments
    ---------
    usage : str
        What the script does, and its commands.
    default_yaml : str, optional
        Of a script that takes a YAML: the one whose keys ``--help`` shows.
    options : iterable of str, optional
        SpeechBrain's run options that the script makes use of, for ``--help``; None: all.
    parse : callable, optional
        Of a script that takes no YAML: parses its arguments with a `Parser`, which has the help.
    """
    argv = sys.argv[1:]
    if "--version" in argv:
        sys.exit(_tell(f"speechbrain-fv {__version__}"))
    if default_yaml and wants_help(argv):
        sys.exit(_tell(settings_help(usage, argv, default_yaml, options)))
    if parse and wants_help(argv):
        with suppress(ValueError):  # of an option before it: `main` says so in one line
            parse(argv)
    if not argv:
        lines = [line.strip() for line in usage.splitlines() if line.strip()]
        command = next((line for line in lines if line.startswith("python ")), lines[0])
        print(f"error: expected arguments, as {command}; --help tells more", file=sys.stderr)
        sys.exit(2)


def run_script(main, usage):
    """Runs a script's ``main(argv)`` and turns ordinary mistakes into one line.

    Arguments
    ---------
    main : callable
        Takes the arguments after the script's name.
    usage : str
        What the script does, and its commands; see `answer`.

    Returns
    -------
    exit_code : int
        0; or 2 after a mistake, whose traceback goes to the run's log only. Of the processes of
        torchrun, one reports it.
    """
    answer(usage)
    exit_code = _exit_code(main, sys.argv[1:])
    if "torch" in sys.modules:
        from speechbrain_fv import distributed

        distributed.leave(exit_code)
    return exit_code


def _tell(text):
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _exit_code(main, argv):
    try:
        main(argv)
    except Exception as error:
        from speechbrain_fv import distributed

        logger.debug("stopped by an error", exc_info=True)
        if distributed.first_to_fail():
            if not isinstance(error, (ValueError, OSError)):
                raise
            print("error:", in_one_line(error, most=None), file=sys.stderr)
        return 2
    return 0
