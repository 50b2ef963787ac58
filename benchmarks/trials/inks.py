"""Pens: whatever is drawn is drawn on the screen and, with the same calls, on a mask, so that the truth is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from sonolearn_phantom.picture import Image
from sonolearn_phantom.screen import Mask

Colour = tuple[int, int, int]
Pen = Callable[[Image, int, bool], None]
"""Draws on an RGB screen (height, width, 3) at a frame; with True it draws in white on a mask instead."""

WHITE: Colour = (255, 255, 255)
INKS: dict[str, Colour] = {
    "yellow": (250, 225, 60),
    "green": (60, 230, 90),
    "cyan": (70, 220, 240),
    "white": (255, 255, 255),
    "grey": (170, 170, 170),
    "orange": (250, 160, 50),
}
FACES = ("sans", "plain", "bold", "pixel")
_HERSHEY = {"plain": cv2.FONT_HERSHEY_SIMPLEX, "bold": cv2.FONT_HERSHEY_DUPLEX}


@dataclass(frozen=True)
class Style:
    """How text looks: line height in px, one of `FACES`, colour, and whether a dark rim surrounds the letters."""

    size: int
    face: str = "sans"
    colour: Colour = WHITE
    rim: bool = False


def ink(colour: Colour, mask: bool) -> Colour:
    """The colour to draw with: white on a mask."""
    return WHITE if mask else colour


def pixel(point: NDArray[Any]) -> tuple[int, int]:
    """Column and row of a `point` (2,) as OpenCV wants them."""
    return int(point[0]), int(point[1])


def drawn(screen: Image, pens: Iterable[Pen], frame: int) -> Mask:
    """Draw `pens` on `screen` in place; (height, width) bool: the pixels they drew on."""
    stencil = np.zeros_like(screen)
    for pen in pens:
        pen(screen, frame, False)
        pen(stencil, frame, True)
    touched: Mask = stencil.max(axis=2) > 0
    return touched


def write(image: Image, text: str, corner: tuple[int, int], style: Style, mask: bool) -> None:
    """Write `text` with its left upper corner at `corner` (column, row); what leaves the image is lost."""
    shape = _letters(text, style.size, style.face)
    if style.rim:
        shape = np.pad(shape, 1)
        rim = np.asarray(cv2.dilate(shape, np.ones((3, 3), np.uint8)), np.uint8)
        _paste(image, rim, corner, ink((0, 0, 0), mask), mask)
    _paste(image, shape, corner, ink(style.colour, mask), mask)


def text_size(text: str, style: Style) -> tuple[int, int]:
    """Width and height in px of written text."""
    high, wide = _letters(text, style.size, style.face).shape
    return wide, high


def _paste(image: Image, shape: Image, corner: tuple[int, int], colour: Colour, mask: bool) -> None:
    column, row = corner
    left, top = max(0, -column), max(0, -row)
    shape = shape[top : image.shape[0] - row, left : image.shape[1] - column] if row < image.shape[0] else shape[:0]
    if column >= image.shape[1] or not shape.size:
        return
    part = image[row + top : row + top + shape.shape[0], column + left : column + left + shape.shape[1]]
    if mask:
        part[shape > 0] = 255
        return
    cover = shape[..., None].astype(np.float32) / 255
    part[:] = np.round(part * (1 - cover) + np.array(colour, np.float32) * cover).astype(np.uint8)


@lru_cache(maxsize=1024)
def _letters(text: str, size: int, face: str) -> Image:
    if face in _HERSHEY:
        font = _HERSHEY[face]
        scale = cv2.getFontScaleFromHeight(font, max(4, round(0.6 * size)), 1)
        (wide, high), below = cv2.getTextSize(text, font, scale, 1)
        sheet = np.zeros((high + below + 2, wide + 3), np.uint8)
        cv2.putText(sheet, text, (1, high + 1), font, scale, (255,), 1, cv2.LINE_AA)
        return sheet
    pixel = face == "pixel"
    font_size = max(9, round(size / 2 * 0.8)) if pixel else max(8, round(0.85 * size))
    letters = ImageFont.load_default(font_size)
    canvas = Pillow.new("L", (round(letters.getbbox(text)[2]) + 3, round(1.35 * font_size)))
    ImageDraw.Draw(canvas).text((1, 0), text, fill=255, font=letters)
    shape: Image = np.asarray(canvas)
    if pixel:
        hard = np.where(shape > 110, 255, 0).astype(np.uint8)
        zoom = 2 if size > 14 else 1
        return hard.repeat(zoom, 0).repeat(zoom, 1)
    return shape
