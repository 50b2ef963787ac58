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

from sonolearn.scans.scan import Pixels

Mask = NDArray[np.uint8]
Box = tuple[int, int, int, int]
Window = tuple[slice, slice]

_STROKE = 1 / 45  # of the shorter side: no stroke is thicker
_STANDS_OUT = 18  # grey levels by which a mark is brighter than what is around it at all times
_RIM = 8  # the same of its rim, which is blended with the tissue
_STILL = 12  # grey levels by which a mark's pixel changes at most: compression
WINDOW = 12  # frames that are enough to tell what stands still from what moves
_LIT = 30  # grey from which on a pixel is an echo at some time
_EVEN = 6  # grey levels by which a box behind text differs from its median
_TALLEST = 20  # px: letters are not taller, or a tenth of the picture
_WORD = 6  # px: letters of a word are not further apart, and hardly smaller
_SIDE_BY_SIDE = 0.25  # share of a word's rows that meet more than one stroke: those of smudged letters touch in some
_GROUND = 0.1  # share of the words' rectangle that a box behind them shows at least
_BOX, _LARGEST_BOX = 0.8, 0.15  # share of its rectangle that a box fills, and of the picture that it covers at most
FEWEST = 6  # frames below which standing still means nothing
_MOVES = 10  # median change of grey over those frames, from which on tissue moves
_INK_STANDS_OUT = 55  # grey levels by which a stroke of a still stands out
_INK_STROKE = 1 / 80  # of the shorter side: of strokes of a still, which must be thinner to be told from echoes
_OUTLINE = 7  # px: outlines of letters are thinner
_INK = 190  # grey level of ink at least
_SHARP = 0.85  # share of its height that a stroke has lost two pixels from its rim
_DRAWN = 140  # grey level that a still stroke reaches at least: the dimmest ink of trials reaches 146, half of what
# stands still near the probe does not
_STILLER = 0.3  # change of a mark by that of its ground at most: 0 to .2 in trials, about .5 in tissue at rest
_DARK_GROUND, _FLAT_GROUND = 30, 5  # grey, and its spread, up to which a ground that stands still may hide no tissue
_INK_SPREAD = 14  # grey levels between the 45th and 95th percentile of a stroke's pixels
_AROUND = 4  # px around a stroke in which its rim is looked for
_NEARBY = 8  # the same of the ground that may move
_RINGS = tuple(np.ones((size, size), np.uint8) for size in (3, 5, 9, 15))  # around a stroke
_LONGEST = 0.3  # longer side of a connected stroke as a share of the picture's shorter one


def still_marks(frames: Pixels, mask: Mask) -> Mask:
    """(H, W) 0 or 1: what stands still in all of the frames while what is around it moves.

    Args:
        frames: (n, H, W) uint8, n >= 2.
        mask: (H, W), non-zero inside the sector.
    """
    lowest, highest = frames.min(axis=0), frames.max(axis=0)
    change = cv2.subtract(highest, lowest)
    lit = (mask > 0) & (highest > _LIT)
    if not lit.any() or np.median(change[lit]) < _MOVES:
        return np.zeros(mask.shape, np.uint8)
    out = stands_out(lowest)
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=255)
    core = ((out > _STANDS_OUT) & (change < np.maximum(_STILL, out // 4)) & (inner > 0)).astype(np.uint8)
    steady = (change < _STILL).astype(np.uint8)

    def is_drawn(box: Box) -> bool:
        rim, nearby = _window(box, _AROUND), _window(box, _NEARBY)
        # At borders echoes stand still, too, but fade.
        return (
            level_of(lowest[rim][core[rim] > 0], 0.95) >= _DRAWN
            and _ends_sharply(lowest[rim], core[rim])
            and _stiller_than_ground(lowest[nearby], change[nearby], core[nearby])
        )

    core = _strokes(core, is_drawn)
    # Letters often have a dark outline, which stands as still as they do.
    marks = grown(core, ((out > _RIM) | (steady > 0)).astype(np.uint8), mask)
    return marks | _boxes(marks, lowest, steady, mask)


def _boxes(marks: Mask, lowest: Pixels, steady: Mask, mask: Mask) -> Mask:
    """(H, W) 0 or 1: rectangles of one still grey behind marks, as results are shown on."""
    boxes = np.zeros(mask.shape, np.uint8)
    joined = cv2.dilate(marks, np.ones((5, 2 * _WORD + 1), np.uint8))
    contours, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for x, y, wide, tall in map(cv2.boundingRect, contours):
        if (
            wide < 3 * _WORD
            or tall < _WORD
            or wide * tall > _LARGEST_BOX * mask.size
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
        if levels.size < _GROUND * wide * tall:
            continue
        level = int(np.bincount(levels).argmax())
        same = (ground & (np.abs(lowest[around].astype(np.int16) - level) <= _EVEN)) | (marks[around] > 0)
        _, labels, found, _ = cv2.connectedComponentsWithStats(same.astype(np.uint8), connectivity=4)
        number = int(np.bincount(labels[near & ground], minlength=2)[1:].argmax()) + 1
        u, v, wider, taller, area = found[number].tolist()
        if area > _BOX * wider * taller:
            boxes[top + v : top + v + taller, left + u : left + u + wider] = 1
    return boxes & (mask > 0).astype(np.uint8)


def stroke_marks(frame: Pixels, mask: Mask) -> Mask:
    """(H, W) 0 or 1: thin strokes of one even grey with sharp rims, for pictures in which nothing moves.

    Args:
        frame: (H, W) uint8.
        mask: (H, W), non-zero inside the sector.
    """
    out = stands_out(frame, _INK_STROKE)
    core = ((out > _INK_STANDS_OUT) & (mask > 0)).astype(np.uint8)

    def is_drawn(box: Box) -> bool:
        window = _window(box, _AROUND)
        return _is_ink(frame[window], core[window])

    kept = _strokes(core, is_drawn, smallest=4, longest=_LONGEST * min(mask.shape))
    # Letters often have a dark outline.
    dark = cv2.morphologyEx(frame, cv2.MORPH_BLACKHAT, np.ones((_OUTLINE, _OUTLINE), np.uint8)) > _INK_STANDS_OUT
    return grown(kept, ((out > _RIM) | dark).astype(np.uint8), mask)


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
            window = _window((x, y, wide, tall), _AROUND)
            kept[window] |= core[window]
    return kept


def _window(box: Box, around: int) -> Window:
    x, y, wide, tall = box
    return slice(max(0, y - around), y + tall + around), slice(max(0, x - around), x + wide + around)


def _is_ink(frame: Pixels, stroke: Mask) -> bool:
    """Whether a stroke (h, w) is of one bright grey that ends within a pixel; echoes fade over several."""
    ink = frame[stroke > 0]
    low, high = level_of(ink, 0.45), level_of(ink, 0.95)
    if low < _INK or high - low > _INK_SPREAD:
        return False
    return _ends_sharply(frame, stroke)


def _ends_sharply(frame: Pixels, stroke: Mask) -> bool:
    """Whether a stroke (h, w) has lost most of its height two pixels from its rim."""
    high = level_of(frame[stroke > 0], 0.95)
    near, wider, widest = (cv2.dilate(stroke, kernel) for kernel in _RINGS[:3])
    beside = level_of(frame[wider > near], 0.5)
    around = frame[widest > wider]
    ground = level_of(around, 0.5) if around.size else beside
    return high - beside > _SHARP * (high - ground)


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
    if level_of(change[stroke > 0], 0.5) < _STILLER * level_of(change[ground], 0.5):
        return True
    # A black or even ground cannot be seen to move: then there is no tissue that could be taken for a stroke.
    grey = lowest[ground]
    return level_of(grey, 0.9) < _DARK_GROUND or float(grey.std()) < _FLAT_GROUND


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


def stands_out(frame: Pixels, stroke: float = _STROKE) -> Pixels:
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
    joined = cv2.dilate(marks, np.ones((1, 2 * _WORD + 1), np.uint8))
    contours, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for x, y, wide, tall in map(cv2.boundingRect, contours):
        x, wide = x + _WORD, wide - 2 * _WORD
        if not 5 <= tall <= max(_TALLEST, marks.shape[0] // 10) or wide < 1.5 * tall:
            continue
        ink = marks[y : y + tall, max(0, x) : x + wide]
        if 0.2 < cv2.countNonZero(ink) / (wide * tall) < 0.9 and _side_by_side(ink):
            found.append((max(0, x), y, wide, tall))
    return found


def _side_by_side(ink: Mask) -> bool:
    """Whether rows (h, w) meet several strokes, as they do in letters; a grain of speckle is one, however wide."""
    borders = np.count_nonzero(np.diff(ink > 0, axis=1, prepend=False, append=False), axis=1)
    return bool(np.mean(borders > 2) >= _SIDE_BY_SIDE)


Method = Literal["telea", "navier_stokes"]
_METHODS = {"telea": cv2.INPAINT_TELEA, "navier_stokes": cv2.INPAINT_NS}
TOGETHER = 3
"""Frames that are filled at once."""
_RADIUS = 3  # px around a pixel that it is filled from
_MARGIN = 5  # px around a mark that are looked at
_JOIN = 9  # px: marks closer than this are filled together


def boxes_of(marks: NDArray[np.uint8]) -> list[tuple[slice, slice]]:
    """Boxes around the marks of a mask (H, W), with a margin; filling costs by the pixel of these boxes."""
    joined = cv2.dilate(marks, np.ones((_JOIN, _JOIN), np.uint8))
    # Contours cost a tenth of labelled components.
    contours, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [
        (slice(max(0, y - _MARGIN), y + tall + _MARGIN), slice(max(0, x - _MARGIN), x + wide + _MARGIN))
        for x, y, wide, tall in map(cv2.boundingRect, contours)
    ]


def inpaint_alike(
    frames: Sequence[Pixels],
    marks: NDArray[np.uint8],
    method: Method = "telea",
    sector: NDArray[np.uint8] | None = None,
) -> list[Pixels]:
    """Frames (H, W) with the same marks, filled as `inpaint` does; `TOGETHER` of them cost little more than one."""
    if len(frames) == TOGETHER:
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
        part = cv2.inpaint(np.ascontiguousarray(grey[box]), hole, _RADIUS, _METHODS[method])
        filled[box][drawn > 0] = part[drawn > 0]
    return filled
