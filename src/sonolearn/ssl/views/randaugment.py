"""RandAugment (Cubuk et al., NeurIPS 2020) on one grey channel, with OpenCV.

Operations, strengths and signs are those of torchvision's `transforms.v2.RandAugment` with its 31 magnitudes, nearest
interpolation and 0 for what comes in from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from sonolearn.ssl.views.plain import Image

MAX_MAGNITUDE = 30
_GREY = np.arange(256, dtype=np.float32)
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], dtype=np.float32) / 13


class Operation(NamedTuple):
    """A change of a view, and how strong it is at the ends of the scale of magnitudes, between which it is linear."""

    apply: Callable[[Image, float], Image]
    weakest: float = 0.0
    strongest: float = 0.0
    signed: bool = False

    def strength(self, magnitude: int) -> float:
        """Strength, sign aside, at a magnitude of 0 to 30."""
        return self.weakest + (self.strongest - self.weakest) * magnitude / MAX_MAGNITUDE


def randaugment(view: Image, operations: int, magnitude: int, rng: np.random.Generator) -> Image:
    """Operations drawn uniformly with replacement, one after the other.

    Args:
        view: (H, W) uint8; not changed.
        operations: how many, from 0.
        magnitude: strength of them all, 0 to 30.
        rng: where the draws come from.

    Returns:
        (H, W) uint8; the view itself where nothing changed it.
    """
    for index in rng.integers(len(_CHOICES), size=operations):
        operation = _CHOICES[index]
        strength = operation.strength(magnitude)
        if operation.signed and rng.random() < 0.5:
            strength = -strength
        view = operation.apply(view, strength)
    return view


def _unchanged(view: Image, _: float) -> Image:
    return view


def _shear_x(view: Image, slope: float) -> Image:
    return _warp(view, [[1, slope, slope / 2], [0, 1, 0]])


def _shear_y(view: Image, slope: float) -> Image:
    return _warp(view, [[1, 0, 0], [slope, 1, slope / 2]])


def _translate_x(view: Image, share: float) -> Image:
    return _warp(view, [[1, 0, -int(share * view.shape[1])], [0, 1, 0]])


def _translate_y(view: Image, share: float) -> Image:
    return _warp(view, [[1, 0, 0], [0, 1, -int(share * view.shape[0])]])


def _rotate(view: Image, degrees: float) -> Image:
    height, width = view.shape
    return _warp(view, cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0))


def _warp(view: Image, source: list[list[float]] | Image) -> Image:
    """The view with each pixel taken from `source` (2, 3) @ (x, y, 1)."""
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(view, np.array(source, dtype=np.float64), view.shape[::-1], flags=flags)


def _brightness(view: Image, change: float) -> Image:
    return _look_up(view, _GREY * (1 + change))


def _contrast(view: Image, change: float) -> Image:
    return _look_up(view, _GREY * (1 + change) - change * cv2.mean(view)[0])


def _sharpness(view: Image, change: float) -> Image:
    smooth = cv2.filter2D(view, -1, _SMOOTH)
    # torchvision cuts fractions off where OpenCV rounds; at steps of 0.01, 0.495 less makes the same of both.
    sharper = cv2.addWeighted(view, 1 + change, smooth, -change, -0.495)
    result = view.copy()
    result[1:-1, 1:-1] = sharper[1:-1, 1:-1]
    return result


def _posterize(view: Image, bits: float) -> Image:
    step = 2 ** (8 - round(bits))
    return _look_up(view, _GREY // step * step)


def _solarize(view: Image, threshold: float) -> Image:
    return _look_up(view, np.where(threshold <= _GREY, 255 - _GREY, _GREY))


def _autocontrast(view: Image, _: float) -> Image:
    darkest, brightest = int(view.min()), int(view.max())
    if darkest == brightest:
        return view
    return _look_up(view, (_GREY - darkest) / (np.float32(brightest - darkest) * np.float32(1 / 255)))


def _equalize(view: Image, _: float) -> Image:
    """Equalisation as PIL has it, which leaves a view of very few pixels or values alone."""
    histogram = cv2.calcHist([view], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    step = (view.size - histogram[view.max()]) // 255
    if step == 0:
        return view
    below = np.cumsum(histogram) - histogram
    table = (below + step // 2) // step
    return _look_up(view, table)


def _look_up(view: Image, table: Image) -> Image:
    """The view with each grey value replaced by its entry of a table (256,), cut to 0 to 255 and to whole numbers."""
    return cv2.LUT(view, np.clip(table, 0, 255).astype(np.uint8))


OPERATIONS = {
    "Identity": Operation(_unchanged),
    "ShearX": Operation(_shear_x, 0, 0.3, signed=True),
    "ShearY": Operation(_shear_y, 0, 0.3, signed=True),
    "TranslateX": Operation(_translate_x, 0, 150 / 331, signed=True),
    "TranslateY": Operation(_translate_y, 0, 150 / 331, signed=True),
    "Rotate": Operation(_rotate, 0, 30, signed=True),
    "Brightness": Operation(_brightness, 0, 0.9, signed=True),
    # One channel has no colour, but without this entry the others would be drawn more often than in the paper.
    "Color": Operation(_unchanged, 0, 0.9, signed=True),
    "Contrast": Operation(_contrast, 0, 0.9, signed=True),
    "Sharpness": Operation(_sharpness, 0, 0.9, signed=True),
    "Posterize": Operation(_posterize, 8, 4),
    "Solarize": Operation(_solarize, 255, 0),
    "AutoContrast": Operation(_autocontrast),
    "Equalize": Operation(_equalize),
}
"""Strengths are slopes, shares of the side, degrees, changes of a factor of 1, bits kept, and a grey value."""

_CHOICES = tuple(OPERATIONS.values())
