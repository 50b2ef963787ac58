"""Pictures for tests of the cleaning: masks drawn from closed forms, speckle that moves, and scans held in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.scans.scan import Frame, Region, Scan

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def polar(height: int, width: int, near: float, far: float, half: float, axis: float = 0.0) -> Mask:
    """(H, W): a fan in the middle of the picture; radii in px, half its opening and its turn from straight down."""
    rows, columns = np.mgrid[:height, :width].astype(float)
    angles, radii = np.meshgrid(axis + np.linspace(-half, half, 99), [near, far])
    x, y = radii * np.sin(angles), radii * np.cos(angles)
    right, down = columns - (width - x.min() - x.max()) / 2, rows - (height - y.min() - y.max()) / 2
    radius, angle = np.hypot(right, down), np.arctan2(right, down)
    apart = np.abs((angle - axis + math.pi) % (2 * math.pi) - math.pi)
    return (near <= radius) & (radius <= far) & (apart <= half)


def block(height: int, width: int, left: int, top: int, right: int, bottom: int) -> Mask:
    """(H, W): a rectangle, ends excluded."""
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


def tissue(mask: Mask, frames: int, seed: int = 0, pace: int = 4) -> Pixels:
    """(n, H, W): speckle inside a mask, black outside; it moves `pace` px a frame, with a little noise if it does."""
    random = np.random.default_rng(seed)
    height, width = mask.shape
    grain = random.rayleigh(1, (height + pace * frames, width + pace * frames)).astype(np.float32)
    coarse = 70 * cv2.GaussianBlur(grain, (0, 0), 1.5) ** 2 - 20
    shown = [coarse[pace * n :, pace * n :][:height, :width] for n in range(frames)]
    noise = [random.normal(0, 4 if pace else 0, mask.shape) for _ in range(frames)]
    return np.stack([np.where(mask, np.clip(s + e, 15, 230), 0) for s, e in zip(shown, noise, strict=True)]).astype(
        np.uint8
    )


def iou(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Intersection over union of two masks."""
    return float(((first > 0) & (second > 0)).sum() / ((first > 0) | (second > 0)).sum())


def scan_of(
    frames: Sequence[Pixels], chroma: Sequence[Pixels] | None = None, regions: tuple[Region, ...] = (), fps: float = 10
) -> Scan:
    """Frames in memory as a scan; with the chroma of each, its pixels are luma."""

    def read(takes: Callable[[int], bool], colour: bool) -> Iterator[Frame]:
        for index, pixels in enumerate(frames):
            if takes(index):
                yield Frame(index, index / fps, pixels, None if chroma is None else chroma[index])

    return Scan("video", *frames[0].shape[:2], read, count=len(frames), regions=regions)
