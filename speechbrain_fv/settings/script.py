"""What the scripts in recipes/ share: settings, and errors a person can read."""

import logging
import sys

from speechbrain_fv import distributed
from speechbrain_fv.messages import in_one_line
from speechbrain_fv.settings.loading import load_hparams, resolve_hparams

__all__ = ("load_hparams", "resolve_hparams", "run_script")

logger = logging.getLogger(__name__)


def run_script(main, usage):
    """Runs a script's ``main(argv)`` and turns ordinary mistakes into one line.

    Arguments
    ---------
    main : callable
        Takes the arguments after the script's name.
    usage : str
        Printed before SpeechBrain's options when there is no argument or ``--help``.

    Returns
    -------
    exit_code : int
        0; or 2 after a mistake, whose traceback goes to the run's log only. Of the processes of
        torchrun, one reports it.
    """
    argv = sys.argv[1:]
    if not argv or {"-h", "--help"} & set(argv):
        print(usage)
        if not argv:
            return 2
    exit_code = _exit_code(main, argv)
    distributed.leave(exit_code)
    return exit_code


def _exit_code(main, argv):
    try:
        main(argv)
    except Exception as error:
        logger.debug("stopped by an error", exc_info=True)
        if distributed.first_to_fail():
            if not isinstance(error, (ValueError, OSError)):
                raise
            print("error:", in_one_line(error, most=None), file=sys.stderr)
        return 2
    return 0
