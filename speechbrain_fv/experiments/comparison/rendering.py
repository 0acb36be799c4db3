"""Sheets -> Markdown and LaTeX."""

import re

from speechbrain_fv.experiments.comparison.tables import Measured, Printed

PREAMBLE = r"% \usepackage{booktabs, graphicx}"  # the first line of a file of tables

_SPECIAL = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


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
    lines = [f"## {sheet.title}", "", _row(sheet.head), _row(["---"] * len(sheet.head))]
    lines += [_row(cell_text(cell) for cell in row) for row in sheet.rows]
    for note in sheet.notes:
        lines += ["", note]
    return "\n".join(lines) + "\n"


def _row(cells):
    return "| " + " | ".join(str(cell).replace("|", r"\|") for cell in cells) + " |"


def latex(sheet):
    """Returns a sheet as a LaTeX table; needs the packages booktabs and graphicx.

    Example
    -------
    >>> from speechbrain_fv.experiments.comparison.tables import Sheet
    >>> print(latex(Sheet("t", "50 %", ["a_b", "U"], [["x", Measured(1.0, 0.5)]])))
    \\begin{table}
    \\centering
    \\caption{50 \\%}
    \\label{tab:t}
    \\resizebox{\\linewidth}{!}{%
    \\begin{tabular}{ll}
    \\toprule
    a\\_b & U \\\\
    \\midrule
    x & $1.0 \\pm 0.5$ \\\\
    \\bottomrule
    \\end{tabular}}
    \\end{table}
    <BLANKLINE>
    """
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(sheet.title)}}}",
        rf"\label{{tab:{sheet.name}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{{'l' * len(sheet.head)}}}",
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
    return f"${text}{'^*' if cell.marked else ''}$"


def escape(text):
    """Returns a text with LaTeX's special characters escaped.

    Example
    -------
    >>> escape("L_id 5 % <x>")
    'L\\\\_id 5 \\\\% \\\\textless{}x\\\\textgreater{}'
    """
    return re.sub(r"[&%$#_{}\\~^<>]", lambda match: _SPECIAL[match.group()], str(text))
