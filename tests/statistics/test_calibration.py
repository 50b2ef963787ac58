"""Calibration against formulas written anew, and predictions whose calibration is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss

from sonolearn.statistics.calibration import brier_score, calibrations, expected_calibration_error, reliability

PLANES = ("3VV", "4CH", "LVOT")


def predictions(probabilities: np.ndarray, truth: np.ndarray, run: str = "a") -> pd.DataFrame:
    table = pd.DataFrame(probabilities, columns=[f"p_{plane}" for plane in PLANES])
    predicted = np.array(PLANES)[probabilities.argmax(1)]
    return table.assign(run=run, plane=np.array(PLANES)[truth], predicted=predicted)


def by_chance(images: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([0.5] * 3, images)
    truth = (probabilities.cumsum(1) > rng.random((images, 1))).argmax(1)  # as likely as they say
    return probabilities, truth


def test_error_is_the_formula_of_guo_and_others() -> None:
    probabilities, truth = by_chance(300)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    expected = 0.0
    for m in range(1, 16):
        inside = (confidence > (m - 1) / 15) & (confidence <= m / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    (found,) = calibrations(predictions(probabilities, truth), PLANES)
    assert found.ece == pytest.approx(expected)
    assert found.images == found.curve["images"].sum() == 300


def test_brier_score_is_the_sum_of_those_of_the_planes() -> None:
    probabilities, truth = by_chance(100)
    expected = sum(brier_score_loss(truth == plane, probabilities[:, plane]) for plane in range(3))
    assert brier_score(probabilities, truth) == pytest.approx(expected)


def test_probabilities_that_mean_what_they_say_have_a_small_error() -> None:
    (found,) = calibrations(predictions(*by_chance(40_000)), PLANES)
    assert found.ece < 0.01
    assert (found.curve["accuracy"] - found.curve["confidence"]).abs().max() < 0.05


def test_certainty_that_is_wrong_half_of_the_time_has_an_error_of_one_half() -> None:
    probabilities = np.eye(3)[[0, 0, 1, 1]]
    (found,) = calibrations(predictions(probabilities, np.array([0, 1, 1, 2])), PLANES)
    assert (found.ece, found.brier) == (0.5, 1.0)
    assert found.curve.to_dict("records") == [
        {"low": pytest.approx(14 / 15), "high": 1.0, "images": 4, "confidence": 1.0, "accuracy": 0.5}
    ]


def test_each_end_of_a_bin_belongs_to_the_bin_below() -> None:
    curve = reliability(np.array([0.4, 0.41, 1.0]), np.array([True, False, True]))
    assert list(np.round(curve["high"] * 15)) == [6, 7, 15]
    assert expected_calibration_error(curve) == pytest.approx((0.6 + 0.41 + 0) / 3)


def test_runs_are_kept_apart() -> None:
    one, other = (predictions(*by_chance(50, seed), run=run) for seed, run in ((0, "b"), (1, "a")))
    together = calibrations(pd.concat([one, other]), PLANES)
    assert [c.run for c in together] == ["a", "b"]
    assert [c.ece for c in together] == [calibrations(table, PLANES)[0].ece for table in (other, one)]


def test_what_are_no_probabilities_is_refused() -> None:
    table = predictions(*by_chance(5))
    with pytest.raises(ValueError, match="add up to 1"):
        calibrations(table.assign(p_3VV=0.9), PLANES)
    with pytest.raises(ValueError, match="none of the planes"):
        calibrations(table.assign(plane="spine"), PLANES)
