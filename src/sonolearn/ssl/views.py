"""Views: augmented copies of a frame, on one uint8 channel with OpenCV.

The recipe is that of Barlow Twins (Zbontar et al., ICML 2021), as in the study: random resized crop, horizontal flip,
brightness and contrast jitter, Gaussian blur, solarisation. One uint8 channel and OpenCV were measured 15 times
faster than the usual PIL pipeline on three.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.config import ViewsConfig

Image = NDArray[Any]
"""(H, W) uint8, 0 to 255; the element type is left open because OpenCV's stubs do."""

_GREY = np.arange(256, dtype=np.float32)
_SOLARIZED = np.where(np.arange(256) < 128, np.arange(256), 255 - np.arange(256)).astype(np.uint8)


def make_view(frame: Image, size: int, config: ViewsConfig, which: int, rng: np.random.Generator) -> Image:
    """One augmented view.

    Args:
        frame: (H, W) uint8, 0 to 255.
        size: side of the view in px.
        config: probabilities and strengths.
        which: 0 for the first, 1 for the second view of a pair, whose blur and solarisation differ.
        rng: where the draws come from.

    Returns:
        (size, size) uint8, 0 to 255.
    """
    view = random_resized_crop(frame, size, config.crop_scale, config.crop_ratio, rng)
    if rng.random() < config.flip:
        view = cv2.flip(view, 1)
    if rng.random() < config.jitter:
        view = jitter(view, config.brightness, config.contrast, rng)
    if rng.random() < config.blur[which]:
        view = cv2.GaussianBlur(view, (0, 0), rng.uniform(*config.blur_sigma))
    if rng.random() < config.solarize[which]:
        view = cv2.LUT(view, _SOLARIZED)
    return view


def random_resized_crop(
    frame: Image, size: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> Image:
    """A random part of the frame, resized to (size, size); area and aspect are drawn as torchvision draws them.

    Enlarged parts are interpolated bicubically as in the paper; shrunk ones by area, which keeps speckle from aliasing.
    """
    top, left, height, width = crop_box(frame.shape[0], frame.shape[1], scale, ratio, rng)
    part = frame[top : top + height, left : left + width]
    shrinks = height > size or width > size
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def crop_box(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height, width of a random crop: uniform in area, log-uniform in aspect, ten tries, then the middle."""
    area, low, high = height * width, math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        target, aspect = area * rng.uniform(*scale), math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    return (height - h) // 2, (width - w) // 2, h, w


def jitter(view: Image, brightness: float, contrast: float, rng: np.random.Generator) -> Image:
    """Brightness and contrast jitter in random order, as torchvision's ColorJitter, through one table of 256 values."""
    b, c = rng.uniform(1 - brightness, 1 + brightness), rng.uniform(1 - contrast, 1 + contrast)
    if rng.random() < 0.5:
        table = np.clip(_GREY * b, 0, 255)
        histogram = cv2.calcHist([view], [0], None, [256], [0, 256]).ravel()
        mean = float(histogram @ table) / view.size
        table = np.clip(c * table + (1 - c) * mean, 0, 255)
    else:
        mean = cv2.mean(view)[0]
        table = np.clip(np.clip(c * _GREY + (1 - c) * mean, 0, 255) * b, 0, 255)
    return cv2.LUT(view, table.astype(np.uint8))
