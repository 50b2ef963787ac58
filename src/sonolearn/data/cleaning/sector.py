"""Where on the screen the ultrasound picture is.

The machine's own regions (DICOM) are taken where they are there and agree with the picture; they are sometimes wrong.
Otherwise the picture itself tells: echoes are one large, rough area, and in a cine they move; text, rulers and grey
bars are small, thin, flat or still. Where that is not clear, the whole frame is kept: losing echoes is worse than
keeping text.
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
Box = tuple[int, int, int, int]

_CONTRAST = 12  # grey levels by which echoes differ from the screen's background
_MOVING = 6  # grey levels by which a pixel differs between frames of a cine, beyond compression noise
_FAINT = 3  # the same of the faintest echoes
_STEP = np.array([[0, -1, 1]], np.float32)  # from a pixel to the next
_FLAT = 0.2  # mean step of grey from pixel to pixel up to which nothing was measured there
_ROUGH = 1.0  # the same from which on it is speckle
_LONGEST = 4  # longer side of a picture by its shorter one, at most
_SMALLEST = 0.04  # share of the frame that a picture takes at least
_WHOLE = 0.95  # share of the frame from which on a region is the whole screen
_FILLED = 0.002  # share of a machine's region that must hold echoes
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
    background = _background(sample)
    chosen = _region(regions, sample.max(axis=0), background)
    box = _largest_area(sample, background)
    if chosen is not None:
        region, x0, y0, x1, y1 = chosen
        # A region of the whole screen says nothing about where the picture is, only how large a pixel is.
        if box is None or (x1 - x0) * (y1 - y0) < _WHOLE * height * width:
            return Sector(x0, y0, x1, y1, "dicom", region.mm_per_px)
        return Sector(*box, "image", region.mm_per_px)
    if box is None:
        return Sector(0, 0, width, height, "whole")
    return Sector(*box, "image")


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
        filled = int(np.count_nonzero(np.abs(brightest[y0:y1, x0:x1].astype(np.int16) - background) > _CONTRAST))
        if filled >= _FILLED * (x1 - x0) * (y1 - y0) and (best is None or filled > best[0]):
            best = (filled, region, x0, y0, x1, y1)
    return best[1:] if best else None


def _largest_area(sample: Pixels, background: int) -> Box | None:
    """The box of the largest connected area of speckle; None if none is large enough to be a picture."""
    height, width = sample.shape[1:]
    scale = min(1.0, _WORK / max(height, width))
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    speckle, echoes = _dense(_small(sample.max(axis=0), shape), background)
    side = min(shape)
    # Drops what is thinner than 5 % of the picture: lines of text, rulers, bars, traces.
    thick = cv2.morphologyEx(echoes, cv2.MORPH_OPEN, _disc(side // 20))
    count, labels = cv2.connectedComponents(thick, connectivity=8)
    if count < 2:
        return None
    areas = np.bincount(labels.ravel(), weights=speckle.ravel(), minlength=count)[1:]
    if len(sample) > 1:
        # In a cine the picture is what moves: a still logo or panel counts for nothing.
        moving = _small(_moving(sample) * 255, shape) > 96
        moved = np.bincount(labels.ravel(), weights=(moving & (speckle > 0)).ravel(), minlength=count)[1:]
        if moved.max() > 0.02 * moving.size:
            areas = moved
    # Shadows may cut a picture into parts: all large ones belong to it.
    kept = np.isin(labels, 1 + np.flatnonzero(areas >= 0.15 * areas.max())).astype(np.uint8)
    # Opening rounded the corners off: what is joined to the area within a few px belongs to it.
    kept = np.asarray(cv2.dilate(kept, _disc(side // 20)), np.uint8) & echoes
    ys, xs = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    x0, x1 = int(xs[0] / scale), min(width, int(np.ceil((xs[-1] + 1) / scale)))
    y0, y1 = int(ys[0] / scale), min(height, int(np.ceil((ys[-1] + 1) / scale)))
    too_flat = max(x1 - x0, y1 - y0) > _LONGEST * min(x1 - x0, y1 - y0)
    if kept.sum() < _SMALLEST * kept.size or min(x1 - x0, y1 - y0) < 16 or too_flat:
        return None
    return x0, y0, x1, y1


def _dense(grey: Pixels, background: int) -> tuple[Mask, Mask]:
    """Two (H, W) masks of 0 and 1: where speckle is, and where at least faint echoes may be.

    In speckle most pixels differ from their neighbours; text is mostly gaps. Faint echoes differ a little from the
    screen; what differs much and is flat is a bar of the screen.
    """
    values = grey.astype(np.float32)
    # Along rows and along columns: a bar with a shade from top to bottom is flat along its rows.
    steps = [cv2.boxFilter(np.abs(cv2.filter2D(values, -1, k)), -1, (3, 3)) for k in (_STEP, _STEP.T)]
    roughness = np.minimum(*steps)
    away = np.abs(values - background)
    speckle = (roughness > _ROUGH) & (away > _CONTRAST)
    faint = (away > _FAINT) & ((roughness > _FLAT) | (away <= _CONTRAST))
    window = max(3, min(grey.shape) // 40) | 1
    shares = (
        cv2.boxFilter(m.astype(np.float32), -1, (window, window), borderType=cv2.BORDER_REPLICATE)
        for m in (speckle, faint)
    )
    speckle_mask, faint_mask = ((share > 0.5).astype(np.uint8) for share in shares)
    return speckle_mask, speckle_mask | faint_mask


def _small(image: Pixels, shape: tuple[int, int]) -> Pixels:
    """An (H, W) image scaled down to (width, height)."""
    return np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA), np.uint8)


def _moving(sample: Pixels) -> Mask:
    """(H, W) 0 or 1: where frames differ."""
    return np.asarray(sample.max(axis=0) - sample.min(axis=0) > _MOVING, np.uint8)


def _disc(size: int) -> Mask:
    """A disc of about `size` px across, at least 3."""
    size = max(3, size)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size | 1, size | 1)), np.uint8)
