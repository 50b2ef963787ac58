"""How colourful each pixel is beyond the tint of the whole picture, and what that says: marks are thin, Doppler is not.

Many machines show grey levels in a tint (sepia, blue): there the chroma of a pixel follows from its luma, and only what
departs from that is colour. Doppler, power Doppler and elastography fill areas; callipers, letters and lines do not.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.cleaning.grey import Shot
from sonolearn.cleaning.sector import Sector
from sonolearn.cleaning.thresholds import THRESHOLDS
from sonolearn.scans.scan import Pixels

Mask = NDArray[np.uint8]
COLOUR, FLOW = THRESHOLDS.colour, THRESHOLDS.flow


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
        if self.strength > COLOUR.tinted:
            height, width = chroma.shape[:2]
            small = luma if luma.shape == (height, width) else cv2.resize(luma, (width, height), interpolation=0)
            expected = self.table[small]
        else:
            expected = np.full_like(chroma, 128)
        return np.asarray(cv2.max(*cv2.split(cv2.absdiff(chroma, expected))), np.uint8)


def varied(chroma: Pixels) -> bool:
    """Whether pixels (n, 2) of an area are of many colours, as flow is, and ink is not."""
    return bool(len(chroma) and chroma.std(axis=0).max() > FLOW.varied)


def find_tint(luma: Pixels, chroma: Pixels, mask: Mask) -> Tint:
    """The tint of a picture: the median chroma of each grey level, and of levels in between.

    Args:
        luma: (n, h, w) or (h, w), sampled as `chroma`.
        chroma: (n, h, w, 2) or (h, w, 2).
        mask: (h, w), where to look.
    """
    none = Tint(np.full((256, 2), 128, np.uint8))
    inside = np.broadcast_to(mask > 0, luma.shape)
    lit = chroma[inside & (luma > COLOUR.lit)]
    if lit.size == 0 or np.median(np.abs(lit.astype(np.int16) - 128).max(axis=-1)) <= COLOUR.tinted:
        return none  # a tint is all over the picture; bright ink may be most of what is bright
    bins, values = luma[inside] // (256 // COLOUR.levels), chroma[inside]
    order = np.argsort(bins, kind="stable")
    groups = np.split(values[order], np.searchsorted(bins[order], np.arange(1, COLOUR.levels)))
    fewest = COLOUR.level * len(order)
    known = [(level, np.median(group, axis=0)) for level, group in enumerate(groups) if len(group) >= fewest]
    if not known:
        return none
    centres = [(level + 0.5) * 256 / COLOUR.levels for level, _ in known]
    table = [np.interp(np.arange(256), centres, [median[c] for _, median in known]) for c in (0, 1)]
    return Tint(np.rint(np.stack(table, 1)).astype(np.uint8))


def areas(colour: Mask, mask: Mask, least: float = COLOUR.patch) -> Mask:
    """The parts of a mask of coloured pixels (h, w) that are too thick to be strokes, and too large to be letters.

    Args:
        colour: (h, w) 0 or 1.
        mask: (h, w), not 0 inside the sector.
        least: share of the sector that each part covers at least.
    """
    size = max(3, round(COLOUR.thick * min(mask.shape)) | 1)
    opened = np.asarray(cv2.morphologyEx(colour & mask, cv2.MORPH_OPEN, np.ones((size, size), np.uint8)), np.uint8)
    if not opened.any():
        return opened
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= least * cv2.countNonZero(mask)
    large[0] = False
    return np.asarray(large[labels], np.uint8)


@dataclass(frozen=True)
class Coloured:
    """The colour of one frame in the box of the sector, at the size (h, w) of its chroma."""

    chroma: Pixels
    """(h, w, 2)."""
    strength: Pixels
    """(h, w): how far it is from the tint of the whole."""
    mask: Mask
    """(h, w) 0 or 1: the pixels that are coloured."""


def coloured_frames(shots: Sequence[Shot], sector: Sector, crops: Pixels) -> list[Coloured | None]:
    """The colour of each frame; None of frames without any.

    Args:
        shots: n frames of one layout.
        sector: their picture.
        crops: (n, H, W) luma in its box.
    """
    chromas = [None if shot.chroma is None else _chroma_crop(shot, sector) for shot in shots]
    found = _beyond_tint(crops, chromas, sector)
    if any(c is not None and _sprinkled(c.mask) for c in found):
        # A dithered GIF sprinkles grey with colours that cancel out; ink and flow stay.
        grey = [np.asarray(cv2.blur(_scaled(crop, c.shape[:2]), (FLOW.blur,) * 2), np.uint8) if c is not None else crop
                for crop, c in zip(crops, chromas, strict=True)]  # fmt: skip
        smooth = [None if c is None else np.asarray(cv2.blur(c, (FLOW.blur,) * 2), np.uint8) for c in chromas]
        found = _beyond_tint(grey, smooth, sector)
    return found


def _sprinkled(mask: Mask) -> bool:
    """Whether colour (h, w) is all over the frame, as dither is, and neither ink nor flow."""
    tiles = cv2.resize(mask.astype(np.float32), (FLOW.tiles, FLOW.tiles), interpolation=cv2.INTER_AREA)
    return bool((tiles > FLOW.sprinkled).mean() > FLOW.everywhere)


def _beyond_tint(
    crops: Sequence[Pixels] | Pixels, chromas: Sequence[Pixels | None], sector: Sector
) -> list[Coloured | None]:
    known = [(crop, chroma) for crop, chroma in zip(crops, chromas, strict=True) if chroma is not None]
    if not known:
        return [None] * len(crops)
    # The least colourful frame: in others flow may outweigh the tint.
    crop, chroma = min(known, key=lambda pair: float(cv2.norm(pair[1] ^ np.uint8(128), cv2.NORM_L1)))
    tint = find_tint(_scaled(crop, chroma.shape[:2]), chroma, _scaled(sector.mask, chroma.shape[:2]))
    found: list[Coloured | None] = []
    for crop, plane in zip(crops, chromas, strict=True):
        if plane is None:
            found.append(None)
            continue
        strength = tint.colour(crop, plane)
        found.append(Coloured(plane, strength, (strength > COLOUR.coloured).astype(np.uint8)))
    return found


def show_flow(frames: Sequence[Coloured | None], sector: Sector, share: float) -> list[bool]:
    """Which frames show colour Doppler.

    Args:
        frames: n frames of one layout, in order.
        sector: their picture.
        share: of the sector that must be coloured area.
    """
    drawn, few = _graphics(frames), len(frames) < THRESHOLDS.marks.fewest
    flags = []
    for frame in frames:
        if frame is None or not frame.mask.any():
            flags.append(False)
            continue
        inside = _scaled(sector.mask, frame.mask.shape)
        size = max(1, cv2.countNonZero(inside))
        loose = frame.mask if drawn is None else frame.mask & (1 - drawn)
        area = cv2.countNonZero(areas(loose, inside))
        flags.append(
            area > share * size * (FLOW.one_colour if few else 1)
            or (few and cv2.countNonZero(frame.mask & inside) > FLOW.much * size)
            or (few and _many_colours(frame, inside))
            or _boxed(frame.mask & inside, size)
        )
    return _joined(flags, FLOW.pause)


def _many_colours(frame: Coloured, inside: Mask) -> bool:
    """Whether any patch of a frame is of many colours; the sector is (h, w), not 0 inside."""
    patches = areas(frame.mask, inside, FLOW.little)
    count, labels = cv2.connectedComponents(patches, connectivity=8)
    return any(varied(frame.chroma[labels == number]) for number in range(1, count))


def _boxed(strokes: Mask, size: int) -> bool:
    """Whether coloured strokes (h, w) close around four sides of a large area; the sector has `size` px."""
    joined = cv2.dilate(strokes, np.ones((3, 3), np.uint8))
    outlines, levels = cv2.findContours(joined, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for number, outline in enumerate(outlines):
        area = cv2.contourArea(outline)
        if levels[0, number, 3] < 0 or area < FLOW.box * size:  # not the rim of a hole
            continue
        hull = np.asarray(cv2.convexHull(outline))
        four = cv2.approxPolyDP(hull, FLOW.corner * cv2.arcLength(hull, True), True)
        around = cv2.contourArea(hull)
        if area > FLOW.full * around and len(four) == 4 and cv2.contourArea(four) > FLOW.four_sided * around:
            return True
    return False


def _graphics(frames: Sequence[Coloured | None]) -> Mask | None:
    """Coloured pixels (h, w), 0 or 1, that stay as graphics do and flow does not; None of too few frames."""
    known = [frame.strength for frame in frames if frame is not None]
    if len(known) < FLOW.fewest_known:
        return None
    stack = np.stack(known)
    lowest, highest = stack.min(axis=0), stack.max(axis=0)
    drawn = ((lowest > COLOUR.coloured) & (highest - lowest < FLOW.steady)).astype(np.uint8)
    return np.asarray(cv2.dilate(drawn, np.ones((3, 3), np.uint8)), np.uint8)


def _joined(flags: Sequence[bool], reach: int) -> list[bool]:
    """The flags with gaps of up to `reach` frames filled, at the ends a few; none where fewer than two are set."""
    marked = [n for n, flag in enumerate(flags) if flag]
    if len(marked) < min(2, len(flags)):
        return [False] * len(flags)
    joined = list(flags)
    ends = [(-1, marked[0]), *itertools.pairwise(marked), (marked[-1], len(flags))]
    for start, stop in ends:
        if stop - start <= (reach if start >= 0 and stop < len(flags) else FLOW.end):
            joined[max(0, start) : stop] = [True] * (stop - max(0, start))
    return joined


def _chroma_crop(shot: Shot, sector: Sector) -> Pixels:
    """The part of the chroma under the box of the sector; chroma may have half as many rows and columns."""
    assert shot.chroma is not None
    down, across = (full / part for full, part in zip(shot.luma.shape, shot.chroma.shape, strict=False))
    rows = slice(int(sector.y0 / down), max(int(sector.y0 / down) + 1, round(sector.y1 / down)))
    columns = slice(int(sector.x0 / across), max(int(sector.x0 / across) + 1, round(sector.x1 / across)))
    return shot.chroma[rows, columns]


def _scaled(image: Pixels, shape: tuple[int, ...]) -> Pixels:
    return np.asarray(cv2.resize(image, shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
