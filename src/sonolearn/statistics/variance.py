"""Variance against size: do more patients, or more frames of the same patients, make a better pre-training?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from sonolearn.statistics.comparisons import Contrast, concatenate, contrast, pair
from sonolearn.statistics.estimates import LEVEL, Estimate, holm
from sonolearn.statistics.trainings import Trainings

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


@dataclass(frozen=True)
class PoolEffect:
    """Macro F1 with the larger pool minus that with the smaller, or how much more variety gives than size.

    Attributes:
        encoder: name of the backbone.
        mode: finetune, linear or knn.
        initialisations: whose pre-trainings it is averaged over, each with the same weight.
        question: variety (more patients, same frames), size (more frames, same patients) or variety - size.
        steps: the pools compared, averaged with equal weights; those of both questions for their difference.
        fractions: label fractions that are averaged over.
        runs: pairs of trainings behind it.
        units: independent pool draws (pre-trainings) that have all of these; below 2 no interval is given.
        mean: mean difference, NaN without a complete unit.
        low: lower end of the 95 % interval (other pools, other test patients), not corrected; NaN where unknown.
        high: its upper end.
        p: p value of "no difference", not corrected; NaN where unknown.
        tests: number of p values in its family: those of one encoder and mode that are averaged over all
            initialisations, or those of each on its own.
        corrected: p value corrected by Holm.
        shown: whether that is below 0.05.
    """

    encoder: str
    mode: str
    initialisations: tuple[str, ...]
    question: Literal["variety", "size", "variety - size"]
    steps: tuple[Step, ...]
    fractions: tuple[float, ...]
    runs: int
    units: int
    mean: float
    low: float
    high: float
    p: float
    tests: int = 0
    corrected: float = float("nan")
    shown: bool = False


@dataclass(frozen=True)
class _Found:
    steps: tuple[Step, ...]
    fractions: frozenset[float]
    runs: int
    contrast: Contrast


def variance_and_size(trainings: Trainings) -> list[PoolEffect]:
    """The two questions and their difference: over all pre-trained initialisations together, then for each.

    Runs are paired by initialisation, pre-training (pool draw), seed and fraction. Nothing is returned where no two
    pools hold one number fixed within 5 %.
    """
    if not {"pool_patients", "pool_frames"} <= set(trainings.table.columns):
        return []
    pooled = trainings.table[trainings.table["pool"] != ""]
    effects = []
    for (encoder, mode), table in pooled.groupby(["encoder", "mode"]):
        own = [
            list(_effects(trainings, group, str(encoder), str(mode))) for _, group in table.groupby("initialisation")
        ]
        together = list(_effects(trainings, table, str(encoder), str(mode))) if sum(map(bool, own)) > 1 else []
        effects += _corrected(together) + _corrected([effect for several in own for effect in several])
    return effects


def _effects(trainings: Trainings, table: pd.DataFrame, encoder: str, mode: str) -> Iterator[PoolEffect]:
    found: dict[Question, _Found] = {}
    for question in QUESTIONS:
        if compared := _contrast(trainings, table, question):
            found[question] = compared
            yield _effect(trainings, encoder, mode, table, question, compared)
    if len(found) == 2:
        variety, size = found["variety"], found["size"]
        both = _Found(
            (*variety.steps, *size.steps),
            variety.fractions | size.fractions,
            variety.runs + size.runs,
            variety.contrast.minus(size.contrast),
        )
        yield _effect(trainings, encoder, mode, table, "variety - size", both)


def _contrast(trainings: Trainings, table: pd.DataFrame, question: Question) -> _Found | None:
    """All pairs of a question; a unit must have each initialisation, step and fraction."""
    taken, parts, names = [], [], []
    for step in steps(table, question):
        for initialisation, group in table.groupby("initialisation"):
            pairs = pair(*(group[group["pool"] == pool] for pool in (step.many, step.few)))
            if len(pairs):
                parts.append(pairs)
                names.append((initialisation, step.few, step.many))
                taken.append(step)
    if not parts:
        return None
    pairs = concatenate(parts, names)
    fractions = frozenset(float(fraction) for _, fraction in pairs.stratum)
    return _Found(tuple(dict.fromkeys(taken)), fractions, len(pairs), contrast(pairs, len(trainings.table)))


def _effect(
    trainings: Trainings,
    encoder: str,
    mode: str,
    table: pd.DataFrame,
    question: Literal["variety", "size", "variety - size"],
    found: _Found,
) -> PoolEffect:
    estimate = found.contrast.estimate(trainings)
    # One draw of each pool tells these patients apart, not many from few, whatever the seeds say.
    units = 1 if found.contrast.one_pretraining else len(found.contrast.units.labels)
    if units < 2:
        estimate = Estimate(estimate.mean, np.nan, np.nan, np.nan)
    return PoolEffect(
        encoder,
        mode,
        tuple(dict.fromkeys(table["initialisation"])),
        question,
        found.steps,
        tuple(sorted(found.fractions)),
        found.runs,
        units,
        estimate.mean,
        estimate.low,
        estimate.high,
        estimate.p,
    )


def _corrected(effects: list[PoolEffect]) -> list[PoolEffect]:
    p = holm([effect.p for effect in effects])
    tests = int(np.isfinite(p).sum())
    return [
        replace(effect, tests=tests, corrected=float(value), shown=bool(value < LEVEL))
        for effect, value in zip(effects, p, strict=True)
    ]
