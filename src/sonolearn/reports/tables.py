"""A table of the page: the same cells for HTML and LaTeX, and the same figures, unrounded, as CSV."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sonolearn.planes.results import mean_sd
from sonolearn.reports.wording import NARROW, interval, percent_label, signed, span

MARKS = {"best": "\N{BLACK CIRCLE}", "equal": "\N{ALMOST EQUAL TO}", "": ""}
"""The highest mean of a column, and those that cannot be told from it."""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what it says.
        note: a second, smaller line.
        mark: a key of `MARKS`; marked cells are bold.
    """

    text: str
    note: str = ""
    mark: str = ""

    @property
    def sign(self) -> str:
        """The mark as a sign."""
        return MARKS[self.mark]


@dataclass(frozen=True)
class Table:
    """A table with a head, a name in the first `names` columns of each row, and numbers in all others.

    Attributes:
        name: of its LaTeX file, without an ending.
        caption: what the figures are.
        head: a cell a column.
        rows: cells, as many as the head has.
        names: how many columns are text.
    """

    name: str
    caption: str
    head: Sequence[Cell]
    rows: Sequence[Sequence[Cell]] = field(default_factory=tuple)
    names: int = 1


def table_of(name: str, caption: str, frame: pd.DataFrame, names: int = 1) -> Table:
    """A table of a frame whose values are texts already."""
    head = [Cell(str(column)) for column in frame.columns]
    rows = [[Cell(str(value)) for value in row] for row in frame.itertuples(index=False, name=None)]
    return Table(name, caption, head, rows, names)


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


WIDEST = 6
"""Label fractions side by side; more give another table."""


def score_tables(scores: pd.DataFrame, names: Sequence[str], title: str, name: str) -> list[Table]:
    """Macro F1 of one encoder and mode: mean ± SD, below it the interval over patients; the best are marked.

    Args:
        scores: `Analysis.scores` of the encoder and mode.
        names: initialisations in their order.
        title: of the encoder and mode.
        name: of the file.
    """
    told = (
        f" {MARKS['best']}: highest mean of the column; {MARKS['equal']}: no difference from that is shown (paired, "
        "corrected for all pairs and fractions)."
        if (scores["mark"] != "").any()
        else ""
    )
    caption = (
        f"{title}: macro F1 of the test part, mean ± SD over independent trainings (pre-trainings, or seeds where the "
        f"encoder is a fixed one). Below: 95 % bootstrap interval of the mean over test patients.{told}"
    )
    return list(_grids(scores, names, caption, name, _score_head, _score))


def other_score_tables(scores: pd.DataFrame, names: Sequence[str], title: str, name: str) -> list[Table]:
    """Balanced accuracy and accuracy of one encoder and mode: rows of `Analysis.other_scores`."""
    caption = f"{title}: balanced accuracy of the test part, mean ± SD over trainings. Below: accuracy."
    return list(_grids(scores, names, caption, name, _fraction_head, _other_score))


def _other_score(row: dict[str, Any]) -> Cell:
    return Cell(*(_mean_sd(row[score], row[f"{score}_sd"]) for score in ("balanced_accuracy", "accuracy")))


def plane_tables(table: pd.DataFrame, names: Sequence[str], title: str, name: str) -> list[Table]:
    """F1, precision and recall of each plane at the smallest and the largest fraction: rows of `plane_table`."""
    fractions = sorted(set(table["fraction"]))
    found = list[Table]()
    for fraction, end in dict(zip((fractions[0], fractions[-1]), ("smallest", "largest"), strict=True)).items():
        caption = (
            f"{title}, {percent_label(fraction)} of the labels: F1 of each plane, mean ± SD over trainings. Below: "
            "precision / recall. Below each plane: its images in the test part."
        )
        rows = table[table["fraction"] == fraction]
        found += _grids(rows, names, caption, f"{name}_{end}", _plane_head, _plane, across="plane")
    return found


def _plane_head(rows: pd.DataFrame) -> Cell:
    support = int(rows["support"].max())
    return Cell(str(rows["plane"].iloc[0]), f"{support} image{'' if support == 1 else 's'}")


def _plane(row: dict[str, Any]) -> Cell:
    if not row["support"]:
        return Cell("none")
    return Cell(_mean_sd(row["f1"], row["f1_sd"]), f"{row['precision']:.3f} / {row['recall']:.3f}")


def _mean_sd(mean: float, sd: float) -> str:
    return mean_sd(mean, sd).replace(" ", NARROW)


def _fraction_head(rows: pd.DataFrame) -> Cell:
    return Cell(percent_label(float(rows["fraction"].iloc[0])))


def _score_head(rows: pd.DataFrame) -> Cell:
    patients = span(rows["train_patients_least"].min(), rows["train_patients_most"].max())
    images = int(rows["train_images"].max())
    return Cell(percent_label(float(rows["fraction"].iloc[0])), f"{images} images of {patients} patients")


def _score(row: dict[str, Any]) -> Cell:
    return Cell(_mean_sd(row["mean"], row["sd"]), interval(row["low"], row["high"]), row["mark"])


def gain_tables(gains: pd.DataFrame, names: Sequence[str], title: str, name: str) -> list[Table]:
    """Differences from one baseline of one encoder and mode; those that are shown are marked."""
    baseline = gains["other"].iloc[0]
    caption = (
        f"{title}: paired difference in macro F1 from {baseline}. Below: 95 % interval for other trainings and other "
        f"test patients, not corrected. {MARKS['best']}: shown at 5 % after Holm's correction."
    )
    here = gains[gains["fraction"].notna()]
    return list(_grids(here, names, caption, name, _fraction_head, _gain))


def _gain(row: dict[str, Any]) -> Cell:
    ends = f"{signed(row['low'])} to {signed(row['high'])}" if row["low"] == row["low"] else ""
    return Cell(signed(row["mean"]), ends, "best" if row["shown"] else "")


def error_tables(errors: pd.DataFrame, names: Sequence[str], title: str, name: str) -> list[Table]:
    """Expected calibration error of one encoder and mode."""
    caption = (
        f"{title}: expected calibration error (15 bins of equal width; Guo et al., ICML 2017) of the predictions of "
        "all seeds together: 0 where a classifier is as often right as it says. Below: Brier score, 0 to 2, lower is "
        "better."
    )
    return list(_grids(errors, names, caption, name, _fraction_head, _error))


def _error(row: dict[str, Any]) -> Cell:
    return Cell(f"{row['ece']:.3f}", f"{row['brier']:.3f}")


def _grids(
    frame: pd.DataFrame, names: Sequence[str], caption: str, name: str, head: Any, cell: Any, across: str = "fraction"
) -> Iterator[Table]:
    """Rows are initialisations; columns the values of `across`: fractions rising, or planes in their order."""
    values = sorted(set(frame[across])) if across == "fraction" else list(dict.fromkeys(frame[across]))
    cells = {(row["initialisation"], row[across]): cell(row) for row in frame.to_dict("records")}
    present = [known for known in names if (frame["initialisation"] == known).any()]
    for start in range(0, len(values), WIDEST):
        part = values[start : start + WIDEST]
        columns = [head(frame[frame[across] == value]) for value in part]
        rows = [[Cell(known), *(cells.get((known, value), Cell("")) for value in part)] for known in present]
        suffix = f"_{start // WIDEST + 1}" if len(values) > WIDEST else ""
        yield Table(name + suffix, caption, [Cell("Initialisation"), *columns], rows)
