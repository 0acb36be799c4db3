"""From scores to probabilities and decisions: fitted on the validation split, checked on the test.

A score compares f* and v*, by their cosine unless another is given. The probability is that of one
person when as many pairs show one person as two: with another share of true pairs it must be
weighed anew. A pair is taken for one person from a probability of 50 % on, so that probability and
decision agree, wherever the scores tell anything.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from speechbrain_fv import metrics, protocols
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.scoring import Comparison
from speechbrain_fv.scores import Score

NUM_BINS = 2**16
"""Of the histogram of scores. Cosines' is over [-1, 1], where a bin is 3e-5 wide; that of other
scores reaches from the least to the largest."""


class Calibration(NamedTuple):
    """A line from scores to log odds, and the score at which to decide.

    slope : float, at least 0
    intercept : float
    threshold : float; of cosines in [-1, 1]
        Scores from here on are taken for one person: where the probability is 50 %.
    """

    slope: float
    intercept: float
    threshold: float

    def probability(self, scores: torch.Tensor) -> torch.Tensor:
        """Returns the probability of one person for scores of any shape."""
        return torch.sigmoid(self.slope * scores + self.intercept)


def fit_calibration(embeddings: Embeddings, score: Score | None = None) -> Calibration:
    """Returns the `Calibration` of all pairs of a set, positives and negatives weighing the same.

    Probabilities by logistic regression (Platt scaling, with the L2 penalty of scikit-learn's
    default on standardised scores, so that separable scores stay finite). The threshold is the
    score with a probability of 50 %; of scores that tell nothing, whose probability is 50 %
    everywhere, their mean.

    Arguments
    ---------
    embeddings : Embeddings
        Of the validation identities.
    score : Score, optional
        How a face and a voice are compared; `scores.Cosine` by default.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If no face meets the voice of somebody else, or the score gives a pair none.

    Example
    -------
    >>> from speechbrain_fv.evaluation.embeddings import Embeddings
    >>> names = ["ann", "bob", "eve"]
    >>> calibration = fit_calibration(Embeddings(np.eye(3), np.eye(3), names, names))
    >>> 0 < calibration.threshold <= 1
    True
    """
    from sklearn.linear_model import LogisticRegression

    comparison = _comparison(embeddings, score)
    ends = comparison.ends()
    positives, negatives = _histograms(comparison, *ends)
    if not negatives.sum():
        raise ValueError("calibration: expected at least two identities in the validation split")
    scores = np.linspace(*ends, NUM_BINS)
    bins = np.concatenate([positives.nonzero()[0], negatives.nonzero()[0]])
    same = np.arange(len(bins)) < np.count_nonzero(positives)
    weights = np.where(same, positives[bins], negatives[bins] * (positives.sum() / negatives.sum()))
    mean = np.average(scores[bins], weights=weights)
    scale = np.sqrt(np.average((scores[bins] - mean) ** 2, weights=weights)) or 1.0
    fitted = LogisticRegression().fit((scores[bins, None] - mean) / scale, same, weights)
    slope = max(fitted.coef_[0, 0], 0.0) / scale  # below chance a score tells nothing
    intercept = fitted.intercept_[0] - slope * mean if slope else 0.0
    threshold = np.clip(-intercept / slope, *ends) if slope else mean
    return Calibration(float(slope), float(intercept), float(threshold))


def error_rates(
    embeddings: Embeddings,
    metadata: pd.DataFrame | None,
    threshold: float,
    num_replicates: int = 1000,
    seed: int = 0,
    score: Score | None = None,
) -> dict[str, Any]:
    """Returns the error rates at a threshold per stratum, with 95 % intervals over identities.

    Arguments
    ---------
    embeddings : Embeddings
        Of the test identities.
    metadata : pandas.DataFrame or None
        Column ``identity`` and any of ``gender``, ``nationality``, ``age``.
    threshold : float
        Least score that is taken for one person.
    num_replicates : int
        Bootstrap replicates, at least 2; the draws are those of `evaluation.evaluate`.
    seed : int
    score : Score, optional
        That of the threshold; `scores.Cosine` by default.

    Returns
    -------
    dict of str to dict or None
        By stratum of verification: ``false_accept`` (share of the stratum's negatives taken for
        one person), ``false_reject`` (share of positives taken for two), each with
        ``_interval``, and ``num_negatives``, ``num_positives``. None where undefined.
    """
    identities = embeddings.identities
    if metadata is not None:
        metadata = protocols.check_metadata(metadata, identities)
    accepted, total = _accepted_pairs(_comparison(embeddings, score), threshold)
    draws = metrics.draw_weights(len(identities), num_replicates, seed)
    weights = np.concatenate([np.ones((1, len(identities))), draws])  # the first: the set itself
    rejected = _shares(weights @ np.diag(total - accepted), weights @ np.diag(total))
    others = ~np.eye(len(identities), dtype=bool)
    rates = {}
    for stratum in protocols.VERIFICATION_STRATA:
        if protocols.undefined_reason(metadata, stratum):
            rates[stratum] = None
            continue
        groups = np.zeros(len(identities), dtype=int)
        if stratum != "U":
            groups = protocols.stratum_groups(metadata, stratum)
        negatives = others & (groups[:, None] == groups) & (groups >= 0)
        passed, trials = (
            ((weights @ (pairs * negatives)) * weights).sum(axis=1) for pairs in (accepted, total)
        )
        rates[stratum] = {
            **_with_interval("false_accept", _shares(passed, trials)),
            **_with_interval("false_reject", rejected),
            "num_positives": int(np.trace(total)),
            "num_negatives": int(trials[0]),
        }
    return rates


def _comparison(embeddings, score):
    """Returns a `Comparison`; ValueError where the score gives a pair none."""
    comparison = Comparison(embeddings, score)
    reason = comparison.score.unable("verification")
    if reason:
        raise ValueError(f"calibration: {reason}")
    return comparison


def _histograms(comparison, low, high):
    """Returns how many positives and how many negatives score in each bin, shape (NUM_BINS,)."""
    counts = torch.zeros(2, NUM_BINS, dtype=torch.int64)
    for scores, face, voice in comparison.blocks():
        shares = (scores.clamp(low, high) - low) / (high - low)
        bins = (shares * (NUM_BINS - 1)).round().long()
        keys = bins + NUM_BINS * (face[:, None] != voice)
        counts += torch.bincount(keys.flatten(), minlength=2 * NUM_BINS).view(2, NUM_BINS)
    return counts.numpy()


def _accepted_pairs(comparison, threshold):
    """Returns how many pairs of each two identities pass, and how many there are.

    Both have the shape (num_identities, num_identities): faces of the first, voices of the second.
    """
    num_identities = len(comparison.embeddings.identities)
    tables = torch.zeros(2, num_identities, num_identities, dtype=torch.float64)
    for scores, face, voice in comparison.blocks():
        for table, passed in zip(tables, (scores >= threshold, scores == scores), strict=True):
            by_voice = passed.new_zeros(len(face), num_identities, dtype=torch.float64)
            table.index_add_(0, face, by_voice.index_add_(1, voice, passed.double()))
    return tables.numpy()


def _shares(counts, trials):
    """Returns shares, NaN where there is no trial."""
    return np.divide(counts, trials, out=np.full(len(trials), np.nan), where=trials > 0)


def _with_interval(name, shares):
    """Returns the entries of a rate: the value of the set and the interval of the replicates."""
    value = None if np.isnan(shares[0]) else float(shares[0])
    return {name: value, f"{name}_interval": metrics.interval(shares[1:], value)}
