"""Figures of a comparison as they stand in a sentence."""

from __future__ import annotations

import math
from typing import Protocol

from sonolearn.study.words import signed


class Tested(Protocol):
    """A corrected comparison."""

    @property
    def mean(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float: ...  # noqa: D102
    @property
    def high(self) -> float: ...  # noqa: D102
    @property
    def corrected(self) -> float: ...  # noqa: D102


def figures(tested: Tested, turned: bool = False) -> str:
    """Difference, 95 % interval and corrected p value; those of the reverse comparison where `turned`."""
    if math.isnan(tested.mean):
        return "no complete unit"
    sign = -1 if turned else 1
    mean = signed(sign * tested.mean)
    if math.isnan(tested.low):
        return f"{mean}, no interval"
    low, high = sorted((sign * tested.low, sign * tested.high))
    return f"{mean}, 95 % interval {signed(low)} to {signed(high)}, corrected {p_value(tested.corrected)}"


def p_value(p: float) -> str:
    """As p = 0.012 or p < 0.001; cut to three digits, so that 0.0499 is not written as 0.050."""
    return "p < 0.001" if p < 0.001 else f"p = {math.floor(p * 1000) / 1000:.3f}"
