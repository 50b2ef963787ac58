"""A table of the page: the same cells for HTML and LaTeX, and the same figures, unrounded, as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

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
