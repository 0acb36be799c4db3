"""What a run was made with: stored beside its checkpoints, and compared before they are used again.

The record holds the settings that make the result, the corpus, the batch over all processes, and
the run options of SpeechBrain that change the arithmetic. Left out is what does not make it: output
paths, logging, workers, and how long to train.
"""

import json
import os
import re
import shutil
import warnings
from contextlib import contextmanager
from pathlib import Path

from ruamel.yaml import YAML

from speechbrain_fv.files import replacing
from speechbrain_fv.settings.run_options import DEFAULTS

RECORD_FILE = "record.json"

NO_PART_OF_THE_RESULT = (
    *("output_folder", "save_folder", "manifest_folder", "num_workers", "draw_figures"),
    *("train_logger", "curves", "checkpointer"),
    *("number_of_epochs", "patience", "epoch_counter", "modules", "batch_size"),
    *("strata", "sets", "lists", "allow_leakage", "__set_seed"),
    "channels_last",
    "media_cache",  # told by "media_cache.face" and "media_cache.voice", where there is one
    "lost_files",
    "frozen_features",  # told by "frozen.face" and "frozen.voice", where a branch is frozen
)
"""Top-level keys of a YAML that may change from one start of a run to the next; the batch over all
processes is compared by itself, so that a run may go on with another number of them."""

CORPUS_PARTS = ("face_reader", "voice_reader", "prepare")
"""Of the corpus, which clips there are and how they are read."""

LOCATION = re.compile(
    r"(path|folder|file|csvs?|root|save_path|num_workers|batch_size|embeddings|vectors)$"
    r"|.*_(folder|file|csvs?|root|pack|lists)$"
)
"""Arguments that say where something lies on this machine, and how much of the work one process
does; what the data are, the key of their preparation tells."""

RUN_OPTIONS = (
    *("precision", "eval_precision", "grad_accumulation_factor", "max_grad_norm"),
    *("skip_nonfinite_grads", "remove_vector_weight_decay", "optimizer_step_limit"),
)
"""Of SpeechBrain's run options, those that make the result; a record of an earlier version has
fewer, and stands for the defaults of the others."""

ADDED = {
    "valid_clips": "20000",
    "pretrained": "false",
    "images": "null",
    "std_norm": "true",
    "deterministic": "false",
}
"""Options that records of earlier versions lack, and what they stand for there."""

SOURCES = ("checkpoint", "pretrained", "source")
"""Arguments that say where weights come from."""

MAX_NAMED = 3


def settings_of(resolved_yaml, run_opts=None):
    """Returns the settings that make a run's result, by their path in the YAML.

    Arguments
    ---------
    resolved_yaml : str
        The whole YAML with overrides and includes in place.
    run_opts : mapping, optional
        SpeechBrain's run options.

    Returns
    -------
    dict of str to str

    Example
    -------
    >>> text = "lr: 0.1\\nnum_workers: 2\\ncorpus: {seed: 1, face_reader: !new:a.B {size: 3}}"
    >>> settings_of(text)
    {'lr': '0.1', 'corpus.face_reader': '!new:a.B', 'corpus.face_reader.size': '3'}
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = YAML().compose(resolved_yaml)
    settings = {}
    for key, value in root.value:
        if key.value == "corpus":
            parts = {k.value: v for k, v in value.value}
            for part in CORPUS_PARTS:
                if part in parts:
                    _flatten(f"corpus.{part}", parts[part], settings)
        elif key.value not in (*NO_PART_OF_THE_RESULT, *DEFAULTS) and not LOCATION.match(key.value):
            _flatten(key.value, value, settings)
    for name in RUN_OPTIONS:
        if run_opts is not None:
            settings[f"--{name}"] = str(run_opts[name])
    return settings


def settings_under(resolved_yaml, paths):
    """Returns the settings at some paths of a YAML and below, without where weights come from.

    Arguments
    ---------
    resolved_yaml : str
        The whole YAML with overrides and includes in place.
    paths : iterable of str
        Such as "corpus.face_reader"; what is not there is left out.

    Returns
    -------
    dict of str to str

    Example
    -------
    >>> settings_under("a: {b: !new:x.Y {size: 3, checkpoint: w.pth}, c: 1}", ["a.b", "a.d"])
    {'a.b': '!new:x.Y', 'a.b.size': '3'}
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = YAML().compose(resolved_yaml)
    settings = {}
    for path in paths:
        node = root
        for name in path.split("."):
            entries = node.value if node is not None and not isinstance(node.value, str) else []
            node = next((value for key, value in entries if key.value == name), None)
        if node is not None:
            _flatten(path, node, settings)
    return {path: value for path, value in settings.items() if path.split(".")[-1] not in SOURCES}


def _flatten(path, node, settings):
    """Adds the leaves of a node, and its tag where it is an object's."""
    if isinstance(node.value, str):
        settings[path] = _plain(node)
        return
    tag = str(node.tag)
    if tag.startswith("!"):
        settings[path] = tag
    children = (
        enumerate(node.value)
        if node.value and not isinstance(node.value[0], tuple)
        else ((key.value, value) for key, value in node.value)
    )
    for name, child in children:
        if not LOCATION.match(str(name)):
            _flatten(f"{path}.{name}", child, settings)


def _plain(node):
    """Returns a scalar's text, one for each way to write a number, a truth value or nothing."""
    kind = str(node.tag).rsplit(":", 1)[-1]
    if kind in ("int", "float"):
        try:
            return format(float(node.value.replace("_", "")), ".12g")
        except ValueError:  # such as 0x10
            return node.value
    if kind == "bool":
        return node.value.lower()
    return "null" if kind == "null" else node.value


class OtherData(ValueError):
    """The checkpoints were trained on other clips than those that are there now."""


def check_record(folder, record, has_checkpoints):
    """Raises ValueError if a folder's checkpoints were made with something else.

    Arguments
    ---------
    folder : path
        That of the checkpoints.
    record : dict
        ``settings`` (of `settings_of`), ``clips`` (`manifests.content_key` of what is trained on),
        ``corpus`` (the key of its preparation, compared with records of earlier versions, which
        have no clips) and ``global_batch`` (pairs over all processes); an entry of None is not
        compared.
    has_checkpoints : bool
        Without any nothing can contradict.
    """
    path = Path(folder, RECORD_FILE)
    if not has_checkpoints or not path.is_file():
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path}: expected the record of what was trained here, got no readable JSON ({error})"
            "; choose another --output_folder"
        ) from error
    advice = "choose another --output_folder, or delete this folder to start again"
    name = "clips" if earlier.get("clips") else "corpus"
    if record[name] is not None and earlier.get(name) != record[name]:
        raise OtherData(
            f"{folder}: its checkpoints were trained on other data than this run's; {advice}"
        )
    batch = record["global_batch"]
    if batch is not None and earlier.get("global_batch") != batch:
        raise ValueError(
            f"{folder}: its checkpoints were trained with another batch than this run's {batch} "
            f"pairs over all processes, with {earlier.get('global_batch')}; {advice}"
        )
    changes = _changes(earlier.get("settings") or {}, record["settings"])
    if changes:
        more = f" and {len(changes) - MAX_NAMED} more" if len(changes) > MAX_NAMED else ""
        raise ValueError(
            f"{folder}: its checkpoints were trained with other settings: "
            f"{', '.join(changes[:MAX_NAMED])}{more}; {advice}"
        )


def _changes(earlier, now):
    """Returns what differs as texts, settings of the top level first."""
    known = {f"--{name}": str(DEFAULTS[name]) for name in RUN_OPTIONS}
    for name in now:
        if name.split(".")[-1] in ADDED:
            known[name] = ADDED[name.split(".")[-1]]
    earlier = {**known, **earlier}
    # What an earlier version did not have is null where it changes nothing.
    names = [
        name
        for name in {**earlier, **now}
        if earlier.get(name, "null") != now.get(name, "null")
        and not name.startswith("__set_seed")  # which earlier versions recorded beside the seed
    ]
    names.sort(key=lambda name: name.count("."))
    return [
        f"{name} was {earlier.get(name, 'absent')}, is {now.get(name, 'absent')}" for name in names
    ]


def write_record(folder, record):
    """Stores the record, keeping of an earlier one what is not given anew."""
    path = Path(folder, RECORD_FILE)
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    given = {name: value for name, value in record.items() if value is not None}
    with replacing(path) as file:
        file.write(json.dumps({**earlier, **given}, indent=1).encode())


@contextmanager
def restoring(folder, wanted=True):
    """Puts a folder back as it was if what happens inside raises an error.

    Arguments
    ---------
    folder : path
        It may be absent.
    wanted : bool
        False leaves it as it has become.
    """
    folder = Path(folder)
    before = folder.with_name(f".{folder.name}.before")
    shutil.rmtree(before, ignore_errors=True)  # of a run that was killed
    if not (wanted and folder.is_dir()):
        yield
        return
    try:
        shutil.copytree(folder, before)
        try:
            yield
        except BaseException:
            shutil.rmtree(folder)
            os.replace(before, folder)
            raise
    finally:
        shutil.rmtree(before, ignore_errors=True)
