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
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.cleaning.marks import words
from sonolearn.cleaning.shapes import Shape, cost_of, fit_shape, mirrored, rectangle
from sonolearn.scans.scan import Pixels, Region

Mask = NDArray[np.uint8]

CONTRAST = 12  # grey levels by which echoes differ from the screen's background
_FAINT = 3  # the same of the faintest echoes
_MOVING = 6  # grey levels by which a pixel differs between frames of a cine, beyond compression noise
_STEP = np.array([[0, -1, 1]], np.float32)  # from a pixel to the next
_FLAT = 0.2  # mean step of grey from pixel to pixel up to which nothing was measured there
_ROUGH = 1.0  # the same from which on it is speckle
_LONGEST = 4  # longer side of a picture by its shorter one, at most
_SMALLEST = 0.025  # share of the frame that a picture takes at least: 3.6 % on a wide screen, text less
_LARGE, _PART = 0.15, 0.01  # shares of the largest area: large areas of echoes, and small parts that shadows cut off
_CORNER = 20  # of the side: how far from an area its rounded corners may lie
_TINY = 16  # px: nothing can be told on smaller screens
_SOLID = 25  # moving parts thinner than the side by this are no echoes


class Echoes(NamedTuple):
    """Where echoes are: (h, w) masks, 0 or 1."""

    large: Mask
    """The large areas; in a cine those that move."""
    every: Mask
    """These with small parts, which shadows and fluid cut off."""
    panels: Mask
    """All large areas, moving or not."""
    moving: bool
    """Whether the frames are a cine of which enough moves."""
    grey: Pixels
    """(h, w) of one frame."""


def find_echoes(sample: Pixels, background: int, scale: float) -> Echoes | None:
    """Where echoes are, in a picture `scale` times as large; None where nothing looks like a picture.

    Args:
        sample: (n, H, W) uint8 grey frames.
        background: grey of the empty screen.
        scale: 0 to 1.
    """
    height, width = sample.shape[1:]
    if min(height, width) * scale < _TINY:
        return None
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Speckle in one frame; over many the brightest grey of each pixel is as even as a bar.
    grey = _small(sample[len(sample) // 2], shape)
    speckle, rough, flat = _dense(grey, background)
    side = min(shape)
    # Drops what is thinner than 5 % of the picture: lines of text, rulers, bars, traces.
    thick = cv2.morphologyEx(rough, cv2.MORPH_OPEN, _disc(side // 20))
    count, labels = cv2.connectedComponents(thick, connectivity=8)
    if count < 2:
        return None
    areas = rough_areas = np.bincount(labels.ravel(), weights=speckle.ravel(), minlength=count)[1:]
    lowest, highest = sample.min(axis=0), sample.max(axis=0)
    lit = _lit(highest, background, shape)
    moved_by = np.asarray(highest - lowest > _MOVING, np.uint8)
    moving = (_small(moved_by * 255, shape) > 96).astype(np.uint8)
    moved = np.bincount(labels.ravel(), weights=(moving & speckle).ravel(), minlength=count)[1:]
    is_cine = moved.max() > 0.02 * moving.size
    if is_cine:
        # In a cine the picture is what moves: a still logo or panel counts for nothing.
        areas = moved
    # Opening rounded the corners off: what is lit and joined within a few px belongs to an area.
    large, parts, panels = (
        np.isin(labels, 1 + np.flatnonzero(sizes >= share * sizes.max())).astype(np.uint8)
        for sizes, share in ((areas, _LARGE), (areas, _PART), (rough_areas, _LARGE))
    )
    if is_cine:
        # Traces and clocks move, too, but are thin.
        solid = cv2.morphologyEx(_mostly(moving, _window(shape)), cv2.MORPH_OPEN, _disc(side // _SOLID))
        parts = large | np.asarray(solid, np.uint8)
        flat &= 1 - moving
    lit &= 1 - flat
    large, every, panels = (
        np.asarray(cv2.dilate(m, _disc(side // _CORNER)), np.uint8) & lit for m in (large, parts, panels)
    )
    ys, xs = np.flatnonzero(large.any(axis=1)), np.flatnonzero(large.any(axis=0))
    if large.sum() < _SMALLEST * large.size:
        return None
    tall, wide = ys[-1] - ys[0] + 1, xs[-1] - xs[0] + 1
    return None if max(tall, wide) > _LONGEST * min(tall, wide) else Echoes(large, every, panels, bool(is_cine), grey)


def _dense(grey: Pixels, background: int) -> tuple[Mask, Mask, Mask]:
    """Three (H, W) masks of 0 and 1: where speckle is, where at least faint echoes may be, and flat pixels of bars.

    In speckle most pixels differ from their neighbours; text is mostly gaps. Faint echoes differ a little from the
    screen; what differs much and is flat is a bar of the screen.
    """
    values = grey.astype(np.float32)
    # Along rows and along columns: a bar with a shade from top to bottom is flat along its rows.
    steps = [cv2.boxFilter(np.abs(cv2.filter2D(values, -1, k)), -1, (3, 3)) for k in (_STEP, _STEP.T)]
    roughness = np.minimum(*steps)
    away = np.abs(values - background)
    speckle = (roughness > _ROUGH) & (away > CONTRAST)
    bar = (away > CONTRAST) & (roughness <= _FLAT)
    faint = (away > _FAINT) & ~bar
    window = _window(grey.shape)
    speckle_mask, faint_mask = _mostly(speckle, window), _mostly(faint, window)
    return speckle_mask, speckle_mask | faint_mask, bar.astype(np.uint8)


def _lit(highest: Pixels, background: int, shape: tuple[int, int]) -> Mask:
    """Pixels that differ from the screen at any time, without thin strokes; scaled to (width, height)."""
    away = cv2.absdiff(highest, np.full_like(highest, background))
    # The rim of a picture is a mixture of echoes and screen: without this step outlines come out 1 px too wide.
    eroded = np.asarray(cv2.erode(away, np.ones((3, 3), np.uint8)), np.uint8)
    lit = (_small(eroded, shape) > _FAINT).astype(np.uint8)
    letter = max(3, min(shape) // 60 | 1)  # px: strokes of letters are thinner
    return np.asarray(cv2.morphologyEx(lit, cv2.MORPH_OPEN, np.ones((letter, letter), np.uint8)), np.uint8)


def _window(shape: tuple[int, ...]) -> int:
    """Side in px of the neighbourhood that tells an area from strokes."""
    return max(3, min(shape) // 40) | 1


def _mostly(mask: NDArray[Any], window: int) -> Mask:
    """1 where more than half of the neighbourhood is set."""
    share = cv2.boxFilter(mask.astype(np.float32), -1, (window, window), borderType=cv2.BORDER_REPLICATE)
    return (share > 0.5).astype(np.uint8)


def _small(image: Pixels, shape: tuple[int, int]) -> Pixels:
    """An (H, W) image scaled down to (width, height)."""
    return np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA), np.uint8)


def _disc(size: int) -> Mask:
    """A disc of about `size` px across, at least 3."""
    size = max(3, size)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size | 1, size | 1)), np.uint8)


SectorSource = Literal["dicom", "image", "whole"]

_WHOLE = 0.95  # share of the frame from which on a region is the whole screen
_FILLED = 0.002  # share of a machine's region that must hold echoes
_UNSURE = 0.03  # by how much less an outline of the large areas of a still must cost
_REST, _GAINED = 0.01, 0.02  # share of rough areas that rest outside, and what an outline with them may cost more
UNCLEAR = 0.1  # cost from which on the whole box is kept: losing echoes is worse than keeping text
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
    if shape.misfit > UNCLEAR:
        x, y, wide, tall = cv2.boundingRect(echoes.large)
        return replace(rectangle(x, y, x + wide, y + tall), cost=shape.cost, misfit=shape.misfit)
    return mirrored(shape, echoes.grey) if shape.name == "fan" else shape
