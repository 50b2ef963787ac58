"""Which pools of a study differ in one respect only: patients at the same frames, or frames at the same patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

Question = Literal["variety", "size"]
QUESTIONS: tuple[Question, ...] = ("variety", "size")
TOLERANCE = 1.05
_COLUMNS: dict[Question, tuple[str, str]] = {
    "variety": ("pool_patients", "pool_frames"),
    "size": ("pool_frames", "pool_patients"),
}


@dataclass(frozen=True)
class Step:
    """Two pools that differ in one respect.

    Attributes:
        many: name of the pool with more of what varies.
        few: name of the other.
        from_: mean number of what varies (patients or frames) in the pre-trainings on `few`.
        to: the same on `many`.
        fixed_least: least number of what is held fixed in any pre-training on either.
        fixed_most: most.
    """

    many: str
    few: str
    from_: float
    to: float
    fixed_least: int
    fixed_most: int


def steps(table: pd.DataFrame, question: Question) -> list[Step]:
    """The widest step at each fixed level; numbers within 5 % of the least of a level are the same level.

    Args:
        table: a row a run on a pool, with `pool`, `pool_patients` and `pool_frames`.
        question: variety varies the patients at fixed frames, size the frames at fixed patients.
    """
    varied, fixed = _COLUMNS[question]
    sizes = table.groupby("pool")[[fixed, varied]].mean().sort_values([fixed, varied])
    pools = list(zip(map(str, sizes.index), sizes[fixed].to_numpy(float), sizes[varied].to_numpy(float), strict=True))
    found = []
    while pools:
        level = [pool for pool in pools if pool[1] <= TOLERANCE * pools[0][1]]
        pools = pools[len(level) :]
        (few, _, from_), (many, _, to) = min(level, key=lambda pool: pool[2]), max(level, key=lambda pool: pool[2])
        if to > TOLERANCE * from_:
            held = table.loc[table["pool"].isin([few, many]), fixed]
            found.append(Step(many, few, from_, to, int(held.min()), int(held.max())))
    return found
