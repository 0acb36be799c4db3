"""Embeddings and a protocol -> a report: verification, 1:N matching and retrieval.

The report holds plain numbers, fractions in [0, 1]. A value without trials is None with its count
beside it; what the metadata cannot define, or the score cannot do, is None, with the reason under
"reasons" by its path.
Beside each value stands its 95 % interval over identities (see `metrics.bootstrap`).
"""

from collections.abc import Collection
from functools import partial

import numpy as np
import pandas as pd
import torch

from speechbrain_fv import metrics, protocols
from speechbrain_fv.evaluation.candidates import matching_by_candidates
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.report import (
    Report,
    format_report,
    load_metadata,
    number_or_none,
    save_report,
)
from speechbrain_fv.evaluation.scoring import MODALITIES, Comparison
from speechbrain_fv.evaluation.verification import verify_stratum
from speechbrain_fv.messages import progress_bar
from speechbrain_fv.precision import full_float32
from speechbrain_fv.scores import DIRECTIONS, TASKS, Score, is_cosine

__all__ = ["check_device", "evaluate", "format_report", "load_metadata", "save_report"]


def evaluate(
    embeddings: Embeddings,
    metadata: pd.DataFrame | None = None,
    tasks: Collection[str] = TASKS,
    max_candidates: int = 10,
    num_replicates: int = 1000,
    bootstrap_seed: int = 0,
    chunk_size: int = metrics.CHUNK_SIZE,
    device: str = "cpu",
    progress: bool = False,
    score: Score | None = None,
) -> Report:
    """Returns the report of a set of embeddings: exact values by enumeration, with intervals.

    Every same-identity pair is a positive in each stratum; strata restrict the negatives.

    Arguments
    ---------
    embeddings : Embeddings
    metadata : pandas.DataFrame, optional
        Column ``identity`` and any of ``gender``, ``nationality``, ``age``; empty is unknown.
        Without it only the unrestricted stratum U is defined.
    tasks : sequence of str
        Which of `TASKS` to compute; verification alone is the cheapest.
    max_candidates : int
        Largest N of 1:N matching, >= 2.
    num_replicates : int
        Bootstrap replicates, >= 0; 0 leaves out the intervals.
    bootstrap_seed : int
        Seed of the draws, >= 0. Reports on the same identities with the same seed and number of
        replicates are paired.
    chunk_size : int
        Scores held at once, 8 bytes each, >= 1. It bounds the memory and changes no result.
    device : str
        Where to compute ("cpu", "cuda").
    progress : bool
        Whether to show a progress bar on stderr.
    score : Score, optional
        How a face and a voice are compared; `scores.Cosine` by default.

    Returns
    -------
    Report
        A dict: ``num_identities`` (with a face or a voice), ``num_faces``, ``num_voices``, one
        entry per task, ``bootstrap``, and ``reasons`` by the path of each stratum, direction or N
        that is None, such as "verification/G". Of a score that is not the cosine ``score`` is the
        name. Its attribute ``replicates`` holds those of each value.

    Raises
    ------
    ValueError
        If an argument is out of range, the device cannot be used, the metadata lacks an identity
        or repeats one, or the score does not take the embeddings.

    Example
    -------
    >>> from speechbrain_fv.evaluation.embeddings import Embeddings
    >>> names = ["ann", "bob", "eve"]
    >>> report = evaluate(Embeddings(np.eye(3), np.eye(3), names, names), num_replicates=0)
    >>> report["retrieval"]["F-V"]["map"]
    1.0
    >>> report["reasons"]["verification/G"]
    'no metadata, which G needs for gender'
    """
    unknown = [task for task in tasks if task not in TASKS]
    if unknown:
        raise ValueError(f"tasks: expected some of {TASKS}, got {unknown}.")
    _check_integers(
        max_candidates=(max_candidates, 2),
        num_replicates=(num_replicates, 0),
        bootstrap_seed=(bootstrap_seed, 0),
        chunk_size=(chunk_size, 1),
    )
    check_device(device)
    comparison = Comparison(embeddings, score, device)
    trials = _Trials(comparison, metadata, num_replicates, bootstrap_seed, chunk_size)
    directions = DIRECTIONS if {"matching", "retrieval"} & set(tasks) else ()
    num_rows = {"F-V": len(embeddings.face), "V-F": len(embeddings.voice)}
    total = sum(num_rows[direction] for direction in directions)
    total += len(embeddings.face) * ("verification" in tasks)
    hidden = None if progress else True
    bar = progress_bar(total=total, unit=" clips", desc="evaluate", disable=hidden)
    with bar, full_float32(torch.device(device).type):  # in which counts are exact
        if "verification" in tasks:
            ranked = trials.ranking("F-V", tasks, max_candidates, bar.update)
            trials.verify(bar.update, ranked)
        for direction in directions:
            trials.rank(direction, tasks, max_candidates, bar.update)
    return trials.finished()


def check_device(device: str | torch.device) -> None:
    """Raises ValueError if torch cannot compute on the device, such as "cpu" or "cuda:0"."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch built without CUDA
        raise ValueError(f"device {device!r} cannot be used ({error}); try 'cpu'.") from error


def _check_integers(**limits):
    """Raises ValueError for a value that is no integer or less than its limit."""
    for name, (value, least) in limits.items():
        if type(value) is not int or value < least:
            raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}.")


class _Trials:
    """The clips to compare, the draws of the bootstrap, and the report while it grows."""

    def __init__(self, comparison, metadata, num_replicates, seed, chunk_size):
        embeddings, self.comparison = comparison.embeddings, comparison
        self.score = comparison.score
        identities, device = embeddings.identities, comparison.given["face"].device
        if metadata is not None:
            metadata = protocols.check_metadata(metadata, identities)
        self.metadata, self.chunk_size = metadata, chunk_size
        self.bits, labels = {}, [np.empty((len(identities), 0), dtype=np.int64)]
        for letter in protocols.ATTRIBUTES:
            if not protocols.undefined_reason(metadata, letter):
                self.bits[letter] = 2 ** len(self.bits)
                labels.append(protocols.stratum_groups(metadata, letter)[:, None])
        self.labels = torch.as_tensor(np.hstack(labels), device=device)
        self.clips = {key: comparison.clips(modality) for key, modality in MODALITIES.items()}
        draws = metrics.draw_weights(len(identities), num_replicates, seed)
        # With one identity all replicates are the same and would show no spread.
        bootstrapped = num_replicates and len(identities) > 1
        self.weights = torch.as_tensor(draws, device=device) if bootstrapped else None
        self.report = Report(
            num_identities=len(identities),
            num_faces=len(embeddings.face),
            num_voices=len(embeddings.voice),
        )
        if not is_cosine(self.score):
            self.report["score"] = self.score.name
        self.bootstrap = {
            "num_replicates": num_replicates,
            "seed": seed,
            "num_identities": len(identities),
            "interval": metrics.INTERVAL,
        }
        self.reasons, self.rankings = {}, {}
        if num_replicates:
            self.report.replicates = {"identities": np.array(identities), "seed": np.array(seed)}

    def verify(self, tick, ranking=None):
        """Adds AUC, EER, their counts and the ROC curve of each stratum.

        Faces are ranked in passing where a ranking is given, which saves their comparison.
        """
        faces, voices = self.clips["F"], self.clips["V"]
        reason = self.score.unable("verification")
        defined = list(self._defined("verification", protocols.VERIFICATION_STRATA, reason))
        if not defined:
            return tick(len(faces.vectors))
        pairs = None
        if self.weights is not None:
            pairs = metrics.PairReplicates(self.weights, faces, voices, self.labels)
        users = [user for user in (pairs, ranking) if user is not None]
        counts = metrics.count_pairs(faces, voices, self.labels, self.chunk_size, users, tick)
        device = faces.vectors.device
        strata = [bits for _, bits in defined]
        results = metrics.each(partial(verify_stratum, counts, pairs), strata, device)
        for (stratum, _), found in zip(defined, results, strict=True):
            path = ("verification", stratum)
            self.add(path, "auc", found.auc, found.replicates[0])
            self.add(path, "eer", found.eer, found.replicates[1])
            if np.isnan(found.auc):
                self.explain(path, ("auc", "eer"), protocols.no_trials_reason(stratum))
            false_accept, true_accept = (rates.tolist() for rates in found.roc)
            roc = {"false_accept": false_accept, "true_accept": true_accept}
            if found.accepted is not None:
                roc["true_accept_interval"] = metrics.band(found.accepted, true_accept)
            self.node(path).update(
                num_positives=found.num_positives, num_negatives=found.num_negatives, roc=roc
            )

    def ranking(self, direction, tasks, max_candidates, tick):
        """Returns the `metrics.Ranking` of a direction, made once; None where nothing is ranked."""
        if direction not in self.rankings:
            strata = []
            if "matching" in tasks and not self.score.unable("matching", direction):
                strata = [s for s in protocols.MATCHING_STRATA if not self._undefined(s)]
            retrieval = "retrieval" in tasks and not self.score.unable("retrieval", direction)
            ranks = not self.comparison.ranks and (strata or retrieval)
            masks = [self._bits(stratum) for stratum in strata] or [0]
            made = self._new_ranking(direction, masks, max_candidates, tick) if ranks else None
            self.rankings[direction] = made
        return self.rankings[direction]

    def _new_ranking(self, direction, masks, max_candidates, tick):
        sides, replicates = [self.clips[key] for key in direction.split("-")], None
        strata = metrics.Strata(self.labels, masks)
        if self.weights is not None:
            replicates = metrics.QueryReplicates(self.weights, *sides, strata, max_candidates)
        return metrics.Ranking(*sides, strata, max_candidates, self.chunk_size, replicates, tick)

    def rank(self, direction, tasks, max_candidates, tick):
        """Adds matching in each stratum and retrieval, of one direction."""
        matching, path = (), f"matching/{direction}"
        if "matching" in tasks:
            reason = self.score.unable("matching", direction)
            matching = list(self._defined(path, protocols.MATCHING_STRATA, reason))
        unable = self.score.unable("retrieval", direction)
        if "retrieval" in tasks and unable:
            self.leave_out(("retrieval", direction), unable)
        retrieval = "retrieval" in tasks and not unable
        if self.comparison.ranks:
            matching_by_candidates(self, direction, matching, max_candidates)
        ranking = self.ranking(direction, tasks, max_candidates, tick)
        if ranking is None:
            return tick(len(self.clips[direction[0]].vectors))
        scores = ranking.scores()
        values = (np.full(len(scores.accuracy), None), None, None)
        if ranking.replicates:
            values = ranking.replicates.values()
        del self.rankings[direction]
        for (stratum, _), accuracy, of_stratum in zip(
            matching, scores.accuracy, values[0], strict=False
        ):
            self._add_matching(("matching", direction, stratum), accuracy, of_stratum)
        if retrieval:
            self._add_retrieval(direction, scores, values[1:])

    def finished(self):
        """Returns the report, complete."""
        if self.bootstrap["num_replicates"]:
            self.report["bootstrap"] = self.bootstrap
        self.report["reasons"] = self.reasons
        return self.report

    def _add_matching(self, path, accuracy, replicates):
        """Adds accuracy and number of probes by N, from (max_candidates - 1, num_queries)."""
        for index, values in enumerate(accuracy):
            reason = self.score.unable("matching", path[1], index + 2)
            if reason:
                self.leave_out((*path, str(index + 2)), reason)
                continue
            of_candidates = None if replicates is None else replicates[index]
            place = (*path, str(index + 2))
            self.add(place, "accuracy", values.nanmean(), of_candidates)
            self.node(place)["num_probes"] = int((~values.isnan()).sum())
            self.explain_no_probes(place)

    def explain_no_probes(self, place):
        """Notes why nobody is a probe of 1:N matching at a place, if so."""
        _, direction, stratum, _ = place
        if self.node(place)["num_probes"]:
            return
        reason = protocols.no_trials_reason(stratum)
        pairs = self.report["matching"][direction][stratum].get("2")  # None: the score cannot
        if pairs is None or pairs["num_probes"]:
            reason = f"{stratum} has too few people in every group"
        self.explain(place, ("accuracy",), reason)

    def explain(self, path, names, reason):
        """Notes why values at a path of the report are None."""
        self.reasons |= {"/".join((*path, name)): reason for name in names}

    def _add_retrieval(self, direction, scores, replicates):
        """Adds mAP by query and by identity with chance, of queries that have a positive."""
        queries, gallery = (self.clips[key] for key in direction.split("-"))
        means = metrics.mean_precisions(scores, queries, gallery)
        path = ("retrieval", direction)
        self.add(path, "map", means.by_query, replicates[0])
        self.add(path, "map_per_identity", means.by_identity, replicates[1])
        self.node(path).update(
            chance_map=number_or_none(means.chance),
            num_queries=means.num_queries,
            gallery_size=len(gallery.vectors),
        )
        if not means.num_queries:
            reason = "nobody has both a face and a voice"
            self.explain(path, ("map", "map_per_identity", "chance_map"), reason)

    def leave_out(self, path, reason):
        """Puts None at a path of the report, and the reason beside."""
        self.node(path[:-1])[path[-1]] = None
        self.reasons["/".join(path)] = reason

    def _defined(self, path, strata, unable=None):
        """Yields (stratum, its attributes as bits); notes the reason where it is undefined.

        That is one of the metadata, or for all strata that the score is unable.
        """
        for stratum in strata:
            reason = unable or self._undefined(stratum)
            if reason:
                self.leave_out((*path.split("/"), stratum), reason)
            else:
                self.node((*path.split("/"), stratum))
                yield stratum, self._bits(stratum)

    def _undefined(self, stratum):
        return protocols.undefined_reason(self.metadata, stratum)

    def _bits(self, stratum):
        """The attributes of a stratum as bits."""
        return sum(self.bits[letter] for letter in stratum if letter != "U")

    def node(self, path):
        """Returns the dict at a path of the report, made when absent."""
        node = self.report
        for name in path:
            node = node.setdefault(name, {})
        return node

    def add(self, path, name, value, replicates):
        """Adds a value and, when there is a bootstrap, its interval and its replicates."""
        node = self.node(path)
        node[name] = number_or_none(value)
        if not self.bootstrap["num_replicates"]:
            return
        if replicates is None or node[name] is None:
            values = np.full(self.bootstrap["num_replicates"], np.nan)
        else:
            values = replicates.cpu().numpy()
        node[f"{name}_interval"] = metrics.interval(values, node[name])
        self.report.replicates["/".join((*path, name))] = values
