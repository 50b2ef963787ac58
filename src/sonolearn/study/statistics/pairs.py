"""Pairs of trainings on the same labelled images, and the mean difference over them.

The unit is what is independent: the pre-training where there are several, else the seed. Every figure is a weighted sum
of the trainings' macro F1, so that its value on redrawn test patients is the same sum of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonolearn.planes.metrics import Floats
from sonolearn.study.statistics.estimates import UNKNOWN, Estimate, estimate, over_patients, over_units
from sonolearn.study.statistics.trainings import Trainings

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
