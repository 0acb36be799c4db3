"""LaTeX tables, read strictly."""

import re


def tabulars(path):
    """Returns the rows of every tabular of a file, each a list of cells; fails where LaTeX would.

    Environments nest, every row has the cells that the columns announce, special characters are
    escaped, braces and dollars come in pairs, and labels are told apart.
    """
    text = path.read_text(encoding="utf-8")
    assert text.startswith("% \\usepackage{booktabs, graphicx}\n") and text.isascii()
    lines = text.split("\n")[1:]
    plain = re.sub(r"\\[&%$#_{}\\]", "", "\n".join(lines))
    assert not re.search(r"[#~]|%(?!$)", plain, re.M), "an unescaped special character"
    assert plain.count("{") == plain.count("}") and plain.count("$") % 2 == 0
    outside = re.sub(r"\\label\{[^}]*\}|\$[^$]*\$", "", plain)
    assert not re.search(r"[_^<>]", outside), "a sign of mathematics in text"
    labels = re.findall(r"\\label\{([^}]*)\}", text)
    assert len(labels) == len({*labels}) == text.count(r"\begin{table}")
    stack, tables = [], []
    for line in lines:
        for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", line):
            assert kind == "begin" or stack.pop() == name
            stack += [name] * (kind == "begin")
        if columns := re.match(r"\\begin\{tabular\}\{([lr]+)\}$", line):
            tables.append((len(columns[1]), []))
        elif line.endswith(r" \\"):
            cells = re.split(r" (?<!\\)& ", line.removesuffix(r" \\"))
            assert len(cells) == tables[-1][0], line
            tables[-1][1].append(cells)
    assert not stack
    return [rows for _, rows in tables]
