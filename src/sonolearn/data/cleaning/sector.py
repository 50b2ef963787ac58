"""Where on the screen the ultrasound picture is.

The machine's own regions (DICOM) are taken where they are there and agree with the picture; they are sometimes wrong.
Otherwise the picture itself tells: echoes are one large, rough area, and in a cine they move; text, rulers and grey
bars are small, thin, flat or still (`echoes`). An outline is fitted around them (`shapes`). Where none fits, their
whole box is kept: losing echoes is worse than keeping text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.data.cleaning.echoes import CONTRAST, Echoes, find_echoes
from sonolearn.data.cleaning.marks import words
from sonolearn.data.cleaning.shapes import Shape, cost_of, fit_shape, mirrored, rectangle
from sonolearn.data.scans.scan import Pixels, Region

SectorSource = Literal["dicom", "image", "whole"]
Mask = NDArray[np.uint8]

_WHOLE = 0.95  # share of the frame from which on a region is the whole screen
_FILLED = 0.002  # share of a machine's region that must hold echoes
_UNSURE = 0.03  # by how much less an outline of the large areas of a still must cost
_REST, _GAINED = 0.01, 0.02  # share of rough areas that rest outside, and what an outline with them may cost more
_UNCLEAR = 0.1  # cost from which on the whole box is kept: losing echoes is worse than keeping text
_STRAY, _STAYS = 0.03, 0.4  # shares of echoes outside and of the sector filled, by which a sector counts as the same
# Of a line of text over the picture: how far down it reaches as a share of the height, its width by its height (and
# its letters), and the grey levels that its letters stand out by.
_HEADER, _LINE, _LETTER = 0.1, 3, 60
_DASH = 1.5  # width of a piece by its height from which on it is no letter, but part of a line of skin
_EVEN = 8  # grey levels by which half of the ground between letters departs from its median
_WORK = 384  # px: the longer side at which pictures are examined


@dataclass(frozen=True)
class Sector:
    """Where the ultrasound picture is: a mask, and the box around it (columns x0 up to x1, rows y0 up to y1, px)."""

    x0: int
    y0: int
    x1: int
    y1: int
    source: SectorSource
    mm_per_px: float | None = None
    """Side of a source pixel by the machine's region."""
    shape: Shape | None = None
    """The outline on the screen; None where the whole box is picture."""
    panels: Mask | None = field(default=None, repr=False, compare=False)
    """(h, w) 0 or 1, scaled down: all large areas that look like echoes, also those beside the sector."""

    @cached_property
    def mask(self) -> Mask:
        """(y1 - y0, x1 - x0) 0 or 255: the inside."""
        if self.shape is None:
            return np.full((self.y1 - self.y0, self.x1 - self.x0), 255, np.uint8)
        return self.shape.draw(self.y1, self.x1)[self.y0 :, self.x0 :] * np.uint8(255)

    def crop(self, pixels: Pixels) -> Pixels:
        """The part of (H, W[, c]) inside the box; a view."""
        return pixels[self.y0 : self.y1, self.x0 : self.x1]


def find_sector(sample: Pixels, regions: Sequence[Region] = ()) -> Sector | None:
    """The ultrasound picture; None where there is none.

    Args:
        sample: (n, H, W) uint8 grey frames of one scan that look alike, n >= 1.
        regions: the regions of the DICOM header, if any.
    """
    height, width = sample.shape[1:]
    background = _background(sample)
    brightest = sample.max(axis=0)
    region = _region(regions, brightest, background)
    x0, y0, x1, y1 = region[1:] if region else (0, 0, width, height)
    scale = min(1.0, _WORK / max(height, width))
    echoes = find_echoes(sample[:, y0:y1, x0:x1], background, scale)
    if echoes is None:
        return None
    shape = _fitted(echoes).scaled(1 / scale).moved(x0, y0).inside((x0, y0, x1 - 1, y1 - 1))
    shape = _below_header(shape, sample)
    rows, columns = np.nonzero(shape.draw(height, width))
    whole = (x1 - x0) * (y1 - y0) >= _WHOLE * height * width
    return Sector(
        int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1,
        "dicom" if region and not whole else "image", region[0].mm_per_px if region else None, shape, echoes.panels,
    )  # fmt: skip


def _below_header(shape: Shape, sample: Pixels) -> Shape:
    """The shape cut off below lines of text at its upper border: machines write over the first rows of the picture."""
    height, width = sample.shape[1:]
    mask = shape.draw(height, width)
    inside = np.flatnonzero(mask.any(axis=1))
    top, tall = int(inside[0]), len(inside)
    reach = top + int(_HEADER * tall)
    # Letters stand still and are thin and bright: what is left of them when the ground is taken away.
    lowest = np.ascontiguousarray(sample[:, : reach + tall // 10].min(axis=0))
    size = max(5, tall // 60 | 1)
    letters = (cv2.morphologyEx(lowest, cv2.MORPH_TOPHAT, np.ones((size, size), np.uint8)) > _LETTER).astype(np.uint8)
    lines = [
        y + high
        for x, y, wide, high in words(letters)
        if y + high <= reach
        and wide > _LINE * high
        and mask[y : y + high, x : x + wide].any()
        and _on_bar(lowest[y : y + high, x : x + wide], letters[y : y + high, x : x + wide])
    ]
    bottom = max(lines, default=0)
    if bottom <= top:
        return shape
    left, above, right, below = shape.window
    return replace(shape, window=(left, max(above, bottom + 2.0), right, below))


def _on_bar(grey: Pixels, letters: Mask) -> bool:
    """Whether there are several letters on one grey, as on the screen and its bars; echoes are lines on many greys."""
    pieces, _ = cv2.findContours(letters, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    between = grey[letters == 0]
    if len(pieces) < _LINE or between.size == 0:
        return False
    sizes = np.median([cv2.boundingRect(piece)[2:] for piece in pieces], axis=0)
    if sizes[0] > _DASH * sizes[1]:
        return False
    return bool(np.median(cv2.absdiff(between, np.full_like(between, np.median(between)))) < _EVEN)


def still_there(sector: Sector, sample: Pixels) -> bool:
    """Whether the echoes of other frames (n, H, W) of the same scan fill the same sector."""
    if sector.shape is None:
        return False
    height, width = sample.shape[1:]
    scale = min(1.0, _WORK / max(height, width))
    echoes = find_echoes(sample, _background(sample), scale)
    if echoes is None:
        return False
    inside = sector.shape.scaled(scale).draw(*echoes.large.shape)
    found = np.count_nonzero(echoes.large)
    return bool(np.count_nonzero(echoes.large & (1 - inside)) < _STRAY * found and found > _STAYS * inside.sum())


def _background(sample: Pixels) -> int:
    """The commonest grey of the screen's rim."""
    rim = np.concatenate([sample[0, 0], sample[0, -1], sample[0, :, 0], sample[0, :, -1]])
    return int(np.bincount(rim, minlength=256).argmax())


def _region(regions: Sequence[Region], brightest: Pixels, background: int) -> tuple[Region, int, int, int, int] | None:
    """The 2D tissue region with the most content, clipped to the picture; None where none can be right."""
    height, width = brightest.shape
    best: tuple[int, Region, int, int, int, int] | None = None
    for region in regions:
        if region.spatial_format != 1 or region.data_type not in (1, 2):
            continue
        # Ends are off by one in many files; further out, the region belongs to another picture size.
        if min(region.x0, region.y0) < 0 or region.x1 > width + 2 or region.y1 > height + 2:
            continue
        x0, y0, x1, y1 = region.x0, region.y0, min(region.x1, width), min(region.y1, height)
        if x1 - x0 < 16 or y1 - y0 < 16:
            continue
        filled = int(np.count_nonzero(np.abs(brightest[y0:y1, x0:x1].astype(np.int16) - background) > CONTRAST))
        if filled >= _FILLED * (x1 - x0) * (y1 - y0) and (best is None or filled > best[0]):
            best = (filled, region, x0, y0, x1, y1)
    return best[1:] if best else None


def _fitted(echoes: Echoes) -> Shape:
    """The outline; with the small parts, and what rests under the probe, where all together make a shape."""
    shape = fit_shape(echoes.every)
    if np.any(echoes.large != echoes.every):
        alone = fit_shape(echoes.large)
        # Parts that shadows cut off lie inside the shape of the large ones, or make a shape with them; to take in a
        # cell that blinks, a bar or a logo beside the picture costs more than to leave it out.
        better = cost_of(alone, echoes.every) < cost_of(shape, echoes.every)
        shape = alone if better or (not echoes.moving and alone.cost < shape.cost - _UNSURE) else shape
    rest = cv2.countNonZero(echoes.panels & (1 - shape.draw(*echoes.panels.shape)))
    if echoes.moving and rest > _REST * cv2.countNonZero(echoes.panels):
        whole = fit_shape(echoes.every | echoes.panels)
        shape = whole if whole.cost < shape.cost + _GAINED else shape
    if shape.misfit > _UNCLEAR:
        x, y, wide, tall = cv2.boundingRect(echoes.large)
        return replace(rectangle(x, y, x + wide, y + tall), cost=shape.cost, misfit=shape.misfit)
    return mirrored(shape, echoes.grey) if shape.name == "fan" else shape
