"""Starting from a trained model: its weights, and the people that it has seen."""

from pathlib import Path

import torch

from speechbrain_fv.data.schema import named
from speechbrain_fv.messages import in_one_line
from speechbrain_fv.protocols.leakage import read_train_identities, seen_among
from speechbrain_fv.training.checkpoints import AtomicCheckpointer
from speechbrain_fv.training.features import weights_digest

PARTS = ("face_encoder", "voice_encoder", "cmwr")
"""What is taken over: the classifiers of losses are of other people."""


def seen_before(init_from):
    """Returns the people that the model of a run was trained on, with those before it; sorted.

    Arguments
    ---------
    init_from : path or None
        Output folder of the run; None: nobody.
    """
    return [] if init_from is None else read_train_identities(init_from)


def check_unseen(seen, identities, allow_leakage):
    """Raises ValueError if people of validation or test were seen before, unless it is allowed.

    With and without a joined corpus's name in front a person is the same; see `seen_among`.

    Arguments
    ---------
    seen : sequence of str
        From `seen_before`.
    identities : pandas.DataFrame
        Columns identity and split.
    allow_leakage : bool

    Example
    -------
    >>> import pandas as pd
    >>> people = pd.DataFrame({"identity": ["ann", "bob"], "split": ["test", "train"]})
    >>> check_unseen(["bob"], people, allow_leakage=False)
    >>> check_unseen(["Ann"], people, allow_leakage=False)
    Traceback (most recent call last):
    ValueError: init_from: 1 people of validation and test were trained on before (ann); ...
    """
    held_out = identities.identity[identities.split != "train"]
    leaked = held_out[seen_among(seen, held_out)].tolist()
    if leaked and not allow_leakage:
        raise ValueError(
            f"init_from: {len(leaked)} people of validation and test were trained on before "
            f"({named(leaked)}); leave them out, keep equal names of two corpora apart with "
            "corpora/joined.yaml in both runs, or set allow_leakage: True"
        )


def start_from(init_from, modules):
    """Loads the encoders and the shared block of the best checkpoint of a run into modules.

    Arguments
    ---------
    init_from : path
        Output folder of the run.
    modules : mapping of str to torch.nn.Module
        With `PARTS`.

    Raises
    ------
    ValueError
        If the folder has no checkpoint, its networks have other sizes, or a frozen one whose
        features were computed has other weights.
    """
    folder = Path(init_from, "save")
    found = None
    if folder.is_dir():
        found = AtomicCheckpointer(folder, {}, allow_partial_load=True).find_best()
    if found is None:
        raise ValueError(f"init_from: {folder}: no checkpoint; expected the folder of a run")
    for name in PARTS:
        path = found.paramfiles.get(name)
        if path is None:
            raise ValueError(f"init_from: {found.path}: has no {name}; expected a run of train.py")
        weights = torch.load(path, map_location="cpu", weights_only=True)
        kept = getattr(modules[name], "takes_features", False) and modules[name].frozen_network
        before = weights_digest(kept) if kept else None
        try:
            modules[name].load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(
                f"init_from: {path} does not fit {name}: {in_one_line(error)}; take the face, "
                "voice and cmwr of that run"
            ) from error
        if kept and weights_digest(kept) != before:
            raise ValueError(
                f"init_from: {path}: the frozen network of {name} has other weights there than in "
                "this run, whose features are computed; name those weights in the YAML, or set "
                "frozen_features: null, which runs the network in every step"
            )
