"""How colourful each pixel is beyond the tint of the whole picture, and what that says: marks are thin, Doppler is not.

Many machines show grey levels in a tint (sepia, blue): there the chroma of a pixel follows from its luma, and only what
departs from that is colour. Doppler, power Doppler and elastography fill areas; callipers, letters and lines do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.data.scans.scan import Pixels

Mask = NDArray[np.uint8]

COLOURED = 22
"""Departure of chroma from grey, or from the picture's tint, from which on a pixel is coloured."""
_VARIED = 12  # standard deviation of chroma in a patch of flow; ink is of one colour
_LEVELS = 16  # bins of luma in which a tint is measured
_LEVEL = 0.005  # share of the pixels that a bin needs: ink may be all that is so bright
_LIT = 30  # grey level from which on a tint shows
_TINTED = 3  # chroma up to which nothing is tinted: rounding and compression
_PATCH = 0.003  # of the sector: patches of flow are larger
_THICK = 0.02  # of the shorter side: areas are thicker than this, strokes thinner


@dataclass(frozen=True)
class Tint:
    """The chroma that a grey level is shown in: (256, 2) uint8, Cb and Cr; 128 is none."""

    table: NDArray[np.uint8]

    @property
    def strength(self) -> int:
        """The largest departure from grey of any level."""
        return int(np.abs(self.table.astype(np.int16) - 128).max())

    def colour(self, luma: Pixels, chroma: Pixels) -> Pixels:
        """How far (h, w) pixels are from their grey level's tint: (h, w) uint8, 0 to 128.

        Args:
            luma: (H, W) of any size; sampled to the chroma's.
            chroma: (h, w, 2) Cb and Cr.
        """
        if self.strength > _TINTED:
            height, width = chroma.shape[:2]
            small = luma if luma.shape == (height, width) else cv2.resize(luma, (width, height), interpolation=0)
            expected = self.table[small]
        else:
            expected = np.full_like(chroma, 128)
        return np.asarray(cv2.max(*cv2.split(cv2.absdiff(chroma, expected))), np.uint8)


def varied(chroma: Pixels) -> bool:
    """Whether pixels (n, 2) of an area are of many colours, as flow is, and ink is not."""
    return bool(len(chroma) and chroma.std(axis=0).max() > _VARIED)


def find_tint(luma: Pixels, chroma: Pixels, mask: Mask) -> Tint:
    """The tint of a picture: the median chroma of each grey level, and of levels in between.

    Args:
        luma: (n, h, w) or (h, w), sampled as `chroma`.
        chroma: (n, h, w, 2) or (h, w, 2).
        mask: (h, w), where to look.
    """
    none = Tint(np.full((256, 2), 128, np.uint8))
    inside = np.broadcast_to(mask > 0, luma.shape)
    lit = chroma[inside & (luma > _LIT)]
    if lit.size == 0 or np.median(np.abs(lit.astype(np.int16) - 128).max(axis=-1)) <= _TINTED:
        return none  # a tint is all over the picture; bright ink may be most of what is bright
    bins, values = luma[inside] // (256 // _LEVELS), chroma[inside]
    order = np.argsort(bins, kind="stable")
    groups = np.split(values[order], np.searchsorted(bins[order], np.arange(1, _LEVELS)))
    known = [
        (level, np.median(group, axis=0)) for level, group in enumerate(groups) if len(group) >= _LEVEL * len(order)
    ]
    if not known:
        return none
    centres = [(level + 0.5) * 256 / _LEVELS for level, _ in known]
    table = [np.interp(np.arange(256), centres, [median[c] for _, median in known]) for c in (0, 1)]
    return Tint(np.rint(np.stack(table, 1)).astype(np.uint8))


def areas(colour: Mask, mask: Mask, least: float = _PATCH) -> Mask:
    """The parts of a mask of coloured pixels (h, w) that are too thick to be strokes, and too large to be letters.

    Args:
        colour: (h, w) 0 or 1.
        mask: (h, w), not 0 inside the sector.
        least: share of the sector that each part covers at least.
    """
    size = max(3, round(_THICK * min(mask.shape)) | 1)
    opened = np.asarray(cv2.morphologyEx(colour & mask, cv2.MORPH_OPEN, np.ones((size, size), np.uint8)), np.uint8)
    if not opened.any():
        return opened
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= least * cv2.countNonZero(mask)
    large[0] = False
    return np.asarray(large[labels], np.uint8)
