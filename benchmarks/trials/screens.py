"""The empty screen around the picture: its background, bars, panels and thumbnails."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.trials.inks import Style, write
from benchmarks.trials.placing import Window
from sonolearn_phantom.picture import Image

Random = np.random.Generator
BACKDROPS = ("black", "near-black", "bars", "panel", "thumbnails")


@dataclass(frozen=True)
class Backdrop:
    """The empty screen (height, width, 3) uint8 RGB and the window left for pictures (top, bottom, left, right)."""

    image: Image
    window: Window


def backdrop(kind: str, height: int, width: int, small: Image, rng: Random) -> Backdrop:
    """A screen of one of `BACKDROPS`; thumbnails show the grey picture `small`."""
    image = np.zeros((height, width, 3), np.uint8)
    if kind == "near-black":
        image[:] = np.clip(rng.integers(5, 13) + rng.integers(-1, 3, 3), 5, 12)
    if kind == "bars":
        return _bars(image, rng)
    if kind == "panel":
        return _panel(image, rng)
    if kind == "thumbnails":
        return _thumbnails(image, small, rng)
    return Backdrop(image, (0, height, 0, width))


def _bars(image: Image, rng: Random) -> Backdrop:
    height, width = image.shape[:2]
    top, bottom = (int(height * share) for share in rng.choice([0, 0.05, 0.08, 0.12], 2))
    top = top or int(0.07 * height)
    colour = rng.choice([(40, 48, 66), (58, 62, 74), (28, 40, 52), (200, 204, 210)], p=[0.4, 0.3, 0.2, 0.1])
    image[:top] = colour
    image[height - bottom :] = colour
    return Backdrop(image, (top, height - bottom, 0, width))


def _panel(image: Image, rng: Random) -> Backdrop:
    height, width = image.shape[:2]
    wide = int(width * rng.uniform(0.12, 0.22))
    left = rng.random() < 0.5
    part = image[:, :wide] if left else image[:, width - wide :]
    part[:] = (38, 44, 58)
    style = Style(max(10, height // 34), "sans", (190, 200, 215))
    for number, word in enumerate(("Measure", "Annotate", "Freeze", "Depth", "Focus", "Zoom", "Print")):
        row = int(height * (0.08 + 0.12 * number))
        cv2.rectangle(part, (5, row), (wide - 6, row + height // 14), (70, 80, 100), -1)
        write(part, word, (10, row + 6), style, False)
    return Backdrop(image, (0, height, wide, width) if left else (0, height, 0, width - wide))


def _thumbnails(image: Image, small: Image, rng: Random) -> Backdrop:
    height, width = image.shape[:2]
    low = rng.random() < 0.5
    high = int(height * rng.uniform(0.1, 0.16))
    count, wide = int(rng.integers(2, 6)), round(small.shape[1] * high / small.shape[0])
    picture = np.asarray(cv2.resize(small, (wide, high), interpolation=cv2.INTER_AREA))[..., None]
    for number in range(count):
        if low:
            image[height - high - 2 : height - 2, 4 + number * (wide + 6) :][:, :wide] = picture
        else:
            image[4 + number * (high + 6) :, width - wide - 2 : width - 2][:high] = picture
    return Backdrop(image, (0, height - high - 5, 0, width) if low else (0, height, 0, width - wide - 5))
