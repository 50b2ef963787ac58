"""A mean with an interval and a p value for several sources of chance at once: other trainings and other patients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special


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
