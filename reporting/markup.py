"""Write a table as Markdown, LaTeX (booktabs) or CSV."""

from __future__ import annotations

import csv
import io
import math
import re

from reporting.table import Cell, Table

# LaTeX reads these characters as commands, or its usual fonts lack them.
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "†": r"\textdagger{}", "Δ": r"$\Delta$",
    "–": "--", "×": r"$\times$", "÷": r"$\div$", "λ": r"$\lambda$", "μ": r"$\mu$", "ε": r"$\varepsilon$",
    "≥": r"$\geq$", "≤": r"$\leq$", "<": r"\textless{}", ">": r"\textgreater{}", "²": r"$^2$",
}  # fmt: skip

# The beginning of a number, of a missing number, or of a count of runs.
NUMBER = re.compile(r"[+-]?\d|–|inf|nan|$")


def markdown(table: Table) -> str:
    """Return the table as Markdown, the best of each column in bold, footnotes below."""
    lines = [table.header, ["---:" if right else "---" for right in _to_the_right(table)]]
    lines += [[f"**{_pipe(c.text)}**" if c.is_best else _pipe(c.text) for c in row] for row in table.rows]
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
    return (
        f"% {table.title}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n{header} \\\\\n\\midrule\n{body}"
        f"\\bottomrule\n{notes}\\end{{tabular}}\n"
    )


def comma_separated(table: Table) -> str:
    """Return plain values; a mean has two more columns for the ends of its interval."""
    means = [any(row[place].mean for row in table.rows) for place in range(len(table.header))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([n for name, is_mean in zip(table.header, means, strict=True) for n in _csv_names(name, is_mean)])
    for row in table.rows:
        writer.writerow([v for cell, is_mean in zip(row, means, strict=True) for v in _csv_values(cell, is_mean)])
    return out.getvalue()


def latex_escaped(text: str) -> str:
    """Return `text` escaped, so that LaTeX prints it letter by letter."""
    return "".join(LATEX.get(letter, letter) for letter in text)


def _to_the_right(table: Table) -> list[bool]:
    """Return for each column whether it is right-aligned: numbers are, words are not."""
    columns = [[row[place].text for row in table.rows] for place in range(len(table.header))]
    return [False, *(all(NUMBER.match(text) for text in column) for column in columns[1:])]


def _pipe(text: str) -> str:
    return text.replace("|", "\\|")


def _latex_cell(cell: Cell) -> str:
    text = latex_escaped(cell.text)
    return f"\\textbf{{{text}}}" if cell.is_best else text


def _csv_names(name: str, is_mean: bool) -> list[str]:
    return [name, f"{name} low", f"{name} high"] if is_mean else [name]


def _csv_values(cell: Cell, is_mean: bool) -> list[str]:
    if not is_mean:
        return [cell.text]
    if cell.mean is None:
        return ["", "", ""]
    numbers = (cell.mean.value, cell.mean.low, cell.mean.high)
    return ["" if math.isnan(number) else f"{number:.10g}" for number in numbers]
