"""Write a table as Markdown, LaTeX (booktabs) or CSV.

Rows may come from anybody: what a name would do in HTML, LaTeX or a spreadsheet is escaped here, and line ends too.
"""

from __future__ import annotations

import csv
import io
import math
import re

from reporting.table import Cell, Table
from runtime.messages import printable

# LaTeX reads these characters as commands, or its usual fonts lack them.
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "†": r"\textdagger{}", "Δ": r"$\Delta$",
    "–": "--", "×": r"$\times$", "÷": r"$\div$", "λ": r"$\lambda$", "μ": r"$\mu$", "ε": r"$\varepsilon$",
    "≥": r"$\geq$", "≤": r"$\leq$", "<": r"\textless{}", ">": r"\textgreater{}", "²": r"$^2$",
    "¹": r"$^1$", "‡": r"\textdaggerdbl{}",
}  # fmt: skip

# The beginning of a number, of a missing number, of a count of runs, or of a difference.
NUMBER = re.compile(r"[+-]?\d|–|inf|nan|tie |=$|$")


# A spreadsheet computes what begins like this, unless it is a number.
FORMULA = re.compile(r"\s*[=+@\t\r-]")
PLAIN_NUMBER = re.compile(r"[+-]?[\d.,]+(e[+-]?\d+)?( ± [\d.,]+)?")


def markdown(table: Table) -> str:
    """Return the table as Markdown, the best of each column in bold, footnotes below."""
    lines = [
        list(map(markdown_escaped, table.full_header)),
        ["---:" if right else "---" for right in _to_the_right(table)],
    ]
    lines += [
        [f"**{markdown_escaped(c.text)}**" if c.is_best else markdown_escaped(c.text) for c in row]
        for row in table.rows
    ]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return text + "".join(f"\n{note}\n" for note in table.footnotes)


def latex(table: Table) -> str:
    r"""Return a `tabular` for a document with `\usepackage{booktabs}`, footnotes below the last rule."""
    header = " & ".join(map(latex_escaped, table.header))
    body = "".join(f"{' & '.join(map(_latex_cell, row))} \\\\\n" for row in table.rows)
    notes = "".join(
        f"\\multicolumn{{{len(table.header)}}}{{l}}{{\\footnotesize {latex_escaped(note)}}} \\\\\n"
        for note in table.footnotes
    )
    columns = "".join("r" if right else "l" for right in _to_the_right(table))
    header = f"{_latex_groups(table)}{header}"
    return (
        f"% {latex_escaped(table.title)}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n{header} \\\\\n\\midrule\n{body}"
        f"\\bottomrule\n{notes}\\end{{tabular}}\n"
    )


def latex_float(table: Table, caption: str, label: str) -> str:
    r"""Return the same as a `table` with a caption above, for `\ref{label}`; texts are printed letter by letter."""
    label = re.sub(r"[^A-Za-z0-9:.+-]", "-", label)
    return (
        f"\\begin{{table}}\n\\caption{{{latex_escaped(caption)}}}\n\\label{{{label}}}\n\\centering\n"
        f"{latex(table)}\\end{{table}}\n"
    )


def _latex_groups(table: Table) -> str:
    """Return the line above the header, a rule under each group; nothing for a table without groups."""
    if not table.groups:
        return ""
    names, rules, place = [], [], 2
    for name, count in table.groups:
        names.append(f"\\multicolumn{{{count}}}{{c}}{{{latex_escaped(name)}}}")
        rules.append(f"\\cmidrule(lr){{{place}-{place + count - 1}}}")
        place += count
    return f" & {' & '.join(names)} \\\\\n{' '.join(rules)}\n"


def comma_separated(table: Table) -> str:
    """Return plain values; a mean has two more columns for the ends of its interval."""
    means = [any(row[place].mean for row in table.rows) for place in range(len(table.header))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [n for name, is_mean in zip(table.full_header, means, strict=True) for n in _csv_names(name, is_mean)]
    )
    for row in table.rows:
        writer.writerow([v for cell, is_mean in zip(row, means, strict=True) for v in _csv_values(cell, is_mean)])
    return out.getvalue()


def latex_escaped(text: str) -> str:
    """Return `text` escaped, so that LaTeX prints it letter by letter."""
    return "".join(LATEX.get(letter, letter) for letter in printable(text))


def markdown_escaped(text: str) -> str:
    r"""Return `text` for a cell or a title: no end of the cell, no HTML, no link, no picture.

    >>> markdown_escaped("a|b <b>c</b> [d](e)")
    'a\\|b &lt;b>c&lt;/b> [d]\\(e)'
    """
    text = printable(text).replace("\\", "\\\\").replace("|", "\\|").replace("](", "]\\(")
    return re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")


def csv_escaped(value: object) -> object:
    """Return text that a spreadsheet would compute with `'` before it, and anything else as it is.

    >>> csv_escaped("=1+1"), csv_escaped("-1.50"), csv_escaped(-2)
    ("'=1+1", '-1.50', -2)
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if FORMULA.match(text) and not PLAIN_NUMBER.fullmatch(text) else text


def _to_the_right(table: Table) -> list[bool]:
    """Return for each column whether it is right-aligned: numbers are, words are not."""
    columns = [[row[place].text for row in table.rows] for place in range(len(table.header))]
    return [False, *(all(NUMBER.match(text) for text in column) for column in columns[1:])]


def _latex_cell(cell: Cell) -> str:
    text = latex_escaped(cell.text)
    return f"\\textbf{{{text}}}" if cell.is_best else text


def _csv_names(name: str, is_mean: bool) -> list[str]:
    name = str(csv_escaped(name))
    return [name, f"{name} low", f"{name} high"] if is_mean else [name]


def _csv_values(cell: Cell, is_mean: bool) -> list[str]:
    if not is_mean:
        return [str(csv_escaped(cell.text))]
    if cell.mean is None:
        return ["", "", ""]
    numbers = (cell.mean.value, cell.mean.low, cell.mean.high)
    return ["" if math.isnan(number) else f"{number:.10g}" for number in numbers]
