"""One HTML file with the tables and the figures of a run; it needs no network and no script."""

import base64
import io
import re
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from PIL import Image

from speechbrain_fv.evaluation.report import undefined
from speechbrain_fv.figures import report_tables
from speechbrain_fv.files import replacing

TEMPLATE = Path(__file__).with_name("report_template.html")
SCREEN_DPI = 110  # the figures have 200 dots per inch, for print
LARGEST_PNG = 2**19  # bytes
NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
VALUE = re.compile(r"(\S+) (\[[^][]+\])")
GROUPS = (
    "Positives and negatives both within the group, in %. other (k): k groups of few people, "
    'pooled. "-": too few people, or their attribute is unknown.'
)
LIMITS = (
    "Face-voice matching is biometric and error-prone: even on its easiest task it errs on a large "
    "share of pairs, and it does worse between people of one gender. Do not use it to identify "
    "anyone, or to decide about anyone.",
    "The values hold for the people tested here. Intervals tell how much they would vary with "
    "other people like these, not with other recordings, languages or groups.",
    "Gender, nationality and age serve to form strata and groups, and the gender part of L_id; "
    "they are the corpus's labels, and no embedding is computed from them.",
    "The contact sheet shows and plays clips of training people, retrieval sheets and maps show "
    "and play those of test people, with their names. Pass this file on only as the corpus's terms "
    "and these people's rights allow.",
)


def write_html_report(path, files, figures, missing):
    """Writes the report of a run, whole or not at all.

    Arguments
    ---------
    path : str or Path
        The HTML file.
    files : RunFiles
        Of the run; what it lacks is left out.
    figures : list of RunFigure
        With a PNG each, which is embedded.
    missing : dict of str to str
        Title of each figure that could not be drawn -> why.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_printable)
    environment.filters["cell"] = _cell
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    title, about = report_tables.title(files)
    text = template.render(
        title=title,
        about=about,
        facts=report_tables.facts(files),
        sections=[section for section in _sections(files, figures, missing) if _filled(section)],
    )
    with replacing(path) as file:
        file.write(text.encode())


def _printable(value):
    """Returns text without the characters that HTML forbids."""
    return NOT_TEXT.sub("\ufffd", value) if type(value) is str else value


def _sections(files, figures, missing):
    """Returns the sections in reading order; empty ones too."""
    report = files.optional("report", {})
    bootstrap = report.get("bootstrap", {}).get("num_replicates")
    lines = ["Values in %."]
    if bootstrap:
        lines = [
            f"Values in %, with 95 % intervals of {bootstrap} bootstrap replicates over identities."
        ]
    results, groups = report_tables.results(report), report_tables.groups(files)
    if results:
        results[0] = results[0]._replace(notes=(report_tables.STRATA, *results[0].notes))
    try:
        yaml = files.path("hyperparams.yaml").read_text(encoding="utf-8", errors="replace")
    except ValueError:
        yaml = ""
    return [
        _section("results", "Results", tables=results, lines=lines if results else ()),
        _section("figures", "Figures", figures=[_embedded(figure) for figure in figures]),
        _section("people", "People", tables=report_tables.people(report)),
        _section("groups", "Within groups", tables=groups, lines=[GROUPS] if groups else ()),
        _section("lists", "Trial lists", tables=report_tables.lists(report)),
        _section("data", "Data and leakage", items=report_tables.data(files)),
        _section("undefined", "Undefined strata", items=_undefined(report)),
        _section("missing", "Figures not drawn", items=list(missing.items())),
        _section("limits", "Limits", lines=LIMITS),
        _section("settings", "Settings", yaml=yaml),
    ]


def _undefined(report):
    """Returns (what, why) of strata by their path, and of what the score cannot do in one line."""
    if "score" not in report:
        return list(report.get("reasons", {}).items())
    return list(undefined(report).items())


def _section(name, title, tables=(), figures=(), lines=(), items=(), yaml=""):
    return {
        "id": name,
        "title": title,
        "tables": tables,
        "figures": figures,
        "lines": lines,
        # Not "items", which a template would take for the method of the dict.
        "entries": items,
        "yaml": yaml,
    }


def _filled(section):
    return any(section[part] for part in ("tables", "figures", "lines", "entries", "yaml"))


def _cell(text):
    """Returns the value of a cell and its interval, which a narrow page puts below; "" without."""
    value, interval = VALUE.fullmatch(text).groups() if VALUE.fullmatch(text) else (text, "")
    return value, interval


def _embedded(figure):
    """Returns what the template needs of a figure."""
    sounds = [
        (title, [(sound.name, base64.b64encode(sound.mp3).decode()) for sound in row])
        for title, row in figure.sounds
    ]
    content, kind = figure.paths[0].read_bytes(), "png"
    with Image.open(figure.paths[0]) as image:
        width, height = image.size
        scale = SCREEN_DPI / image.info["dpi"][0]
        if len(content) > LARGEST_PNG:  # photographs and spectrograms
            file, kind = io.BytesIO(), "jpeg"
            image.convert("RGB").save(file, "JPEG", quality=88)
            content = file.getvalue()
    return {
        "name": figure.name,
        "title": figure.title,
        "caption": figure.caption,
        "alt": figure.alt,
        "image": f"data:image/{kind};base64,{base64.b64encode(content).decode()}",
        "width": round(width * scale),
        "height": round(height * scale),
        "sounds": sounds,
    }
