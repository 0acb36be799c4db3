"""From a command line to settings: the YAML read, overridden, checked, flattened, and made."""

import difflib
import os

import ruamel.yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML, YAMLError

from speechbrain_fv import distributed, messages
from speechbrain_fv.evaluation.exact import check_device
from speechbrain_fv.settings import keys
from speechbrain_fv.settings.arguments import Override, parse_command_line
from speechbrain_fv.settings.calls import check_calls, import_from
from speechbrain_fv.settings.documents import (
    RECORD_HEADER,
    dump_yaml,
    locate_includes,
    read_document,
)
from speechbrain_fv.settings.merging import merge
from speechbrain_fv.settings.references import Findings, put_in_place
from speechbrain_fv.settings.run_options import settle
from speechbrain_fv.shipped import shipped, shipped_yaml


def load_hparams(argv, reads=None, options=None):
    """Returns what SpeechBrain makes of a command line; under torchrun, joins the processes.

    Arguments
    ---------
    argv : list of str
        Arguments as in ``sys.argv[1:]``: the YAML, one's own or the name of a shipped one, run
        options, and overrides ``--key=value``. A
        tagged value, a text, a number or a list replaces the entry; a plain mapping is merged into
        it, as ``--discriminator='{temperature: 0.3}'`` and ``--corpus='{clip_seconds: 3.0}'``.
    reads : iterable of str, optional
        What the script reads of the YAML, as "batch_size" and "corpus[prepare]". With it, a key
        that was set and that nobody reads is refused, see `keys`; None leaves this away.
    options : iterable of str, optional
        SpeechBrain's run options that the script makes use of; None: all, see `run_options`.

    Returns
    -------
    run_opts : speechbrain.utils.run_opts.RunOptions
    hparams : dict
        The loaded YAML.
    resolved_yaml : str
        Its text with all bases, overrides and includes in place, for the record.

    Raises
    ------
    ValueError
        If the YAML, a base or an include is missing, names an unknown part, gives it arguments that
        it does not take, or a value of the wrong type or range; if an override matches no key; or
        if a run option is not supported, or the device or the distributed backend cannot be used.
    """
    run_opts, resolved_yaml = resolve_hparams(argv, reads, options)
    messages.show_progress(not run_opts["noprogressbar"])
    try:
        hparams = load_hyperpyyaml(resolved_yaml, loader=_Loader)
    except _MISTAKES as error:
        where = _entry_at(resolved_yaml, getattr(error, "yaml_mark", None))
        raise ValueError(f"{run_opts['param_file']}: {where}{_told(error)}") from error
    return run_opts, hparams, resolved_yaml


def resolve_hparams(argv, reads=None, options=None):
    """Returns the run options and the YAML's text, as `load_hparams`, but makes no objects.

    Folders of the YAML and of its bases become importable, and what the YAML names is imported.
    With SpeechBrain's ``--debug`` the output folder gets the ending "-debug": a few batches must
    not take the place of a finished run's results.
    """
    file, run_opts, overrides = parse_command_line(argv)
    if not os.path.isfile(file):
        file = shipped_yaml(file) or file
    if not os.path.exists(file):
        names = {path.name for path in shipped("hparams").glob("*.yaml")}
        # Without the ending, which all have and which would make all alike.
        stem = os.path.basename(file).removesuffix(".yaml")
        nearest = difflib.get_close_matches(stem, [name.removesuffix(".yaml") for name in names], 1)
        hint = f"; did you mean '{nearest[0]}.yaml'?" if nearest else ""
        raise ValueError(f"{file}: not found{hint}; shipped are {', '.join(sorted(names))}")
    document = read_document(file)
    if not isinstance(document.tree, dict):
        raise ValueError(f"{file}: expected a mapping of keys")
    if document.is_record and overrides:
        raise ValueError(
            f"{file}: --{next(iter(overrides))}: expected no overrides of a run's record, in which "
            "every reference has been replaced by its value; give the YAML of the method"
        )
    try:
        text, tree = _flatten(document, overrides, reads)
        run_opts = settle(run_opts, tree, options)
        if run_opts["debug"] and "output_folder" in tree:
            name = f"{tree['output_folder']}-debug"
            overrides["output_folder"] = Override(name, name)
            text, _ = _flatten(read_document(file), overrides, reads)
    except (YAMLError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: {_told(error)}") from error
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(file) else f"{file}: {message}") from error
    distributed.start(run_opts)
    check_device(run_opts["device"] or "cpu")
    return run_opts, text


def _flatten(document, overrides, reads):
    """Returns a document with its bases, the overrides and the includes in place: text and tree."""
    declared = {keys.parse_path(read) for read in reads or ()}
    findings = Findings(reads=declared | keys.references(document.tree))
    written = [] if document.is_record else list(document.entries)
    for name, override in overrides.items():
        if name not in document.tree and (name,) not in declared:
            names = {*document.tree, *keys.RUN_OPTIONS}
            hint = keys.did_you_mean(name, names)
            raise ValueError(f"--{name}: expected a key of the YAML, got {name!r}{hint}")
        entry = ruamel.yaml.comments.CommentedMap({name: override.value})
        locate_includes(entry, document.folders)
        written += keys.set_entries(entry)
        findings.texts[(name,)] = override.text
        merge(document.tree, entry)
    tree = put_in_place(document, findings)
    if reads is not None:
        _check_read(written + findings.entries, findings, tree, findings.reads)
        reads_of_bases = findings.reads | document.base_reads
        _check_read(document.base_braces, findings, tree, reads_of_bases)
    for path in findings.placeholders:
        example = keys.format_path(path[:1]) + ("='{" + path[1] + ": ...}'" if path[1:] else "=...")
        raise ValueError(
            f"{keys.format_path(path)!r} is a !PLACEHOLDER and must be replaced, as by --{example}"
        )
    import_from(document.folders)
    check_calls(tree)
    tree.ca.comment = None  # the document's comment has it
    return RECORD_HEADER + document.comment + dump_yaml(tree), tree


def _check_read(entries, findings, tree, reads):
    """Raises ValueError for the first entry that nobody reads, with its include's file."""
    found = keys.unread(entries, reads, tree)
    if found is None:
        return
    path, names = found
    files = [findings.files.get(path[:end]) for end in range(len(path) - 1, 0, -1)]
    file = next(filter(None, files), None)
    where = f" of {keys.format_path(path[:-1])}" if path[1:] else ""
    where += f" ({file})" if file else ""
    hint = keys.did_you_mean(path[-1], names)
    name = keys.format_path(path)
    hint = hint or f"; leave it out, or hand it on with !ref <{name}>"
    raise ValueError(f"nobody reads {path[-1]!r}{where}{hint}")


# What a YAML and its constructors raise; a NameError, say, is a fault of the code and keeps its
# traceback.
_MISTAKES = (
    *(ImportError, KeyError, AttributeError, TypeError, ValueError, YAMLError, OSError),
    *(ArithmeticError, RuntimeError),
)


class _Loader(ruamel.yaml.Loader):
    """hyperpyyaml's loader, whose errors carry the place of the entry that failed."""

    def construct_object(self, node, deep=True):  # True, as hyperpyyaml sets it
        try:
            return super().construct_object(node, deep)
        except Exception as error:
            if not hasattr(error, "yaml_mark"):
                error.yaml_mark = node.start_mark
            raise


def _entry_at(text, mark):
    """Returns "objective[losses]: " for a place in the text that is loaded; "" if unknown."""
    if mark is None:
        return ""
    waiting = [((), YAML().compose(resolve_references(text).getvalue()))]
    while waiting:
        path, node = waiting.pop(0)  # level by level: the entry itself before what refers to it
        start = node.start_mark
        if path and (start.line, start.column) == (mark.line, mark.column):
            return f"{keys.format_path(path)}: "
        if isinstance(node, ruamel.yaml.MappingNode):
            waiting += [((*path, str(key.value)), value) for key, value in node.value]
        elif isinstance(node, ruamel.yaml.SequenceNode):
            waiting += [((*path, str(index)), value) for index, value in enumerate(node.value)]
    return ""


def _told(error):
    """Returns an error in one line, without the quotes and brackets of its arguments."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(": ".join(map(str, error.args)).split()) or type(error).__name__
