"""From a command line to SpeechBrain's run options and the overrides of the YAML."""

import contextlib
import io
import re
from typing import NamedTuple

import speechbrain as sb
from ruamel.yaml import YAML, YAMLError
from speechbrain.utils.run_opts import HELP_TEXTS, RunOptions

MANY = ("jit_module_keys", "compile_module_keys")
"""Run options that take several words."""

RUN_OPTIONS = frozenset(vars(RunOptions()))
"""Names that SpeechBrain's Brain takes from the command line or from the YAML."""


class Override(NamedTuple):
    """The value of one ``--key=value``: as it was written, and as a node of a YAML."""

    text: str
    value: object


def parse_command_line(argv):
    """Returns the YAML's path, SpeechBrain's run options and the overrides.

    SpeechBrain's own parsing replaces every "=" inside a value by a space, and takes a key such as
    ``--optimizer`` for the option that begins like it. Here it is given exact run options only.

    Arguments
    ---------
    argv : list of str
        The YAML first, then ``--key=value``, ``--key value`` or ``--flag``, in any order.

    Returns
    -------
    path : str
    run_opts : speechbrain.utils.run_opts.RunOptions
    overrides : dict of str to Override

    Raises
    ------
    ValueError
        If a value is no YAML, a key is given twice, or a word belongs to no key.

    Example
    -------
    >>> path, run_opts, overrides = parse_command_line(["x.yaml", "--note=a=b", "--device", "cpu"])
    >>> path, run_opts["device"], overrides["note"].value
    ('x.yaml', 'cpu', 'a=b')
    """
    words, path, options, overrides = list(argv), [], [], {}
    while words:
        word = words.pop(0)
        name, equals, text = word.removeprefix("--").partition("=")
        if word == "-h" or word == "--help":
            options.append(word)
        elif not word.startswith("--"):
            if path:
                raise ValueError(f"expected --key=value after {path[0]}, got {word!r}")
            path.append(word)
        elif name in HELP_TEXTS or name in MANY:
            options += [word, *([] if equals else _values_of(name, words))]
        else:
            if not equals and path:  # before it, the next word is the YAML
                text = "".join(_next_words(words, 1))
            if name in overrides:
                raise ValueError(f"--{name}: given twice; keep one")
            overrides[name] = Override(text, _parse(name, text))
    file, run_opts = _run_options([*path, *options])
    return file, run_opts, overrides


def _run_options(words):
    """Returns the YAML and the run options; SpeechBrain's complaint in one line, without usage."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            file, run_opts, _ = sb.parse_arguments(words)
    except SystemExit as error:
        if not error.code:  # --help
            raise
        (*_, line) = complaint.getvalue().strip().splitlines() or [""]
        raise ValueError(line.partition("error: ")[2] or line) from error
    return file, run_opts


def _values_of(name, words):
    """Takes the words that belong to a run option from those that follow it."""
    if name in MANY:
        return _next_words(words, len(words))
    return _next_words(words, 0 if vars(RunOptions())[name] is False else 1)


def _next_words(words, most):
    taken = []
    while words and len(taken) < most and not words[0].startswith("--"):
        taken.append(words.pop(0))
    return taken


def _parse(name, text):
    """Returns the value of an override as a node of a YAML."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"expected --key=value, got '--{name}={text}'")
    try:
        entry = YAML().load(f"{name}: {text}")
        if list(entry) == [name]:
            return entry[name]
    except YAMLError:
        pass
    raise ValueError(f"--{name}: expected a value in YAML, got {text!r}; quote it, as '\"a: b\"'")
