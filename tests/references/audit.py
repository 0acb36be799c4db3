"""Slow audit of trial lists: loops over rows of names, exact shares."""

from fractions import Fraction
from itertools import pairwise

from tests.references.metrics import auc


def share(values):
    """Returns the share of true values, None of nothing."""
    values = list(values)
    return Fraction(sum(map(bool, values)), len(values)) if values else None


def longest_run(labels):
    """Returns the longest part of a list of labels in which every label differs from the last."""
    best = 0
    for start in range(len(labels)):
        for end in range(start + 1, len(labels) + 1):
            part = labels[start:end]
            if all(one != two for one, two in pairwise(part)):
                best = max(best, len(part))
    return best


def verification(rows, score):
    """Returns the audit of rows (probe, target, label), and a model's AUC by position."""
    labels = [label for _, _, label in rows]
    by_place = [number % 2 == 0 for number in range(len(rows))]
    sides = {True: [], False: []}
    truths = {True: [], False: []}
    for (probe, target, label), place in zip(rows, by_place, strict=True):
        sides[place].append(score(probe, target))
        truths[place].append(int(label))
    pairs = [(probe, target) for probe, target, _ in rows]
    both = {
        pair
        for pair in pairs
        if {label for one, two, label in rows if (one, two) == pair} == {True, False}
    }
    return {
        "positive_share": share(labels),
        "neighbours_differ": share(one != two for one, two in pairwise(labels)),
        "longest_run": longest_run(labels),
        "agreement": share(one == two for one, two in zip(labels, by_place, strict=True)),
        "perfect_auc": auc(truths[True], truths[False]),
        "auc": auc(sides[True], sides[False]),
        "num_repeated_rows": sum(pair in pairs[:row] for row, pair in enumerate(pairs)),
        "num_contradictory_pairs": len(both),
    }


def matching(rows):
    """Returns the share of positives, repeated rows and contradictory pairs of matching rows."""
    trials = [(row[0], row[1], sorted(row[2:])) for row in rows]
    positive = {(row[0], row[1]) for row in rows}
    negative = {(row[0], name) for row in rows for name in row[2:]}
    return {
        "positive_share": Fraction(len(rows), sum(len(row) - 1 for row in rows)),
        "num_repeated_rows": sum(trial in trials[:row] for row, trial in enumerate(trials)),
        "num_contradictory_pairs": len(positive & negative),
    }


def kept_promise(pairs, attribute_of):
    """Returns share, number known, number that differ of negative pairs of people."""
    known = [
        (attribute_of[one], attribute_of[two])
        for one, two in pairs
        if all(attribute_of[one]) and all(attribute_of[two])
    ]
    agree = [one == two for one, two in known]
    return {
        "share": share(agree),
        "num_pairs": len(known),
        "num_broken": len(agree) - sum(agree),
    }
