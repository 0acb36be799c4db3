"""The tables of the HTML report: text cells, in percent, "-" where a value is undefined."""

import re
from typing import NamedTuple

from speechbrain_fv.evaluation.lists import list_reasons
from speechbrain_fv.evaluation.report import shown_candidates
from speechbrain_fv.figures.plots import has_values
from speechbrain_fv.figures.plots.results import TITLES

SETTINGS = ("seed", "embedding_dim", "num_clusters", "batch_size", "lr", "gamma1", "gamma2")
MAX_NAMED = 10
NUMBER = re.compile(r"-|-?[\d.,]+( \[.*\])?")
INVENTED = {"embedded"}
"""Corpora of people who do not exist."""
REAL = re.compile("voxceleb|mavceleb")
STRATA = (
    "A stratum says who the other person of a pair may be. U: anybody else. G: of the same gender. "
    "N: of the same nationality. A: of the same age group. GN: of the same gender and nationality. "
    "GNA: of the same gender, nationality and age group."
)


class Table(NamedTuple):
    """A table: title, column names, rows of text whose first cell is the row's name, notes."""

    title: str
    columns: list
    rows: list
    notes: tuple = ()

    def is_number(self, column):
        """Whether all cells of a column are numbers, perhaps with intervals, or "-"."""
        return all(NUMBER.fullmatch(row[column]) for row in self.rows)


def cell(node, name):
    """Returns a value of a report in percent with its interval; "-" where it is undefined.

    Example
    -------
    >>> cell({"auc": 0.8527, "auc_interval": [0.801, 0.899]}, "auc"), cell(None, "auc")
    ('85.27 [80.1, 89.9]', '-')
    """
    value = None if node is None else node.get(name)
    if value is None:
        return "-"
    interval = node.get(f"{name}_interval")
    ends = f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if interval else ""
    return f"{100 * value:.2f}{ends}"


def count(node, name):
    """Returns a count with separated thousands; "-" where it is absent."""
    value = None if node is None else node.get(name)
    return "-" if value is None else f"{value:,}"


def title(files):
    """Returns a report's title, with method, corpus and whether its people are real, and a line.

    The line says what that means; it is "" where there is nothing to say.
    """
    method = files.optional("hyperparameters", {}).get("method")
    preparation = files.optional("preparation", {})
    corpus = preparation.get("corpus")
    if not corpus:
        return f"Face-voice matching: {method or files.folder.resolve().name}", ""
    parts = str(corpus).split("+")
    invented = [part in INVENTED for part in parts]
    words, line = "", ""
    if all(invented):
        words = " (invented people)"
        line = (
            "A program drew these people's faces and made up their voices: no value here tells "
            "anything about real people."
        )
    elif any(invented):
        words = " (some people invented)"
        line = (
            "Some people of this corpus are invented, so its values are not those of real people."
        )
    elif all(REAL.match(part) for part in parts):
        words = " (real people)"
    if preparation.get("options", {}).get("shuffle_voices"):
        line += " Everybody has the voice of somebody else here, so that all should be at chance."
    method = f"{method} on " if method else ""
    return f"Face-voice matching: {method}{corpus}{words}", line


def facts(files):
    """Returns the table of what was run, from the files that are there."""
    settings = files.optional("hyperparameters", {})
    preparation = files.optional("preparation", {})
    report = files.optional("report", {})
    rows = [["Folder", str(files.folder.resolve())]]
    rows += [["Corpus", preparation["corpus"]]] if "corpus" in preparation else []
    rows += [
        [f"Split {split}", _sizes(counts)]
        for split, counts in preparation.get("splits", {}).items()
    ]
    if "num_identities" in report:
        rows.append(["Evaluated", _sizes(report)])
    if "score" in report:
        rows.append(["Score", report["score"]])
    rows += [[name, str(settings[name])] for name in SETTINGS if name in settings]
    training = report.get("training", {})
    if "best_epoch" in training:
        length = "{num_steps} steps, {num_epochs} epochs; best is epoch {best_epoch}"
        rows.append(["Training", length.format(**training) + _best(training)])
    return Table("What was run", ["Item", "Value"], rows)


def _best(training):
    """Returns the value that chose the epoch, of a score that has no AUC another one than it."""
    name, value = training.get("monitor", "AUC"), training.get("best_valid")
    value = training.get("best_valid_auc") if "monitor" not in training else value
    return "" if value is None else f" (validation {name} {100 * value:.2f} %)"


def _sizes(counts):
    return "{num_identities:,} identities, {num_faces:,} faces, {num_voices:,} voices".format(
        **counts
    )


def results(report):
    """Returns the tables of verification, matching and retrieval that the report has."""
    tables = []
    if has_values(report.get("verification")):
        columns = ["Stratum", "AUC", "EER", "positive pairs", "negative pairs"]
        rows = [
            [name, cell(node, "auc"), cell(node, "eer")]
            + [count(node, f"num_{kind}") for kind in ("positives", "negatives")]
            for name, node in report["verification"].items()
        ]
        tables.append(Table("Verification", columns, rows))
    tables += _by_clips(report)
    for direction, strata in report.get("matching", {}).items():
        if not has_values(strata):
            continue
        shown = shown_candidates(strata)
        rows = [
            [name]
            + [cell(node and node[candidates], "accuracy") for candidates in shown]
            + [count(node and node[shown[0]], "num_probes")]
            for name, node in strata.items()
        ]
        columns = ["Stratum", *(f"1:{candidates}" for candidates in shown), "probes"]
        notes = ("Chance: " + ", ".join(f"{100 / int(n):.2f}" for n in shown) + ".",)
        tables.append(
            Table(f"Matching, {direction} ({TITLES[direction].lower()})", columns, rows, notes)
        )
    if has_values(report.get("retrieval")):
        columns = ["Direction", "mAP", "mAP per identity", "chance", "queries", "gallery"]
        rows = [
            [name, cell(node, "map"), cell(node, "map_per_identity"), cell(node, "chance_map")]
            + [count(node, key) for key in ("num_queries", "gallery_size")]
            for name, node in report["retrieval"].items()
        ]
        tables.append(Table("Retrieval", columns, rows))
    return tables


def _by_clips(report):
    """Returns the tables of strata by attributes of clips, of named sets, and of a challenge."""
    tables = []
    sets = {name: node["verification"]["U"] for name, node in report.get("sets", {}).items()}
    sets |= {"mean": report["mean"]} if sets else {}
    for title, nodes in (("Clips that agree", report.get("clip_strata", {})), ("Test sets", sets)):
        columns = [title, "AUC", "EER", "positive pairs", "negative pairs"]
        rows = [
            [name, cell(node, "auc"), cell(node, "eer")]
            + [count(node, f"num_{kind}") for kind in ("positives", "negatives")]
            for name, node in nodes.items()
        ]
        notes = [f"{n}: {node['reason']}." for n, node in nodes.items() if "reason" in (node or {})]
        if rows:
            tables.append(Table(f"Verification, {title.lower()}", columns, rows, tuple(notes)))
    challenge = report.get("challenge")
    if challenge:
        nodes = {f"{part}, {of['language']}": of for part, of in challenge["lists"].items()}
        nodes |= {name: challenge[name] for name in ("mean", "overall") if name in challenge}
        rows = [[name, cell(of, "eer"), cell(of, "official_eer")] for name, of in nodes.items()]
        title = f"Challenge, trained on {challenge['trained_on']}"
        tables.append(Table(title, ["List", "EER", "official EER"], rows))
    return tables


def people(report):
    """Returns the tables of the people, each the average of the clips, if the report has them."""
    section = report.get("people")
    if not section:
        return []
    notes = tuple(
        f"{modality.capitalize()}s per person: {of['median']:g}, from {of['least']} to "
        f"{of['most']}; {section['weights'][modality]} weights."
        for modality, of in section["clips"].items()
    )
    return [
        table._replace(title=f"{table.title}, people", notes=(*table.notes, *notes))
        for table in results(section)
    ]


def groups(files):
    """Returns a table per attribute of the values within groups."""
    columns = ["Group", "people", "AUC", "EER", "positive pairs", "negative pairs"]
    return [
        Table(
            attribute,
            columns,
            [
                [entry["group"], count(entry, "num_identities")]
                + [cell(entry, name) for name in ("auc", "eer")]
                + [count(entry, f"num_{kind}") for kind in ("positives", "negatives")]
                for entry in entries
            ],
        )
        for attribute, entries in (files.optional("groups") or {}).items()
    ]


def lists(report):
    """Returns the table of the trial lists, if the report has any."""
    rows, notes = [], []
    for name, entry in report.get("lists", {}).items():
        trials = " x ".join(f"{number:,}" for number in entry["num_rows"])
        if entry.get("as_published") is False:
            published = " x ".join(f"{number:,}" for number in entry["published_num_rows"])
            trials += f" (published: {published})"
        unresolved = count(entry, "num_unresolved_rows")
        rows += [
            [name, label, value, chance, trials, unresolved]
            for label, value, chance in _list_values(entry)
        ]
        notes += [f"{name}: {reason}." for reason in list_reasons(entry)]
    columns = ["List", "value", "%", "chance", "trials", "of which unresolved"]
    return [Table("Trial lists", columns, rows, tuple(notes))] if rows else []


def _list_values(entry):
    """Returns (label, value, chance) of each value of a list, as text."""
    if entry["kind"] == "verification":
        return [("AUC", cell(entry, "auc"), "50.00"), ("EER", cell(entry, "eer"), "50.00")]
    if entry["kind"] == "matching":
        return [
            (f"1:{size}", cell(node, "accuracy"), cell(node, "chance"))
            for size, node in entry["accuracy"].items()
        ]
    return [("mAP", cell(entry, "map"), cell(entry, "chance_map"))]


def data(files):
    """Returns (name, text) of exclusions and of the leakage check."""
    return [*_exclusions(files), *_leakage(files.optional("report", {}).get("leakage"))]


def _exclusions(files):
    excluded = files.optional("excluded")
    if excluded is None:
        return []
    entries = [("Files left out", f"{len(excluded):,}; see manifests/excluded.csv")]
    reasons = excluded.groupby(["modality", "reason"]).size().sort_values(ascending=False)
    entries += [
        (f"{modality}, {reason}", f"{number:,}")
        for (modality, reason), number in reasons.head(MAX_NAMED).items()
    ]
    if len(reasons) > MAX_NAMED:
        entries.append(("Other reasons", f"{reasons.iloc[MAX_NAMED:].sum():,}"))
    one_sided = files.optional("preparation", {}).get("one_sided_identities", [])
    if one_sided:
        more = ", …" if len(one_sided) > MAX_NAMED else ""
        named = ", ".join(one_sided[:MAX_NAMED]) + more
        entries.append(("People without a face or a voice", f"{len(one_sided):,}: {named}"))
    return entries


def _leakage(leakage):
    if leakage is None:
        return []
    if not leakage["checked"]:
        return [("Leakage", "not checked; the training identities are unknown")]
    parts = [
        (
            f"Leakage, {name}",
            "{num_leaked_identities:,} of {num_identities:,} identities, {num_leaked_pairs:,} of "
            "{num_pairs:,} pairs".format(**part),
        )
        for name, part in leakage["parts"].items()
    ]
    leaked = len(leakage["identities"])
    verdict = f"{leaked:,} people of the test were trained on" if leaked else "none found"
    return [("Leakage", verdict), *(parts if leaked else [])]
