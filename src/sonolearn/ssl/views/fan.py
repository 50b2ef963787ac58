"""Where the beams of a frame run: the sector of a curved or phased probe, or the rectangle of a linear one.

Stored frames carry no geometry, so it is read off the picture: the two straight edges of a sector are its first and
last beam, and they meet where all beams come from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.ssl.views.image import Image

Field = NDArray[np.float32]

_ROWS = 64
"""Rows that edges are sought in; more make the fit slower, not better."""
_STRAYS = 3
"""How many border points may lie outside an edge: letters, logos, noise of compression."""
_FAINT = 6
"""Grey values up to this count as black: JPEG leaves such values around a sector."""
_SLOPES = np.tan(np.deg2rad(np.arange(-10, 66, 2, dtype=np.float32)))[:, None]
"""Slopes of the edges that are tried: from leaning inwards by 10 to leaning outwards by 65 degrees."""


@dataclass(frozen=True)
class Fan:
    """A sector: `apex` (column, row), `near` and `far` distances from it in px, edges `left` to `right` in radians.

    Angles are measured from straight down, positive to the right.
    """

    apex: tuple[float, float]
    near: float
    far: float
    left: float
    right: float

    @property
    def size(self) -> tuple[float, float]:
        """Length of a beam, and the arc from the first to the last beam half-way down, in px."""
        return self.far - self.near, (self.near + self.far) / 2 * (self.right - self.left)

    def coordinates(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Depth along the beam and place across the beams, both 0 to 1 in the sector, of columns x and rows y."""
        x, y = x - np.float32(self.apex[0]), y - np.float32(self.apex[1])
        depth = (np.hypot(x, y) - np.float32(self.near)) / np.float32(self.far - self.near)
        across = (np.arctan2(x, y) - np.float32(self.left)) / np.float32(self.right - self.left)
        return np.clip(depth, 0, 1), np.clip(across, 0, 1)


@dataclass(frozen=True)
class Box:
    """The picture of a linear probe, and of every probe whose fan is not found: borders in px, beams straight down."""

    top: float
    bottom: float
    left: float
    right: float

    @property
    def size(self) -> tuple[float, float]:
        """Length of a beam, and the way from the first to the last beam, in px."""
        return max(1.0, self.bottom - self.top), max(1.0, self.right - self.left)

    def coordinates(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Depth along the beam and place across the beams, both 0 to 1 in the box, of columns x and rows y."""
        length, width = self.size
        depth, across = (y - np.float32(self.top)) / np.float32(length), (x - np.float32(self.left)) / np.float32(width)
        return np.clip(depth, 0, 1), np.clip(across, 0, 1)


def lit_part(frame: Image) -> Image:
    """The frame (H, W) without single pixels and what is all but black: 0 there, grey values elsewhere."""
    return cv2.threshold(cv2.medianBlur(frame, 3), _FAINT, 255, cv2.THRESH_TOZERO)[1]


def find_beams(lit: Image) -> Fan | Box:
    """The geometry of a frame (H, W) as `lit_part` gives it, that is not black everywhere."""
    rows = np.arange(0, len(lit), max(1, len(lit) // _ROWS))
    first, last = _borders(lit[rows])
    rows, first, last = (values[first <= last] for values in (rows, first, last))
    left_most, top, wide, tall = cv2.boundingRect(lit)
    box = Box(top, top + tall - 1, left_most, left_most + wide - 1)
    # The sides of the crop are no edges: there the sector is cut off, or a linear probe's beams run straight down.
    slanted, tilted = first > left_most + 1, last < left_most + wide - 2
    left, right = _edge(rows[slanted], -first[slanted]), _edge(rows[tilted], last[tilted])
    if left is None or right is None or left[1] + right[1] < 0.2:
        return box
    row = -(left[0] + right[0]) / (left[1] + right[1])
    if row > top + 0.2 * tall:
        return box
    return _between(lit, (right[0] + right[1] * row, row), -math.atan(left[1]), math.atan(right[1]))


def _edge(rows: NDArray[Any], outward: NDArray[Any]) -> tuple[float, float] | None:
    """Place at row 0 and slope of the straight edge through border points at `rows`, `outward` px from the left.

    Hardly a point lies outside the edge: shadows at the sides only push the border inwards. So of all lines that touch
    the points from outside, but for a few strays, the edge is the one that most points lie on.
    """
    if len(rows) < _ROWS // 4:
        return None
    lines = outward.astype(np.float32) - _SLOPES * rows.astype(np.float32)
    touching = np.partition(lines, -1 - _STRAYS, axis=1)[:, -1 - _STRAYS, None]
    on_line = np.abs(lines - touching) < 1.5 + 0.02 * np.abs(_SLOPES) * rows.size
    best = int(on_line.sum(axis=1).argmax())
    y, x = rows[on_line[best]].astype(np.float64), outward[on_line[best]].astype(np.float64)
    if len(y) < _ROWS // 8:
        return None
    y_mean, x_mean = y.mean(), x.mean()
    slope = float((y - y_mean) @ (x - x_mean) / ((y - y_mean) @ (y - y_mean)))
    # Half a pixel: the edge runs along the outer side of the last lit pixels.
    return float(x_mean - slope * y_mean) + 0.5, slope


def _between(lit: Image, apex: tuple[float, float], left: float, right: float) -> Fan | Box:
    """The fan of known edges; its near and far end follow from the pixels that lie nearest to and farthest from it."""
    step = max(1, min(lit.shape) // _ROWS)
    y, x = lit[::step, ::step].nonzero()
    distance = np.hypot((x * step - apex[0]).astype(np.float32), (y * step - apex[1]).astype(np.float32))
    near, far = float(distance.min()), float(distance.max())
    return Fan(apex, near, max(far, near + 1), left, right)


def interior(beams: Fan | Box, lit: Image, depth: Field, across: Field) -> Field:
    """How far inside the sector each cell of a grid lies: 1 in the middle, falling to 0 before the border is reached.

    Args:
        beams: the geometry; where no fan is known, the convex hull of what is lit counts as sector.
        lit: (h, w) uint8, the lit part of the frame on that grid.
        depth: (h, w), as `beams.coordinates` gives it.
        across: (h, w), likewise.
    """
    if isinstance(beams, Fan):
        inside = ((depth > 0) & (depth < 1) & (across > 0) & (across < 1)).view(np.uint8)
    else:
        inside = np.zeros_like(lit)
        if cv2.countNonZero(lit):
            cv2.fillConvexPoly(inside, cv2.convexHull(cv2.findNonZero(lit)), 1)
    # Outside the picture counts as inside: what the picture cuts off is not the sector's end.
    core = cv2.erode(inside, np.ones((3, 3), np.uint8), iterations=3)
    return np.asarray(cv2.blur(core.astype(np.float32), (3, 3)), np.float32)


def _borders(lit: Image) -> tuple[NDArray[Any], NDArray[Any]]:
    """First and last column of each row that is not 0; of a dark row, the last column and the first."""
    width = lit.shape[1]
    # OpenCV's flip and a search in booleans are many times faster than NumPy's backward strides.
    first, last = ((side > 0).argmax(axis=1) for side in (lit, cv2.flip(lit, 1)))
    dark = lit[np.arange(len(lit)), first] == 0
    first[dark], last[dark] = width - 1, width - 1
    return first, width - 1 - last
