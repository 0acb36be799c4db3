"""Model YAMLs from strangers: parsed, checked against an allow-list, and only then constructed.

SpeechBrain's YAML can run any Python: ``!apply:os.system [...]``, but also ``!tuple`` (whose text
is parsed as unsafe YAML), ``!ref <a.attribute>``, ``!include:`` and ``!applyref:``. A bundle needs
none of that. Here the text is composed into nodes, which executes nothing; every node is checked;
and the objects are made from the very nodes that were checked, so no second parser can read the
text in another way.
"""

import importlib
import math
import operator
import re
from contextlib import contextmanager
from numbers import Number

import torch
import yaml

from speechbrain_fv.messages import in_one_line

MAX_CHARACTERS = 50_000
"""Longest YAML that is read; a bundle's has a thousand or two."""

MAX_NUMBER = 10**5
"""Largest number in a YAML, or as a result of its arithmetic; sizes of models are smaller."""

MAX_NODES = 10**4
"""Nodes of a YAML with all aliases written out."""

PACKAGES = (
    "speechbrain.lobes",
    "speechbrain.nnet",
    "speechbrain.processing",
    "speechbrain_fv.cmwr",
    "speechbrain_fv.encoders",
    "speechbrain_fv.scores",
    "torch.nn",
    "torchaudio.models",
    "torchaudio.transforms",
)
"""Where the classes of a bundle may be defined; they must be torch modules, one of `READERS`, or
the `PRETRAINER`."""

READERS = ("speechbrain_fv.data.readers.ImageReader", "speechbrain_fv.data.readers.SpeechReader")

PRETRAINER = "speechbrain_fv.bundles.pretrainer.BundlePretrainer"
"""By which SpeechBrain's own loaders find the weights; to make one reads and runs nothing."""

ARITHMETIC = {f"operator.{name}": getattr(operator, name) for name in ("add", "sub", "mul")} | {
    f"operator.{name}": getattr(operator, name) for name in ("truediv", "floordiv")
}
"""Functions of numbers that a bundle may apply."""

MODEL_MAKERS = ("speechbrain_fv.encoders.timm_network", "timm.create_model")
"""Functions that a bundle may apply to make a network."""

FETCHING = (
    *("pretrained", "checkpoint", "checkpoint_path", "source", "cache_dir", "save_path"),
    *("ckp_path", "load_path", "load_pretrained", "pretrained_path"),
)
"""Arguments that would read other files than the bundle's; they must be empty or false."""

_TEXT, _MAP = "tag:yaml.org,2002:str", "tag:yaml.org,2002:map"
_PLAIN = {
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null")
}
_ROOTS = tuple(f"{package}." for package in PACKAGES)
_CALLS = ("!new:", "!name:", "!apply:")
REMEDY = (
    "nothing of the file was run. If you know who wrote it and have read it, pass "
    "trust_remote_code=True"
)
"""How the errors end that tell of something that is not on the list."""
_PATH_LIKE = re.compile(r"[/\\:]|\.\.")


def check_model_yaml(text, name):
    """Returns the root node of a model YAML once every node of it is on the allow-list.

    Nothing is constructed; the named classes are looked up in the installed packages.

    Arguments
    ---------
    text : str
        Mappings, lists, texts, numbers and anchors; ``!new:`` and ``!name:`` with a torch module
        of `PACKAGES`, one of `READERS` or the `PRETRAINER`; ``!apply:`` with one of `MODEL_MAKERS`
        or `ARITHMETIC`.
    name : str
        The file, for messages.

    Returns
    -------
    root : yaml.MappingNode
        For `construct`.

    Raises
    ------
    ValueError
        If anything else stands in it, with the line and the name; if it is no YAML, or too long.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"{name}: expected at most {MAX_CHARACTERS} characters, got {len(text)}; this is no "
            "model's YAML"
        )
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        num_nodes = _count_nodes(root, {})
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"{name}: not a readable YAML ({in_one_line(error)})") from error
    if root is None or root.tag != _MAP or not isinstance(root, yaml.MappingNode):
        raise ValueError(f"{name}: expected a mapping of names to the parts of a model")
    if num_nodes > MAX_NODES:
        raise ValueError(f"{name}: expected at most {MAX_NODES} parts, its aliases written out")
    seen, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            with _refusing(node, name):
                _check_node(node)
            if isinstance(node, yaml.MappingNode):
                _check_entries(node, name)
            waiting.extend(_children(node))
    return root


def construct(root, name):
    """Returns the objects of a checked YAML: modules with random weights, readers, numbers.

    Arguments
    ---------
    root : yaml.MappingNode
        Result of `check_model_yaml`.
    name : str
        The file, for messages.

    Returns
    -------
    hparams : dict

    Raises
    ------
    ValueError
        If a constructor refuses its arguments, with the line.

    Example
    -------
    >>> root = check_model_yaml("layer: !new:torch.nn.Linear {in_features: 2, out_features: 1}", "")
    >>> construct(root, "")
    {'layer': Linear(in_features=2, out_features=1, bias=True)}
    """
    try:
        return _Loader().construct_document(root)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{name}: {in_one_line(error)}") from error


def _count_nodes(node, counts):
    """Returns the number of nodes with every alias written out; infinity for one inside itself."""
    if id(node) not in counts:
        counts[id(node)] = math.inf
        counts[id(node)] = 1 + sum(_count_nodes(child, counts) for child in _children(node))
    return counts[id(node)]


def _children(node):
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


@contextmanager
def _refusing(node, name):
    """Turns what is raised in the check of a node into a ValueError with its line."""
    try:
        yield
    except Exception as error:  # a scalar such as `!!bool x` fails in many ways
        line = f"{name}, line {node.start_mark.line + 1}"
        raise ValueError(f"{line}: {in_one_line(error)}; {REMEDY}") from error


def _check_node(node):
    """Raises ValueError for a node that is not on the allow-list."""
    call = next((call for call in _CALLS if node.tag.startswith(call)), None)
    if call:
        _check_call(call, node)
    elif node.tag not in _PLAIN:
        raise ValueError(f"{node.tag} does not belong in a model's YAML")
    elif isinstance(node, yaml.ScalarNode):
        _check_scalar(node)


def _check_entries(node, name):
    """Raises ValueError, with the line of the key, for an entry that a mapping may not have."""
    names = set()
    for key, value in node.value:
        with _refusing(key, name):
            _check_entry(key, value)
            if key.value in names:
                raise ValueError(f"{key.value!r} stands there twice")
            names.add(key.value)


def _check_call(call, node):
    path = node.tag[len(call) :]
    _target(call, path)
    by_name = isinstance(node, yaml.MappingNode) or not node.value
    if not by_name and path not in ARITHMETIC and not path.startswith("torch.nn."):
        raise ValueError(f"{call}{path}: expected its arguments by name")


def _check_scalar(node):
    value = _Loader().construct_object(node)
    if isinstance(value, str) and _PATH_LIKE.search(value):
        raise ValueError(f"{value!r} looks like a file or an address, and a model needs neither")
    if isinstance(value, Number) and not abs(value) <= MAX_NUMBER:
        raise ValueError(f"expected numbers up to {MAX_NUMBER}, got {node.value}")


def _check_entry(key, value):
    if key.tag != _TEXT or not isinstance(key, yaml.ScalarNode):
        raise ValueError(f"expected keys that are plain text, got {key.tag}")
    if key.value in FETCHING and not _is_empty(value):
        raise ValueError(f"{key.value} would read files from outside of the bundle")


def _is_empty(node):
    """Whether a node is null, false or nothing; the texts 'null' and 'false' are not."""
    plain = isinstance(node, yaml.ScalarNode) and node.tag in _PLAIN
    return plain and not _Loader().construct_object(node)


def _target(call, path):
    """Returns the class or function that a tag names, if it is on the allow-list."""
    if call == "!apply:":
        if path in ARITHMETIC:
            return ARITHMETIC[path]
        allowed = path in MODEL_MAKERS
    else:
        allowed = path in (*READERS, PRETRAINER) or path.startswith(_ROOTS)
    if not allowed or not re.fullmatch(r"[A-Za-z_][\w.]*", path):
        raise ValueError(f"{call}{path} is not on the list of what may run")
    module, _, attribute = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # an optional package may be missing in any way
        raise ValueError(f"{call}{path} cannot be found ({error})") from error
    no_modules = (*READERS, PRETRAINER)
    if call != "!apply:" and path not in no_modules and not _is_module_of_ours(found):
        raise ValueError(f"{call}{path} is no torch module defined in {', '.join(PACKAGES)}")
    return found


def _is_module_of_ours(found):
    """Whether an object is a torch module class that one of the packages defines itself.

    A ParameterDict is none: its keys take the place of its own methods, even of its class.
    """
    return (
        isinstance(found, type)
        and issubclass(found, torch.nn.Module)
        and not issubclass(found, torch.nn.ParameterDict)
        and f"{found.__module__}.".startswith(_ROOTS)
    )


class _Loader(yaml.SafeLoader):
    """Constructs objects from checked nodes; it parses no text."""

    def __init__(self):
        yaml.constructor.SafeConstructor.__init__(self)


def _call(call):
    def construct(loader, path, node):
        target = _target(call, path)
        place = f"line {node.start_mark.line + 1}: {call}{path}"
        args, kwargs = _arguments(loader, node, place)
        if call == "!name:":
            if args or kwargs:
                raise ValueError(f"{place} takes no arguments in a bundle")
            return target
        if path in ARITHMETIC and not all(isinstance(value, Number) for value in args):
            raise ValueError(f"{place}: expected numbers, got {args}")
        try:
            made = target(*args, **kwargs)
        except Exception as error:
            raise ValueError(f"{place}: {error}") from error
        if path in ARITHMETIC and not abs(made) <= MAX_NUMBER:
            raise ValueError(f"{place}: expected a result up to {MAX_NUMBER}")
        return made

    return construct


def _arguments(loader, node, place):
    """Returns positional and keyword arguments from the node of a call."""
    if isinstance(node, yaml.MappingNode):
        return [], loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True), {}
    if node.value.strip():
        raise ValueError(f"{place} takes its arguments as a mapping, got {node.value!r}")
    return [], {}


for _tag in _CALLS:
    _Loader.add_multi_constructor(_tag, _call(_tag))
