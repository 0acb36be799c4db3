"""The tables of a model card: every value with its interval, and no value silently left out."""

from typing import NamedTuple

from speechbrain_fv import protocols
from speechbrain_fv.evaluation.report import percent, shown_candidates, undefined
from speechbrain_fv.figures.plots import has_values

DIRECTIONS = {"F-V": "a face looks for its voice", "V-F": "a voice looks for its face"}


class Table(NamedTuple):
    """A table: its title, a sentence above it, names of columns, rows of text."""

    title: str
    note: str
    columns: list
    rows: list


def take(node, *path, of="report.json"):
    """Returns a value of nested dicts; ValueError that names it if it is missing.

    Example
    -------
    >>> take({"training": {"num_steps": 7}}, "training", "num_steps")
    7
    """
    value = node
    for name in path:
        if not isinstance(value, dict) or name not in value:
            raise ValueError(
                f"{of}: no {'/'.join(path)}; a model card needs it, so train or evaluate again"
            )
        value = value[name]
    return value


def cell(node, name, place):
    """Returns a share in percent with its interval, or "undefined" where it has no value.

    Arguments
    ---------
    node : dict
        With the share and its interval, either of them possibly None.
    name : str
    place : str
        Where the node is, for messages.

    Raises
    ------
    ValueError
        If the share or its interval is absent.

    Example
    -------
    >>> cell({"auc": 0.8527, "auc_interval": [0.801, 0.899]}, "auc", "")
    '85.27 [80.1, 89.9]'
    """
    value, interval = take(node, name, of=place), take(node, f"{name}_interval", of=place)
    return "undefined" if value is None else percent(value, interval)


def others(stratum):
    """Returns who the other person of a pair can be.

    Example
    -------
    >>> others("U"), others("GNA")
    ('anybody else', 'of the same gender, nationality and age group')
    """
    shared = protocols.stratum_attributes(stratum)
    if not shared:
        return "anybody else"
    first = f"{', '.join(shared[:-1])} and " if shared[1:] else ""
    return f"of the same {first}{shared[-1].replace('age', 'age group')}"


def strata(report):
    """Returns name, meaning and, if it is undefined, the reason for each stratum.

    Raises
    ------
    ValueError
        If a stratum is undefined without a reason.
    """
    lines, nodes = [], take(report, "verification")
    for name, node in nodes.items():
        lines.append({"name": name, "others": others(name), "undefined": ""})
        if node is None and has_values(nodes):
            reason = _reason(report, f"verification/{name}")
            lines[-1]["undefined"] = f". Undefined: {reason}"
    return lines


def unable(report):
    """Returns sentences about what the model's score cannot do."""
    if "score" not in report:
        return []
    names = take(report, "verification")
    reasons = undefined(report).items()
    return [f"{name}: undefined, {reason}" for name, reason in reasons if name not in names]


def result_tables(report, config):
    """Returns the tables of verification, 1:2 matching, retrieval and error rates.

    What the model's score cannot do has no table; for 1:2 stands what it can do instead.

    Arguments
    ---------
    report : dict
        With verification, matching and retrieval.
    config : dict
        With error_rates and calibration; None where the score gives a pair none.

    Returns
    -------
    list of Table

    Raises
    ------
    ValueError
        If a value is missing.
    """
    tables = []
    if has_values(take(report, "verification")):
        tables.append(_verification(report))
    for direction in DIRECTIONS:
        if has_values(take(report, "matching", direction)):
            tables.append(_matching(report, direction))
    if has_values(take(report, "retrieval")):
        tables.append(_retrieval(report))
    if take(config, "error_rates", of="config.json") is not None:
        tables.append(_errors(report, config))
    return tables


def group_tables(report):
    """Returns a table for each of gender, nationality and age that the report has; or none."""
    tables = []
    for attribute, entries in report.get("groups", {}).items():
        rows = []
        for entry in entries:
            place = f"report.json, groups/{attribute}"
            values = ["too few people", "too few people", "0", "0"]
            if take(entry, "kind", of=place) == "unknown" or "reason" in entry:
                values = ["not scored", "not scored", "0", "0"]
            if take(entry, "auc", of=place) is not None:
                values = _measured(entry, place, ("auc", "eer"), ("positives", "negatives"))
            name = take(entry, "group", of=place)
            rows.append([name, f"{take(entry, 'num_identities', of=place):,}", *values])
        note = "Verification among the people of each group alone."
        columns = ["Group", "People", "AUC", "EER", "Pairs of one person", "Pairs of two"]
        tables.append(Table(f"Within groups: {attribute}", note, columns, rows))
    return tables


def _verification(report):
    rows = _by_stratum(
        report,
        "verification",
        take(report, "verification"),
        lambda node, place: _measured(node, place, ("auc", "eer"), ("positives", "negatives")),
    )
    columns = ["Stratum", "AUC", "EER", "Pairs of one person", "Pairs of two"]
    return Table("Verification", "Is it one person? Chance is 50 in both.", columns, rows)


def _matching(report, direction):
    nodes = take(report, "matching", direction)
    size = "2" if "score" not in report else shown_candidates(nodes)[0]
    rows = _by_stratum(
        report,
        f"matching/{direction}",
        nodes,
        lambda node, place: _measured(
            take(node, size, of=place), place, ("accuracy",), ("probes",)
        ),
    )
    number = "two" if size == "2" else size
    note = (
        f"Of {number} candidates, which one: {DIRECTIONS[direction]}. "
        f"Chance is {100 / int(size):.4g}."
    )
    return Table(f"1:{size} matching, {direction}", note, ["Stratum", "Accuracy", "Probes"], rows)


def _retrieval(report):
    rows = []
    for direction, meaning in DIRECTIONS.items():
        node = take(report, "retrieval", direction)
        if node is None:
            _reason(report, f"retrieval/{direction}")
            continue
        place = f"report.json, retrieval/{direction}"
        chance = percent(take(node, "chance_map", of=place))
        counts = [f"{take(node, name, of=place):,}" for name in ("num_queries", "gallery_size")]
        rows.append([f"{direction}, {meaning}", cell(node, "map", place), chance, *counts])
    columns = ["Direction", "mAP", "Chance", "Queries", "Gallery"]
    return Table("Retrieval", "All clips of the test split are ranked.", columns, rows)


def _errors(report, config):
    threshold = take(config, "calibration", "threshold", of="config.json")
    rates = ("false_accept", "false_reject")
    rows = _by_stratum(
        report,
        "verification",
        take(config, "error_rates", of="config.json"),
        lambda node, _: _measured(
            node, "config.json, error_rates", rates, ("negatives", "positives")
        ),
    )
    note = f"Decided at the threshold {threshold:.3f}, fitted on the validation split."
    columns = [
        *("Stratum", "Two people accepted", "One person rejected"),
        *("Pairs of two", "Pairs of one person"),
    ]
    return Table("Error rates", note, columns, rows)


def _by_stratum(report, task, nodes, values):
    """Returns a row for each stratum: its values, or that it is undefined, which has a reason."""
    rows = []
    for stratum, node in nodes.items():
        if node is None:
            _reason(report, f"{task}/{stratum}")
        rows.append([stratum, *(values(node, f"report.json, {task}/{stratum}") if node else ())])
    width = max(len(row) for row in rows)
    return [row if row[1:] else row + ["undefined"] * (width - 1) for row in rows]


def _measured(node, place, shares, counts):
    """Returns shares with intervals, then counts, as text."""
    numbers = [f"{take(node, f'num_{name}', of=place):,}" for name in counts]
    return [*(cell(node, name, place) for name in shares), *numbers]


def _reason(report, place):
    """Returns why a stratum is undefined; ValueError if the report does not tell."""
    reasons = take(report, "reasons")
    if place not in reasons:
        raise ValueError(f"report.json: no reason for the undefined {place}; evaluate again")
    return reasons[place]
