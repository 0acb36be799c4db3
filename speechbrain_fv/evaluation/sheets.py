"""Tables for papers: what their cells are, and their text in Markdown and LaTeX."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from speechbrain_fv.files import replacing

PREAMBLE = r"% \usepackage{booktabs, graphicx}"  # the first line of a file of tables

_SPECIAL = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # at the beginning of a row it would be an option of the line break before it
}


class Measured(NamedTuple):
    """A value in percent; None where undefined.

    `marked`: its interval does not hold 0. `best`: none of the values beside it is better.
    """

    value: float
    std: float | None = None
    low: float | None = None
    high: float | None = None
    signed: bool = False
    marked: bool = False
    best: bool = False


class Printed(NamedTuple):
    """A published value in percent, as printed, with the number of its footnote or None."""

    text: str
    note: int | None = None


@dataclass
class Sheet:
    """One table.

    Arguments
    ---------
    name : str
        Of its file, and its label in LaTeX.
    title : str
    head : list of str
    rows : list of list
        Cells: text, `Measured`, `Printed`, or None for a dash.
    notes : list of str
        Below the table.
    """

    name: str
    title: str
    head: list
    rows: list
    notes: list = field(default_factory=list)


def cell_text(cell):
    """Returns a cell as plain text.

    Example
    -------
    >>> cell_text(Measured(71.234, 0.5, 70.0, 72.5, marked=True)), cell_text(Printed("53.1", 2))
    ('71.2 ± 0.5 [70.0, 72.5]*', '53.1 (2)')
    >>> cell_text(Measured(-1.2, None, -2.0, -0.4, signed=True)), cell_text(None)
    ('-1.2 [-2.0, -0.4]', '-')
    """
    if cell is None:
        return "-"
    if isinstance(cell, Printed):
        return cell.text + (f" ({cell.note})" if cell.note else "")
    if not isinstance(cell, Measured):
        return str(cell)
    form = "+.1f" if cell.signed else ".1f"
    text = f"{cell.value:{form}}"
    text += f" ± {cell.std:.1f}" if cell.std is not None else ""
    text += f" [{cell.low:{form}}, {cell.high:{form}}]" if cell.low is not None else ""
    return text + ("*" if cell.marked else "")


def markdown(sheet):
    """Returns a sheet as a Markdown section."""
    lines = [f"## {sheet.title}", "", _row(sheet.head)]
    lines.append(_row("---:" if numeric else "---" for numeric in _numeric(sheet)))
    lines += [_row(map(_markdown_cell, row)) for row in sheet.rows]
    for note in sheet.notes:
        lines += ["", note]
    return "\n".join(lines) + "\n"


def _markdown_cell(cell):
    return f"**{cell_text(cell)}**" if getattr(cell, "best", False) else cell_text(cell)


def _numeric(sheet):
    """Returns, of each column, whether all its cells are numbers; these stand on the right."""
    columns = zip(*sheet.rows, strict=True)
    return [
        any(column) and all(cell is None or isinstance(cell, Measured | Printed) for cell in column)
        for column in columns
    ]


def _row(cells):
    return "| " + " | ".join(str(cell).replace("|", r"\|") for cell in cells) + " |"


def latex(sheet):
    """Returns a sheet as a LaTeX table; needs the packages booktabs and graphicx.

    Example
    -------
    >>> print(latex(Sheet("t", "50 %", ["a_b", "U"], [["x", Measured(1.0, 0.5, best=True)]])))
    \\begin{table}
    \\centering
    \\caption{50 \\%}
    \\label{tab:t}
    \\resizebox{\\linewidth}{!}{%
    \\begin{tabular}{lr}
    \\toprule
    a\\_b & U \\\\
    \\midrule
    x & $\\mathbf{1.0 \\pm 0.5}$ \\\\
    \\bottomrule
    \\end{tabular}}
    \\end{table}
    <BLANKLINE>
    """
    columns = "".join("r" if numeric else "l" for numeric in _numeric(sheet))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(sheet.title)}}}",
        rf"\label{{tab:{sheet.name}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(escape, sheet.head)) + r" \\",
        r"\midrule",
        *(" & ".join(map(_latex_cell, row)) + r" \\" for row in sheet.rows),
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    lines += [rf"\par\footnotesize {escape(note)}" for note in sheet.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_cell(cell):
    if cell is None:
        return "--"
    if isinstance(cell, Printed):
        return cell.text + (f"$^{{({cell.note})}}$" if cell.note else "")
    if not isinstance(cell, Measured):
        return escape(cell)
    text = cell_text(cell).replace("±", r"\pm").removesuffix("*")
    text = rf"\mathbf{{{text}}}" if cell.best else text
    return f"${text}{'^*' if cell.marked else ''}$"


def escape(text):
    """Returns a text with LaTeX's special characters escaped; "--" stays two hyphens.

    Example
    -------
    >>> escape("L_id 5 % <x>")
    'L\\\\_id 5 \\\\% \\\\textless{}x\\\\textgreater{}'
    >>> escape("--lr [x]")
    '-{}-lr {[}x]'
    """
    text = re.sub(r"[&%$#_{}\\~^<>\[]", lambda match: _SPECIAL[match.group()], str(text))
    return re.sub("-(?=-)", "-{}", text)


def write_sheets(folder, sheets, introduction=""):
    """Writes table.md and table.tex in a folder, each whole or not at all; nothing of no sheet.

    Arguments
    ---------
    folder : str or Path
    sheets : sequence of Sheet
    introduction : str
        Markdown above the first table.
    """
    if not sheets:
        return
    parts = [introduction] if introduction else []
    with replacing(Path(folder) / "table.md") as file:
        file.write("\n".join([*parts, *map(markdown, sheets)]).encode())
    with replacing(Path(folder) / "table.tex") as file:
        file.write("\n".join([PREAMBLE, *map(latex, sheets)]).encode())
