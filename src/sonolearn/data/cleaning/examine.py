"""Examine a piece of a recording, frames of one layout: the sector, which frames are good, what is drawn on them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.config import CleaningConfig
from sonolearn.data.cleaning import colour, layouts, marks
from sonolearn.data.cleaning.sector import Sector, find_sector, still_there
from sonolearn.data.cleaning.segments import Shot
from sonolearn.data.cleaning.stillness import is_frozen
from sonolearn.data.cleaning.verdicts import Verdict
from sonolearn.data.scans.scan import Pixels, Region

Mask = NDArray[np.uint8]

_COLOURED = 22  # departure of chroma from grey, or from the picture's tint, from which on a pixel is coloured
_LONG = 1.5  # seconds after which tissue has moved
_STILL = 10  # times as much colour is Doppler in a still, or in few frames
_MUCH = 0.03  # share of the sector in colour, in patches or not, that nobody draws
_MOST = 0.25  # share of the sector that marks cover at most
_END = 3  # frames at the ends of a piece that belong to a Doppler box beside them
_PAUSE = 12  # frames: a Doppler box whose flow pauses is still a Doppler box
_STEADY = 14  # by which the colour of graphics changes at most: compression
_TINTED = 14  # strength of the tint of renderings
_SHADES, _SHADE = 60, 0.0005  # levels of grey of a shaded surface, each on this share of the screen: text has fewer
_SMOOTH = 0.05  # median departure from the mean around a pixel, over the mean grey: speckle has several times more
_RANGE = 10  # grey levels between which all of a blank frame lies


@dataclass(frozen=True)
class Examined:
    """What was found in a piece of n frames."""

    sector: Sector
    crops: Pixels
    """(n, h, w) luma in the box of the sector."""
    verdicts: list[Verdict | None]
    """Of each frame; None is good."""
    marks: list[Mask | None]
    """(h, w) 0 or 1 of each frame, one array while they stay the same; None where nothing is drawn, or the frame is
    left out."""
    screen: Verdict | None = None
    """What the layout shows besides one picture; then all frames are left out for it."""


def examine(
    shots: Sequence[Shot], regions: Sequence[Region], before: Examined | None, config: CleaningConfig
) -> Examined:
    """Examine frames of one layout.

    Args:
        shots: n >= 1 frames.
        regions: of the DICOM header.
        before: what was found in the piece before, if this one goes on with its layout.
        config: what to look for.
    """
    luma = np.stack([shot.luma for shot in shots])
    found: Sector | None
    if before is not None and before.sector.shape is not None and still_there(before.sector, luma):
        found, screen = before.sector, before.screen
    else:
        found = find_sector(luma, regions)
        # Without a cut, one picture does not become two.
        known = before is not None and before.screen is None and found is not None
        screen = None if known else _of_screen(luma, shots, found, regions, config)
    height, width = luma.shape[1:]
    sector = found if found is not None and config.sector else Sector(0, 0, width, height, "whole")
    crops = np.ascontiguousarray(luma[:, sector.y0 : sector.y1, sector.x0 : sector.x1])
    nowhere: list[Mask | None] = [None] * len(shots)
    if screen is not None:
        return Examined(sector, crops, [screen] * len(shots), nowhere, screen)
    strengths = _colours(shots, sector, crops)
    colours = [None if s is None else (s > _COLOURED).astype(np.uint8) for s in strengths]
    drawn = _drawn_in_colour(strengths)
    areas = [
        None if c is None else colour.areas(c if drawn is None else c & (1 - drawn), _scaled(sector.mask, c.shape))
        for c in colours
    ]
    last = before.crops[-1] if before is not None and before.crops.shape[1:] == crops.shape[1:] else None
    verdicts = _of_frames(crops, areas, colours, sector, last, config)
    if config.marks == "keep":
        return Examined(sector, crops, verdicts, nowhere)
    times = [shot.frame.time for shot in shots]
    return Examined(sector, crops, verdicts, _marks(crops, colours, verdicts, sector.mask, times))


def _of_screen(
    luma: Pixels, shots: Sequence[Shot], sector: Sector | None, regions: Sequence[Region], config: CleaningConfig
) -> Verdict | None:
    """What all frames of the layout have against them."""
    height, width = luma.shape[1:]
    found: Verdict | None = None
    if _rendered(shots[len(shots) // 2]):
        found = "rendering"
    elif sector is None:
        found = layouts.nothing(luma[len(luma) // 2])
    elif several := layouts.several(sector, regions, height, width, len(shots) >= marks.FEWEST):
        found = several
    elif min(sector.x1 - sector.x0, sector.y1 - sector.y0) < config.smallest:
        found = "small"
    return found if found in config.reject else None


def _of_frames(
    crops: Pixels,
    areas: Sequence[Mask | None],
    colours: Sequence[Mask | None],
    sector: Sector,
    last: Pixels | None,
    config: CleaningConfig,
) -> list[Verdict | None]:
    """What each frame has against it."""
    inside = cv2.countNonZero(sector.mask)
    # Of a still nobody can tell whether the colour is drawn or flows: only much of it counts.
    least = config.doppler_share * (1 if len(crops) >= marks.FEWEST else _STILL) * inside / sector.mask.size
    coloured = [
        (a is not None and cv2.countNonZero(a) > least * a.size)
        or (
            len(crops) < marks.FEWEST
            and c is not None
            and cv2.countNonZero(c & _scaled(sector.mask, c.shape)) > _MUCH * inside / sector.mask.size * c.size
        )
        for a, c in zip(areas, colours, strict=True)
    ]
    doppler = _joined(coloured, _PAUSE)
    verdicts: list[Verdict | None] = []
    for number, crop in enumerate(crops):
        before = crops[number - 1] if number else last
        levels = np.cumsum(cv2.calcHist([crop], [0], sector.mask, [256], [0, 256]).ravel())
        low, high = (int(np.searchsorted(levels, share * levels[-1])) for share in (0.001, 0.99))
        against: dict[Verdict, bool] = {
            "blank": high - low < _RANGE,
            "dark": high < config.dark_level,
            "doppler": doppler[number],
            "frozen": before is not None and is_frozen(before, crop, sector.mask),
        }
        verdicts.append(next((name for name, holds in against.items() if holds and name in config.reject), None))
    return verdicts


def _marks(
    crops: Pixels,
    colours: Sequence[Mask | None],
    verdicts: Sequence[Verdict | None],
    mask: Mask,
    times: Sequence[float],
) -> list[Mask | None]:
    """Marks of each good frame: what stands still in all, or in the frames around it, and what is coloured in it."""
    good = [number for number, verdict in enumerate(verdicts) if verdict is None]
    still: dict[int, Mask] = {}
    if len(good) < marks.FEWEST:
        still = {n: marks.stroke_marks(crops[n], mask) for n in good}
    else:
        throughout = marks.still_marks(crops[good], mask)
        for window in _windows(good, times):
            nearby = throughout if len(window) == len(good) else throughout | marks.still_marks(crops[window], mask)
            still |= dict.fromkeys(window, nearby)
    found: list[Mask | None] = [None] * len(crops)
    before = None
    for number in good:
        drawn = still[number]
        strokes = colours[number]
        if strokes is not None and cv2.countNonZero(strokes):
            drawn = drawn | marks.coloured_marks(strokes, mask)
        # The same array while the marks stay the same: such frames are filled together.
        drawn = before = before if before is not None and np.array_equal(before, drawn) else drawn
        # Nobody draws on so much of a picture: then it is noise, or a palette that is no tint.
        found[number] = drawn if 0 < cv2.countNonZero(drawn) < _MOST * cv2.countNonZero(mask) else None
    return found


def _windows(good: Sequence[int], times: Sequence[float]) -> list[list[int]]:
    """Runs of good frames that are many and long enough for tissue to move; the rest of a piece joins the last run."""
    windows: list[list[int]] = []
    for number in good:
        first = windows[-1][0] if windows else number
        long = math.isnan(times[number]) or times[number] - times[first] >= _LONG
        if not windows or (len(windows[-1]) >= marks.WINDOW and long):
            windows.append([])
        windows[-1].append(number)
    if len(windows) > 1 and len(windows[-1]) < marks.WINDOW:
        windows[-2:] = [windows[-2] + windows[-1]]
    return windows


def _colours(shots: Sequence[Shot], sector: Sector, crops: Pixels) -> list[Pixels | None]:
    """(h, w) uint8 of each frame, at the size of its chroma: how far its colour is from the tint of the whole."""
    chromas = [None if shot.chroma is None else _chroma_crop(shot, sector) for shot in shots]
    known = [(crop, chroma) for crop, chroma in zip(crops, chromas, strict=True) if chroma is not None]
    if not known:
        return [None] * len(shots)
    # The least colourful frame: in others flow may outweigh the tint.
    crop, chroma = min(known, key=lambda pair: float(cv2.norm(pair[1] ^ np.uint8(128), cv2.NORM_L1)))
    shape = (chroma.shape[0], chroma.shape[1])
    tint = colour.find_tint(_scaled(crop, shape), chroma, _scaled(sector.mask, shape))
    return [None if chroma is None else tint.colour(crop, chroma) for crop, chroma in zip(crops, chromas, strict=True)]


def _drawn_in_colour(strengths: Sequence[Pixels | None]) -> Mask | None:
    """Coloured pixels (h, w), 0 or 1, that stay as graphics do and flow does not; None of too few frames."""
    known = [s for s in strengths if s is not None]
    if len(known) < 3:
        return None
    stack = np.stack(known)
    lowest, highest = stack.min(axis=0), stack.max(axis=0)
    drawn = ((lowest > _COLOURED) & (highest - lowest < _STEADY)).astype(np.uint8)
    return np.asarray(cv2.dilate(drawn, np.ones((3, 3), np.uint8)), np.uint8)


def _chroma_crop(shot: Shot, sector: Sector) -> Pixels:
    """The part of the chroma under the box of the sector; chroma may have half as many rows and columns."""
    assert shot.chroma is not None
    down, across = (full / part for full, part in zip(shot.luma.shape, shot.chroma.shape, strict=False))
    rows = slice(int(sector.y0 / down), max(int(sector.y0 / down) + 1, round(sector.y1 / down)))
    columns = slice(int(sector.x0 / across), max(int(sector.x0 / across) + 1, round(sector.x1 / across)))
    return shot.chroma[rows, columns]


def _scaled(image: Pixels, shape: tuple[int, ...]) -> Pixels:
    return np.asarray(cv2.resize(image, shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


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


def _rendered(shot: Shot) -> bool:
    """Whether a screen shows a shaded surface: all of it in one tint, in many shades, and without speckle."""
    if shot.chroma is None:
        return False
    luma = _scaled(shot.luma, shot.chroma.shape[:2])
    lit = luma > 40
    shades = np.bincount(luma[lit], minlength=256) > _SHADE * luma.size
    if shades.sum() < _SHADES:
        return False
    size = max(3, min(luma.shape) // 24) | 1
    rough = np.median(cv2.absdiff(luma, cv2.blur(luma, (size, size)))[lit]) / luma[lit].mean()
    return bool(rough < _SMOOTH) and colour.find_tint(luma, shot.chroma, lit.astype(np.uint8)).strength > _TINTED
