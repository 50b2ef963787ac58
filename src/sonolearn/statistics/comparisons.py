"""Whether one initialisation does better than another: paired differences, corrected for their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonolearn.planes.metrics import Floats
from sonolearn.statistics.estimates import LEVEL, UNKNOWN, Estimate, estimate, holm, over_patients, over_units
from sonolearn.statistics.trainings import Setting, Trainings

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """n pairs of trainings, each of the same seed and label fraction.

    Attributes:
        stratum: (n,) what is averaged over with equal weights, such as the label fraction.
        seed: (n,) seed of both.
        ours: (n,) row of the one in `Trainings.table`.
        theirs: (n,) row of the other.
        pretraining: (n, 2) seed of the pre-training of each; NaN where the encoder is a fixed one.
    """

    stratum: NDArray[np.object_]
    seed: Ints
    ours: Ints
    theirs: Ints
    pretraining: Floats

    def __len__(self) -> int:
        return len(self.seed)

    def at(self, stratum: object) -> Pairs:
        """Those of one stratum."""
        kept = self.stratum == stratum
        return Pairs(*(a[kept] for a in (self.stratum, self.seed, self.ours, self.theirs, self.pretraining)))

    @property
    def one_pretraining(self) -> bool:
        """Whether one side has one pre-training only, so that nothing is known of the spread over pre-trainings."""
        return 1 in self._pretrainings()

    @property
    def unit(self) -> Floats:
        """(n,) the pre-training of the side that has several (pairs share its seed where both have), else the seed."""
        several = [side for side, number in enumerate(self._pretrainings()) if number > 1]
        return self.pretraining[:, several[0]] if several else self.seed.astype(float)

    def _pretrainings(self) -> list[int]:
        return [len(np.unique(side[~np.isnan(side)])) for side in self.pretraining.T]


def pair(ours: pd.DataFrame, theirs: pd.DataFrame) -> Pairs:
    """Pair rows of `Trainings.table` by fraction and seed, and by the seed of the pre-training where both have several.

    Several pre-trainings of one side are each paired with the one encoder of the other.
    """
    both_several = min(ours["pretrain_seed"].nunique(), theirs["pretrain_seed"].nunique()) > 1
    columns = ["fraction", "seed", "pretrain_seed"]
    keys = columns if both_several else columns[:2]
    same = [ours[key].to_numpy(float)[:, None] == theirs[key].to_numpy(float) for key in keys]
    left, right = np.nonzero(np.logical_and.reduce(same))
    matched = ours[columns].iloc[left], theirs[columns].iloc[right]
    return Pairs(
        matched[0]["fraction"].to_numpy(object),
        matched[0]["seed"].to_numpy(np.int64),
        matched[0].index.to_numpy(np.int64),
        matched[1].index.to_numpy(np.int64),
        np.stack([side["pretrain_seed"].to_numpy(float) for side in matched], axis=1),
    )


def concatenate(parts: Sequence[Pairs], strata: Sequence[object]) -> Pairs:
    """Put pairs together; what they were averaged over becomes (the part's name, its own stratum)."""
    stratum = np.empty(sum(map(len, parts)), object)
    named = [(name, own) for name, part in zip(strata, parts, strict=True) for own in part.stratum]
    stratum[:] = named
    columns = ("seed", "ours", "theirs", "pretraining")
    return Pairs(stratum, *(np.concatenate([getattr(part, column) for part in parts]) for column in columns))


@dataclass(frozen=True)
class Weights:
    """Differences of U units as weighted sums of the macro F1 of R trainings.

    Attributes:
        labels: (U,) the units.
        matrix: (U, R) weights.
    """

    labels: Floats
    matrix: Floats

    def minus(self, other: Weights) -> Weights:
        """The difference for the units that both have."""
        labels, ours, theirs = np.intersect1d(self.labels, other.labels, return_indices=True)
        return Weights(labels, self.matrix[ours] - other.matrix[theirs])


@dataclass(frozen=True)
class Contrast:
    """A mean difference, and by what chance it came about.

    Attributes:
        units: by unit. The mean is that of these.
        seeds: by seed, where several pre-trainings used the same labelled images (a crossed design), so that units
            share the chance of the seeds; None elsewhere.
        one_pretraining: the spread over pre-trainings is unknown; the estimate holds for the encoders at hand.
    """

    units: Weights
    seeds: Weights | None
    one_pretraining: bool

    def minus(self, other: Contrast) -> Contrast:
        """The difference of two contrasts, unit by unit."""
        seeds = self.seeds.minus(other.seeds) if self.seeds and other.seeds else self.seeds or other.seeds
        return Contrast(self.units.minus(other.units), seeds, self.one_pretraining or other.one_pretraining)

    def estimate(self, trainings: Trainings) -> Estimate:
        """Mean over units, with interval and p value for other pre-trainings, other seeds *and* other test patients.

        The variance over units is that of the mean of their differences; that over patients is of a paired bootstrap.
        In a crossed design the variance over seeds is added; the chance that belongs to neither alone counts twice.
        """
        if not len(self.units.labels):
            return UNKNOWN
        values = self.units.matrix @ trainings.macro_f1
        mean_weights = self.units.matrix.mean(0)
        used = np.flatnonzero(mean_weights)
        drawn = mean_weights[used] @ trainings.drawn[used]
        sources = [over_units(values), over_patients(drawn, trainings.patients)]
        if self.seeds:
            sources.append(over_units(self.seeds.matrix @ trainings.macro_f1))
        return estimate(float(values.mean()), sources)


def contrast(pairs: Pairs, runs: int) -> Contrast:
    """The mean difference over pairs: of each unit and stratum, then over strata, then over units.

    Args:
        pairs: what is compared. Units that lack a stratum are left out: the strata differ, and so would the units.
        runs: R, the number of trainings.
    """
    unit = pairs.unit
    shared = len(np.unique(np.stack([unit, pairs.seed]), axis=1).T) > len(np.unique(pairs.seed))
    seeds = _weights(pairs, pairs.seed.astype(float), runs) if shared else None
    return Contrast(_weights(pairs, unit, runs), seeds, pairs.one_pretraining)


def _weights(pairs: Pairs, by: Floats, runs: int) -> Weights:
    strata = pd.factorize(pairs.stratum)[0]
    labels, group = np.unique(by, return_inverse=True)
    number = np.zeros((len(labels), strata.max(initial=-1) + 1))
    np.add.at(number, (group, strata), 1)
    matrix = np.zeros((len(labels), runs))
    weight = 1 / (number[group, strata] * number.shape[1])
    np.add.at(matrix, (group, pairs.ours), weight)
    np.add.at(matrix, (group, pairs.theirs), -weight)
    whole = (number > 0).all(1)
    return Weights(labels[whole], matrix[whole])


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
