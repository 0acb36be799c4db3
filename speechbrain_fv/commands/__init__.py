"""The command `speechbrain-fv`: training, and what a published model does, without Python."""

import importlib
import os
import signal
import sys
import threading
from contextlib import redirect_stdout

from speechbrain_fv.commands.arguments import RECIPES, make_parser
from speechbrain_fv.commands.output import notices_shown, print_outcome
from speechbrain_fv.commands.scripts import run_recipe
from speechbrain_fv.messages import in_one_line

DONE, INCOMPLETE, MISTAKE, INTERRUPTED = 0, 1, 2, 130


def main(argv=None):
    """Runs a command line; mistakes become one line on stderr.

    Arguments
    ---------
    argv : list of str, optional
        What follows the command's name; by default of this process.

    Returns
    -------
    exit_code : int
        0: done. 1: done, but some files were left out. 2: a mistake. 130: interrupted.
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in RECIPES:
        return run_recipe(argv[0], argv[1:])
    options = make_parser().parse_args(argv)
    try:
        # Whatever a library prints, stdout holds the result alone.
        with redirect_stdout(sys.stderr), notices_shown(options.quiet):
            outcome = _function(options)(options)
        try:
            print_outcome(outcome, options.json, options.quiet)
        except BrokenPipeError:  # the reader closed the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ValueError, OSError) as error:
        print(f"{options.name}: error:", in_one_line(error, most=None), file=sys.stderr)
        return MISTAKE
    return INCOMPLETE if outcome.left_out else DONE


def _function(options):
    """Returns the function of a command, for which torch and others are imported.

    Importing them, some libraries turn an interrupt into an error of their own; here it ends the
    process, which has begun nothing yet.
    """
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    replaced = default and threading.current_thread() is threading.main_thread()
    if replaced:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        module = importlib.import_module(f"speechbrain_fv.commands.{options.module}")
        return getattr(module, options.run)
    finally:
        if replaced:
            signal.signal(signal.SIGINT, signal.default_int_handler)
