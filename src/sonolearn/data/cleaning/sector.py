"""Where on the screen the ultrasound picture is.

The machine's own regions (DICOM) are taken where they are there and agree with the picture; they are sometimes wrong.
Otherwise the picture itself tells: echoes are one large, textured area, and in a cine they move; text, rulers and grey
bars are small, thin and still. Where that is not clear, the whole frame is kept: losing echoes is worse than keeping text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.data.scans.scan import Pixels, Region

SectorSource = Literal["dicom", "image", "whole"]
Mask = NDArray[np.uint8]

_CONTRAST = 12  # grey levels by which echoes differ from the screen's background
_MOVING = 6  # grey levels by which a pixel differs between frames of a cine, beyond compression noise
_SMALLEST = 0.04  # share of the frame that a picture takes at least
_FILLED = 0.05  # share of a machine's region that must hold echoes
_WORK = 512  # px: the longer side at which pictures are examined


@dataclass(frozen=True)
class Sector:
    """A box on the screen in px: columns x0 up to x1, rows y0 up to y1, ends excluded."""

    x0: int
    y0: int
    x1: int
    y1: int
    source: SectorSource
    mm_per_px: float | None = None
    """Side of a source pixel by the machine's region."""

    def crop(self, pixels: Pixels) -> Pixels:
        """The part of (H, W[, 3]) inside the box; a view."""
        return pixels[self.y0 : self.y1, self.x0 : self.x1]


def find_sector(sample: Pixels, regions: Sequence[Region] = ()) -> Sector:
    """The box of the ultrasound picture.

    Args:
        sample: (n, H, W) uint8 grey frames of one scan, n >= 1.
        regions: the regions of the DICOM header, if any.
    """
    height, width = sample.shape[1:]
    content = _content(sample)
    chosen = _region(regions, content)
    box = _largest_area(sample, content)
    if chosen is not None:
        region, x0, y0, x1, y1 = chosen
        # A region of the whole screen says nothing about where the picture is, only how large a pixel is.
        if (x1 - x0) * (y1 - y0) < 0.95 * height * width or box is None:
            return Sector(x0, y0, x1, y1, "dicom", region.mm_per_px)
        return Sector(*box, "image", region.mm_per_px)
    if box is None:
        return Sector(0, 0, width, height, "whole")
    return Sector(*box, "image")


def _content(sample: Pixels) -> Mask:
    """(H, W) 0 or 1: where any frame differs from the background, the commonest grey of the screen's rim."""
    brightest, darkest = sample.max(axis=0), sample.min(axis=0)
    rim = np.concatenate([brightest[0], brightest[-1], brightest[:, 0], brightest[:, -1]])
    background = int(np.bincount(rim, minlength=256).argmax())
    away = np.maximum(brightest.astype(np.int16) - background, background - darkest.astype(np.int16))
    return (away > _CONTRAST).astype(np.uint8)


def _region(regions: Sequence[Region], content: Mask) -> tuple[Region, int, int, int, int] | None:
    """The 2D tissue region with the most content, clipped to the picture; None where none can be right."""
    height, width = content.shape
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
        filled = int(content[y0:y1, x0:x1].sum())
        if filled >= _FILLED * (x1 - x0) * (y1 - y0) and (best is None or filled > best[0]):
            best = (filled, region, x0, y0, x1, y1)
    return best[1:] if best else None


def _largest_area(sample: Pixels, content: Mask) -> tuple[int, int, int, int] | None:
    """The box of the largest connected area without thin things; None if it is too small to be a picture."""
    height, width = content.shape
    scale = min(1.0, _WORK / max(height, width))
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(content * 255, shape, interpolation=cv2.INTER_AREA)
    mask = (small > 96).astype(np.uint8)
    if len(sample) > 1:
        moving = cv2.resize(_moving(sample) * 255, shape, interpolation=cv2.INTER_AREA)
    # Joins speckles, then drops what is thinner than 3 % of the picture: text, rulers, bars, traces.
    side = min(shape)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(max(3, side // 60)))
    thick = cv2.morphologyEx(closed, cv2.MORPH_OPEN, _disc(max(3, side // 20)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(thick, connectivity=8)
    if count < 2:
        return None
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.float64)
    if len(sample) > 1:
        # In a cine the picture is what moves: a still logo or panel counts for nothing.
        moved = np.bincount(labels.ravel(), weights=(moving > 96).ravel(), minlength=count)[1:]
        if moved.max() > 0.02 * moving.size:
            areas = moved
    # Shadows may cut a picture into parts: all large ones belong to it.
    kept = np.isin(labels, 1 + np.flatnonzero(areas >= 0.15 * areas.max())).astype(np.uint8)
    # Opening rounded the corners off: what is joined to the area within a few px belongs to it.
    kept = cv2.dilate(kept, _disc(max(3, side // 20))) & closed
    ys, xs = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    x0, x1 = int(xs[0] / scale), min(width, int(np.ceil((xs[-1] + 1) / scale)))
    y0, y1 = int(ys[0] / scale), min(height, int(np.ceil((ys[-1] + 1) / scale)))
    if kept.sum() < _SMALLEST * kept.size or min(x1 - x0, y1 - y0) < 16:
        return None
    return x0, y0, x1, y1


def _moving(sample: Pixels) -> Mask:
    """(H, W) 0 or 1: where frames differ."""
    return (sample.max(axis=0) - sample.min(axis=0) > _MOVING).astype(np.uint8)


def _disc(size: int) -> Mask:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size | 1, size | 1)), np.uint8)
