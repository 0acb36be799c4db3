"""What is to be run: grids of overrides, their fingerprints, and a folder for every run."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from speechbrain_fv.experiments.ablations.figures import FIGURES
from speechbrain_fv.files import replacing
from speechbrain_fv.settings import reads
from speechbrain_fv.settings.loading import resolve_hparams

RECORD_FILE = "ablation.json"  # in a run's folder: what it was started with
GRID_KEYS = ("title", "variants", "reference", "metrics", "figures", "xlabel")
RESERVED = ("seed", "output_folder", "device")  # set by the command itself
_ARGUMENT = re.compile(r"--(\w+)(?:[= ](.*))?", re.DOTALL)


@dataclass(frozen=True)
class Variant:
    """One row of a grid.

    Arguments
    ---------
    grid, name : str
        Its grid, and its name there.
    arguments : tuple of str
        Arguments of the training script, without `RESERVED`.
    key : str
        `settings_key` of the arguments.
    """

    grid: str
    name: str
    arguments: tuple
    key: str


@dataclass(frozen=True)
class Run:
    """One training: a variant under one seed. Equal settings in several grids are one run.

    Arguments
    ---------
    name : str
        Grid, variant and seed that named it first, "table4/id/1".
    arguments : tuple of str
        Arguments of the training script, without `RESERVED`.
    key : str
        `settings_key` of the arguments.
    seed : int
    folder : Path
        Where it writes.
    """

    name: str
    arguments: tuple
    key: str
    seed: int
    folder: Path

    @property
    def is_done(self):
        """Whether its report is there, and from these settings."""
        report = self.folder / "report.json"
        return report.is_file() and (_record(self.folder) or {}).get("key") == self.key

    def write_record(self):
        """Leaves its arguments and key in the folder, which is made when absent."""
        record = {"arguments": self.arguments, "seed": self.seed, "key": self.key}
        with replacing(self.folder / RECORD_FILE) as file:
            file.write(json.dumps(record, indent=2).encode() + b"\n")


def merge_arguments(base, own):
    """Returns base and own arguments of a script; an option among the own replaces the base's.

    Arguments
    ---------
    base, own : sequence of str
        "--name=value", "--name value" or "--flag".

    Returns
    -------
    tuple of str

    Raises
    ------
    ValueError
        If an argument has another form, or is one of `RESERVED`.

    Example
    -------
    >>> merge_arguments(["--lr=0.1", "--debug"], ["--lr 0.2"])
    ('--lr=0.2', '--debug')
    """
    merged = {}
    for argument in (*base, *own):
        match = _ARGUMENT.fullmatch(str(argument))
        if not match:
            raise ValueError(f"expected arguments such as '--lr=0.001', got {argument!r}")
        name, value = match.groups()
        if name in RESERVED:
            raise ValueError(f"--{name} is set for every run; remove it from {argument!r}")
        merged[name] = f"--{name}" if value is None else f"--{name}={value}"
    return tuple(merged.values())


def settings_key(arguments):
    """Returns the fingerprint of what a training run will be told, whatever its seed.

    It is taken from the YAML with all overrides and includes in place, less comments and layout,
    and from the run options: an edit of the YAML makes another run, another way to write it does
    not.

    Arguments
    ---------
    arguments : sequence of str
        The YAML, then arguments without `RESERVED`.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    ValueError
        If an override matches no key of the YAML, or the YAML cannot be read.
    """
    run_opts, text = resolve_hparams([*arguments, "--seed=0", "--output_folder=run"], reads.TRAIN)
    options = {name: run_opts[name] for name in run_opts.overridden_args}
    options.pop("param_file", None)
    content = [_plain(YAML().compose(text)), options]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _plain(node):
    """Returns a node of a YAML as lists of tags and texts, an alias as what it stands for."""
    if isinstance(node.value, str):
        return [str(node.tag), node.value]
    children = [
        [_plain(part) for part in child] if isinstance(child, tuple) else _plain(child)
        for child in node.value
    ]
    return [str(node.tag), children]


def select_grids(grids, names=None):
    """Returns the names of the grids to run, checked together with every grid's entries.

    Arguments
    ---------
    grids : dict of str to dict
        Name -> grid, with the keys `GRID_KEYS`; only "variants" is required.
    names : sequence of str, str or None
        Names, or one text "a,b"; None selects all.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If a name, key, reference or figure does not exist, or a name cannot be a folder's.

    Example
    -------
    >>> select_grids({"tau": {"variants": {0.1: []}}, "q": {"variants": {"F": []}}}, "tau")
    ['tau']
    """
    for name, grid in grids.items():
        _check_grid(name, grid)
    if names is None:
        return list(grids)
    names = str(names).split(",") if not isinstance(names, list | tuple) else names
    unknown = [name for name in names if name not in grids]
    if unknown or not names:
        raise ValueError(f"grids: expected some of {', '.join(grids)}, got {unknown or names}")
    return list(dict.fromkeys(names))


def _check_grid(name, grid):
    if not (isinstance(grid, dict) and isinstance(grid.get("variants"), dict) and grid["variants"]):
        raise ValueError(f"grid {name}: expected variants, as name: [arguments], got {grid!r}")
    unknown = sorted(set(grid) - set(GRID_KEYS))
    if unknown:
        raise ValueError(f"grid {name}: expected keys among {', '.join(GRID_KEYS)}, got {unknown}")
    variants = [str(variant) for variant in grid["variants"]]
    for text in (name, *variants):
        if not re.fullmatch(r"\w[\w.+-]*", text):
            raise ValueError(
                f"grid {name}: {text!r} names a folder; use letters, digits, '_', '.', '+', '-'"
            )
    if reference_of(grid) not in variants:
        raise ValueError(f"grid {name}: reference {grid.get('reference')!r} is none of {variants}")
    wrong = [kind for kind in grid.get("figures", ()) if kind not in FIGURES]
    if wrong:
        raise ValueError(f"grid {name}: expected figures among {', '.join(FIGURES)}, got {wrong}")


def reference_of(grid):
    """Returns the name of the variant that a grid's others are compared with; the first if unsaid.

    Example
    -------
    >>> reference_of({"variants": {8: [], 32: []}, "reference": 32})
    '32'
    """
    return str(grid.get("reference", next(iter(grid["variants"]))))


def expand_grids(grids, hparams_file, base=()):
    """Returns every variant of every grid, in order, with all overrides checked against the YAML.

    Arguments
    ---------
    grids : dict of str to dict
        Name -> grid; "variants" maps a name to an argument or a list of them.
    hparams_file : str
        The YAML of the training script.
    base : sequence of str
        Arguments of all runs.

    Returns
    -------
    list of Variant

    Raises
    ------
    ValueError
        If an argument is malformed, or an override matches no key of the YAML.
    """
    variants, keys = [], {}
    for grid, content in grids.items():
        for name, own in content["variants"].items():
            try:
                own = [own] if isinstance(own, str) else own or []
                arguments = (str(hparams_file), *merge_arguments(base, own))
                if arguments not in keys:
                    keys[arguments] = settings_key(arguments)
            except ValueError as error:
                raise ValueError(f"grid {grid}, variant {name}: {error}") from error
            variants.append(Variant(grid, str(name), arguments, keys[arguments]))
    return variants


def plan_runs(variants, seeds, output_folder, selected):
    """Returns the run behind every variant and seed; variants with equal settings share theirs.

    A run lies in ``<output_folder>/<grid>/<variant>/<seed>`` of the first variant that needs it, or
    where an earlier command has put it.

    Arguments
    ---------
    variants : list of Variant
        Of all grids: a run of one that is not selected now is used if it exists.
    seeds : sequence of int
        At least 0, each once.
    output_folder : path
    selected : sequence of str
        The grids to run.

    Returns
    -------
    dict of (str, str, int) to Run
        (grid, variant, seed) -> run, of the selected grids.

    Raises
    ------
    ValueError
        If the seeds are not distinct integers, or a folder was made with other settings.
    """
    seeds = [seeds] if isinstance(seeds, int) else list(seeds or ())
    valid = all(isinstance(seed, int) and seed >= 0 for seed in seeds)
    if not seeds or not valid or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds: expected distinct numbers such as [1, 2, 3], got {seeds}")
    plan, runs = {}, {}
    for variant in variants:
        for seed in seeds if variant.grid in selected else ():
            if (variant.key, seed) not in runs:
                runs[variant.key, seed] = _place(variant, variants, seed, Path(output_folder))
            plan[variant.grid, variant.name, seed] = runs[variant.key, seed]
    for run in runs.values():
        _check_folder(run)
    return plan


def _place(variant, variants, seed, output_folder):
    """Returns the run where its record lies, or else in the folder of the variant."""
    equals = [variant, *(other for other in variants if other.key == variant.key)]
    candidates = []
    for equal in equals:
        name = f"{equal.grid}/{equal.name}/{seed}"
        folder = output_folder / name
        candidates.append(Run(name, equal.arguments, equal.key, seed, folder))
    started = [run for run in candidates if (_record(run.folder) or {}).get("key") == run.key]
    return (started or candidates)[0]


def _check_folder(run):
    """Raises ValueError if the folder holds the outcome of other settings."""
    record = _record(run.folder)
    if record is None and (run.folder / "hyperparams.yaml").exists():
        record = {"arguments": ["unknown"]}
    if record is not None and record.get("key") != run.key:
        raise ValueError(
            f"{run.folder}: made with other settings ({' '.join(record['arguments'])}, or the YAML "
            "has changed since); choose another --output_folder, or delete this folder"
        )


def _record(folder):
    """Returns the record in a folder, None when absent."""
    try:
        return json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
