"""What a person or the machine drew on the picture: callipers, dots, letters, arrows, lines, traces.

Three signs, each sure enough by itself: colour where the tissue has none; pixels that stand still, brighter than
what is around them, while the tissue moves; and, where nothing moves, thin strokes of one even grey with sharp rims.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.cleaning.thresholds import THRESHOLDS
from sonolearn.scans.scan import Pixels

Mask = NDArray[np.uint8]
Box = tuple[int, int, int, int]
Window = tuple[slice, slice]
MARKS, INK, WORDS, FILL = THRESHOLDS.marks, THRESHOLDS.ink, THRESHOLDS.words, THRESHOLDS.fill

_RINGS = tuple(np.ones((size, size), np.uint8) for size in (3, 5, 9, 15))  # around a stroke


def still_marks(frames: Pixels, mask: Mask) -> Mask:
    """(H, W) 0 or 1: what stands still in all of the frames while what is around it moves.

    Args:
        frames: (n, H, W) uint8, n >= 2.
        mask: (H, W), non-zero inside the sector.
    """
    lowest, highest = frames.min(axis=0), frames.max(axis=0)
    change = cv2.subtract(highest, lowest)
    lit = (mask > 0) & (highest > MARKS.lit)
    if not lit.any() or np.median(change[lit]) < MARKS.moves:
        return np.zeros(mask.shape, np.uint8)
    out = stands_out(lowest)
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=255)
    core = ((out > MARKS.stands_out) & (change < np.maximum(MARKS.still, out // 4)) & (inner > 0)).astype(np.uint8)
    steady = (change < MARKS.still).astype(np.uint8)

    def is_drawn(box: Box) -> bool:
        rim, nearby = _window(box, MARKS.around), _window(box, MARKS.nearby)
        # At borders echoes stand still, too, but fade.
        return (
            level_of(lowest[rim][core[rim] > 0], 0.95) >= MARKS.drawn
            and _ends_sharply(lowest[rim], core[rim])
            and _stiller_than_ground(lowest[nearby], change[nearby], core[nearby])
        )

    core = _strokes(core, is_drawn)
    # Letters often have a dark outline, which stands as still as they do.
    marks = grown(core, ((out > MARKS.rim) | (steady > 0)).astype(np.uint8), mask)
    return marks | _boxes(marks, lowest, steady, mask)


def _boxes(marks: Mask, lowest: Pixels, steady: Mask, mask: Mask) -> Mask:
    """(H, W) 0 or 1: rectangles of one still grey behind marks, as results are shown on."""
    boxes = np.zeros(mask.shape, np.uint8)
    joined = cv2.dilate(marks, np.ones((5, 2 * WORDS.gap + 1), np.uint8))
    contours, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for x, y, wide, tall in map(cv2.boundingRect, contours):
        if (
            wide < 3 * WORDS.gap
            or tall < WORDS.gap
            or wide * tall > MARKS.box_largest * mask.size
            or boxes[y : y + tall, x : x + wide].all()
        ):
            continue
        # The box is larger than what is written on it; all of it is looked for next to the words.
        top, left = max(0, y - 2 * tall), max(0, x - wide // 2)
        around = (slice(top, y + 3 * tall), slice(left, x + wide + wide // 2))
        ground = (steady[around] > 0) & (marks[around] == 0)
        near = np.zeros(ground.shape, bool)
        near[y - top : y - top + tall, x - left : x - left + wide] = True
        levels = lowest[around][ground & near & (lowest[around] > 0)]
        if levels.size < MARKS.box_ground * wide * tall:
            continue
        level = int(np.bincount(levels).argmax())
        same = (ground & (np.abs(lowest[around].astype(np.int16) - level) <= MARKS.box_even)) | (marks[around] > 0)
        _, labels, found, _ = cv2.connectedComponentsWithStats(same.astype(np.uint8), connectivity=4)
        number = int(np.bincount(labels[near & ground], minlength=2)[1:].argmax()) + 1
        u, v, wider, taller, area = found[number].tolist()
        if area > MARKS.box_full * wider * taller:
            boxes[top + v : top + v + taller, left + u : left + u + wider] = 1
    return boxes & (mask > 0).astype(np.uint8)


def stroke_marks(frame: Pixels, mask: Mask) -> Mask:
    """(H, W) 0 or 1: thin strokes of one even grey with sharp rims, for pictures in which nothing moves.

    Args:
        frame: (H, W) uint8.
        mask: (H, W), non-zero inside the sector.
    """
    out = stands_out(frame, INK.stroke)
    core = ((out > INK.stands_out) & (mask > 0)).astype(np.uint8)

    def is_drawn(box: Box) -> bool:
        window = _window(box, MARKS.around)
        return _is_ink(frame[window], core[window])

    kept = _strokes(core, is_drawn, smallest=INK.smallest, longest=INK.longest * min(mask.shape))
    # Letters often have a dark outline.
    dark = cv2.morphologyEx(frame, cv2.MORPH_BLACKHAT, np.ones((INK.outline, INK.outline), np.uint8)) > INK.stands_out
    return grown(kept, ((out > MARKS.rim) | dark).astype(np.uint8), mask)


def _strokes(core: Mask, is_drawn: Callable[[Box], bool], smallest: int = 1, longest: float = math.inf) -> Mask:
    """(H, W) 0 or 1: the connected strokes that pass a test.

    Args:
        core: (H, W) 0 or 1, the strokes.
        is_drawn: the test: of the box around a stroke.
        smallest: area in px of the box around a stroke, at least.
        longest: longer side in px of that box, at most.
    """
    contours, _ = cv2.findContours(core, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    kept = np.zeros_like(core)
    for x, y, wide, tall in map(cv2.boundingRect, contours):
        if wide * tall < smallest or max(wide, tall) > longest:
            continue
        if is_drawn((x, y, wide, tall)):
            window = _window((x, y, wide, tall), MARKS.around)
            kept[window] |= core[window]
    return kept


def _window(box: Box, around: int) -> Window:
    x, y, wide, tall = box
    return slice(max(0, y - around), y + tall + around), slice(max(0, x - around), x + wide + around)


def _is_ink(frame: Pixels, stroke: Mask) -> bool:
    """Whether a stroke (h, w) is of one bright grey that ends within a pixel; echoes fade over several."""
    ink = frame[stroke > 0]
    low, high = level_of(ink, 0.45), level_of(ink, 0.95)
    if low < INK.level or high - low > INK.spread:
        return False
    return _ends_sharply(frame, stroke)


def _ends_sharply(frame: Pixels, stroke: Mask) -> bool:
    """Whether a stroke (h, w) has lost most of its height two pixels from its rim."""
    high = level_of(frame[stroke > 0], 0.95)
    near, wider, widest = (cv2.dilate(stroke, kernel) for kernel in _RINGS[:3])
    beside = level_of(frame[wider > near], 0.5)
    around = frame[widest > wider]
    ground = level_of(around, 0.5) if around.size else beside
    return high - beside > MARKS.sharp * (high - ground)


def _stiller_than_ground(lowest: Pixels, change: Pixels, stroke: Mask) -> bool:
    """Whether a stroke stands still where its ground moves; tissue at rest, near the probe, does so all over.

    Args:
        lowest: (h, w) lowest grey of all frames.
        change: (h, w) by how much grey changes over them.
        stroke: (h, w) 0 or 1, with all else that may be one.
    """
    ground = cv2.dilate(stroke, _RINGS[3]) > cv2.dilate(stroke, _RINGS[1])
    if not ground.any():
        return False
    if level_of(change[stroke > 0], 0.5) < MARKS.stiller * level_of(change[ground], 0.5):
        return True
    # A black or even ground cannot be seen to move: then there is no tissue that could be taken for a stroke.
    grey = lowest[ground]
    return level_of(grey, 0.9) < MARKS.dark_ground or float(grey.std()) < MARKS.flat_ground


def level_of(greys: Pixels, share: float) -> float:
    """The grey level below which this share of (n,) uint8 lies, linearly between two of them; NaN of none.

    The same as `np.percentile`, which takes ten times as long for the few pixels of a stroke.
    """
    if greys.size == 0:
        return math.nan
    ordered = np.sort(greys)
    place = (greys.size - 1) * share
    low = int(place)
    first, second = int(ordered[low]), int(ordered[min(low + 1, greys.size - 1)])
    step, way = second - first, place - low
    return first + step * way if way < 0.5 else second - step * (1 - way)


def coloured_marks(strokes: Mask, mask: Mask) -> Mask:
    """(H, W) 0 or 1: coloured pixels of a frame that is no Doppler, (h, w) 0 or 1, inside the sector."""
    if strokes.shape != mask.shape:
        # Chroma of half the size: a stroke may cover less than the pixels that it colours, or a little more.
        large = cv2.resize(strokes, mask.shape[::-1], interpolation=cv2.INTER_NEAREST)
        strokes = np.asarray(cv2.dilate(large, np.ones((3, 3), np.uint8)), np.uint8)
    return np.asarray(strokes & (mask > 0).astype(np.uint8), np.uint8)


def stands_out(frame: Pixels, stroke: float = MARKS.stroke) -> Pixels:
    """(H, W) uint8: by how much a pixel is brighter than the brightest ground around it (white top-hat)."""
    size = max(5, round(stroke * min(frame.shape)) | 1)
    return np.asarray(cv2.morphologyEx(frame, cv2.MORPH_TOPHAT, np.ones((size, size), np.uint8)), np.uint8)


def grown(core: Mask, rim: Mask, mask: Mask) -> Mask:
    """Marks with the pixels next to them that may be their rim, inside the sector."""
    wider = np.asarray(cv2.dilate(core, np.ones((3, 3), np.uint8)), np.uint8)
    return wider & rim & (mask > 0).astype(np.uint8)


def words(marks: Mask) -> list[Box]:
    """Boxes (x, y, wide, tall) of what may be words in a mask (H, W) of strokes: wider than tall, part ink, part gaps.

    Rather too many than too few: they are shown to a person who looks for names.
    """
    # Letters of a word stand closer than they are tall; some touch.
    joined = cv2.dilate(marks, np.ones((1, 2 * WORDS.gap + 1), np.uint8))
    contours, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for x, y, wide, tall in map(cv2.boundingRect, contours):
        x, wide = x + WORDS.gap, wide - 2 * WORDS.gap
        if not WORDS.heights[0] <= tall <= max(WORDS.heights[1], marks.shape[0] // 10) or wide < WORDS.wide * tall:
            continue
        ink = marks[y : y + tall, max(0, x) : x + wide]
        if WORDS.ink[0] < cv2.countNonZero(ink) / (wide * tall) < WORDS.ink[1] and _side_by_side(ink):
            found.append((max(0, x), y, wide, tall))
    return found


def _side_by_side(ink: Mask) -> bool:
    """Whether rows (h, w) meet several strokes, as they do in letters; a grain of speckle is one, however wide."""
    borders = np.count_nonzero(np.diff(ink > 0, axis=1, prepend=False, append=False), axis=1)
    return bool(np.mean(borders > 2) >= WORDS.side_by_side)


Method = Literal["telea", "navier_stokes"]
_METHODS = {"telea": cv2.INPAINT_TELEA, "navier_stokes": cv2.INPAINT_NS}


def boxes_of(marks: NDArray[np.uint8]) -> list[tuple[slice, slice]]:
    """Boxes around the marks of a mask (H, W), with a margin; filling costs by the pixel of these boxes."""
    joined = cv2.dilate(marks, np.ones((FILL.join, FILL.join), np.uint8))
    # Contours cost a tenth of labelled components.
    contours, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [_window((x, y, wide, tall), FILL.margin) for x, y, wide, tall in map(cv2.boundingRect, contours)]


def inpaint_alike(
    frames: Sequence[Pixels],
    marks: NDArray[np.uint8],
    method: Method = "telea",
    sector: NDArray[np.uint8] | None = None,
) -> list[Pixels]:
    """Frames (H, W) with the same marks, filled as `inpaint` does; three of them cost little more than one."""
    if len(frames) == FILL.together:
        # As the colours of one picture: the way through a mark is found once, and each colour is filled as if alone.
        together = np.asarray(cv2.merge(frames), np.uint8)
        return [np.asarray(frame, np.uint8) for frame in cv2.split(inpaint(together, marks, method, sector))]
    return [inpaint(frame, marks, method, sector) for frame in frames]


def inpaint(
    grey: Pixels, marks: NDArray[np.uint8], method: Method = "telea", sector: NDArray[np.uint8] | None = None
) -> Pixels:
    """(H, W) or (H, W, 3) uint8 with the marked pixels filled from their surroundings; all others as they were.

    Args:
        grey: (H, W) uint8, or (H, W, 3).
        marks: (H, W), non-zero where a mark is.
        method: how.
        sector: (H, W), non-zero where marks may be filled from: letters beside the picture are no echoes.
    """
    filled = grey.copy()
    for box in boxes_of(marks):
        drawn = np.ascontiguousarray(marks[box])
        hole = drawn if sector is None else np.where(sector[box] == 0, np.uint8(1), drawn)
        if hole.all():
            continue
        part = cv2.inpaint(np.ascontiguousarray(grey[box]), hole, FILL.radius, _METHODS[method])
        filled[box][drawn > 0] = part[drawn > 0]
    return filled
