"""Tables as LaTeX, to be taken in by `\\input`: booktabs and nothing else is needed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sonolearn.study.page.tables import Cell, Table

ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "{''}", "\N{MINUS SIGN}": "$-$", "±": r"$\pm$", "\N{NO-BREAK SPACE}": "~",
    "\N{EN DASH}": "--", "\N{ALMOST EQUAL TO}": r"$\approx$", "\N{BLACK CIRCLE}": r"$\bullet$",
    "×": r"$\times$", "\n": " ",
}  # fmt: skip


def escape(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(ESCAPES.get(letter, letter) for letter in text)


def latex(table: Table) -> str:
    """A `table` environment with caption and label; notes of cells stand in a row of their own."""
    columns = "l" * table.names + "r" * (len(table.head) - table.names)
    body = [_line([f"{escape(cell.text)}" for cell in table.head])]
    if any(cell.note for cell in table.head):
        body.append(_line([_small(cell) for cell in table.head]))
    body.append(r"\midrule")
    for row in table.rows:
        body.append(_line([_marked(cell) for cell in row]))
        if any(cell.note for cell in row):
            body.append(_line([_small(cell) for cell in row]))
    label = re.sub(r"[^a-z0-9]+", "-", table.name.lower()).strip("-")
    lines = [
        "% Needs \\usepackage{booktabs}.",
        r"\begin{table}[htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{escape(table.caption)}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _small(cell: Cell) -> str:
    return rf"{{\scriptsize {escape(cell.note)}}}" if cell.note else ""


def _marked(cell: Cell) -> str:
    return rf"\textbf{{{escape(f'{cell.sign} {cell.text}')}}}" if cell.mark else escape(cell.text)
