"""Whether one initialisation does better than another: paired differences, corrected for their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from sonolearn.study.statistics.correction import LEVEL, holm
from sonolearn.study.statistics.pairs import Pairs, contrast, pair
from sonolearn.study.statistics.trainings import Setting, Trainings


@dataclass(frozen=True)
class Comparison:
    """Macro F1 of one initialisation minus that of another, on the same labels and test patients.

    Attributes:
        encoder: name of the backbone.
        mode: finetune, linear or knn.
        pool: the pool of those that have one; "" where neither has.
        initialisation: the one.
        other: the other.
        fraction: label fraction; None for all common fractions together, each with the same weight.
        fractions: number of fractions behind it.
        pairs: pairs of trainings (same fraction, same seed) behind it.
        seeds: different seeds among them.
        units: independent differences: pre-trainings where one side has several, else seeds.
        one_pretraining: a side was pre-trained once, so that interval and p value hold for that very encoder: other
            seeds and other test patients, not other pre-trainings, whose spread is unknown.
        mean: mean difference, -1 to 1; NaN where no unit has all fractions.
        low: lower end of the 95 % interval, not corrected; NaN where it cannot be told.
        high: its upper end.
        p: p value of "no difference", not corrected; NaN where it cannot be told.
        family: what it is corrected for, within its encoder and mode.
        tests: number of p values in that family.
        corrected: p value corrected by Holm.
        shown: whether that is below 0.05.
    """

    encoder: str
    mode: str
    pool: str
    initialisation: str
    other: str
    fraction: float | None
    fractions: int
    pairs: int
    seeds: int
    units: int
    one_pretraining: bool
    mean: float
    low: float
    high: float
    p: float
    family: str
    tests: int = 0
    corrected: float = float("nan")
    shown: bool = False


def all_pairs(trainings: Trainings) -> list[Comparison]:
    """Each initialisation with each other one of the same encoder, mode and pool (or without a pool).

    Two families an encoder and mode: all pairs over the common fractions together, and all pairs at all fractions.
    """
    return _compared(trainings, lambda table: combinations(dict.fromkeys(table["name"]), 2), "all pairs")


def against(trainings: Trainings, reference: str) -> list[Comparison]:
    """Each initialisation with the one named `reference`, in families of their own; none where it is not there."""

    def wanted(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
        references = dict.fromkeys(table.loc[table["initialisation"] == reference, "name"])
        return ((name, one) for one in references for name in dict.fromkeys(table["name"]) if name != one)

    return _compared(trainings, wanted, f"against {reference}")


def _compared(
    trainings: Trainings, wanted: Callable[[pd.DataFrame], Iterable[tuple[str, str]]], family: str
) -> list[Comparison]:
    found: dict[tuple[str, str, str, str], list[Comparison]] = {}
    for setting in trainings.settings():
        table = trainings.table.loc[setting.rows]
        rows = {str(name): group for name, group in table.groupby("name")}
        for one, other in wanted(table):
            # Two that need no pool meet in the settings of all pools: they are compared once.
            key = (setting.encoder, setting.mode, one, other)
            if key not in found:
                found[key] = list(_of_pair(trainings, setting, rows[one], rows[other], family))
    return corrected([comparison for several in found.values() for comparison in several])


def _of_pair(
    trainings: Trainings, setting: Setting, ours: pd.DataFrame, theirs: pd.DataFrame, family: str
) -> Iterator[Comparison]:
    """The fractions together, then each."""
    pairs = pair(ours, theirs)
    strata = sorted(set(pairs.stratum))
    (one, own_pool), (other, other_pool) = ((side["name"].iloc[0], side["pool"].iloc[0]) for side in (ours, theirs))
    for fraction in [None, *strata] if strata else []:
        used = pairs if fraction is None else pairs.at(fraction)
        within = f"{family}, {'fractions together' if fraction is None else 'at each fraction'}"
        yield _comparison(
            trainings,
            used,
            Comparison(
                setting.encoder, setting.mode, own_pool or other_pool, one, other, fraction,
                len(strata) if fraction is None else 1, len(used), len(np.unique(used.seed)), 0, False,
                np.nan, np.nan, np.nan, np.nan, within,
            ),
        )  # fmt: skip


def _comparison(trainings: Trainings, pairs: Pairs, empty: Comparison) -> Comparison:
    difference = contrast(pairs, len(trainings.table))
    found = difference.estimate(trainings)
    return replace(
        empty,
        units=len(difference.units.labels),
        one_pretraining=difference.one_pretraining,
        mean=found.mean,
        low=found.low,
        high=found.high,
        p=found.p,
    )


def corrected(comparisons: list[Comparison]) -> list[Comparison]:
    """The same with `tests`, `corrected` and `shown` of their families."""
    families: dict[tuple[str, str, str], list[int]] = {}
    for index, comparison in enumerate(comparisons):
        families.setdefault((comparison.encoder, comparison.mode, comparison.family), []).append(index)
    done = list(comparisons)
    for members in families.values():
        p = holm([comparisons[index].p for index in members])
        for index, value in zip(members, p, strict=True):
            tests = int(np.isfinite(p).sum())
            done[index] = replace(done[index], tests=tests, corrected=float(value), shown=bool(value < LEVEL))
    return done
