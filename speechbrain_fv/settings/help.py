"""`--help` of scripts that take a YAML: what they do, the keys of the YAML, the run options."""

import ast
import os
import re
import textwrap
from importlib.util import find_spec
from pathlib import Path

from speechbrain_fv.shipped import shipped, shipped_yaml

KEY = re.compile(r"^([A-Za-z]\w*):[ ]*(.*?)(?:(?:^|\s+)#\s*(.*))?$")
BASE = re.compile(r"^--- *!include:(\S+)", re.M)
WIDTH, INDENT, LONGEST = 100, 44, 40


def wants_help(argv):
    """Returns whether a command line asks for help, or for all keys."""
    return bool({"-h", "--help", "--keys"} & set(argv))


def settings_help(usage, argv, default_yaml, options=None):
    """Returns the help of a script.

    Arguments
    ---------
    usage : str
        What the script does, and the commands that people want.
    argv : list of str
        With a YAML, its keys are shown; with ``--keys``, those of all includes too.
    default_yaml : str
        The YAML whose keys are shown otherwise.
    options : iterable of str, optional
        SpeechBrain's run options that the script makes use of; None: all.
    """
    file = next((word for word in argv if not word.startswith("-")), default_yaml)
    file = file if os.path.isfile(file) else shipped_yaml(file) or shipped_yaml(default_yaml)
    parts = [usage.strip(), *_keys_of_bases(file)]
    if "--keys" in argv:
        parts += _keys_of_includes()
    else:
        parts.append("All keys of all includes: --keys. A mapping changes some of an include's.")
    texts = run_option_texts()
    names = sorted(texts if options is None else options)
    lines = [_line(f"--{name}", texts[name]) for name in names]
    parts.append("\n".join(["Run options of SpeechBrain:", "", *lines]))
    return "\n\n".join(parts)


def run_option_texts():
    """Returns what SpeechBrain says of each run option, read from its source.

    Importing it would take seconds, as torch is imported with it.
    """
    source = Path(find_spec("speechbrain").origin).with_name("utils") / "run_opts.py"
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "HELP_TEXTS":
            return ast.literal_eval(node.value)
    raise ValueError(f"{source}: HELP_TEXTS not found; install the version in constraints.txt")


def keys_of(text):
    """Returns the keys at the top of a YAML: name, value and comment of each, as they are written.

    Example
    -------
    >>> keys_of("seed: 1   # of all draws;\\n          # an integer\\nmap:\\n    inner: 2\\n")
    [('seed', '1', 'of all draws; an integer'), ('map', '', '')]
    """
    found = []
    for line in text.splitlines():
        if match := KEY.match(line):
            found.append((match[1], match[2].strip(), match[3] or ""))
        elif found and (more := re.match(r"\s+#\s*(.*)", line)):
            name, value, comment = found[-1]
            found[-1] = name, value, f"{comment} {more[1]}".strip()
    return found


def _keys_of_bases(file):
    """Yields the keys of a YAML, then those of what it stands on that it does not replace."""
    known = set()
    while file:
        with open(file, encoding="utf-8") as opened:
            text = opened.read()
        yield _listed(f"Keys of {_short(file)}, each an option --key=value:", text, known)
        known |= {name for name, _, _ in keys_of(text)}
        base = BASE.search(text)
        beside = base and os.path.join(os.path.dirname(file), base[1])
        file = base and (beside if os.path.isfile(beside) else shipped_yaml(base[1]))


def _keys_of_includes():
    folder = shipped("hparams")
    for path in sorted(folder.glob("*/*.yaml")):
        name = path.relative_to(folder).as_posix()
        yield _listed(f"Keys of !include:{name}, in braces:", path.read_text(encoding="utf-8"))


def _listed(title, text, known=()):
    lines = [
        _line(f"--{name}={value if len(value) <= LONGEST else value[:LONGEST] + '...'}", comment)
        for name, value, comment in keys_of(text)
        if name not in known
    ]
    return "\n".join([title, "", *lines])


def _line(left, comment):
    left = f"  {left}"
    if not comment:
        return left.rstrip("=")
    space = " " * INDENT
    wrapped = textwrap.wrap(
        comment, WIDTH, initial_indent=space, subsequent_indent=space, break_long_words=False
    )
    if len(left) < INDENT - 1:
        wrapped[0] = left.ljust(INDENT) + wrapped[0].lstrip()
        return "\n".join(wrapped)
    return "\n".join([left, *wrapped])


def _short(file):
    """Returns the path as people type it."""
    folder = str(shipped("hparams").parent)
    return os.path.relpath(file, folder) if os.path.realpath(file).startswith(folder) else file
