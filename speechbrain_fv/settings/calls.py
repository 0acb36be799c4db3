"""What a YAML calls: classes that are not there and arguments that they do not take.

hyperpyyaml names neither the entry nor the right argument, and what ``!name:`` prepares fails hours
later, when it is called. Here signatures are compared before anything is made.
"""

import importlib
import inspect
import os
import pydoc
import sys

from ruamel.yaml.comments import CommentedSeq

from speechbrain_fv.messages import in_one_line
from speechbrain_fv.settings.keys import did_you_mean, format_path
from speechbrain_fv.settings.merging import tag_of


def import_from(folders):
    """Lets modules beside a YAML be named in it; they stay importable, for reading processes.

    Arguments
    ---------
    folders : list of str
        Put at the end of ``sys.path``, so that no installed package is hidden.
    """
    for folder in map(os.path.abspath, folders):
        if folder not in sys.path:
            sys.path.append(folder)
    importlib.invalidate_caches()


def check_calls(tree):
    """Raises ValueError if an entry calls what is not there, or with arguments it does not take.

    Arguments
    ---------
    tree : ruamel.yaml.comments.CommentedMap
        With references and includes in place.
    """
    seen, waiting = set(), [((str(key),), node) for key, node in tree.items()]
    while waiting:
        path, node = waiting.pop(0)
        if id(node) in seen or not hasattr(node, "tag"):
            continue
        seen.add(id(node))
        kind, _, name = tag_of(node).partition(":")
        if kind in ("!new", "!name", "!apply"):
            _check_call(format_path(path), kind, name, node)
        if isinstance(node, dict):
            waiting += [((*path, str(key)), child) for key, child in node.items()]
        elif isinstance(node, CommentedSeq):
            waiting += [((*path, str(index)), child) for index, child in enumerate(node)]


def _check_call(where, kind, name, node):
    target = _locate(where, kind, name)
    args = list(node) if isinstance(node, CommentedSeq) else []
    kwargs = dict(node) if isinstance(node, dict) else {}
    try:
        signature = inspect.signature(target)
    except (ValueError, TypeError):  # of a class in C, or no callable, as a module's constant
        return
    parameters = signature.parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for key in kwargs:
        if key not in named and not takes_any:
            hint = did_you_mean(key, named)
            raise ValueError(f"{where}: {name} takes no argument {key!r}{hint}")
    try:
        (signature.bind_partial if kind == "!name" else signature.bind)(*args, **kwargs)
    except TypeError as error:
        raise ValueError(f"{where}: {name}: {error}") from error


def _no_module(name):
    """Returns the remedy where the module of a class is not found."""
    if not name:
        return "; write module.name"
    return f"; no module {name!r} is installed or lies beside the YAML or one of its bases"


def _locate(where, kind, name):
    """Returns the class or function of a name; ValueError if it is not there or another kind."""
    try:
        target = pydoc.locate(name)
    except pydoc.ErrorDuringImport as error:
        raise ValueError(f"{where}: {name} cannot be imported: {in_one_line(error)}") from error
    if target is None:
        module, _, last = name.rpartition(".")
        parent = pydoc.locate(module) if module else None
        public = [other for other in dir(parent) if not other.startswith("_")]
        hint = did_you_mean(last, public) if parent is not None else _no_module(module)
        raise ValueError(f"{where}: {kind}:{name}: there is no such class or function{hint}")
    if kind == "!new" and not inspect.isclass(target):
        raise ValueError(f"{where}: !new:{name} is no class; !apply: calls a function")
    if kind == "!apply" and not inspect.isroutine(target):
        raise ValueError(f"{where}: !apply:{name} is no function; !new: makes an object of a class")
    return target
