"""References and includes put in place: a document becomes a tree that stands by itself.

hyperpyyaml's own walk knows no file on a base, merges a ``!new:`` in the braces of an include into
the old entry's tag, and leaves a reference to a later reference in place. What a reference means
is left to hyperpyyaml.
"""

import os
from dataclasses import dataclass, field

from hyperpyyaml import resolve_references
from hyperpyyaml.core import recursive_resolve
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarfloat import ScalarFloat

from speechbrain_fv.settings.documents import dump_yaml, read_document
from speechbrain_fv.settings.keys import did_you_mean, format_path, references, references_in
from speechbrain_fv.settings.merging import INCLUDE, PLACEHOLDER, REFERENCES, merge, tag_of
from speechbrain_fv.settings.values import check_value


@dataclass
class Findings:
    """What is seen on the way through a document and its includes.

    Arguments
    ---------
    reads : set of tuple of str
        Paths that references name; those in an include begin with the place of the include.
    entries : list of tuple of str
        Paths that included files set on their bases and in the braces of their own includes.
    files : dict of tuple of str to str
        The file of the include at a path.
    placeholders : list of tuple of str
        Paths of values that are to be given.
    texts : dict of tuple of str to str
        How values of the command line were written.
    """

    reads: set = field(default_factory=set)
    entries: list = field(default_factory=list)
    files: dict = field(default_factory=dict)
    placeholders: list = field(default_factory=list)
    texts: dict = field(default_factory=dict)


def put_in_place(document, findings, place=(), chain=()):
    """Returns the tree of a document with all references and includes in place.

    Values of known keys are checked as soon as they are there, see `values`.

    Arguments
    ---------
    document : speechbrain_fv.settings.documents.Document
    findings : Findings
        Is added to.
    place : tuple of str
        Where the document is included; () for the main one.
    chain : tuple of str
        The files that include it.

    Raises
    ------
    ValueError
        If a reference names nothing, or itself; an include is missing or includes itself; or a
        value is wrong.
    """
    tree = document.tree
    findings.reads |= {(*place, *path) for path in references(tree)}
    scope = _Scope(document, findings, place, (*chain, os.path.realpath(document.path)))
    if not isinstance(tree, dict):
        return scope.walk(tree, place)
    for key in list(tree):
        scope.begin(key)
    return tree


class _Scope:
    """The keys that references in one document can name."""

    def __init__(self, document, findings, place, chain):
        self.document, self.findings, self.place, self.chain = document, findings, place, chain
        self.tree = document.tree if isinstance(document.tree, dict) else {}
        self.begun = set()

    def begin(self, key):
        """Puts a key's value in place, unless that has been done or is going on."""
        if key not in self.begun:
            self.begun.add(key)
            path = (*self.place, str(key))
            value = self.walk(self.tree[key], path)
            self.tree[key] = check_value(path, value, self.findings.texts.get(path))

    def walk(self, node, path):
        """Returns what takes the place of a node."""
        if isinstance(node, list):
            for index, child in enumerate(node):
                node[index] = self.walk(child, path)
        elif isinstance(node, dict):
            for key, child in node.items():
                node[key] = self.walk(child, (*path, str(key)))
        if getattr(node, "anchor", None) is not None:
            node.anchor.value = None  # files may use one name for different anchors
        tag = tag_of(node)
        if tag == PLACEHOLDER:
            self.findings.placeholders.append(path)
        elif tag in REFERENCES:
            return self._refer(node.value, tag == "!copy", path)
        elif tag.startswith(INCLUDE):
            return self._include(node, tag.removeprefix(INCLUDE), path)
        elif tag.startswith("!applyref:"):
            return YAML().load(resolve_references(dump_yaml({"value": node})))["value"]
        return _plain_number(node)

    def _refer(self, text, copy, path):
        """Returns what a reference stands for; what it names is put in place first."""
        where = f"{self.document.path}: {format_path(path)}"
        for parts in references_in(text):
            branch = self.tree
            for depth, part in enumerate(parts):
                if not isinstance(branch, dict) or part not in branch:
                    names = branch if isinstance(branch, dict) else ()
                    hint = did_you_mean(part, names)
                    raise ValueError(f"{where}: !ref {text} names no key {part!r}{hint}")
                if depth == 0:
                    self.begin(part)
                branch = branch[part]
        try:
            value = recursive_resolve(text, [], self.tree, copy)
        except ArithmeticError as error:
            raise ValueError(f"{where}: !ref {text} cannot be computed ({error})") from error
        if tag_of(value) in REFERENCES:
            raise ValueError(f"{where}: !ref {text} refers to itself; break the circle")
        return _plain_number(value)

    def _include(self, node, path, place):
        """Returns the content of an include, with the entries of its braces on it."""
        where = f"{self.document.path}: {format_path(place)}"
        if not os.path.isfile(path):
            folders = [os.path.join(folder, path) for folder in self.document.folders]
            tried = [path] if os.path.isabs(path) else folders
            raise ValueError(f"{where}: !include:{path} was not found; tried {', '.join(tried)}")
        if os.path.realpath(path) in self.chain:
            raise ValueError(f"{where}: {path} includes itself; break the circle")
        document = read_document(path)
        self.findings.files[place] = path
        entries = document.entries if document.has_base else document.braces
        self.findings.entries += [(*place, *entry) for entry in entries]
        if isinstance(node, dict) and len(node):
            if not isinstance(document.tree, dict):
                raise ValueError(f"{where}: {path} has no keys; leave the braces away")
            merge(document.tree, _untagged(node))
        elif not isinstance(node, dict) and node.value:
            raise ValueError(f"{where}: expected {{key: value}} after {path}, got {node.value!r}")
        return put_in_place(document, self.findings, place, self.chain)


def _untagged(node):
    """Returns the entries in the braces of an include as a plain mapping."""
    entries = CommentedMap()
    for key, value in node.items():
        entries[key] = value
    return entries


def _plain_number(value):
    """Returns a number as every reader of YAML reads it: YAML 1.1 takes ``1e-3`` for a text."""
    is_short = isinstance(value, ScalarFloat) and "." not in dump_yaml({"value": value})
    return float(value) if is_short else value
