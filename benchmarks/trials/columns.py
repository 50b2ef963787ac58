"""A column of settings beside the picture, in which a battery cell blinks and one line is written inversely."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.trials.inks import FACES, WHITE, Pen, Style, ink, write
from sonolearn_phantom.picture import Image

_SETTINGS = (
    "FR 42Hz",
    "RP 12",
    "2D 54%",
    "C 55",
    "P Low",
    "HPen",
    "Depth",
    "16cm",
    "GA 21w",
    "Map 3",
    "Res",
    "TIs 0.2",
)


def status_column(column: int, wide: int, height: int, rng: np.random.Generator) -> Pen:
    """Settings from `column` on, `wide` px wide, down a screen `height` px high."""
    size = round(height / 480 * rng.uniform(13, 19))
    style = Style(size, str(rng.choice(FACES)), WHITE)
    lines = [str(line) for line in rng.permutation(_SETTINGS)[: int(rng.integers(7, len(_SETTINGS) + 1))]]
    top, inverse = int(rng.uniform(0.05, 0.15) * height), int(rng.integers(len(lines)))
    pace = int(rng.integers(1, 4))

    def pen(image: Image, frame: int, mask: bool) -> None:
        for number, line in enumerate(lines):
            row = top + round(number * 1.7 * size)
            if number == inverse:
                cv2.rectangle(image, (column, row - 2), (column + wide, row + size + 4), ink((210, 210, 210), mask), -1)
            shade = (0, 0, 0) if number == inverse and not mask else WHITE
            write(image, line, (column + 3, row), Style(size, style.face, shade), mask)
        foot = height - round(2.5 * size)
        cv2.rectangle(
            image, (column + 4, foot), (column + 4 + 3 * size, foot + 2 * size), ink((190, 190, 190), mask), 2
        )
        if mask or frame // pace % 2:
            cv2.rectangle(image, (column + 7, foot + 3), (column + 2 * size, foot + 2 * size - 3), ink(WHITE, mask), -1)

    return pen
