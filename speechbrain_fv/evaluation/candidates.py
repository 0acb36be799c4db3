"""1:N matching of a report by a score that ranks candidates; see `metrics.candidates`."""

from speechbrain_fv.metrics import Strata
from speechbrain_fv.metrics.candidates import candidate_replicates, match_candidates

SEED = 0
"""Of the trials that are drawn where they are too many."""


def matching_by_candidates(trials, direction, strata, max_candidates):
    """Adds matching in some strata of one direction to the report of an evaluation.

    Each N has ``accuracy``, its interval for N = 2, ``num_probes``, ``num_trials`` (that were
    scored), and ``sampled``, whether there were more; or is None.

    Arguments
    ---------
    trials : exact._Trials
    direction : str
    strata : sequence of (stratum, attributes as bits)
    max_candidates : int
        Largest N of the report; the N of the score is there besides.
    """
    score = trials.score
    queries, gallery = (trials.clips[key] for key in direction.split("-"))
    sizes = sorted({*range(2, max_candidates + 1), score.num_candidates})
    for stratum, bits in strata:
        path = ("matching", direction, stratum)
        allowed = Strata(trials.labels, [bits]).everyone()
        for num_candidates in sizes:
            place = (*path, str(num_candidates))
            reason = score.unable("matching", direction, num_candidates)
            if reason:
                trials.leave_out(place, reason)
                continue
            found = match_candidates(
                *(queries, gallery, allowed, num_candidates),
                *(trials.comparison.rank(direction), score.max_trials, SEED),
            )
            replicates = None
            if trials.weights is not None and found.won is not None:
                replicates = candidate_replicates(trials.weights, found, queries.num_clips)
            trials.add(place, "accuracy", found.accuracy.nanmean(), replicates)
            if trials.bootstrap["num_replicates"] and found.won is None:
                path_of_interval = "/".join((*place, "accuracy_interval"))
                trials.reasons[path_of_interval] = "intervals of candidates are made for N = 2 only"
            trials.node(place).update(
                num_probes=int((~found.accuracy.isnan()).sum()),
                num_trials=found.num_trials,
                sampled=found.sampled,
            )
            trials.explain_no_probes(place)
