"""A mean with an interval and a p value for several sources of chance at once: other trainings and other patients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from sonolearn.planes.metrics import Floats, interval
from sonolearn.statistics.trainings import CELL, Trainings


@dataclass(frozen=True)
class Source:
    """One source of chance.

    Attributes:
        variance: of the mean, by this source, >= 0.
        freedom: degrees of freedom of that variance; 0 where it cannot be told.
    """

    variance: float
    freedom: int


@dataclass(frozen=True)
class Estimate:
    """A mean difference and how far it can be trusted.

    Attributes:
        mean: the difference, NaN where there is none.
        low: lower end of the 95 % interval; NaN where it cannot be told.
        high: its upper end.
        p: two-sided p value of "the difference is 0", not corrected; NaN where it cannot be told.
    """

    mean: float
    low: float
    high: float
    p: float


UNKNOWN = Estimate(math.nan, math.nan, math.nan, math.nan)


def estimate(mean: float, sources: Sequence[Source]) -> Estimate:
    """Interval and p value by Student's t, with the degrees of freedom of Welch and Satterthwaite.

    The variances add up (Satterthwaite, Biometrics Bulletin 1946). What two sources share, such as the chance of a
    training on a patient, is counted twice, so that the interval is rather too wide than too narrow. Interval and
    p value agree: p < 0.05 where the interval leaves out 0.

    Args:
        mean: the difference.
        sources: what it depends on; one of unknown variance (no degree of freedom) leaves interval and p unknown.
    """
    if math.isnan(mean) or not sources or any(source.freedom < 1 for source in sources):
        return Estimate(mean, math.nan, math.nan, math.nan)
    total = sum(source.variance for source in sources)
    if total == 0:
        return Estimate(mean, mean, mean, float(mean == 0))
    freedom = total**2 / sum(source.variance**2 / source.freedom for source in sources)
    error = math.sqrt(total)
    reach = float(special.stdtrit(freedom, 0.975)) * error
    return Estimate(mean, mean - reach, mean + reach, float(2 * special.stdtr(freedom, -abs(mean) / error)))


def over_units(values: NDArray[np.float64]) -> Source:
    """The chance of the mean of (n,) independent values; unknown for fewer than two."""
    n = len(values)
    return Source(float(values.var(ddof=1)) / n, n - 1) if n > 1 else Source(0.0, 0)


def over_patients(drawn: NDArray[np.float64], patients: int) -> Source:
    """The chance of the test patients, from (draws,) values of the mean on redrawn ones; unknown for one patient."""
    return Source(float(np.nanvar(drawn)), patients - 1)


@dataclass(frozen=True)
class Cell:
    """Macro F1 (0 to 1) of one encoder, initialisation, pool, mode and label fraction.

    Attributes:
        encoder: name of the backbone.
        initialisation: its name.
        pool: the pool of its pre-training; "" where it has none.
        mode: finetune, linear or knn.
        fraction: label fraction, 0 to 1.
        runs: trainings that have a result.
        units: independent ones among them: pre-trainings, or seeds where the encoder is a fixed one.
        one_pretraining: all runs share one pre-training, so that the spread over pre-trainings is unknown.
        mean: mean of the units.
        sd: SD (n - 1) over units; NaN for one.
        least: least macro F1 of a run.
        most: most.
        low: lower end of the 95 % bootstrap interval of the mean over test patients: how these very classifiers might
            do on other patients.
        high: its upper end.
        train_images: labelled images of a run.
        train_patients_least: patients behind them, in the run with the fewest.
        train_patients_most: in the run with the most.
        test_images: images in the test part.
        test_patients: patients in the test part.
    """

    encoder: str
    initialisation: str
    pool: str
    mode: str
    fraction: float
    runs: int
    units: int
    one_pretraining: bool
    mean: float
    sd: float
    least: float
    most: float
    low: float
    high: float
    train_images: int
    train_patients_least: int
    train_patients_most: int
    test_images: int
    test_patients: int


def cells(trainings: Trainings) -> list[Cell]:
    """All cells that have a run, sorted by encoder, initialisation, pool, mode and fraction."""
    return [_cell(trainings, group) for _, group in trainings.table.groupby(CELL, sort=True)]


def _cell(trainings: Trainings, group: pd.DataFrame) -> Cell:
    pretrained = bool(group["pretrain_seed"].notna().any())
    unit = group["pretrain_seed"] if pretrained else group["seed"]
    _, index, size = np.unique(unit.to_numpy(float), return_inverse=True, return_counts=True)
    values = group["macro_f1"].to_numpy(float)
    means = np.bincount(index, values) / size
    drawn = (1 / (size[index] * len(size))) @ trainings.drawn[group.index.to_numpy(np.int64)]
    patients = group["train_patients"]
    first = group.iloc[0]
    return Cell(
        first["encoder"],
        first["initialisation"],
        first["pool"],
        first["mode"],
        float(first["fraction"]),
        len(group),
        len(means),
        pretrained and len(means) == 1,
        float(means.mean()),
        float(means.std(ddof=1)) if len(means) > 1 else float("nan"),
        float(values.min()),
        float(values.max()),
        *interval(drawn),
        int(group["train_images"].max()),
        int(patients.min()),
        int(patients.max()),
        int(group["test_images"].max()),
        int(group["test_patients"].max()),
    )


LEVEL = 0.05


def holm(p: Sequence[float]) -> Floats:
    """P values of a family, corrected by Holm (Scandinavian Journal of Statistics 1979).

    With those below 0.05 called shown, the chance of one or more false ones in the family is at most 5 %, however the
    comparisons depend on each other.

    Args:
        p: (m,) p values, 0 to 1; NaN for comparisons that could not be tested, which do not count.

    Returns:
        (m,) corrected p values, NaN where they were.
    """
    values = np.asarray(p, float)
    corrected = np.full(len(values), np.nan)
    order = np.argsort(values)[: np.isfinite(values).sum()]  # NaN is sorted to the end
    raised = values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return corrected
