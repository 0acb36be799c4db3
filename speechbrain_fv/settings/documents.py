"""One YAML on its bases: a file with the root tag ``!include:`` puts its entries on another's."""

import io
import os
import re
from dataclasses import dataclass, field

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.tag import Tag

from speechbrain_fv.settings.keys import entries_in_braces, references, set_entries
from speechbrain_fv.settings.merging import INCLUDE, merge, tag_of
from speechbrain_fv.shipped import shipped_yaml

RECORD_HEADER = "# All settings of a run: bases, includes and overrides are in place.\n"
"""First line of a flattened YAML; by it a run's record is known when it is given as the YAML."""


@dataclass
class Document:
    """A YAML with its bases merged; references and includes stand as they were written.

    Arguments
    ---------
    path : str
        The file.
    tree : ruamel.yaml.comments.CommentedMap
        Or another node, of a file that holds no mapping.
    folders : list of str
        Where relative includes are looked for: the file's folder, then those of its bases.
    entries : list of tuple of str
        Paths of what the file itself sets.
    braces : list of tuple of str
        Those among them that stand in the braces of includes.
    comment : str
        The comment that the file begins with.
    has_base, is_record : bool
        Whether it stands on a base, and whether it is the record of a run.
    base_reads : set of tuple of str
        Paths that the bases refer to.
    base_braces : list of tuple of str
        What the bases set in the braces of their includes.
    """

    path: str
    tree: object
    folders: list
    entries: list
    braces: list
    comment: str = ""
    has_base: bool = False
    is_record: bool = False
    base_reads: set = field(default_factory=set)
    base_braces: list = field(default_factory=list)


def read_document(path, chain=()):
    """Returns the `Document` of a file.

    Arguments
    ---------
    path : path
    chain : tuple of str
        The files that stand on this one.

    Raises
    ------
    ValueError
        If it, or a base, is missing, is no YAML, or no mapping on a mapping; or if the bases form
        a circle.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "base.yaml").write_text("a: 1\\nb: 2\\n")
    >>> _ = (folder / "method.yaml").write_text("--- !include:base.yaml\\nb: 3\\n")
    >>> dict(read_document(folder / "method.yaml").tree)
    {'a': 1, 'b': 3}
    """
    path = str(path)
    real = os.path.realpath(path)  # as hyperpyyaml: includes are beside the file, not a link to it
    if real in map(os.path.realpath, chain):
        raise ValueError(f"{path}: is its own base, by way of {', '.join(chain)}; break the circle")
    text = _read_text(path)
    tree = load_yaml(text, path)
    folders = [os.path.dirname(real)]
    tag = tag_of(tree)
    if tag.startswith(INCLUDE):
        base_path = _base_path(path, folders[0], tag.removeprefix(INCLUDE))
        base = read_document(base_path, (*chain, path))
        if not isinstance(base.tree, dict):
            raise ValueError(f"{base_path}: expected a mapping of keys, as the base of {path}")
        if not isinstance(tree, dict):
            if getattr(tree, "value", tree):
                raise ValueError(f"{path}: expected a mapping of keys on its base")
            tree = CommentedMap()
        folders += [folder for folder in base.folders if folder not in folders]
    elif tag:
        raise ValueError(f"{path}: expected a mapping of keys or a base, got the tag {tag}")
    locate_includes(tree, folders)
    document = Document(
        path=path,
        tree=tree,
        folders=folders,
        entries=list(set_entries(tree)),
        braces=list(entries_in_braces(tree)),
        comment=_first_comment(text),
        has_base=tag != "",
        is_record=text.startswith(RECORD_HEADER),
    )
    if document.has_base:
        document.base_reads = references(base.tree) | base.base_reads
        document.base_braces = [*base.braces, *base.base_braces]
        document.tree = base.tree
        merge(document.tree, tree)
        document.tree.ca.comment = None  # of the base
    return document


def _base_path(path, folder, name):
    """Returns where the base of a YAML is: beside it, or else among those of the package."""
    beside = os.path.join(folder, name)
    found = beside if os.path.isfile(beside) else shipped_yaml(name)
    if found is None:
        raise ValueError(f"{path}: its base {beside} was not found; correct the path")
    return found


def load_yaml(text, path):
    """Returns the tree of a YAML's text; ValueError with the line when it cannot be read."""
    try:
        return YAML().load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        if re.search(r"^--- *!include:\S+ *\{", text, re.M):
            problem = "a base takes no braces; write its keys on the lines below it"
        raise ValueError(f"{path}{line}: cannot be read as YAML ({problem})") from error


def dump_yaml(tree):
    """Returns the text of a tree, with numbers as all readers of YAML read them."""
    yaml, stream = YAML(), io.StringIO()
    yaml.Representer = _Representer
    yaml.dump(tree, stream)
    return stream.getvalue()


class _Representer(RoundTripRepresenter):
    """Writes 1.0e-05 where ruamel writes 1e-05, which is a text in YAML 1.1."""

    def represent_number(self, value):
        text = self.represent_float(float(value)).value
        text = text if "." in text else text.replace("e", ".0e")
        return self.represent_scalar("tag:yaml.org,2002:float", text)


_Representer.add_representer(float, _Representer.represent_number)


def locate_includes(node, folders):
    """Writes absolute paths in the include tags of a tree, by the first folder that has the file.

    A file that no folder has keeps its path; it is an error only if nothing replaces the entry.
    """
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            locate_includes(child, folders)
    name = tag_of(node).removeprefix(INCLUDE)
    if tag_of(node).startswith(INCLUDE) and not os.path.isabs(name):
        for path in (os.path.join(folder, name) for folder in folders):
            if os.path.isfile(path):
                node.yaml_set_ctag(Tag(suffix=INCLUDE + path.replace("%", "%25")))
                return


def _read_text(path):
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except FileNotFoundError:
        raise ValueError(f"{path}: not found; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error


def _first_comment(text):
    """Returns the comment lines that a text begins with, without the header of a record."""
    lines = []
    for line in text.removeprefix(RECORD_HEADER).splitlines():
        if line.strip() and not line.startswith("#"):
            break
        lines.append(line)
    comment = "\n".join(lines).strip()
    return f"{comment}\n\n" if comment else ""
