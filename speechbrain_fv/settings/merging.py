"""How entries are put on a tree: by a YAML on its base, by an include's braces, by overrides."""

from ruamel.yaml.comments import CommentedMap, TaggedScalar
from ruamel.yaml.tag import Tag

INCLUDE = "!include:"
REFERENCES = ("!ref", "!copy")
CALLS = ("!new:", "!name:", "!apply:", "!applyref:", "!module:")
PLACEHOLDER = "!PLACEHOLDER"


def tag_of(node):
    """Returns the tag of a node, such as "!new:torch.nn.Identity"; "" without one of its own."""
    tag = getattr(getattr(node, "tag", None), "value", None) or ""
    return "" if tag.startswith("tag:yaml.org,2002:") else tag


def is_call(node):
    """Returns whether a node names a class or a function, whose arguments are its entries."""
    return tag_of(node).startswith(CALLS)


def merge(tree, entries):
    """Puts entries on a mapping, in place, as hyperpyyaml does with overrides.

    A plain mapping is merged into a mapping, which keeps its tag: ``{temperature: 0.3}`` changes
    one argument of ``!new:``, or one entry in the braces of ``!include:``. Anything else replaces
    what stands there, also a tagged mapping, which hyperpyyaml would merge into the old tag. Keys
    keep their order; new ones are put before the next key that is on the tree, the rest at the end.

    Arguments
    ---------
    tree : ruamel.yaml.comments.CommentedMap
    entries : ruamel.yaml.comments.CommentedMap

    Raises
    ------
    ValueError
        If a mapping is to be merged into the positional arguments of a call.

    Example
    -------
    >>> from ruamel.yaml import YAML
    >>> tree = YAML().load("{a: 1, b: {c: 2}, d: 3}")
    >>> merge(tree, YAML().load("{b: {e: 4}, new: 5, d: 6}"))
    >>> {key: dict(value) if key == "b" else value for key, value in tree.items()}
    {'a': 1, 'b': {'c': 2, 'e': 4}, 'new': 5, 'd': 6}
    """
    waiting = []
    for key, value in entries.items():
        if key not in tree:
            waiting.append(key)
            continue
        _insert(tree, waiting, entries, before=key)
        waiting = []
        tree[key] = _merged(key, tree[key], value)
        if key in getattr(entries, "ca", tree.ca).items and not _is_plain_mapping(value):
            tree.ca.items[key] = entries.ca.items[key]
    _insert(tree, waiting, entries)


def _insert(tree, keys, entries, before=None):
    position = len(tree) if before is None else list(tree).index(before)
    for offset, key in enumerate(keys):
        tree.insert(position + offset, key, entries[key])
        if key in entries.ca.items:
            tree.ca.items[key] = entries.ca.items[key]


def _is_plain_mapping(node):
    return isinstance(node, dict) and not tag_of(node)


def _merged(key, old, new):
    """Returns what stands at a key after a new value was put on the old one."""
    if not _is_plain_mapping(new):
        return new
    tag = tag_of(old)
    if isinstance(old, TaggedScalar) and not old.value and tag not in (*REFERENCES, PLACEHOLDER):
        old = CommentedMap()  # a call without arguments, or an include without braces
        old.yaml_set_ctag(Tag(suffix=tag.replace("%", "%25")))
    if isinstance(old, dict):
        merge(old, new)
        return old
    if is_call(old):
        raise ValueError(
            f"{key}: expected a whole entry, as {tag} [...], since its arguments have no names; "
            "got a mapping"
        )
    return new
