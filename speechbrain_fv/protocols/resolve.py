"""Clip names of a list -> rows of the embeddings; what is not there is counted and named."""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd

from speechbrain_fv.data.schema import named
from speechbrain_fv.protocols.clip_names import MODALITIES, OTHER_MODALITY
from speechbrain_fv.protocols.lists import TrialList

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResolvedList:
    """The trials of a list whose clips are among the embeddings, as rows of these.

    Arguments
    ---------
    trials : TrialList
        As it was read.
    probe : str
        Modality of the probes, "face" or "voice".
    probes : numpy.ndarray of shape (num_left,), int64
    targets : numpy.ndarray, int64
        Shaped as in `TrialList`, of the rows left; -1 where a matching row has fewer candidates.
    labels : numpy.ndarray, optional
        Verification: (num_left,), bool; None where neither list nor embeddings tell.
    probe_identity, target_identity : numpy.ndarray of shape (num_left,) and (gallery_size,), int64
        Retrieval: who it is, by the names where they tell, else by the embeddings; else None.
    num_unresolved : int
        Rows left out; in retrieval queries and gallery clips.
    num_contradictions : int
        Trials whose answer the identities in the embeddings contradict; in retrieval, queries with
        another number of positives.
    rows : numpy.ndarray of shape (num_left,), int64
        Which rows of the list are left, counted from 0; in retrieval which queries.
    missing : pandas.DataFrame
        Columns list, modality, clip, num_rows: clips that are not among the embeddings.
    """

    trials: TrialList
    probe: str
    probes: np.ndarray
    targets: np.ndarray
    labels: np.ndarray | None
    probe_identity: np.ndarray | None
    target_identity: np.ndarray | None
    num_unresolved: int
    num_contradictions: int
    rows: np.ndarray
    missing: pd.DataFrame

    @property
    def target(self):
        """Modality of the targets."""
        return OTHER_MODALITY[self.probe]

    @property
    def direction(self):
        """ "F-V" when the probes are faces, else "V-F"."""
        return "F-V" if self.probe == "face" else "V-F"

    @property
    def candidates(self):
        """`targets` of verification and matching as (num_left, max_candidates)."""
        return self.targets if self.targets.ndim == 2 else self.targets[:, None]


def resolve_lists(source, embeddings, metadata=None):
    """Returns the lists of one or more sources as rows of the embeddings.

    Arguments
    ---------
    source : PublishedLists, ListFile or SampledTrials, or a sequence of them
        A mapping with the key ``trials``, as a YAML of hparams/protocols makes it, stands for that.
    embeddings : Embeddings
        With `face_id` and `voice_id`.
    metadata : pandas.DataFrame, optional
        Needed where trials are drawn within a stratum.

    Returns
    -------
    list of ResolvedList

    Raises
    ------
    ValueError
        If the embeddings do not name their clips, two names mean one clip, a list names no known
        clip, the modality of its probes is unclear, or a list cannot be read.
    """
    for modality in MODALITIES:
        if getattr(embeddings, f"{modality}_id") is None:
            raise ValueError(
                f"embeddings: {modality}_id is missing; lists name clips, so name every clip."
            )
    sources = source if isinstance(source, (list, tuple)) else [source]
    indices, resolved = {}, []
    for source in sources:
        source = source["trials"] if isinstance(source, dict) else source
        for trials in source.read(embeddings, metadata):
            naming = trials.clip_names
            if id(naming) not in indices:
                # The naming is kept too: its id must not be given to another one.
                indices[id(naming)] = naming, _ClipIndex(embeddings, naming)
            resolved.append(_resolve(trials, embeddings, indices[id(naming)][1]))
    repeated = pd.Series([item.trials.name for item in resolved])
    if repeated.duplicated().any():
        names = named(repeated[repeated.duplicated()])
        raise ValueError(f"lists: two are called {names}; give each its own name.")
    return resolved


class _ClipIndex:
    """Looks names up among the clips of the embeddings."""

    def __init__(self, embeddings, naming):
        self.naming = naming
        self.index = {}
        for modality in MODALITIES:
            names = getattr(embeddings, f"{modality}_id")
            keys = naming.keys(names.tolist(), modality)
            repeated = keys.notna() & keys.duplicated(keep=False)
            if repeated.any():
                clips = names[(keys == keys[repeated].iloc[0]).to_numpy()]
                raise ValueError(
                    f"embeddings: {named(clips)} are one {modality} clip to the list; keep one."
                )
            # Clips without a key can be named by no list.
            known = keys.notna().to_numpy()
            self.index[modality] = pd.Index(keys[known]), np.flatnonzero(known)

    def rows(self, names, modality):
        """Returns the row of each name, -1 where there is none; the shape is kept."""
        codes, values = pd.factorize(names.ravel())
        keys = self.naming.keys(values.tolist(), modality)
        index, places = self.index[modality]
        hits = index.get_indexer(pd.Index(keys))
        hits[values == ""] = -1  # padding names no clip, even where one is called ""
        rows = np.where(hits < 0, -1, np.append(places, -1)[hits])
        return rows[codes].reshape(names.shape)


def _resolve(trials, embeddings, index):
    """Returns the `ResolvedList` of one list."""
    probe = trials.probe or _recognise(trials, index)
    target = OTHER_MODALITY[probe]
    probes, targets = index.rows(trials.probes, probe), index.rows(trials.targets, target)
    if (probes < 0).all() and (targets < 0).all():
        raise ValueError(
            f"{trials.source}: none of its clips is among the embeddings (its first {probe} is "
            f"{trials.probes[0]!r}, that of the embeddings "
            f"{str(getattr(embeddings, f'{probe}_id')[0])!r}); use the list's names in "
            f"{probe}_id and {target}_id."
        )
    absent = [probes < 0, (targets < 0) & (trials.targets != "")]
    missing = [
        _missing(trials.name, modality, names[gone])
        for modality, names, gone in zip(
            (probe, target), (trials.probes, trials.targets), absent, strict=True
        )
    ]
    if trials.kind == "retrieval":
        kept = [~gone for gone in absent]
        num_unresolved = int(sum(gone.sum() for gone in absent))
    else:
        complete = ~absent[0] & ~absent[1].reshape(len(probes), -1).any(axis=1)
        if trials.challenge and not complete.all():
            row = int((~complete).argmax())
            gone = trials.probes[row] if absent[0][row] else trials.targets[row]
            raise ValueError(
                f"{trials.source}, line {trials.challenge.lines[row]}: {gone} is not among the "
                f"embeddings ({int((~complete).sum())} of {len(complete)} lines); every key "
                "needs a score: embed these clips too"
            )
        kept = [complete, complete]
        num_unresolved = int((~complete).sum())
    probes, targets = probes[kept[0]], targets[kept[1]]
    # Labels and the order of candidates say it already.
    needs_truth = trials.kind == "retrieval" or (
        trials.kind == "verification" and trials.labels is None
    )
    truth = _truth(trials, kept, index.naming, probe) if needs_truth else None
    by_embeddings = None
    if embeddings.labelled:
        by_embeddings = _identities(embeddings, probe, probes, targets)
        _check_challenge(trials, *by_embeddings)
    labels, identities, num_contradictions = _answers(trials, kept, truth, by_embeddings)
    resolved = ResolvedList(
        trials,
        probe,
        probes,
        targets,
        labels,
        *identities,
        num_unresolved,
        num_contradictions,
        np.flatnonzero(kept[0]),
        pd.concat(missing, ignore_index=True),
    )
    _warn(resolved)
    return resolved


def _recognise(trials, index):
    """Returns the modality of the probes, by where they are found."""
    found = {modality: index.rows(trials.probes, modality) >= 0 for modality in MODALITIES}
    only = {modality: found[modality] & ~found[OTHER_MODALITY[modality]] for modality in MODALITIES}
    if all(rows.any() for rows in only.values()):
        odd = {modality: str(trials.probes[rows.argmax()]) for modality, rows in only.items()}
        raise ValueError(
            f"{trials.source}: some probes are faces ({odd['face']}), some voices "
            f"({odd['voice']}); make a list of each."
        )
    modalities = [modality for modality in MODALITIES if only[modality].any()]
    if modalities:
        return modalities[0]
    if not found["face"].any():
        # No probe is known; the targets tell, or there is no known clip at all.
        hits = {modality: (index.rows(trials.targets, modality) >= 0).sum() for modality in found}
        return "voice" if hits["face"] > hits["voice"] else "face"
    raise ValueError(
        f"{trials.source}: its probes name both faces and voices of the embeddings, such as "
        f"{str(trials.probes[found['face'].argmax()])!r}; state probe: face or voice."
    )


def _missing(name, modality, clips):
    """Returns the unresolvable clips of one modality with how often each is named."""
    counts = pd.Series(clips, dtype=object).value_counts(sort=False)
    table = {"list": name, "modality": modality, "clip": counts.index, "num_rows": counts.values}
    return pd.DataFrame(table)


def _truth(trials, kept, naming, probe):
    """Returns who the names say it is, as codes of probes and targets; None if they do not."""
    people = []
    for modality, names in (
        (probe, trials.probes[kept[0]]),
        (OTHER_MODALITY[probe], trials.targets[kept[1]]),
    ):
        codes, values = pd.factorize(names.ravel())
        identities = naming.identities(values.tolist(), modality)
        if identities is None:
            return None
        people.append(identities.to_numpy()[codes])
    codes = pd.factorize(np.concatenate(people))[0]
    return codes[: len(people[0])], codes[len(people[0]) :].reshape(trials.targets[kept[1]].shape)


def _identities(embeddings, probe, probes, targets):
    """Returns who the embeddings say it is, as codes of probes and targets (-1 in padding)."""
    people = pd.Index(embeddings.identities)
    labels = {m: people.get_indexer(getattr(embeddings, f"{m}_identity")) for m in MODALITIES}
    return labels[probe][probes], np.where(targets < 0, -1, labels[OTHER_MODALITY[probe]][targets])


def _check_challenge(trials, query, target):
    """Raises ValueError if a label of a challenge's list contradicts the people's folders."""
    if trials.challenge is None or trials.labels is None:
        return
    wrong = np.flatnonzero(trials.labels != (query == target))
    if len(wrong):
        row = wrong[0]
        raise ValueError(
            f"{trials.source}, line {trials.challenge.lines[row]}: label "
            f"{int(trials.labels[row])} of key {trials.challenge.keys[row]!r} contradicts the "
            f"identities of {trials.probes[row]} and {trials.targets[row]} ({len(wrong)} lines do)"
        )


def _answers(trials, kept, truth, by_embeddings):
    """Returns labels, (probe identity, target identity), and the number of contradictions."""
    if by_embeddings is None:
        if trials.kind != "verification":
            raise ValueError(
                f"{trials.source}: the embeddings do not tell who is on the clips, so "
                f"{trials.kind} has no answers; add face_identity and voice_identity"
            )
        if trials.labels is not None:
            return trials.labels[kept[0]], (None, None), 0
        return None if truth is None else np.equal(*truth), (None, None), 0
    query, target = by_embeddings
    if trials.kind == "retrieval":
        identities = truth or by_embeddings
        contradicted = _num_positives(*identities) != _num_positives(query, target)
        return None, identities, int(contradicted.sum())
    if trials.kind == "verification":
        stated = trials.labels is not None
        labels = trials.labels[kept[0]] if stated else np.equal(*(truth or by_embeddings))
        return labels, (None, None), int((labels != (query == target)).sum())
    same = query[:, None] == target
    contradicted = ~same[:, 0] | same[:, 1:].any(axis=1)
    return None, (None, None), int(contradicted.sum())


def _num_positives(query, gallery):
    """Returns how many gallery clips are of each query's identity."""
    counts = np.bincount(gallery, minlength=int(query.max(initial=0)) + 1)
    return counts[query]


def _warn(resolved):
    """Logs what of the list is not as published, not there, or contradicted."""
    trials = resolved.trials
    if trials.published and trials.counts != trials.published:
        logger.warning(
            "%s: %s rows, published were %s", trials.source, trials.counts, trials.published
        )
    if resolved.num_unresolved:
        logger.warning(
            "%s: %d of %d rows name clips that are not among the embeddings (%s)",
            trials.source,
            resolved.num_unresolved,
            sum(trials.counts),
            named(resolved.missing["clip"]),
        )
    if resolved.num_contradictions:
        logger.warning(
            "%s: the identities in the embeddings contradict %d of its answers",
            trials.source,
            resolved.num_contradictions,
        )
