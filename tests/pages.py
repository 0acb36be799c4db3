"""What README and docs show: commands, options, Python, YAML and output, in the order of a page."""

import re
import shlex
from typing import NamedTuple

from tests.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
INDENTED = re.compile(r"(?<=\n\n)((?: {4}.*\n)(?:(?: {4}.*)?\n)*)")
PROGRAMS = {
    *("python", "python3", "speechbrain-fv", "torchrun", "pip", "pytest", "git", "cd", "."),
    *("mkdocs", "lint-imports", "ruff", "pre-commit"),
}


class Block(NamedTuple):
    """A block of a page.

    kind : str, "shell", "options", "python", "yaml" or "text"
    text : str
    """

    kind: str
    text: str


def blocks(page):
    """Returns the indented and fenced blocks of a page, in its order."""
    text = page.read_text(encoding="utf-8")
    found = [(match.start(), match[1], match[2]) for match in FENCE.finditer(text)]
    # Of the same length, so that places in the page stay.
    rest = FENCE.sub(lambda match: re.sub(r"[^\n]", "-", match[0]), text)
    for match in INDENTED.finditer(rest):
        found.append((match.start(), "", re.sub(r"^ {4}", "", match[1], flags=re.M).strip("\n")))
    return [Block(_kind(language, text), text) for _, language, text in sorted(found)]


def _kind(language, text):
    if language in ("python", "yaml"):
        return language
    first = text.removeprefix("$ ")
    if language == "console" or first.split()[0] in PROGRAMS:
        return "shell"
    if re.match(r"from |import ", first):
        return "python"
    return (
        "options"
        if first.startswith("--") and first[2].isalpha()
        else ("yaml" if first.startswith("--- ") else "text")
    )


def commands(text):
    """Returns the commands of a shell block, each a list of words; "&&" separates two.

    Of a console's block the lines behind "$" are commands, the others what they print. Brackets
    around what is optional are left out.
    """
    text = re.sub(r"\\\n\s*", "", text)
    lines = text.splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    found = []
    for line in lines:
        if line.split(" ")[0] not in PROGRAMS:
            continue  # what the commands print
        words = shlex.split(re.sub(r" \[(--[^]]*)\]", r" \1", line), comments=True)
        while "&&" in words:
            found.append(words[: words.index("&&")])
            words = words[words.index("&&") + 1 :]
        found.append(words)
    return found


def inline_commands(page):
    """Returns the commands in backquotes in the text of a page, which begin with a program."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    spans = re.findall(r"`([^`\n]+)`", text)
    programs = ("python ", "speechbrain-fv ", "torchrun ", "pip ")
    return [shlex.split(span) for span in spans if span.startswith(programs) and "..." not in span]
