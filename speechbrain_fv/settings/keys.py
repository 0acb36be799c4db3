"""Which keys are read: a key that nobody reads is a mistake, and the nearest right name is told.

A path such as ``corpus[prepare]`` is read if the script declares it, or if a ``!ref`` or ``!copy``
names it: in the same file, or, for a key of an include, in the file that includes it. Who reads a
mapping as a whole reads all that is in it, as a class reads its arguments.

Judged is only what somebody set on purpose: the keys of the YAML itself, not those of its base; the
entries in the braces of its includes; and the overrides of the command line. A base and an include
declare what some methods use and others do not. An override may replace the only reader of a key
that the YAML sets; such a key counts as read, as grids of overrides do this on purpose.
"""

import difflib
import re

from speechbrain_fv.settings.arguments import RUN_OPTIONS
from speechbrain_fv.settings.merging import INCLUDE, REFERENCES, is_call, tag_of

_REFERENCE = re.compile(r"<([^>]*)>")


def parse_path(text):
    """Returns the parts of a path.

    Example
    -------
    >>> parse_path("corpus[prepare]")
    ('corpus', 'prepare')
    """
    return tuple(part.rstrip("]") for part in text.split(".")[0].split("["))


def format_path(path):
    """Returns a path as one writes it in a reference.

    Example
    -------
    >>> format_path(("corpus", "prepare"))
    'corpus[prepare]'
    """
    return path[0] + "".join(f"[{part}]" for part in path[1:])


def did_you_mean(name, names):
    """Returns the end of a message: the nearest of some names, or all when they are few.

    Example
    -------
    >>> did_you_mean("modle", ["checkpoint", "model"])
    "; did you mean 'model'?"
    >>> did_you_mean("colour", ["checkpoint", "model"])
    '; expected one of checkpoint, model'
    """
    names = sorted({str(other) for other in names} - {str(name)})
    nearest = difflib.get_close_matches(str(name), names, 1)
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return f"; expected one of {', '.join(names)}" if 0 < len(names) <= 12 else ""


def references_in(text):
    """Returns the paths that the text of a reference names, as ``<final_lr> / <lr>`` two."""
    return [parse_path(match) for match in _REFERENCE.findall(str(text))]


def references(node):
    """Returns the set of all paths that a tree refers to."""
    if isinstance(node, dict | list):
        children = node.values() if isinstance(node, dict) else node
        return set().union(*map(references, children))
    return set(references_in(node.value)) if tag_of(node) in REFERENCES else set()


def set_entries(node, path=()):
    """Yields the path of every entry of a tree, down to the arguments of calls.

    An include in a list has the path of the list.
    """
    if isinstance(node, list):
        for child in node:
            yield from set_entries(child, path)
    elif isinstance(node, dict) and not is_call(node):
        for key, value in node.items():
            yield (*path, str(key))
            yield from set_entries(value, (*path, str(key)))


def entries_in_braces(node, path=()):
    """Yields, of the paths of `set_entries`, those that stand in the braces of an include."""
    if isinstance(node, dict) and path and tag_of(node).startswith(INCLUDE):
        yield from set_entries(node, path)
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from entries_in_braces(value, (*path, str(key)))
    elif isinstance(node, list):
        for child in node:
            yield from entries_in_braces(child, path)


def unread(entries, reads, tree):
    """Returns the first entry that nobody reads and the names that are read beside it, or None.

    Arguments
    ---------
    entries : iterable of tuple of str
        Paths that were set.
    reads : set of tuple of str
        Paths that are read.
    tree : CommentedMap
        The settings with includes in place. An entry that is not there was replaced.

    Returns
    -------
    path : tuple of str
    names : set of str
    """
    parts = {read[:end] for read in reads for end in range(1, len(read) + 1)}
    for path in entries:
        whole = any(path[:end] in reads for end in range(1, len(path) + 1))
        is_read = whole or path in parts or path[-1].startswith("__")
        if is_read or (len(path) == 1 and path[0] in RUN_OPTIONS) or not _is_open(tree, path):
            continue
        names = {part[-1] for part in parts if part[:-1] == path[:-1]}
        return path, names | (RUN_OPTIONS if len(path) == 1 else set())
    return None


def _is_open(tree, path):
    """Returns whether a path is there and not inside the arguments of a call, which reads them."""
    nodes = [tree]
    for part in path:
        nodes = [entry for node in nodes for entry in (node if isinstance(node, list) else [node])]
        if any(map(is_call, nodes)):
            return False
        nodes = [
            child
            for node in nodes
            if isinstance(node, dict)
            for key, child in node.items()
            if str(key) == part
        ]
    return bool(nodes)
