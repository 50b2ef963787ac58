"""Changes of grey values that are not special to ultrasound: jitter, blur, solarisation, erasing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
"""(H, W) uint8, 0 to 255; the element type is left open because OpenCV's stubs do."""


@dataclass(frozen=True)
class Window:
    """The part of a frame of `shape` (H, W) that a view of `size` x `size` px shows.

    A rectangle in px of the frame after a turn about its middle, counter-clockwise by `degrees`.
    """

    shape: tuple[int, ...]
    size: int
    top: int
    left: int
    height: int
    width: int
    degrees: float = 0.0

    def view(self, frame: NDArray[Any]) -> NDArray[Any]:
        """What it shows of a frame (H, W), uint8 or float32, as (S, S); 0 outside the frame, as around the sector.

        Enlarged parts are interpolated bicubically as in the paper; shrunk ones by area, which keeps speckle from
        aliasing. Rotation and size together are interpolated once, bilinearly, of the frame halved as often as needed.
        """
        if not self.degrees:
            part = frame[self.top : self.top + self.height, self.left : self.left + self.width]
            shrinks = self.height > self.size or self.width > self.size
            return cv2.resize(part, (self.size,) * 2, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        to_frame = self.to_frame
        if self.halvings:
            width, height = (max(1, round(side / 2**self.halvings)) for side in self.shape[::-1])
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
            scale = np.array([[width / self.shape[1]], [height / self.shape[0]]])
            to_frame = to_frame * scale + (scale - 1) / 2 * (0, 0, 1)
        return cv2.warpAffine(frame, to_frame, (self.size,) * 2, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)

    @property
    def halvings(self) -> int:
        """How often the frame is to be halved by area first, so that interpolation skips no pixels."""
        return max(0, round(math.log2(max(self.height, self.width) / self.size)))

    @cached_property
    def to_frame(self) -> NDArray[np.float64]:
        """(2, 3): column and row in the frame are this @ (column, row, 1) in the view."""
        across, down = self.width / self.size, self.height / self.size
        cos, sin = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        # The middle of the frame, and the way from there to the view's first px in the turned frame.
        x, y = (self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2
        left, top = self.left + (across - 1) / 2 - x, self.top + (down - 1) / 2 - y
        return np.array(
            [
                [cos * across, -sin * down, x + cos * left - sin * top],
                [sin * across, cos * down, y + sin * left + cos * top],
            ]
        )

    def places(self, cells: int) -> NDArray[np.float32]:
        """(2, cells, cells) columns and rows in the frame of the middles of a grid's cells over the view."""
        return (self.to_frame.astype(np.float32) @ _middles(cells, self.size)).reshape(2, cells, cells)


def draw_window(
    shape: tuple[int, ...], size: int, scale: tuple[float, float], ratio: tuple[float, float], rotation: float,
    rng: np.random.Generator,
) -> Window:  # fmt: skip
    """A random window of a frame of `shape` (H, W), turned by up to `rotation` degrees to either side.

    Area and aspect are drawn as torchvision draws them: uniform in area, log-uniform in aspect, ten tries, then the
    middle.
    """
    degrees = rng.uniform(-rotation, rotation) if rotation else 0.0
    height, width = shape
    area, low, high = height * width, math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        target, aspect = area * rng.uniform(*scale), math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            return Window(shape, size, top, left, h, w, degrees)
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    return Window(shape, size, (height - h) // 2, (width - w) // 2, h, w, degrees)


@cache
def _middles(cells: int, size: int) -> NDArray[np.float32]:
    """(3, cells * cells): columns and rows of the middles of a grid's cells over `size` px, and 1."""
    along = (np.arange(cells) + 0.5) * (size / cells) - 0.5
    return np.array([np.tile(along, cells), np.repeat(along, cells), np.ones(cells * cells)], np.float32)


_GREY = np.arange(256, dtype=np.float32)
_SOLARIZED = np.where(np.arange(256) < 128, np.arange(256), 255 - np.arange(256)).astype(np.uint8)


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


def blur(view: Image, sigma: float) -> Image:
    """Gaussian blur up to 3 sigma, in px; OpenCV's own is three times slower, as it rounds alike on every machine."""
    kernel = cv2.getGaussianKernel(2 * round(3 * sigma) + 1, sigma)
    return cv2.sepFilter2D(view, -1, kernel, kernel)


def solarize(view: Image) -> Image:
    """Grey values from 128 up inverted."""
    return cv2.LUT(view, _SOLARIZED)


def erase(view: Image, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator) -> Image:
    """A copy with noise in a random rectangle (random erasing, Zhong et al., AAAI 2020).

    The noise is normal with the view's own mean and deviation, which is what torchvision's `value="random"` comes to
    on normalised images.

    Args:
        view: (H, W) uint8.
        scale: smallest and largest share of the area, in 0 to 1.
        ratio: smallest and largest aspect ratio (height to width), log-uniform.
        rng: where the draws come from.

    Returns:
        (H, W) uint8; unchanged where ten draws gave no rectangle that fits.
    """
    height, width = view.shape
    erased = view.copy()
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < h < height and 0 < w < width:
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            mean, deviation = cv2.meanStdDev(view)
            noise = rng.normal(mean.item(), deviation.item(), (h, w))
            erased[top : top + h, left : left + w] = np.clip(noise.round(), 0, 255)
            break
    return erased
