"""What is coloured in each frame of a piece, and which frames show colour Doppler.

In a cine ink stands as it is and flow does not. Of a few frames that cannot be told: there ink is of one colour, and
flow of many. The coloured box in which a machine measures flow is a sign by itself, with flow in it or without.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.data.cleaning.colour import COLOURED, areas, find_tint, varied
from sonolearn.data.cleaning.marks import FEWEST
from sonolearn.data.cleaning.sector import Sector
from sonolearn.data.cleaning.segments import Shot
from sonolearn.data.scans.scan import Pixels

Mask = NDArray[np.uint8]

_ONE_COLOUR = 10  # times as much of one colour is Doppler in a still, or in few frames: it may be ink
_LITTLE = 0.0008  # share of the sector that a patch of many colours covers at least
_MUCH = 0.03  # share of the sector in colour, in patches or not, that nobody draws
_TILES, _SPRINKLED = 8, 0.02  # along each side of a frame; share of a tile in colour from which on it is sprinkled
_EVERYWHERE, _AROUND = 0.4, (9, 9)  # share of the tiles from which on the colour is looked at blurred by so many px
_END = 3  # frames at the ends of a piece that belong to a Doppler box beside them
_PAUSE = 12  # frames: a Doppler box whose flow pauses is still a Doppler box
_STEADY = 14  # by which the colour of graphics changes at most: compression
_BOX = 0.02  # share of the sector that a Doppler box surrounds at least
_FULL, _FOUR_SIDED = 0.75, 0.75  # shares of its hull that a box and four corners of it fill; of an ellipse, .64
_CORNER = 0.04  # of the way around: by so much the sides of a box are bent at most


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
        grey = [np.asarray(cv2.blur(_scaled(crop, c.shape[:2]), _AROUND), np.uint8) if c is not None else crop
                for crop, c in zip(crops, chromas, strict=True)]  # fmt: skip
        smooth = [None if c is None else np.asarray(cv2.blur(c, _AROUND), np.uint8) for c in chromas]
        found = _beyond_tint(grey, smooth, sector)
    return found


def _sprinkled(mask: Mask) -> bool:
    """Whether colour (h, w) is all over the frame, as dither is, and neither ink nor flow."""
    tiles = cv2.resize(mask.astype(np.float32), (_TILES, _TILES), interpolation=cv2.INTER_AREA)
    return bool((tiles > _SPRINKLED).mean() > _EVERYWHERE)


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
        found.append(Coloured(plane, strength, (strength > COLOURED).astype(np.uint8)))
    return found


def show_flow(frames: Sequence[Coloured | None], sector: Sector, share: float) -> list[bool]:
    """Which frames show colour Doppler.

    Args:
        frames: n frames of one layout, in order.
        sector: their picture.
        share: of the sector that must be coloured area.
    """
    drawn, few = _graphics(frames), len(frames) < FEWEST
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
            area > share * size * (_ONE_COLOUR if few else 1)
            or (few and cv2.countNonZero(frame.mask & inside) > _MUCH * size)
            or (few and _many_colours(frame, inside))
            or _boxed(frame.mask & inside, size)
        )
    return _joined(flags, _PAUSE)


def _many_colours(frame: Coloured, inside: Mask) -> bool:
    """Whether any patch of a frame is of many colours; the sector is (h, w), not 0 inside."""
    patches = areas(frame.mask, inside, _LITTLE)
    count, labels = cv2.connectedComponents(patches, connectivity=8)
    return any(varied(frame.chroma[labels == number]) for number in range(1, count))


def _boxed(strokes: Mask, size: int) -> bool:
    """Whether coloured strokes (h, w) close around four sides of a large area; the sector has `size` px."""
    joined = cv2.dilate(strokes, np.ones((3, 3), np.uint8))
    outlines, levels = cv2.findContours(joined, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for number, outline in enumerate(outlines):
        area = cv2.contourArea(outline)
        if levels[0, number, 3] < 0 or area < _BOX * size:  # not the rim of a hole
            continue
        hull = np.asarray(cv2.convexHull(outline))
        four = cv2.approxPolyDP(hull, _CORNER * cv2.arcLength(hull, True), True)
        around = cv2.contourArea(hull)
        if area > _FULL * around and len(four) == 4 and cv2.contourArea(four) > _FOUR_SIDED * around:
            return True
    return False


def _graphics(frames: Sequence[Coloured | None]) -> Mask | None:
    """Coloured pixels (h, w), 0 or 1, that stay as graphics do and flow does not; None of too few frames."""
    known = [frame.strength for frame in frames if frame is not None]
    if len(known) < 3:
        return None
    stack = np.stack(known)
    lowest, highest = stack.min(axis=0), stack.max(axis=0)
    drawn = ((lowest > COLOURED) & (highest - lowest < _STEADY)).astype(np.uint8)
    return np.asarray(cv2.dilate(drawn, np.ones((3, 3), np.uint8)), np.uint8)


def _joined(flags: Sequence[bool], reach: int) -> list[bool]:
    """The flags with gaps of up to `reach` frames filled, at the ends a few; none where fewer than two are set."""
    marked = [n for n, flag in enumerate(flags) if flag]
    if len(marked) < min(2, len(flags)):
        return [False] * len(flags)
    joined = list(flags)
    ends = [(-1, marked[0]), *itertools.pairwise(marked), (marked[-1], len(flags))]
    for start, stop in ends:
        if stop - start <= (reach if start >= 0 and stop < len(flags) else _END):
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
