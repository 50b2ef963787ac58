"""Whether predicted probabilities mean what they say: calibration error, reliability curve, Brier score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonolearn.planes.metrics import Floats

BINS = 15
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Calibration:
    """Calibration of the predictions of one run.

    Attributes:
        run: hash of the run.
        images: number of predictions.
        ece: expected calibration error, 0 to 1. It is above 0 by chance alone, the more so the fewer the images.
        brier: Brier score (Brier, Monthly Weather Review 1950), summed over planes: 0 to 2, lower is better.
        curve: a row a bin that holds predictions; see `reliability`.
    """

    run: str
    images: int
    ece: float
    brier: float
    curve: pd.DataFrame


def calibrations(predictions: pd.DataFrame, planes: Sequence[str]) -> list[Calibration]:
    """The calibration of each run, sorted by run.

    Args:
        predictions: a row an image and run: run, plane (the truth), predicted, and p_PLANE for each plane, 0 to 1.
        planes: all planes.

    Raises:
        ValueError: a truth is not a plane, or probabilities do not add up to 1.
    """
    columns = [f"p_{plane}" for plane in planes]
    probabilities = predictions[columns].to_numpy(float)
    if not np.allclose(probabilities.sum(1), 1, atol=_SUM_TOLERANCE) or probabilities.min(initial=0) < 0:
        raise ValueError("the probabilities of a prediction are negative or do not add up to 1")
    truth = pd.Index(planes).get_indexer(pd.Index(predictions["plane"]))
    if (truth < 0).any():
        raise ValueError("the truth of a prediction is none of the planes")
    right = (predictions["plane"] == predictions["predicted"]).to_numpy(bool)
    return [
        _calibration(str(run), probabilities[rows], truth[rows], right[rows])
        for run, rows in sorted(predictions.groupby("run").indices.items())
    ]


def _calibration(run: str, probabilities: Floats, truth: NDArray[np.intp], right: NDArray[np.bool_]) -> Calibration:
    curve = reliability(probabilities.max(1), right)
    return Calibration(run, len(truth), expected_calibration_error(curve), brier_score(probabilities, truth), curve)


def reliability(confidence: Floats, right: NDArray[np.bool_]) -> pd.DataFrame:
    """Accuracy against confidence in 15 bins of equal width, (0, 1/15] to (14/15, 1] (Guo et al., ICML 2017).

    Args:
        confidence: (n,) probability of the predicted plane, above 0, at most 1.
        right: (n,) whether the prediction is right.

    Returns:
        A row a bin that holds predictions: low, high (its ends), images, confidence (mean, 0 to 1), accuracy (0 to 1).
    """
    number = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    table = pd.DataFrame({"bin": number, "confidence": confidence, "right": right})
    curve = table.groupby("bin", as_index=False).agg(
        images=("right", "size"), confidence=("confidence", "mean"), accuracy=("right", "mean")
    )
    curve.insert(0, "low", curve["bin"] / BINS)
    curve.insert(1, "high", (curve.pop("bin") + 1) / BINS)
    return curve


def expected_calibration_error(curve: pd.DataFrame) -> float:
    """Mean distance of accuracy and confidence over the bins of `reliability`, weighted by images; 0 to 1."""
    distance = (curve["accuracy"] - curve["confidence"]).abs()
    return float((distance * curve["images"]).sum() / curve["images"].sum())


def brier_score(probabilities: Floats, truth: NDArray[np.intp]) -> float:
    """Mean over images of the squared distance of (n, C) probabilities to the (n,) truth as 0 and 1; 0 to 2."""
    aim = np.eye(probabilities.shape[1])[truth]
    return float(((probabilities - aim) ** 2).sum(1).mean())
