"""Score files of others, lines `key score`, compared by the truth about their list."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from speechbrain_fv import metrics
from speechbrain_fv.corpora.mavceleb_lists import read_truth
from speechbrain_fv.data.schema import check_columns
from speechbrain_fv.evaluation.challenge import rates_of, warn_of_direction
from speechbrain_fv.evaluation.report import number_or_none
from speechbrain_fv.files import PathLike, read_table
from speechbrain_fv.metrics.listed import listed_replicates, official_eer
from speechbrain_fv.names import name_of
from speechbrain_fv.protocols.score_files import DIRECTIONS, scores_of


def compare_score_files(
    files: Sequence[PathLike],
    truth: PathLike,
    submitted: str = "distance",
    people: PathLike | None = None,
    num_replicates: int = 1000,
    bootstrap_seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Returns the difference of AUC and error rates of two score files, as `compare_reports` does.

    Arguments
    ---------
    files : sequence of two paths
        Lines `key score`, without header, of the keys of the truth.
    truth : path
        Lines `key label`, label 1 one person and 0 two; or `key label voice face`.
    submitted : str
        "distance" (lower: one person) or "similarity".
    people : path, optional
        CSV with the columns key, face and voice: who is on either side. With it differences have
        intervals over people.
    num_replicates, bootstrap_seed : int
        Of these.

    Returns
    -------
    dict of str to dict
        Of "list/auc", "list/eer" (exact) and "list/official_eer": ``one``, ``other``,
        ``difference``, and of the first two ``difference_interval`` and ``share_greater``, None
        without people.

    Raises
    ------
    ValueError
        If a file is faulty, with its line, of another list, or people lack a key.
    """
    if submitted not in DIRECTIONS:
        raise ValueError(f"submitted: expected {' or '.join(DIRECTIONS)}, got {submitted!r}")
    by_key, _ = read_truth(truth)
    keys, labels = list(by_key), np.array([*by_key.values()])
    sign = -1 if submitted == "distance" else 1
    scores = [sign * scores_of(keys, file, truth) for file in files]
    found = [
        rates_of(labels, of_file) | {"official_eer": number_or_none(official_eer(labels, -of_file))}
        for of_file in scores
    ]
    for file, values in zip(files, found, strict=True):
        warn_of_direction(str(file), values["auc"], values["eer"])
    spread = {}
    if people is not None and num_replicates and labels.any() and not labels.all():
        who = _people(people, keys, labels, truth)
        spread = _replicates(scores, labels, who, found, num_replicates, bootstrap_seed)
    result = {}
    for name in ("auc", "eer", "official_eer"):
        one, other = (values[name] for values in found)
        node = {"one": one, "other": other, "difference": None}
        node |= dict.fromkeys(("difference_interval", "share_greater"))
        if None not in (one, other):
            node["difference"] = other - one
            if name in spread:
                differences = spread[name][1] - spread[name][0]
                differences = differences[~np.isnan(differences)]
                node["difference_interval"] = metrics.interval(
                    spread[name][1] - spread[name][0], node["difference"]
                )
                node["share_greater"] = float((np.sign(differences) + 1).mean() / 2)
        result[f"list/{name}"] = node
    return result


def _people(file, keys, labels, truth):
    """Returns who is on either side of each key, as numbers; and how many people there are."""
    table = check_columns(read_table(file), ["key", "face", "voice"], file)
    repeated = table[table["key"].duplicated()]
    if len(repeated):
        raise ValueError(
            f"{file}, line {repeated.index[0] + 2}: key {repeated['key'].iloc[0]!r} is listed twice"
        )
    table = table.set_index("key")
    missing = [key for key in keys if key not in table.index]
    if missing:
        raise ValueError(f"{file}: no line for key {missing[0]!r} of {truth}")
    table = table.loc[keys, ["face", "voice"]].map(name_of)
    wrong = np.flatnonzero((table.face == table.voice).to_numpy() != labels)
    if len(wrong):
        raise ValueError(
            f"{file}: key {keys[wrong[0]]!r}: {table.face.iloc[wrong[0]]} and "
            f"{table.voice.iloc[wrong[0]]} contradict the label {int(labels[wrong[0]])} in {truth}"
        )
    names, codes = np.unique(table.to_numpy(str).T, return_inverse=True)
    return codes.reshape(2, -1), len(names)


def _replicates(scores, labels, who, found, num_replicates, seed):
    """Returns auc and eer -> the replicates of both files, from the same draws."""
    codes, num_people = who
    weights = torch.as_tensor(metrics.draw_weights(num_people, num_replicates, seed))
    sides, same = tuple(torch.as_tensor(side) for side in codes), torch.as_tensor(labels)
    both = [
        listed_replicates(
            torch.as_tensor(of_file), same, sides, weights, values["auc"], values["eer"]
        )
        for of_file, values in zip(scores, found, strict=True)
    ]
    return {
        name: [replicates[place].numpy() for replicates in both]
        for place, name in enumerate(("auc", "eer"))
    }
