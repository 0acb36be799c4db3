"""What the values of well-known keys are: wrong types and ranges are told before anything starts.

`RULES` names them. A key that is not there is not checked, nor is one whose value is made by a
call. A module that reads a key of its own may add a rule: ``RULES["my_key"] = number(above=0)``.
"""

import math
from numbers import Real
from typing import NamedTuple

from ruamel.yaml.scalarbool import ScalarBoolean

from speechbrain_fv.protocols.ages import are_edges
from speechbrain_fv.settings.keys import format_path
from speechbrain_fv.settings.merging import tag_of


class Rule(NamedTuple):
    """What is expected, in words, and a function that says whether a value is that."""

    expected: str
    accepts: object


def _is_bool(value):
    return isinstance(value, bool | ScalarBoolean)


def _is_whole(value):
    return isinstance(value, int) and not _is_bool(value)


def whole(least):
    """Returns the rule of a whole number of at least `least`.

    Example
    -------
    >>> [whole(1).accepts(value) for value in (1, 0, 1.0, True, "1")]
    [True, False, False, False, False]
    """
    expected = f"a whole number of at least {least}"
    return Rule(expected, lambda value: _is_whole(value) and value >= least)


def number(least=None, above=None, most=None, below=None):
    """Returns the rule of a finite number in a range.

    Example
    -------
    >>> number(above=0).expected, number(least=0, below=1).expected
    ('a number above 0', 'a number of at least 0 and below 1')
    """
    limits = [
        *([(f"of at least {least}", lambda value: value >= least)] if least is not None else []),
        *([(f"above {above}", lambda value: value > above)] if above is not None else []),
        *([(f"at most {most}", lambda value: value <= most)] if most is not None else []),
        *([(f"below {below}", lambda value: value < below)] if below is not None else []),
    ]

    def accepts(value):
        is_finite = isinstance(value, Real) and not _is_bool(value) and math.isfinite(value)
        return is_finite and all(fits(value) for _, fits in limits)

    return Rule(" ".join(["a number", " and ".join(words for words, _ in limits)]).strip(), accepts)


def one_of(*names):
    """Returns the rule of a choice between texts."""
    return Rule(" or ".join(map(repr, names)), lambda value: value in names)


def or_null(rule):
    """Returns a rule that takes null as well."""
    return Rule(f"{rule.expected}, or null", lambda value: value is None or rule.accepts(value))


def _are_counts(value):
    is_list = isinstance(value, list) and all(_is_whole(q) and q >= 2 for q in value)
    return is_list and 0 < len(value) == len(set(value))


def _are_names(value):
    is_list = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return is_list and len(value) == len(set(value))


def _are_paths(value):
    paths = value if isinstance(value, list) else [value]
    return bool(paths) and all(isinstance(path, str) and path for path in paths)


switch = Rule("True or False", _is_bool)
path = Rule("a path", lambda value: isinstance(value, str) and value != "")
_paths = Rule("a path or a list of paths", _are_paths)
weight = number(least=0)

RULES = {
    # training
    "seed": whole(0),
    "batch_size": whole(1),
    "steps_per_epoch": or_null(whole(1)),
    "number_of_epochs": whole(1),
    "patience": whole(1),
    "num_workers": whole(0),
    "num_removed_identities": whole(0),
    "warmup_steps": whole(0),
    "ramp_steps": whole(0),
    "ckpt_interval_minutes": weight,
    "ckpt_interval_steps": whole(0),
    "age_edges": or_null(Rule("increasing years such as [18, 40]", are_edges)),
    "embedding_dim": whole(1),
    "lr": number(above=0),
    "final_lr": number(least=0),
    "gamma1": weight,
    "gamma2": weight,
    "contrastive_weight": weight,
    "temperature": number(above=0),
    "dropout": number(least=0, below=1),
    "num_clusters": Rule("a list of different whole numbers of at least 2", _are_counts),
    "attributes": Rule("a list of different names", _are_names),
    "sampling": one_of("identities", "clips"),
    "standardize": switch,
    "freeze": switch,
    "draw_figures": switch,
    "deterministic": switch,
    "gradient_compression": or_null(one_of("fp16", "bf16")),
    # corpora
    "num_identities": whole(1),
    "corpus_seed": whole(0),
    "split_seed": whole(0),
    "least_people": whole(1),
    "generation_workers": whole(0),
    "scan_workers": whole(0),
    "image_size": whole(1),
    "resize": whole(1),
    "clip_seconds": number(above=0),
    "min_face_pixels": whole(1),
    "detect": switch,
    "level_faces": switch,
    "crop_margin": number(least=1),
    "crop_pixels": whole(1),
    "several_faces": one_of("largest", "refuse"),
    "min_seconds": number(least=0),
    "max_excluded_share": number(least=0, most=1),
    "shuffle_voices": switch,
    "vad": switch,
    "input_dim": whole(1),
    "network_dim": whole(1),
    "face[pretrained]": switch,
    "std_norm": switch,
    # evaluation
    "max_candidates": whole(2),
    "num_replicates": whole(0),
    "bootstrap_seed": whole(0),
    "chunk_size": whole(1),
    "num_trials": whole(2),
    "num_candidates": whole(2),
    "num_views": whole(0),
    "lost_files": whole(0),
    "valid_clips": or_null(whole(2)),
    "allow_leakage": switch,
    "channels_last": switch,
    # files and folders
    **dict.fromkeys(("output_folder", "save_folder", "manifest_folder", "cache_folder"), path),
    **dict.fromkeys(("hparams_file", "file", "face_pack", "voice_pack", "vectors"), path),
    "folder": _paths,
    **dict.fromkeys(("clips", "init_from", "people_csv", "truth_folder"), or_null(path)),
    "media_cache": or_null(path),
    "clips_csv": or_null(path),  # null: the file of vectors says whose each is
    "embeddings": or_null(path),  # null: an evaluation only audits its lists
    "corpus[embeddings]": path,
    **dict.fromkeys(("voxceleb_folder", "vggface_folder"), _paths),
    "allow_missing_identities": switch,
    **dict.fromkeys(("metadata", "train_identities", "meta_csv", "age_csv"), or_null(path)),
    **dict.fromkeys(("pins_split_file", "speechbrain_root", "checkpoint"), or_null(path)),
}
"""Key -> rule, at the top of the YAML and of every include; a whole path goes before its key."""


def check_value(place, value, text=None):
    """Returns a value, as a float where a known key takes one and it was written as a text.

    Arguments
    ---------
    place : tuple of str
        Path of the entry, as ``("corpus", "lr")``.
    value : object
        As it stands in the tree, references in place.
    text : str, optional
        How it was written, for the message.

    Raises
    ------
    ValueError
        If the key is known and the value is not what it takes.

    Example
    -------
    >>> check_value(("lr",), -0.1)
    Traceback (most recent call last):
    ValueError: lr: expected a number above 0, got -0.1
    """
    rule = RULES.get(format_path(place), RULES.get(place[-1]))
    if rule is None or tag_of(value) or rule.accepts(value):
        return value
    if isinstance(value, str) and rule.accepts(_number_in(value)):
        return _number_in(value)
    got = "null" if value is None else _shortened(repr(value))
    if rule.accepts("text") and not isinstance(value, str | dict | list | None):
        text = text or str(value)
        got = f"{text}, which YAML takes for {got}; write ./{text}, or in quotes '\"{text}\"'"
    raise ValueError(f"{format_path(place)}: expected {rule.expected}, got {got}")


def _number_in(text):
    """Returns the float that a text such as "1e-3" writes, or else the text."""
    try:
        return float(text)
    except ValueError:
        return text


def _shortened(text):
    return text if len(text) <= 200 else f"{text[:200]} ..."
