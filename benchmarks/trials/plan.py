"""Which trial shows what: shares that hold exactly over two hundred trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from benchmarks.trials.echoes import HARD

COUNT = 200
MODES = {
    "good": 120,
    "layout": 2,
    "colour": 16,
    "power": 8,
    "spectral": 6,
    "m-mode": 6,
    "split": 10,
    "quad": 4,
    "rendering": 4,
    "blank": 5,
    "frozen": 10,
    "menu": 5,
    "dark": 4,
}
"""How many of the trials show what; all but "good" and "layout" hold frames to reject."""
_SHAPES = {"convex": 50, "phased": 20, "linear": 20, "trapezoid": 10}
_LIE = {"straight": 77, "rotated": 15, "upside down": 8}
_FIT = {"": 70, "cut off": 20, "edge": 10}
_TINTS = {"": 90, "sepia": 4, "blue": 3, "amber": 2, "cool": 1}
_SCREENS = {"black": 80, "near-black": 6, "bars": 6, "panel": 4, "thumbnails": 4}
_MARKS = {0: 35, 1: 25, 2: 22, 3: 18}
_TROUBLES = {"": 60, **dict.fromkeys(HARD, 10)}
T = TypeVar("T", str, int)


@dataclass(frozen=True)
class Plan:
    """What one trial shows: its mode, the how-many-th of its mode it is (`turn`), and how its picture looks."""

    mode: str
    turn: int
    shape: str
    lie: str
    fit: str
    tint: str
    screen: str
    marks: int
    trouble: str


def plan_of(number: int) -> Plan:
    """The plan of trial `number`; it repeats after `COUNT`."""
    return _plans()[number % COUNT]


@lru_cache(maxsize=1)
def _plans() -> list[Plan]:
    modes = _dealt(MODES, COUNT, 1)
    plans: list[Plan | None] = [None] * COUNT
    # Good trials and the others each get the shares, so that they hold in both.
    for stream, wanted in ((10, True), (30, False)):
        numbers = [number for number, mode in enumerate(modes) if (mode == "good") is wanted]
        columns = [
            _dealt(shares, len(numbers), stream + index)
            for index, shares in enumerate((_SHAPES, _LIE, _FIT, _TINTS, _SCREENS, _TROUBLES))
        ]
        marks = _dealt(_MARKS, len(numbers), stream + 9)
        for rank, number in enumerate(numbers):
            shape, lie, fit, tint, screen, trouble = (column[rank] for column in columns)
            turn = modes[:number].count(modes[number])
            plans[number] = Plan(modes[number], turn, shape, lie, fit, tint, screen, marks[rank], trouble)
    return [plan for plan in plans if plan]


def _dealt(shares: dict[T, int], count: int, stream: int) -> Sequence[T]:
    # Each value as often as its share says, in a fixed random order.
    bounds = np.cumsum(list(shares.values())) / sum(shares.values())
    values = [list(shares)[int(np.searchsorted(bounds, (rank + 0.5) / count))] for rank in range(count)]
    order = np.random.default_rng(stream).permutation(count)
    return [values[int(rank)] for rank in order]
