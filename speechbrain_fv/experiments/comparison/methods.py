"""The methods of a comparison: what each is trained with, in every fold."""

import re
from dataclasses import dataclass

from speechbrain_fv.data.splits import Folds
from speechbrain_fv.experiments.ablations.grids import Variant, merge_arguments, settings_key
from speechbrain_fv.settings.keys import did_you_mean

KEYS = ("label", "hparams_file", "arguments", "tuning", "reason", "published")
_NAME = re.compile(r"\w[\w.+-]*")


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Arguments
    ---------
    name, label : str
        Its key, which names a folder, and how tables call it.
    hparams_file : str
        Its YAML.
    arguments : tuple of str
        Of all runs, and of this method.
    candidates : dict of str to list of str
        Name -> arguments of a candidate of its tuning beside these. Empty with a reason.
    reason : str or None
        Why it is not run on this corpus.
    published : str
        Its key in `published.PUBLISHED`.
    """

    name: str
    label: str
    hparams_file: str
    arguments: tuple
    candidates: dict
    reason: str | None
    published: str


def read_methods(content, base=(), tuning=None, only=None, tune=True):
    """Returns the methods of a comparison, checked.

    Arguments
    ---------
    content : dict of str to dict
        Name -> entry with any of `KEYS`: "hparams_file" (default ``hparams/<name>.yaml``),
        "arguments" (added to `base`), "tuning" (name -> an argument or a list of them, beside
        those of all methods), "reason", "label" and "published".
    base : sequence of str
        Arguments of all runs.
    tuning : dict of str to (str or list of str), optional
        The candidates of all methods; the first is what a method is without tuning.
    only : sequence of str or str, optional
        Names of the methods wanted; one text "a,b" is two.
    tune : bool
        False: every method has its first candidate only.

    Returns
    -------
    list of Method

    Raises
    ------
    ValueError
        If a name, a key or an argument is not what is expected.
    """
    if not isinstance(content, dict) or not content:
        raise ValueError(f"methods: expected name: {{label: ..., ...}}, got {content!r}")
    names = list(content) if only is None else only
    names = names.split(",") if isinstance(names, str) else list(names)
    for name in names:
        if name not in content:
            raise ValueError(f"only: no method {name!r}{did_you_mean(name, content)}")
    return [_method(name, content[name] or {}, base, tuning, tune) for name in names]


def _method(name, entry, base, tuning, tune):
    where = f"method {name}"
    if not isinstance(entry, dict) or set(entry) - set(KEYS):
        raise ValueError(f"{where}: expected keys among {', '.join(KEYS)}, got {entry!r}")
    candidates = {**(tuning or {"shipped": []}), **(entry.get("tuning") or {})}
    for text in (name, *candidates):
        if not _NAME.fullmatch(str(text)):
            raise ValueError(
                f"{where}: {text!r} names a folder; use letters, digits, '_', '.', '+', '-'"
            )
    try:
        arguments = merge_arguments(base, _listed(entry.get("arguments")))
        candidates = {str(key): _listed(own) for key, own in candidates.items() if own is not False}
        for own in candidates.values():
            merge_arguments(arguments, own)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if not tune:
        candidates = dict(list(candidates.items())[:1])
    reason = entry.get("reason")
    return Method(
        name,
        str(entry.get("label", name)),
        str(entry.get("hparams_file", f"hparams/{name}.yaml")),
        arguments,
        {} if reason else candidates,
        reason,
        str(entry.get("published", name)),
    )


def _listed(arguments):
    return [arguments] if isinstance(arguments, str) else arguments or []


def reference_of(methods, reference=None):
    """Returns the method that the others are compared with; if unsaid the first that is run."""
    names = [method.name for method in methods]
    if reference is not None and reference not in names:
        raise ValueError(
            f"reference: {reference!r} is none of {', '.join(names)}; take it in, or compare with "
            "one of these"
        )
    return reference or next((method.name for method in methods if not method.reason), names[0])


def folds_of(num_folds):
    """Returns the folds to run: 0 to num_folds - 1, or [None] for the corpus's own split."""
    return [None] if num_folds is None else list(range(Folds(num_folds=num_folds).num_folds))


def grid_name(method, fold):
    """Returns the folder of a method's candidates, below the output folder.

    Example
    -------
    >>> grid_name("svhf", None), grid_name("svhf", 2)
    ('svhf', 'svhf/fold_2')
    """
    return method if fold is None else f"{method}/fold_{fold}"


def expand_methods(methods, num_folds=None):
    """Returns the candidates of all methods in all folds, each checked against its YAML.

    Arguments
    ---------
    methods : list of Method
    num_folds : int, optional
        None: the corpus has its own split.

    Returns
    -------
    list of Variant

    Raises
    ------
    ValueError
        If an override matches no key of a YAML.
    """
    variants = []
    for method in methods:
        for fold in folds_of(num_folds):
            for name, own in method.candidates.items():
                own = merge_arguments(method.arguments, own)
                own = own if fold is None else with_fold(own, fold, num_folds)
                arguments = (method.hparams_file, *own)
                try:
                    key = settings_key(arguments)
                except (ValueError, OSError) as error:
                    raise ValueError(f"method {method.name}, {name}: {error}") from error
                variants.append(Variant(grid_name(method.name, fold), name, arguments, key))
    return variants


def with_fold(arguments, fold, num_folds):
    """Returns arguments of a training with the fold among the settings of its corpus.

    Example
    -------
    >>> with_fold(["--corpus=!include:corpora/own_data.yaml {clips_csv: a.csv}", "--lr=1"], 1, 5)
    ('--lr=1', '--corpus=!include:corpora/own_data.yaml {clips_csv: a.csv, fold: 1, num_folds: 5}')
    >>> with_fold([], 0, 4)
    ('--corpus={fold: 0, num_folds: 4}',)
    """
    corpus = "--corpus={}"
    others = []
    for argument in arguments:
        if argument.startswith("--corpus="):
            corpus = argument.rstrip()
        else:
            others.append(argument)
    head, brace, own = corpus.removesuffix("}").partition("{")
    head = head if brace else f"{head} "
    own = [own.strip().removesuffix(",")] if own.strip() else []
    inside = ", ".join([*own, f"fold: {fold}", f"num_folds: {num_folds}"])
    return (*others, f"{head}{{{inside}}}")
