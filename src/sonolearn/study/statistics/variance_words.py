"""The verdict on variance and size in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sonolearn.study.statistics.pools import TOLERANCE, Step
from sonolearn.study.statistics.sentences import figures
from sonolearn.study.statistics.variance import PoolEffect
from sonolearn.study.words import counted, listed

_VARIED = {"variety": ("patients", "frames"), "size": ("frames", "patients")}


def verdict(effect: PoolEffect) -> str:
    """What is found, for whom, on how many pool draws, and whether it is shown."""
    numbers = figures(effect)
    if not math.isnan(effect.corrected):
        numbers += f" for {counted(effect.tests, None, 'comparison')}"
    draws = counted(effect.units, None, "draw") + " of the pools"
    return f"{_subject(effect)} ({listed(list(effect.initialisations))}, {draws}): {numbers}; {_shown(effect)}."


def widest(effects: Sequence[PoolEffect]) -> list[PoolEffect]:
    """Those over all initialisations together; those of each on its own are for the table."""
    most = max((len(effect.initialisations) for effect in effects), default=0)
    return [effect for effect in effects if len(effect.initialisations) == most]


def _subject(effect: PoolEffect) -> str:
    if effect.question == "variety - size":
        return "Gain by more patients minus gain by more frames"
    varied, fixed = _VARIED[effect.question]
    steps = listed([f"{_number(step.from_)} to {_number(step.to)} at {_fixed(step)}" for step in effect.steps])
    return f"More {varied} at the same number of {fixed} ({varied} {steps} {fixed})"


def _shown(effect: PoolEffect) -> str:
    if effect.units < 2:
        return "not shown, as one draw says nothing of others"
    if effect.question != "variety - size":
        return f"shown to give {'more' if effect.mean > 0 else 'less'}" if effect.shown else "not shown"
    alike = _ratio_spread(effect.steps) <= TOLERANCE
    caveat = "" if alike else ", and the steps differ in size, so that the two gains are not of equal effort"
    if not effect.shown:
        return f"that they differ is not shown{caveat}"
    return f"the gain by more {'patients' if effect.mean > 0 else 'frames'} is shown to be the larger{caveat}"


def _ratio_spread(steps: tuple[Step, ...]) -> float:
    ratios = [step.to / step.from_ for step in steps]
    return max(ratios) / min(ratios)


def _fixed(step: Step) -> str:
    if step.fixed_least == step.fixed_most:
        return _number(step.fixed_least)
    return f"{_number(step.fixed_least)} to {_number(step.fixed_most)}"


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")
