"""A report, or the comparison of two -> tables for papers, in table.md and table.tex."""

from speechbrain_fv.evaluation.report import higher_is_better, shown_candidates
from speechbrain_fv.evaluation.sheets import Measured, Sheet, write_sheets

ATTRIBUTES = {"G": "gender", "N": "nationality", "A": "age group"}
DIRECTIONS = {"F-V": "face to voice", "V-F": "voice to face"}
VALUES = {"auc": "AUC", "eer": "EER", "map": "mAP", "map_per_identity": "mAP per identity"}
INTERVALS = "[low, high]: 95 % interval from a bootstrap over the test identities."


def stratum_name(name):
    """Returns who the negatives of a stratum are, in words.

    Example
    -------
    >>> stratum_name("U"), stratum_name("GN"), stratum_name("language")
    ('everybody (U)', 'same gender and nationality (GN)', 'language')
    """
    if name == "U":
        return "everybody (U)"
    if not set(name) <= set(ATTRIBUTES):
        return name
    *others, last = (ATTRIBUTES[letter] for letter in name)
    return f"same {', '.join(others)}{' and ' if others else ''}{last} ({name})"


def value_name(path):
    """Returns the name of a value of a report in words.

    Example
    -------
    >>> value_name("verification/G/auc"), value_name("retrieval/V-F/map")
    ('AUC, same gender (G)', 'mAP, voice to face')
    >>> value_name("matching/F-V/U/2/accuracy"), value_name("people/verification/U/eer")
    ('1:2 matching, face to voice, everybody (U)', 'people: EER, everybody (U)')
    """
    match path.split("/"):
        case ["people", *rest]:
            return f"people: {value_name('/'.join(rest))}"
        case ["verification", stratum, name] if name in VALUES:
            return f"{VALUES[name]}, {stratum_name(stratum)}"
        case ["matching", direction, stratum, number, "accuracy"]:
            return f"1:{number} matching, {DIRECTIONS[direction]}, {stratum_name(stratum)}"
        case ["retrieval", direction, name] if name in VALUES:
            return f"{VALUES[name]}, {DIRECTIONS[direction]}"
    return path.replace("_", " ")


def report_sheets(report):
    """Returns the tables of a report: verification, matching by direction, and retrieval.

    Arguments
    ---------
    report : dict
        From `evaluate`, with any of its tasks; one that is undefined as a whole has no table.

    Returns
    -------
    list of Sheet
        In percent, with 95 % intervals if there was a bootstrap.
    """
    strata = report.get("verification", {})
    rows = [
        [stratum_name(name), _measured(node, "auc"), _measured(node, "eer")]
        for name, node in strata.items()
    ]
    sheets = [Sheet("verification", "Verification", ["negatives", "AUC", "EER"], rows)]
    for direction, strata in report.get("matching", {}).items():
        shown = shown_candidates(strata)
        rows = [
            [stratum_name(name), *(_measured(node and node[n], "accuracy") for n in shown)]
            for name, node in strata.items()
        ]
        title = f"Matching, {DIRECTIONS[direction]}: accuracy"
        head = ["negatives", *(f"1:{n}" for n in shown)]
        sheets.append(Sheet(f"matching_{direction}", title, head, rows))
    keys = ("map", "map_per_identity", "chance_map")
    rows = [
        [DIRECTIONS[direction], *(_measured(node, key) for key in keys)]
        for direction, node in report.get("retrieval", {}).items()
    ]
    head = ["direction", "mAP", "mAP per identity", "chance"]
    sheets.append(Sheet("retrieval", "Retrieval", head, rows))
    sheets = [sheet for sheet in sheets if any(any(row[1:]) for row in sheet.rows)]
    for sheet in sheets:
        sheet.notes = ["Values in %.", *([INTERVALS] if "bootstrap" in report else [])]
    return sheets


def _measured(node, key):
    """Returns a value of a report as a cell, None where it is undefined."""
    if node is None or node.get(key) is None:
        return None
    low, high = node.get(f"{key}_interval") or (None, None)
    return Measured(*(None if x is None else 100 * x for x in (node[key], None, low, high)))


def comparison_sheet(comparison, sources):
    """Returns the table of `paired.compare_reports`; the better of each pair of values is bold.

    Both are bold where the interval of their difference holds 0 or is undefined.

    Arguments
    ---------
    comparison : dict of str to dict
    sources : sequence of two str
        What is compared, by name.

    Example
    -------
    >>> sheet = comparison_sheet({"verification/U/eer": {"one": 0.2, "other": 0.15,
    ...     "difference": -0.05, "difference_interval": [-0.08, -0.02]}}, ["runs/x", "runs/y"])
    >>> [cell.best for cell in sheet.rows[0][1:]]
    [False, True, False]
    """
    rows = []
    for path, node in comparison.items():
        parts = path.split("/")
        if "matching" in parts and parts[-2] not in ("2", "5", "10"):
            continue
        low, high = ends = node["difference_interval"] or (None, None)
        cells = [_measured(node, key) for key in ("one", "other")]
        if None not in cells:
            gain = node["difference"] if _rises(path) else -node["difference"]
            tied = None in ends or low <= 0 <= high
            for place, wins in enumerate((tied or gain < 0, tied or gain > 0)):
                cells[place] = cells[place]._replace(best=wins)
        difference = _measured(node, "difference")
        if difference is not None:
            difference = difference._replace(
                low=None if low is None else 100 * low,
                high=None if high is None else 100 * high,
                signed=True,
            )
        rows.append([value_name(path), *cells, difference])
    notes = [f"A: {sources[0]}. B: {sources[1]}. Values in %. {INTERVALS}"]
    notes.append("Bold: the better one; both where the paired interval of B - A holds 0.")
    title = f"{sources[0]} (A) and {sources[1]} (B)"
    return Sheet("comparison", title, ["value", "A", "B", "B - A"], rows, notes)


def _rises(path):
    """Whether more is better; a challenge has error rates of names of their own."""
    return higher_is_better(path) and "eer" not in path.split("/")[-1]


def write_report_tables(folder, report):
    """Writes table.md and table.tex of a report in its folder; nothing if it has no table."""
    write_sheets(folder, report_sheets(report))
