"""Slow bootstrap: the values of resampled people, by weights of pairs given to scikit-learn."""

from itertools import combinations
from statistics import NormalDist

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve


def draws(num_people, num_replicates, seed):
    """Returns how often each person is drawn, (num_replicates, num_people)."""
    shares = np.full(num_people, 1 / num_people)
    return np.random.default_rng(seed).multinomial(num_people, shares, size=num_replicates)


def interval(replicates, value):
    """Returns the 95 % interval about a value: percentiles counted from it, not from the median."""
    normal, known = NormalDist(), sorted(r for r in replicates if r == r)
    below = sum(0.5 if abs(r - value) < 1e-9 else float(r < value) for r in known) / len(known)
    below = min(max(below, 0.5 / len(known)), 1 - 0.5 / len(known))
    ends = []
    for share in (0.025, 0.975):
        place = normal.cdf(normal.inv_cdf(below) + normal.inv_cdf(share)) * (len(known) - 1)
        first = int(place)
        second = min(first + 1, len(known) - 1)
        ends.append(known[first] + (place - first) * (known[second] - known[first]))
    return min(ends[0], value), max(ends[1], value)


def weighted_pairs(scores, one, other, allowed, weights):
    """Returns labels, scores and weights: w_i for positives of i, w_i w_k for negatives."""
    same = one[:, None] == other
    weight = np.where(same, weights[one][:, None], np.outer(weights[one], weights[other]))
    weight = np.where(same | allowed[np.ix_(one, other)], weight, 0)
    return [part[weight > 0] for part in (same, scores, weight)]


def verification(scores, one, other, allowed, weights):
    """Returns (AUC, EER)."""
    label, score, weight = weighted_pairs(scores, one, other, allowed, weights)
    if label.all() or not label.any():
        return np.nan, np.nan
    accepted, found, _ = roc_curve(label, score, sample_weight=weight, drop_intermediate=False)
    eer = np.interp(0, accepted - (1 - found), accepted)
    return roc_auc_score(label, score, sample_weight=weight), eer


def true_accepts(scores, one, other, allowed, weights, false_accepts):
    """Returns the true accept rates of the ROC curve at false accept rates."""
    label, score, weight = weighted_pairs(scores, one, other, allowed, weights)
    accepted, found, _ = roc_curve(label, score, sample_weight=weight, drop_intermediate=False)
    return np.interp(false_accepts, accepted, found)


def resampled_gallery(query, person, scores, gallery, allowed, weights):
    """Returns the scores of a query's positives, and of its negatives with all their copies."""
    copies = np.where(allowed[person, gallery] & (gallery != person), weights[gallery], 0)
    return scores[query, gallery == person], np.repeat(scores[query], copies)


def win(positive, negatives, candidates):
    """Returns the expected win over every draw of candidates - 1 of the negatives."""
    drawn = np.array(list(combinations(negatives, candidates - 1)))
    best = drawn.max(axis=1)
    return np.mean((best <= positive) / (1 + (drawn == positive).sum(axis=1)))


def matching(scores, one, other, allowed, weights, candidates):
    """Returns the 1:N accuracy; queries of i count w_i times."""
    values, counts = [], []
    for query, person in enumerate(one):
        positives, negatives = resampled_gallery(query, person, scores, other, allowed, weights)
        if weights[person] and len(positives) and len(negatives) >= candidates - 1:
            values.append(np.mean([win(p, negatives, candidates) for p in positives]))
            counts.append(weights[person])
    return np.average(values, weights=counts) if values else np.nan


def retrieval(scores, one, other, weights):
    """Returns the mAP over queries and over people."""
    everyone = np.ones((len(weights), len(weights)), dtype=bool)
    values, queries = {}, []
    for query, person in enumerate(one):
        positives, negatives = resampled_gallery(query, person, scores, other, everyone, weights)
        if weights[person] and len(positives):
            label = np.r_[np.ones(len(positives)), np.zeros(len(negatives))]
            value = average_precision_score(label, np.r_[positives, negatives])
            values.setdefault(person, []).append(value)
            queries.append((value, weights[person]))
    if not queries:
        return np.nan, np.nan
    people = [(np.mean(v), weights[person]) for person, v in values.items()]
    return tuple(
        np.average(v, weights=w) for v, w in (zip(*queries, strict=True), zip(*people, strict=True))
    )
