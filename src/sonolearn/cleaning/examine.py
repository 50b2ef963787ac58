"""Examine a piece of a recording, frames of one layout: the sector, which frames are good, what is drawn on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.cleaning import colour, layouts, marks
from sonolearn.cleaning.grey import Shot
from sonolearn.cleaning.sector import Sector, find_sector, still_there
from sonolearn.cleaning.thresholds import THRESHOLDS
from sonolearn.config import CleaningConfig
from sonolearn.config.data import Reason
from sonolearn.scans.scan import Pixels, Region

FRAMES, MARKS = THRESHOLDS.frames, THRESHOLDS.marks
Verdict = Reason | Literal["alike"]

SENTENCES: dict[Verdict, str] = {
    "blank": "shows nothing: all of it is of one grey",
    "menu": "shows no ultrasound picture: a menu, a report page, or text",
    "spectral": "shows spectral Doppler or M-mode beside the picture",
    "split": "shows two or more pictures side by side",
    "rendering": "shows a 3D or 4D rendering",
    "doppler": "shows colour or power Doppler",
    "dark": "is too dark: hardly any echo can be seen",
    "small": "is too small: the ultrasound picture has too few pixels",
    "frozen": "is frozen: it repeats the frame before",
    "alike": "is nearly the same as the frame kept before it",
}


def is_frozen(before: Pixels, now: Pixels, mask: NDArray[np.uint8]) -> bool:
    """Whether two pictures (H, W) are the same but for compression and marks, inside a mask.

    Speckle changes with every transmit: live pictures of a probe at rest differ in many pixels.
    """
    lit = cv2.bitwise_and(_above(before, FRAMES.frozen_lit), _above(mask, 0))
    echoes = cv2.countNonZero(lit)
    if echoes == 0:
        return bool(np.array_equal(before, now))
    changed = cv2.bitwise_and(_above(np.asarray(cv2.absdiff(before, now), np.uint8), FRAMES.frozen_step), lit)
    return cv2.countNonZero(changed) <= FRAMES.frozen_changed * echoes


def _above(grey: Pixels, level: int) -> Pixels:
    """(H, W) 255 where a picture is brighter than a level, else 0."""
    return np.asarray(cv2.threshold(grey, level, 255, cv2.THRESH_BINARY)[1], np.uint8)


Mask = NDArray[np.uint8]


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
    still: Mask | None = None
    """(h, w) 0 or 1: what stood still at the end, and is no echo; None of too few frames."""
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
        return Examined(sector, crops, [screen] * len(shots), nowhere, screen=screen)
    colours = colour.coloured_frames(shots, sector, crops)
    same = before if before is not None and before.crops.shape[1:] == crops.shape[1:] else None
    doppler = colour.show_flow(colours, sector, config.doppler_share)
    verdicts = _of_frames(crops, doppler, sector, None if same is None else same.crops[-1], config)
    if config.marks == "keep":
        return Examined(sector, crops, verdicts, nowhere)
    times = [shot.frame.time for shot in shots]
    strokes = [None if c is None else c.mask for c in colours]
    stood = None if same is None or same.sector != sector else same.still
    found_marks, still = _marks(crops, strokes, verdicts, sector.mask, times, stood)
    return Examined(sector, crops, verdicts, found_marks, still=still)


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
    elif several := layouts.several(sector, regions, height, width, len(shots) >= MARKS.fewest):
        found = several
    elif min(sector.x1 - sector.x0, sector.y1 - sector.y0) < config.smallest:
        found = "small"
    return found if found in config.reject else None


def _of_frames(
    crops: Pixels, doppler: Sequence[bool], sector: Sector, last: Pixels | None, config: CleaningConfig
) -> list[Verdict | None]:
    """What each frame has against it."""
    verdicts: list[Verdict | None] = []
    for number, crop in enumerate(crops):
        before = crops[number - 1] if number else last
        levels = np.cumsum(cv2.calcHist([crop], [0], sector.mask, [256], [0, 256]).ravel())
        low, high = (int(np.searchsorted(levels, share * levels[-1])) for share in (0.001, 0.99))
        against: dict[Verdict, bool] = {
            "blank": high - low < FRAMES.blank,
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
    stood: Mask | None,
) -> tuple[list[Mask | None], Mask | None]:
    """Marks of each good frame: what stands still in all, or in the frames around it, and what is coloured in it.

    With what stood still at the end; `stood` is the same of the piece before, for the few frames that are left over.
    """
    good = [number for number, verdict in enumerate(verdicts) if verdict is None]
    still: dict[int, Mask] = {}
    if len(good) < MARKS.fewest:
        still = {n: marks.stroke_marks(crops[n], mask) if stood is None else stood for n in good}
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
        found[number] = drawn if 0 < cv2.countNonZero(drawn) < MARKS.most * cv2.countNonZero(mask) else None
    return found, still[good[-1]] if len(good) >= MARKS.fewest else stood


def _windows(good: Sequence[int], times: Sequence[float]) -> list[list[int]]:
    """Runs of good frames that are many and long enough for tissue to move; the rest of a piece joins the last run."""
    windows: list[list[int]] = []
    for number in good:
        first = windows[-1][0] if windows else number
        long = math.isnan(times[number]) or times[number] - times[first] >= MARKS.long
        if not windows or (len(windows[-1]) >= MARKS.window and long):
            windows.append([])
        windows[-1].append(number)
    if len(windows) > 1 and len(windows[-1]) < MARKS.window:
        windows[-2:] = [windows[-2] + windows[-1]]
    return windows


def _scaled(image: Pixels, shape: tuple[int, ...]) -> Pixels:
    return np.asarray(cv2.resize(image, shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def _rendered(shot: Shot) -> bool:
    """Whether a screen shows a shaded surface: all of it in one tint, in many shades, and without speckle."""
    if shot.chroma is None:
        return False
    luma = _scaled(shot.luma, shot.chroma.shape[:2])
    lit = luma > FRAMES.rendering_lit
    shades = np.bincount(luma[lit], minlength=256) > FRAMES.shade * luma.size
    if shades.sum() < FRAMES.shades:
        return False
    size = max(3, min(luma.shape) // 24) | 1
    rough = np.median(cv2.absdiff(luma, cv2.blur(luma, (size, size)))[lit]) / luma[lit].mean()
    tint = colour.find_tint(luma, shot.chroma, lit.astype(np.uint8))
    return bool(rough < FRAMES.smooth) and tint.strength > FRAMES.rendering_tint
