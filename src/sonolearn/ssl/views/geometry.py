"""Which part of a frame a view shows, and how it lies: crop, rotation."""

from __future__ import annotations

import math

import cv2
import numpy as np

from sonolearn.ssl.views.image import Image


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


def rotate(frame: Image, degrees: float) -> Image:
    """The frame turned counter-clockwise about its middle; what comes in from outside is 0, as around the sector."""
    height, width = frame.shape
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return cv2.warpAffine(frame, turn, (width, height), flags=cv2.INTER_LINEAR)
