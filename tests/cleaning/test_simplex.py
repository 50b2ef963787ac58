"""The simplex search does what SciPy's does, to the bit, wherever it is stopped."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize, rosen

from sonolearn.cleaning.simplex import minimise


def bumpy(point: np.ndarray) -> float:
    """Many valleys and flat steps, so that every kind of step is taken."""
    return float(np.floor(4 * np.abs(point).sum()) / 4 + 0.1 * np.cos(7 * point).sum())


@pytest.mark.parametrize("cost", [rosen, bumpy])
@pytest.mark.parametrize("evaluations", [3, 7, 8, 9, 20, 41, 60, 113, 400, 3000])
def test_it_is_scipys(cost: object, evaluations: int) -> None:
    for seed in range(5):
        simplex = np.random.default_rng(seed).normal(0, 2, (7, 6))
        peer = minimize(
            cost, simplex[0], method="Nelder-Mead",
            options={"initial_simplex": simplex, "maxfev": evaluations, "fatol": 1e-5},
        )  # fmt: skip
        found, least = minimise(cost, simplex, evaluations, 1e-5)  # type: ignore[arg-type]
        assert (found.tobytes(), least) == (peer.x.tobytes(), peer.fun)
