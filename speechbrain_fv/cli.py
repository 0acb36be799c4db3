"""What the scripts in recipes/ share: reading the YAML, and errors a person can read."""

import logging
import sys

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml

logger = logging.getLogger(__name__)


def load_hparams(argv):
    """Returns SpeechBrain's reading of a command line and the loaded YAML.

    Arguments
    ---------
    argv : list of str
        Arguments as in ``sys.argv[1:]``: the YAML, run options, and overrides ``--key=value``.

    Returns
    -------
    hparams_file : str
    run_opts : speechbrain.utils.run_opts.RunOptions
    overrides : str
        The overrides as YAML text.
    hparams : dict

    Raises
    ------
    ValueError
        If the YAML is missing, names an unknown part, or an override matches no key.
    """
    hparams_file, run_opts, overrides = sb.parse_arguments(argv)
    try:
        with open(hparams_file, encoding="utf-8") as file:
            hparams = load_hyperpyyaml(file, overrides)
    except KeyError as error:
        raise ValueError(
            f"{hparams_file}: {error.args[0]}; overrides must match a key of the YAML"
        ) from error
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"{hparams_file}: {error}") from error
    return hparams_file, run_opts, overrides, hparams


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
        0; or 2 after a mistake, whose traceback goes to the run's log only.
    """
    argv = sys.argv[1:]
    if not argv or {"-h", "--help"} & set(argv):
        print(usage)
        if not argv:
            return 2
    try:
        main(argv)
    except (ValueError, OSError) as error:
        logger.debug("stopped by an error", exc_info=True)
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
