"""SpeechBrain's run options: each is honoured as documented, or refused before anything is read.

An option comes from the command line or from a key of the YAML; the command line wins. SpeechBrain
takes any value of a key, passes over an option whose switch is off, and finds most mistakes when a
corpus has been prepared already. What it makes of each option, and what this package does, is told
in docs/run_options.md.
"""

import math
import os
import typing
from dataclasses import replace
from pathlib import Path

import torch
from ruamel.yaml import YAML, YAMLError
from speechbrain.utils.distributed import get_local_rank, infer_device
from speechbrain.utils.run_opts import HELP_TEXTS, RunOptions

from speechbrain_fv.messages import in_one_line
from speechbrain_fv.settings.arguments import MANY
from speechbrain_fv.settings.keys import did_you_mean
from speechbrain_fv.settings.merging import tag_of
from speechbrain_fv.settings.values import Rule, number, one_of, or_null, switch, whole

DEFAULTS = RunOptions().as_dict()
KINDS = typing.get_type_hints(RunOptions)
GIVEN = frozenset(HELP_TEXTS) | set(MANY)
"""Options that a command line takes; SpeechBrain's other ones are results of these."""

REFUSED = {
    "data_parallel_backend": "start a process per GPU with torchrun --nproc_per_node=N",
    "data_parallel_count": "start a process per GPU with torchrun --nproc_per_node=N",
    "distributed_launch": "start the script with torchrun, which is seen without it",
    "find_unused_parameters": "a step may always leave parameters without a gradient here",
}
"""Option -> what to do instead."""

SWITCHES = {
    **dict.fromkeys(("debug_batches", "debug_epochs", "debug_persistently"), "debug"),
    "jit_module_keys": "jit",
    **{name: "compile" for name in DEFAULTS if name.startswith("compile_")},
    **dict.fromkeys(("profile_warmup", "profile_steps"), "profile_training"),
}
"""Option -> the one without which it does nothing."""

_norm = Rule(
    "a number above 0, or below 0 for no clipping",
    lambda value: isinstance(value, int | float) and value is not True and (value > 0 or value < 0),
)
_keys = Rule(
    "a list of names of modules",
    lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
)
_text = Rule("a text that is not empty", lambda value: isinstance(value, str) and value != "")
RULES = {
    "device": or_null(_text),
    "log_config": or_null(_text),
    "debug_batches": whole(1),
    "nonfinite_patience": whole(0),
    "grad_accumulation_factor": whole(1),
    "optimizer_step_limit": or_null(whole(1)),
    "max_grad_norm": _norm,
    "ckpt_interval_minutes": number(),
    "profile_warmup": whole(0),
    "profile_steps": whole(1),
    "distributed_backend": one_of("nccl", "gloo"),
    "jit_module_keys": or_null(_keys),
    "compile_module_keys": or_null(_keys),
}


def _rule(name):
    """Returns the rule of an option, from SpeechBrain's type where there is no narrower one."""
    kind = KINDS[name]
    if name in RULES:
        return RULES[name]
    if typing.get_origin(kind) is typing.Literal:
        return one_of(*typing.get_args(kind))
    if kind is bool:
        return switch
    return Rule("a whole number", lambda value: type(value) is int) if kind is int else None


def settle(run_opts, entries=None, honoured=None):
    """Returns the run options that hold, of a command line and a YAML, checked.

    Arguments
    ---------
    run_opts : RunOptions
        Those of the command line.
    entries : dict, optional
        The top level of the YAML, references in place.
    honoured : iterable of str, optional
        What the script makes use of; None: all that this package does.

    Returns
    -------
    RunOptions
        ``overridden_args`` names what is to win over the YAML.

    Raises
    ------
    ValueError
        If an option has a wrong value, has no effect, contradicts another, or is not supported.

    Example
    -------
    >>> given = RunOptions.from_dictionary({"ckpt_interval_steps": 5, "max_grad_norm": -1.0})
    >>> options = settle(given, {"ckpt_interval_minutes": 2})
    >>> options["ckpt_interval_minutes"], options["max_grad_norm"]
    (0, inf)
    """
    given = {name: run_opts[name] for name in run_opts.overridden_args & GIVEN}
    written = {name: value for name, value in (entries or {}).items() if name in DEFAULTS}
    if honoured is not None:
        for name in sorted(set(given) - set(honoured)):
            allowed = ", ".join(f"--{other}" for other in sorted(honoured))
            raise ValueError(f"--{name}: expected, of SpeechBrain's options, {allowed} only here")
    values = {**written, **given}
    for name, value in values.items():
        where = f"--{name}" if name in given else name
        values[name] = _checked(name, where, value)
    for name in given:
        if name in SWITCHES and not values.get(SWITCHES[name]):
            raise ValueError(f"--{name}: expected --{SWITCHES[name]} beside it; add it")
    settled = {**run_opts.as_dict(), **values}
    _settle_checkpoints(settled, given, written)
    settled["device"] = _own_device(settled["device"])
    _settle_precision(settled, given)
    if settled["max_grad_norm"] < 0:
        settled["max_grad_norm"] = math.inf
    changed = {name for name, value in settled.items() if value != written.get(name, value)}
    changed |= {name for name, value in settled.items() if value != run_opts[name]} - set(written)
    return replace(run_opts, **{**settled, "overridden_args": run_opts.overridden_args | changed})


def _checked(name, where, value):
    """Returns the value of an option; one that a command line leaves as text becomes a number."""
    if name in REFUSED and value != DEFAULTS[name]:
        raise ValueError(f"{where}: expected to be left out, {REFUSED[name]}")
    if tag_of(value):
        raise ValueError(f"{where}: expected a plain value, got {tag_of(value)}; write the value")
    if name == "optimizer_step_limit" and isinstance(value, str) and value.isdecimal():
        value = int(value)
    rule = _rule(name)
    if rule is not None and not rule.accepts(value):
        raise ValueError(f"{where}: expected {rule.expected}, got {value!r}")
    if name == "log_config" and value is not None:
        _check_log_config(where, value)
    return value


def _check_log_config(where, path):
    """Raises ValueError if a file does not configure logging as SpeechBrain wants it."""
    try:
        tree = YAML(typ="safe").load(Path(path))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ValueError(f"{where}: {path}: cannot be read ({in_one_line(error)})") from error
    handlers = tree.get("handlers") if isinstance(tree, dict) else None
    if not isinstance(handlers, dict) or "file_handler" not in handlers:
        raise ValueError(
            f"{where}: {path}: expected a configuration of Python's logging with a handler named "
            "file_handler, which is given the run's log.txt; take speechbrain/log-config.yaml as "
            "a pattern"
        )


def _settle_checkpoints(settled, given, written):
    """Lets an interval of the command line take the place of the other one in the YAML."""
    names = ("ckpt_interval_minutes", "ckpt_interval_steps")
    for name, other in (names, names[::-1]):
        if name in given and settled[name] > 0 and other not in given:
            settled[other] = 0
    if min(settled[name] for name in names) > 0:
        raise ValueError(f"{' and '.join(names)}: expected one of them above 0; set the other to 0")


def _own_device(device):
    """Returns the device of this process, under torchrun a GPU for each: "cuda" is the first."""
    local_rank = get_local_rank()
    if local_rank is None or "RANK" not in os.environ or not str(device).startswith("cuda"):
        return device
    own = f"cuda:{local_rank}"
    if device not in ("cuda", own):
        raise ValueError(
            f"device: expected cuda, of which every process of torchrun takes a GPU of its own, "
            f"got {device}; choose GPUs with CUDA_VISIBLE_DEVICES"
        )
    return own


def _settle_precision(settled, given):
    """Translates the two older switches; raises ValueError for what the device cannot do."""
    for switch_name, precision in (("auto_mix_prec", "fp16"), ("bfloat16_mix_prec", "bf16")):
        if not settled[switch_name]:
            continue
        if "precision" in given and settled["precision"] != precision:
            raise ValueError(
                f"{switch_name}: expected no other precision beside it, got "
                f"--precision={settled['precision']}; keep one"
            )
        settled["precision"], settled[switch_name] = precision, False
    device = settled["device"] or infer_device()
    for name in ("precision", "eval_precision"):
        if settled[name] == "fp16" and str(device).startswith("cpu"):
            raise ValueError(f"{name}: expected fp32 or bf16 on the CPU, got fp16; take bf16")


def check_modules(run_opts, modules):
    """Raises ValueError, before anything is read, if modules cannot be compiled as asked.

    Arguments
    ---------
    run_opts : RunOptions
        From `settle`.
    modules : dict of str to torch.nn.Module
        Those of the YAML.
    """
    for switch_name in ("jit", "compile"):
        keys = run_opts[f"{switch_name}_module_keys"]
        for key in keys or ():
            if key not in modules:
                hint = did_you_mean(key, modules)
                raise ValueError(f"{switch_name}_module_keys: there is no module {key!r}{hint}")
    if run_opts["compile"]:
        _try_to_compile(run_opts)
    elif run_opts["jit"]:
        for name in run_opts["jit_module_keys"] or modules:
            try:
                torch.jit.script(modules[name])
            except Exception as error:  # its compiler raises errors of many kinds
                raise ValueError(
                    f"jit: torch.jit.script cannot compile {name} ({in_one_line(error)}); name "
                    "others with --jit_module_keys, or take --compile"
                ) from error


def _try_to_compile(run_opts):
    """Raises ValueError if torch.compile does not work on this machine, as without a compiler."""
    device = run_opts["device"] or infer_device()
    try:
        torch.compile(torch.nn.Linear(2, 2).to(device))(torch.zeros(2, 2, device=device))
    except Exception as error:  # of torch, its compiler, or the system's
        raise ValueError(
            f"compile: torch.compile does not work here ({in_one_line(error)}); leave it out"
        ) from error


def check_steps(run_opts, num_batches):
    """Raises ValueError if an epoch is too short for what was asked.

    Arguments
    ---------
    run_opts : RunOptions
        From `settle`.
    num_batches : int
        Batches of an epoch.
    """
    group, where = run_opts["grad_accumulation_factor"], "batches of an epoch"
    if run_opts["debug"] and run_opts["debug_batches"] < num_batches:
        num_batches, where = run_opts["debug_batches"], "--debug_batches"
    if group > num_batches:
        raise ValueError(
            f"grad_accumulation_factor: expected at most the {num_batches} {where}, got {group}: "
            "there would be no step; lower it"
        )
    profiled = run_opts["profile_warmup"] + run_opts["profile_steps"]
    if run_opts["profile_training"] and profiled > num_batches:
        raise ValueError(
            f"profile_training: expected at most the {num_batches} {where} for --profile_warmup "
            f"and --profile_steps together, got {profiled}; lower one"
        )
