"""Trials drawn at random from a seed, as lists that others can score too.

Positives and negatives are drawn as the exact metrics weigh them, so the sampled values estimate
the exact ones. Trials may repeat.
"""

import numpy as np

from speechbrain_fv.metrics.candidates import draw_distinct
from speechbrain_fv.protocols.lists import TrialList
from speechbrain_fv.protocols.strata import check_metadata, stratum_groups, undefined_reason

_MODALITIES = {"F-V": ("face", "voice"), "V-F": ("voice", "face")}


class SampledTrials:
    """Verification and 1:N trials, drawn from the embeddings' clips and the metadata.

    Arguments
    ---------
    num_trials : int
        Trials per list, >= 2; half of the verification trials are positives.
    seed : int
        Of the draw, >= 0.
    strata : sequence of str
        What restricts the negatives: "U", "G", "N", "A", "GN", "GNA".
    num_candidates : int
        N of 1:N matching, >= 2.

    Raises
    ------
    ValueError
        If an argument is out of range; from `read`, if the metadata cannot define a stratum or
        it has no trial.

    Example
    -------
    >>> from speechbrain_fv.evaluation.embeddings import Embeddings
    >>> names = ["ann", "bob", "eve"]
    >>> people = Embeddings(np.eye(3), np.eye(3), names, names, names, names)
    >>> [drawn.name for drawn in SampledTrials(4, seed=0, strata=["U"]).read(people)]
    ['sampled/verification_U', 'sampled/matching_F-V_U', 'sampled/matching_V-F_U']
    """

    def __init__(self, num_trials, seed, strata=("U", "G"), num_candidates=2):
        for name, value, least in (
            ("num_trials", num_trials, 2),
            ("seed", seed, 0),
            ("num_candidates", num_candidates, 2),
        ):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}.")
        self.num_trials, self.seed = num_trials, seed
        self.strata, self.num_candidates = tuple(strata), num_candidates

    def read(self, embeddings, metadata=None):
        """Returns the drawn `TrialList`s: verification, then matching in both directions."""
        if metadata is not None:
            metadata = check_metadata(metadata, embeddings.identities)
        for stratum in self.strata:
            reason = undefined_reason(metadata, stratum)
            if reason:
                raise ValueError(f"strata: {stratum} cannot be drawn: {reason}; leave it out.")
        clips = {stratum: _Clips(embeddings, metadata, stratum) for stratum in self.strata}
        lists = [self._verification(clips[stratum], stratum) for stratum in self.strata]
        for direction in _MODALITIES:
            lists += [self._matching(clips[s], s, direction) for s in self.strata]
        return lists

    def _generator(self, *what):
        """Returns a generator of its own for each list, so that no list depends on the others."""
        return np.random.default_rng([self.seed, *"/".join(what).encode()])

    def _drawn(self, stratum):
        return {"seed": self.seed, "num_trials": self.num_trials, "stratum": stratum}

    def _verification(self, clips, stratum):
        generator = self._generator("verification", stratum)
        num_positives = self.num_trials // 2
        face, voice = (
            np.concatenate(parts)
            for parts in zip(
                clips.draw_positives(num_positives, generator),
                clips.draw_negatives(self.num_trials - num_positives, generator),
                strict=True,
            )
        )
        return TrialList(
            f"sampled/verification_{stratum}",
            "verification",
            "drawn",
            clips.names["face"][face],
            clips.names["voice"][voice],
            np.arange(self.num_trials) < num_positives,
            "face",
            drawn=self._drawn(stratum),
        )

    def _matching(self, clips, stratum, direction):
        probe, target = _MODALITIES[direction]
        generator = self._generator("matching", stratum, direction)
        probes, candidates = clips.draw_candidates(
            probe, target, self.num_trials, self.num_candidates, generator
        )
        return TrialList(
            f"sampled/matching_{direction}_{stratum}",
            "matching",
            "drawn",
            clips.names[probe][probes],
            clips.names[target][candidates],
            probe=probe,
            drawn={**self._drawn(stratum), "num_candidates": self.num_candidates},
        )


class _Clips:
    """The clips of both modalities in order of group and identity; draws rows of that order."""

    def __init__(self, embeddings, metadata, stratum):
        people = np.array(embeddings.identities)
        if stratum == "U":
            group = np.zeros(len(people), dtype=np.int64)
        else:
            group = stratum_groups(metadata, stratum)
        self.stratum = stratum
        # Identities numbered by group: then those of a group, and its clips, lie side by side.
        order = np.lexsort([people, group])
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        self.group = group[order]
        self.names, self.identity, self.first = {}, {}, {}
        for modality in ("face", "voice"):
            labels = getattr(embeddings, f"{modality}_identity")
            identity = place[np.searchsorted(people, labels)]
            names = getattr(embeddings, f"{modality}_id").astype(object)
            # By name too: the draw does not depend on the order of the clips in the file.
            rows = np.lexsort([names.astype(str), identity])
            self.names[modality], self.identity[modality] = names[rows], identity[rows]
            self.first[modality] = np.searchsorted(identity[rows], np.arange(len(people) + 1))

    def spans(self, modality):
        """Returns first and end row of each identity, and of each identity's group."""
        first = self.first[modality]
        begin = first[np.searchsorted(self.group, self.group)]
        end = first[np.searchsorted(self.group, self.group, side="right")]
        return first[:-1], first[1:], begin, end

    def draw_positives(self, num_trials, generator):
        """Returns face and voice rows of pairs drawn uniformly from all pairs of one identity."""
        counts = {m: np.diff(self.first[m]) for m in ("face", "voice")}
        weights = counts["face"] * counts["voice"]
        people = generator.choice(len(weights), num_trials, p=weights / weights.sum())
        return [
            self.first[m][people] + generator.integers(counts[m][people]) for m in ("face", "voice")
        ]

    def draw_negatives(self, num_trials, generator):
        """Returns face and voice rows of pairs drawn uniformly from all allowed negative pairs."""
        face = self.identity["face"]
        first, end, begin, stop = (span[face] for span in self.spans("voice"))
        allowed = np.where(self.group[face] < 0, 0, (stop - begin) - (end - first))
        if not allowed.any():
            raise ValueError(f"strata: {self.stratum} has no negative pair; leave it out.")
        faces = generator.choice(len(face), num_trials, p=allowed / allowed.sum())
        offset = generator.integers(allowed[faces])
        return faces, _skip(offset, begin[faces], first[faces], end[faces])

    def draw_candidates(self, probe, target, num_trials, num_candidates, generator):
        """Returns probes (num_trials,) and candidates (num_trials, num_candidates), positive first.

        Probes are uniform over the clips with a positive and enough allowed negatives, negatives
        without replacement within a trial.
        """
        identity = self.identity[probe]
        first, end, begin, stop = (span[identity] for span in self.spans(target))
        allowed = np.where(self.group[identity] < 0, 0, (stop - begin) - (end - first))
        eligible = np.flatnonzero((end > first) & (allowed >= num_candidates - 1))
        if not len(eligible):
            raise ValueError(
                f"strata: {self.stratum} has no probe with {num_candidates - 1} negatives; leave "
                "it out or lower num_candidates."
            )
        probes = generator.choice(eligible, num_trials)
        first, end, begin, allowed = (span[probes] for span in (first, end, begin, allowed))
        positive = first + generator.integers(end - first)
        offsets = draw_distinct(allowed, num_candidates - 1, generator)
        negatives = _skip(offsets, begin[:, None], first[:, None], end[:, None])
        return probes, np.column_stack([positive, negatives])


def _skip(offset, begin, first, end):
    """Returns the row at an offset into the group's rows less those of [first, end)."""
    rows = begin + offset
    return np.where(rows < first, rows, rows + (end - first))
