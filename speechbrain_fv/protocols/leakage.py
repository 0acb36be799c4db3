"""Were the people that are tested among those trained on?

A checkpoint stores its training identities (`TrainIdentities`); the guard compares them with the
identities of the embeddings and of every list before anything is scored.
"""

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)

from speechbrain_fv.corpora.voxceleb_splits import VOXCELEB_ID, read_meta
from speechbrain_fv.data.schema import named
from speechbrain_fv.files import replacing
from speechbrain_fv.names import look_alike, name_of
from speechbrain_fv.protocols.clip_names import MODALITIES

logger = logging.getLogger(__name__)

RECOVERABLE = "train_identities"
"""Name of the identities among the checkpointer's recoverables, and of the file."""


@register_checkpoint_hooks
class TrainIdentities:
    """The identities that a model was trained on, kept in its checkpoints, one a line.

    A recovered checkpoint adds its identities: a model that goes on with other data has seen both.

    Arguments
    ---------
    identities : iterable of str

    Example
    -------
    >>> path = getfixture("tmp_path") / "train_identities.ckpt"
    >>> TrainIdentities(["bob", "ann", "bob"]).save(path)
    >>> read_train_identities(path)
    ['ann', 'bob']
    """

    def __init__(self, identities):
        self.identities = sorted(set(map(str, identities)))

    @mark_as_saver
    def save(self, path):
        """Writes the identities, sorted."""
        with replacing(path) as file:
            file.write("".join(f"{name}\n" for name in self.identities).encode())

    @mark_as_loader
    def load(self, path, end_of_epoch=False):
        """Adds the identities of a checkpoint."""
        self.identities = sorted({*self.identities, *read_train_identities(path)})


def read_train_identities(path):
    """Returns the identities a model was trained on, sorted.

    Arguments
    ---------
    path : path
        A text file with one identity a line; or the folder of a checkpoint, its `save` folder or
        the run's output folder, whose checkpoints are then read, all of them.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If there is no such file, or it names nobody.
    """
    path = Path(path)
    files = [path]
    if path.is_dir():
        found = (path.glob(f"{at}{RECOVERABLE}.*") for at in ("", "CKPT*/", "save/CKPT*/"))
        files = sorted(file for group in found for file in group)
    try:
        lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"train_identities {path}: {error}.") from None
    identities = sorted({name_of(line) for line in lines} - {""})
    if not identities:
        raise ValueError(
            f"train_identities {path}: no identity found; give a file with one a line, or the "
            f"folder of a run whose checkpoints hold {RECOVERABLE}.ckpt."
        )
    return identities


def seen_among(seen, names):
    """Returns which people were seen before, as an array of bool.

    A person of a joined corpus has its name in front: `vox/id10001` was seen if `id10001` was, and
    the other way round; `vox/ann` and `own/ann` are two people.

    Arguments
    ---------
    seen, names : iterable of str

    Example
    -------
    >>> seen_among(["ann", "vox/bob"], ["own/Ann", "bob", "own/bob"]).tolist()
    [True, True, False]
    """
    whole = {look_alike(name) for name in seen}
    within = {look_alike(end) for name in seen for end in _ends(name)}
    return np.array(
        [
            look_alike(name) in within or any(look_alike(end) in whole for end in _ends(name))
            for name in names
        ],
        dtype=bool,
    )


def _ends(name):
    """Returns a name and what is behind each "/" in it."""
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def check_leakage(train_identities, embeddings, lists=(), meta_csv=None, allow_leakage=False):
    """Returns what of an evaluation touches identities of the training; refuses it by default.

    Arguments
    ---------
    train_identities : sequence of str or None
        From `read_train_identities`; None: unknown, nothing is compared. Nor is it where the
        embeddings tell nobody's identity, as those of a challenge.
    embeddings : Embeddings
    lists : sequence of ResolvedList
    meta_csv : path, optional
        `vox1_meta.csv`: VGGFace names and VoxCeleb1 ids are then the same identities.
    allow_leakage : bool
        Whether to go on, and state it.

    Returns
    -------
    dict
        ``checked``; with training identities also ``allowed``, ``num_train_identities``,
        ``identities`` (sorted, those in both) and ``parts``: for "embeddings" and each list the
        ``num_identities``, ``num_leaked_identities``, ``num_pairs`` (face-voice pairs that are
        scored) and ``num_leaked_pairs`` (those with a training identity on either side).

    Raises
    ------
    ValueError
        If there is leakage and it is not allowed, or the two sides are named differently.

    Example
    -------
    >>> from speechbrain_fv.evaluation.embeddings import Embeddings
    >>> names = ["ann", "bob"]
    >>> tested = Embeddings(np.eye(2), np.eye(2), names, names)
    >>> report = check_leakage(["bob", "eve"], tested, allow_leakage=True)
    >>> report["parts"]["embeddings"]["num_leaked_pairs"]
    3
    """
    if train_identities is None:
        return {"checked": False}
    if not embeddings.labelled:
        logger.warning(
            "train_identities: not compared, since the embeddings do not tell who is on their "
            "clips; add face_identity and voice_identity"
        )
        return {"checked": False}
    identity_of = {}
    if meta_csv:
        meta = read_meta(meta_csv)
        identity_of = dict(zip(meta.name, meta.identity, strict=True))
    people = pd.Series(embeddings.identities, dtype=object)
    names = people.map(lambda name: _identity(name, identity_of))
    trained = {_identity(name, identity_of) for name in train_identities}
    _check_naming(trained, names, meta_csv)
    leaked = seen_among(trained, names)
    codes = {
        modality: np.searchsorted(people, getattr(embeddings, f"{modality}_identity"))
        for modality in MODALITIES
    }
    parts = {"embeddings": _product(codes["face"], codes["voice"], leaked)}
    parts.update({item.trials.name: _list_pairs(item, codes, leaked) for item in lists})
    if leaked.any() and not allow_leakage:
        touched = "; ".join(
            "{}: {num_leaked_identities} of {num_identities} identities, {num_leaked_pairs} of "
            "{num_pairs} pairs".format(name, **part)
            for name, part in parts.items()
            if part["num_leaked_identities"]
        )
        raise ValueError(
            f"leakage: the model was trained on people of this test ({named(names[leaked])}): "
            f"{touched}. Test other people, or set allow_leakage: True, which the report states."
        )
    return {
        "checked": True,
        "allowed": bool(allow_leakage),
        "num_train_identities": len(trained),
        "identities": sorted(names[leaked]),
        "parts": parts,
    }


def _check_naming(trained, tested, meta_csv):
    """Raises ValueError if one side has ids of VoxCeleb1 and the other has none.

    Ids behind a corpus's name can be compared; alone they are no sign that others should have one.
    """
    has_ids = [any(re.fullmatch(VOXCELEB_ID, name) for name in side) for side in (trained, tested)]
    ends = [any(_is_id(name) for name in side) for side in (trained, tested)]
    if not meta_csv and any(has_ids) and not all(ends):
        raise ValueError(
            f"train_identities: one side has VoxCeleb1 ids, the other has none ({min(trained)}, "
            f"{min(tested)}), so they cannot be compared; give meta_csv: vox1_meta.csv."
        )


def _is_id(name):
    return re.fullmatch(VOXCELEB_ID, name.rpartition("/")[2]) is not None


def _identity(name, identity_of):
    """Returns a name by its VoxCeleb1 id, where it has one; a corpus's name in front stays."""
    corpus, slash, own = name.rpartition("/")
    return f"{corpus}{slash}{identity_of.get(own, own)}"


def _list_pairs(resolved, codes, leaked):
    """Returns the counts of a list."""
    probes = codes[resolved.probe][resolved.probes]
    if resolved.trials.kind == "retrieval":
        return _product(probes, codes[resolved.target][resolved.targets], leaked)
    targets, scored = codes[resolved.target][resolved.candidates], resolved.candidates >= 0
    touched = (leaked[probes][:, None] | leaked[targets]) & scored
    return _counts([probes, targets[scored]], scored.sum(), touched.sum(), leaked)


def _product(probes, targets, leaked):
    """Returns the counts where every probe meets every target."""
    clean = (~leaked[probes]).sum() * (~leaked[targets]).sum()
    num_pairs = len(probes) * len(targets)
    return _counts([probes, targets], num_pairs, num_pairs - clean, leaked)


def _counts(people, num_pairs, num_leaked_pairs, leaked):
    present = np.unique(np.concatenate(people))
    return {
        "num_identities": len(present),
        "num_leaked_identities": int(leaked[present].sum()),
        "num_pairs": int(num_pairs),
        "num_leaked_pairs": int(num_leaked_pairs),
    }
