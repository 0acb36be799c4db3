"""What the scripts in recipes/ share: reading the YAML, and errors a person can read."""

import io
import logging
import sys

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML, YAMLError

from speechbrain_fv import distributed
from speechbrain_fv.evaluation.exact import check_device
from speechbrain_fv.messages import in_one_line

logger = logging.getLogger(__name__)


def load_hparams(argv):
    """Returns what SpeechBrain makes of a command line; under torchrun, joins the processes.

    Arguments
    ---------
    argv : list of str
        Arguments as in ``sys.argv[1:]``: the YAML, run options, and overrides ``--key=value``.

    Returns
    -------
    run_opts : speechbrain.utils.run_opts.RunOptions
    hparams : dict
        The loaded YAML.
    resolved_yaml : str
        Its text with all overrides and includes in place, for the record.

    Raises
    ------
    ValueError
        If the YAML is missing, names an unknown part, an override matches no key, or the device or
        the distributed backend cannot be used.
    """
    run_opts, resolved_yaml = resolve_hparams(argv)
    try:
        hparams = load_hyperpyyaml(resolved_yaml)
    except (ImportError, KeyError, AttributeError, TypeError, ValueError, YAMLError) as error:
        raise ValueError(f"{run_opts['param_file']}: {error}") from error
    return run_opts, hparams, resolved_yaml


def resolve_hparams(argv):
    """Returns the run options and the YAML's text, as `load_hparams`, but makes no objects."""
    hparams_file, run_opts, overrides = sb.parse_arguments(argv)
    check_device(run_opts["device"] or "cpu")
    distributed.start(run_opts)
    try:
        with open(hparams_file, encoding="utf-8") as file:
            stream, overrides = _replace_tagged(file, overrides)
        return run_opts, resolve_references(stream, overrides, True).getvalue()
    except KeyError as error:
        raise ValueError(
            f"{hparams_file}: {error.args[0]}; overrides must match a key of the YAML"
        ) from error
    except (ImportError, AttributeError, TypeError, ValueError, YAMLError) as error:
        raise ValueError(f"{hparams_file}: {error}") from error


def _replace_tagged(file, overrides):
    """Puts overrides such as ``!include:x.yaml {key: value}`` in the place of the YAML's entries.

    hyperpyyaml would merge their mapping into the entry and keep the entry's tag, that is, its
    file. Returns the YAML as a stream, and the overrides that remain.
    """
    yaml = YAML()
    tree, overrides = yaml.load(file), yaml.load(overrides) or {}
    for key, value in list(overrides.items()):
        if isinstance(value, dict) and value.tag.value and key in tree:
            tree[key] = overrides.pop(key)
    stream = io.StringIO()
    yaml.dump(tree, stream)
    stream.seek(0)
    stream.name = file.name  # includes are relative to it
    return stream, overrides


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
