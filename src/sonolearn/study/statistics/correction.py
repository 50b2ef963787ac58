"""Correction for many comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sonolearn.planes.metrics import Floats

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
