"""Where the beams of a frame run: the sector of a curved or phased probe, or the rectangle of a linear one.

Stored frames carry no geometry, so it is read off the picture: the two straight edges of a sector are its first and
last beam, and they meet where all beams come from.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.ssl.views.plain import Image, Window

Field = NDArray[np.float32]

_ROWS = 64
"""Rows that edges are sought in; more make the fit slower, not better."""
_STRAYS = 3
"""How many border points may lie outside an edge: letters, logos, noise of compression."""
_FAINT = 6
"""Grey values up to this count as black: JPEG leaves such values around a sector."""
_SLOPES = np.tan(np.deg2rad(np.arange(-10, 66, 2, dtype=np.float32)))[:, None]
"""Slopes of the edges that are tried: from leaning inwards by 10 to leaning outwards by 65 degrees."""
_SLACK = 1.5 + 0.02 * _ROWS * np.abs(_SLOPES)
"""How far from a line that is tried points may lie, in px: the true slope lies between two of those tried."""
_BEYOND = 4
_BORDER = np.ones((2 * _BEYOND - 1,) * 2, np.uint8)
"""Cells around one that must be in the sector for the one to be inside; blurred, that takes `_BEYOND` cells."""


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

    @cached_property
    def outline(self) -> Field:
        """(n, 2) columns and rows of points around it."""
        angles = np.linspace(self.left, self.right, 17)
        arc = np.column_stack([np.sin(angles), np.cos(angles)])
        return (np.concatenate([self.near * arc, self.far * arc[::-1]]) + self.apex).astype(np.float32)

    def coordinates(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Depth along the beam and place across the beams, both 0 to 1 in the sector, of columns x and rows y."""
        x, y = x - np.float32(self.apex[0]), y - np.float32(self.apex[1])
        depth = (np.asarray(cv2.magnitude(x, y)) - np.float32(self.near)) * np.float32(1 / (self.far - self.near))
        across = (np.arctan2(x, y) - np.float32(self.left)) * np.float32(1 / (self.right - self.left))
        return _clipped(depth), _clipped(across)


@dataclass(frozen=True)
class Box:
    """The picture of a linear probe, and of every probe whose fan is not found: borders in px, beams straight down."""

    top: float
    bottom: float
    left: float
    right: float
    outline: Field = field(compare=False, repr=False)
    """(n, 2) columns and rows of the convex hull of what is lit, which counts as sector."""

    @property
    def size(self) -> tuple[float, float]:
        """Length of a beam, and the way from the first to the last beam, in px."""
        return max(1.0, self.bottom - self.top), max(1.0, self.right - self.left)

    def coordinates(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Depth along the beam and place across the beams, both 0 to 1 in the box, of columns x and rows y."""
        length, width = self.size
        depth, across = (y - np.float32(self.top)) / np.float32(length), (x - np.float32(self.left)) / np.float32(width)
        return _clipped(depth), _clipped(across)


_known: dict[tuple[tuple[int, ...], bytes], Fan | Box | None] = {}
_MOST_KNOWN = 2**15
"""How many geometries are remembered: some 15 MB."""


def find_beams(frame: Image) -> Fan | Box | None:
    """The geometry of a frame (H, W) uint8; None where it is black everywhere.

    What was found is remembered, as every epoch shows the same frames; it depends on the frame alone.
    """
    step = max(1, len(frame) // _ROWS)
    rows = np.ascontiguousarray(frame[::step])
    key = frame.shape, hashlib.sha256(rows.data).digest()
    if key not in _known:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[key] = _search(rows, step)
    return _known[key]


def _search(rows: Image, step: int) -> Fan | Box | None:
    """The geometry of a frame of which `rows` are every `step`-th row."""
    # The median takes out single pixels.
    lit = cv2.threshold(cv2.medianBlur(rows, 3), _FAINT, 255, cv2.THRESH_BINARY)[1]
    left_most, top, wide, tall = cv2.boundingRect(lit)
    if not wide:
        return None
    edges = _edges(lit, step, left_most, left_most + wide - 1)
    if edges:
        (left_start, left), (right_start, right) = edges
        row = -(left_start + right_start) / (left + right) if left + right > 0.2 else math.inf
        if row <= (top + 0.2 * tall) * step:
            column = right_start + right * row
            near, far = _reach(lit[:, ::step], step, column, row)
            return Fan((column, row), near, max(far, near + 1), -math.atan(left), math.atan(right))
    hull = (cv2.convexHull(cv2.findNonZero(lit))[:, 0] * (1, step)).astype(np.float32)
    return Box(top * step, (top + tall) * step - 1, left_most, left_most + wide - 1, hull)


def _edges(lit: Image, step: int, left_most: int, right_most: int) -> list[tuple[float, float]] | None:
    """Place at row 0 and slope of the straight edges on the left and on the right; None where one has too few points.

    Hardly a point lies outside the edge: shadows at the sides only push the border inwards. So of all lines that touch
    the points from outside, but for a few strays, the edge is the one that most points lie on.
    """
    rows = np.arange(len(lit), dtype=np.float32) * np.float32(step)
    # OpenCV's flip and a search in booleans are many times faster than NumPy's backward strides.
    first, after = (side.view(np.bool_).argmax(axis=1) for side in (lit, cv2.flip(lit, 1)))
    outward = np.array([-first, lit.shape[1] - 1 - after], np.float32)
    # The sides of the crop are no edges: there the sector is cut off, or a linear probe's beams run straight down.
    # Dark rows seem to reach beyond both.
    slanted = outward < np.array([[-left_most - 1], [right_most - 1]], np.float32)
    if slanted.sum(axis=1).min() < _ROWS // 4:
        return None
    lines = np.where(slanted, outward, np.float32(-np.inf))[:, None] - _SLOPES * rows
    touching = np.sort(lines, axis=2)[:, :, -1 - _STRAYS, None]
    on_line = np.abs(lines - touching) < _SLACK
    best = on_line.sum(axis=2).argmax(axis=1)
    edges = []
    for side in (0, 1):
        points = on_line[side, best[side]]
        if points.sum() < _ROWS // 8:
            return None
        line = cv2.fitLine(np.array([outward[side, points], rows[points]]).T, cv2.DIST_L2, 0, 0.01, 0.01)
        across, down, x, y = line.ravel().tolist()
        # Half a pixel: the edge runs along the outer side of the last lit pixels.
        edges.append((x - across / down * y + 0.5, across / down))
    return edges


def _reach(lit: Image, step: int, column: float, row: float) -> tuple[float, float]:
    """Distances of the apex from the nearest and the farthest lit pixel, every `step`-th of which is in `lit`."""
    y, x = (np.arange(side, dtype=np.float32) * np.float32(step) for side in lit.shape)
    squares = np.square(y - np.float32(row))[:, None] + np.square(x - np.float32(column))
    nearest, farthest, _, _ = cv2.minMaxLoc(squares, np.ascontiguousarray(lit))
    return math.sqrt(nearest), math.sqrt(farthest)


def _clipped(values: Field) -> Field:
    return np.minimum(np.maximum(values, np.float32(0)), np.float32(1))


def interior(beams: Fan | Box, window: Window, cells: int) -> Field:
    """How far inside the sector each cell of a grid over a view lies.

    Args:
        beams: the geometry of the frame.
        window: the part of the frame that the view shows.
        cells: of the grid, along each side.

    Returns:
        (cells, cells), 1 in the middle and 0 before the border of the sector or of the frame is reached.
    """
    bottom, right = window.shape[0] - 1, window.shape[1] - 1
    # The grid reaches beyond the view: what the view cuts off is not the sector's end.
    inside = np.ones((cells + 2 * _BEYOND,) * 2, np.uint8)
    for outline in (beams.outline, np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float32)):
        places = cv2.transform(outline[None], cv2.invertAffineTransform(window.to_frame))
        drawn = np.zeros_like(inside)
        cv2.fillPoly(drawn, np.rint((places + 0.5) * (cells / window.size) - 0.5 + _BEYOND).astype(np.int32), 1)
        inside &= drawn
    core = cv2.erode(inside, _BORDER).astype(np.float32)
    return np.asarray(cv2.blur(core, (3, 3))[_BEYOND:-_BEYOND, _BEYOND:-_BEYOND], np.float32)
