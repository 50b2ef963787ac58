"""What a screen shows besides one ultrasound picture: several pictures, a Doppler or M-mode strip, a rendering, text.

The machine's regions (DICOM) tell where they are there. Otherwise: one outline that fits all areas of echoes means one
picture, however shadows cut it; where none fits, the areas themselves tell by their number and place.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.cleaning.sector import Sector
from sonolearn.cleaning.shapes import fit_shape
from sonolearn.cleaning.thresholds import THRESHOLDS
from sonolearn.scans.scan import Pixels, Region

Mask = NDArray[np.uint8]
LAYOUT = THRESHOLDS.layout


def several(
    sector: Sector, regions: Sequence[Region], height: int, width: int, cine: bool
) -> Literal["", "split", "spectral"]:
    """Whether a screen shows several pictures ("split"), or a strip beside the picture ("spectral").

    Args:
        sector: the picture, as `find_sector` gives it.
        regions: of the DICOM header.
        height: of the screen, px.
        width: of the screen, px.
        cine: whether the sector was found in moving frames: of a still, dark fluid is not told from a gap.
    """
    sizes = [(r.x1 - r.x0) * (r.y1 - r.y0) for r in regions]
    if any(
        r.spatial_format in LAYOUT.strips and size > LAYOUT.least_strip * height * width
        for r, size in zip(regions, sizes, strict=True)
    ):
        return "spectral"
    tissue = sorted(size for r, size in zip(regions, sizes, strict=True) if r.spatial_format == 1 and r.data_type == 1)
    if len(tissue) > 1 and tissue[-2] > LAYOUT.alike * tissue[-1]:
        return "split"
    if sector.panels is None or sector.shape is None or sector.source == "dicom":
        return ""
    return _by_areas(sector.panels, sector.shape.misfit, cine)


def _by_areas(panels: Mask, misfit: float, cine: bool) -> Literal["", "split", "spectral"]:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(panels, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    order = [n for n in np.argsort(-areas) if n != 0]
    large = [(labels == n).astype(np.uint8) for n in order if areas[n] > LAYOUT.panel * areas[order[0]]]
    boxes = [cv2.boundingRect(panel) for panel in large]
    for first, second in itertools.combinations(range(len(large)), 2):
        if _same_outline(large[first], boxes[first], large[second], boxes[second]):
            return "split"
    for first, second in itertools.permutations(range(len(large)), 2):
        if _is_strip(large[first], boxes[first], boxes[second]):
            return "spectral"
    two = len(large) > 1 and areas[order[1]] > LAYOUT.alike * areas[order[0]]
    if cine and two and _apart(boxes[0], boxes[1], panels):
        return "split"
    if cine and len(large) == 1 and misfit > LAYOUT.one_picture:
        return _touching(large[0])
    return ""


def _apart(box: Sequence[int], other: Sequence[int], panels: Mask) -> bool:
    """Whether empty columns part two areas, and no one outline explains them: beams meet near the probe."""
    left, right = sorted((box, other), key=lambda b: b[0])
    return left[0] + left[2] < right[0] and fit_shape(panels).cost > LAYOUT.two_pictures


def _is_strip(panel: Mask, box: Sequence[int], other: Sequence[int]) -> bool:
    """Whether an area is a wide rectangle below or above another, and not the rest of the same picture."""
    x, y, wide, tall = box
    apart = y >= other[1] + (1 - LAYOUT.overlap) * other[3] or y + tall <= other[1] + LAYOUT.overlap * other[3]
    inset = max(abs(x - other[0]), abs(x + wide - other[0] - other[2])) > LAYOUT.overlap * wide
    hull = cv2.contourArea(cv2.convexHull(np.asarray(cv2.findNonZero(panel))))
    return apart and inset and wide > LAYOUT.wide * tall and hull > LAYOUT.rectangular * (wide - 1) * (tall - 1)


def _same_outline(first: Mask, box: Sequence[int], second: Mask, other: Sequence[int]) -> bool:
    """Whether two areas side by side have one outline: a picture that a shadow cuts has two halves that differ."""
    (x, y, wide, tall), (u, v, wider, taller) = box, other
    slack_x, slack_y = LAYOUT.overlap * wide, LAYOUT.overlap * tall
    beside = abs(y - v) < slack_y and (x + wide <= u + slack_x or u + wider <= x + slack_x)
    below = abs(x - u) < slack_x and (y + tall <= v + slack_y or v + taller <= y + slack_y)
    low, high = LAYOUT.sides
    if not (beside or below) or not (low < wide / wider < high and low < tall / taller < high):
        return False
    hulls = []
    for mask, (left, top) in ((first, (x, y)), (second, (u, v))):
        canvas = np.zeros((max(tall, taller), max(wide, wider)), np.uint8)
        corners = np.asarray(cv2.convexHull(np.asarray(cv2.findNonZero(mask))))
        hulls.append(np.asarray(cv2.fillConvexPoly(canvas, corners - (left, top), 1), np.uint8))
    return float((hulls[0] & hulls[1]).sum()) > LAYOUT.same * float((hulls[0] | hulls[1]).sum())


def _touching(area: Mask) -> Literal["", "split"]:
    """One area that is two: where a cut through its thinnest part leaves two outlines that are the same."""
    for axis in (0, 1):
        profile = area.sum(axis=axis)
        lit = np.flatnonzero(profile)
        low, high = (lit[0] + (lit[-1] - lit[0]) * tenths // 10 for tenths in (3, 7))
        if high <= low:
            continue
        cut = low + int(profile[low:high].argmin())
        first, second = area.copy(), area.copy()
        first[(slice(cut, None), slice(None))[:: -1 if axis == 0 else 1]] = 0
        second[(slice(0, cut), slice(None))[:: -1 if axis == 0 else 1]] = 0
        if _same_outline(first, cv2.boundingRect(first), second, cv2.boundingRect(second)):
            return "split"
    return ""


def nothing(frame: Pixels) -> Literal["blank", "dark", "menu"]:
    """What a frame (H, W) without an ultrasound picture shows."""
    small = np.asarray(cv2.resize(frame, (320, 240), interpolation=cv2.INTER_AREA), np.uint8)
    background = int(np.bincount(small.ravel(), minlength=256).argmax())
    if np.mean(cv2.absdiff(small, np.full_like(small, background)) > LAYOUT.lit) > LAYOUT.page:
        return "menu"
    # Without letters and lines: what is left are echoes, however faint.
    areas = cv2.absdiff(cv2.medianBlur(small, 7), np.full_like(small, background))
    return "dark" if np.mean(areas > LAYOUT.faint) > LAYOUT.trace else "blank"
