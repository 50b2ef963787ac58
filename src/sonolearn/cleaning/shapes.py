"""The outline of an ultrasound picture, fitted to where echoes were seen: a fan, or a polygon of few corners.

A fan is the part between two beams and two arcs around the point where all beams meet (convex and phased probes; with
a flat window on top also the trapezoid of a linear probe). Deep corners and shaded sides are often black, so counting
lit pixels loses them; the geometry does not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.cleaning.simplex import minimise
from sonolearn.cleaning.thresholds import THRESHOLDS

ShapeName = Literal["fan", "quadrilateral", "hull"]
Mask = NDArray[np.uint8]
Points = NDArray[np.float64]
Window = tuple[float, float, float, float]

OUTLINE = THRESHOLDS.outline
_SLACK = {"fan": 0.0, "quadrilateral": OUTLINE.slack_quadrilateral, "hull": OUTLINE.slack_hull}
_FREE = (-math.inf, -math.inf, math.inf, math.inf)
_ARC = np.linspace(-1, 1, 33)


@dataclass(frozen=True)
class Shape:
    """An outline, cut off at a window, and how well it agrees with the echoes."""

    name: ShapeName
    outline: Points
    """(k, 2) columns and rows in px; the middle of the left upper pixel is (0, 0)."""
    window: Window
    """Left, top, right and bottom border in px, the ends included: where the display cuts the picture off."""
    cost: float = 0.0
    """Weighed disagreement with the echoes as a share of the area of their hull; 0 is perfect."""
    misfit: float = 0.0
    """The same without black pixels among echoes, which are fluid and shadows as often as not."""

    def draw(self, height: int, width: int) -> Mask:
        """(height, width) 0 or 1: the pixels whose middle is inside."""
        # fillPoly also takes the pixels that the border runs through; drawn finer, that is less than half a pixel.
        times = OUTLINE.finer
        finer, canvas = self.scaled(times), np.zeros((height * times, width * times), np.uint8)
        return _filled(finer.outline, finer.window, canvas)[times // 2 :: times, times // 2 :: times].copy()

    def area(self) -> float:
        """Area inside the outline in px, whatever the window."""
        return float(cv2.contourArea(self.outline.astype(np.float32)))

    def scaled(self, factor: float) -> Shape:
        """The same shape in a picture `factor` times as large."""
        left, top, right, bottom = self.window
        window = (left * factor, top * factor, (right + 1) * factor - 1, (bottom + 1) * factor - 1)
        return replace(self, outline=(self.outline + 0.5) * factor - 0.5, window=window)

    def inside(self, window: Window) -> Shape:
        """The same shape, cut off at another window, too."""
        left, top, right, bottom = (
            outer(own, other) for outer, own, other in zip((max, max, min, min), self.window, window, strict=True)
        )
        return replace(self, window=(left, top, right, bottom))

    def moved(self, x: float, y: float) -> Shape:
        """The same shape, x px further to the right and y px further down."""
        left, top, right, bottom = self.window
        return replace(self, outline=self.outline + np.array([x, y]), window=(left + x, top + y, right + x, bottom + y))


def rectangle(left: float, top: float, right: float, bottom: float) -> Shape:
    """Columns left up to right and rows top up to bottom, ends excluded."""
    corners = np.array([(left, top), (right - 1, top), (right - 1, bottom - 1), (left, bottom - 1)], np.float64)
    return Shape("quadrilateral", corners, (left, top, right - 1, bottom - 1))


def fit_shape(echoes: Mask) -> Shape:
    """The shape that agrees best with a mask of echoes.

    Args:
        echoes: (H, W) 0 or 1, with at least one pixel set.
    """
    points = np.asarray(cv2.findNonZero(echoes))
    hull = np.asarray(cv2.convexHull(points))[:, 0].astype(np.float64)
    x, y, wide, tall = cv2.boundingRect(points)
    box = (x, y, x + wide - 1, y + tall - 1)
    cost = _Cost(echoes, hull)
    polygons: list[tuple[ShapeName, Points]] = [("hull", hull)]
    polygons += [("quadrilateral", corners) for corners in _quadrilaterals(hull, box)]
    candidates = [Shape(name, outline, box, cost(outline, box)) for name, outline in polygons]
    fan = _best_fan(echoes, hull, cost, _window(echoes, box))
    best = min([*candidates, *([fan] if fan else [])], key=lambda shape: shape.cost + _SLACK[shape.name])
    # A polygon around all echoes leaves nothing out: only its black pixels can speak against it.
    return replace(best, misfit=cost.misfit(best) if best.name == "fan" else best.cost)


def cost_of(shape: Shape, echoes: Mask) -> float:
    """What a shape costs on any mask of echoes (H, W), 0 or 1; shapes can be compared by it."""
    hull = np.asarray(cv2.convexHull(np.asarray(cv2.findNonZero(echoes))))[:, 0].astype(np.float64)
    return _Cost(echoes, hull)(shape.outline, shape.window)


def mirrored(fan: Shape, grey: Mask) -> Shape:
    """A fan, or the one of which it is the half that is not black: beside it lies fluid, or a probe without contact.

    Then one side lies near the upright through the beams' common point, and the picture (H, W) of echoes fades towards
    it; at the true end of a picture echoes stop at once.
    """
    x, y, near, far, first, second = _beams(fan.outline)
    inner, outer = sorted((first, second), key=abs)
    if abs(inner) > OUTLINE.upright * abs(outer) or abs(outer) > OUTLINE.widest:
        return fan
    left, top, right, bottom = fan.window

    def level(start: float, end: float) -> float:
        """Mean grey between two shares of the way from the inner to the outer side."""
        low, high = inner + start * (outer - inner), inner + end * (outer - inner)
        band = _fan(np.array([x, y, near, far, (low + high) / 2, abs(high - low) / 2]))
        return cv2.mean(grey, _filled(band, fan.window, np.zeros(grey.shape, np.uint8)))[0]

    fades_inside = level(0, OUTLINE.side) <= OUTLINE.faded * level(*OUTLINE.inner)
    if not fades_inside or level(1 - OUTLINE.side, 1) < OUTLINE.faded * level(*OUTLINE.outer):
        return fan
    window = (left if inner == second else -math.inf, top, right if inner == first else math.inf, bottom)
    return replace(fan, outline=_fan(np.array([x, y, near, far, 0.0, abs(outer)])), window=window)


def _beams(outline: Points) -> tuple[float, float, float, float, float, float]:
    """Apex x and y, near and far end (px), angles of the first and last beam (radians) of the outline of a fan."""
    count = len(outline) // 2
    ends = [(outline[0], outline[-1]), (outline[count - 1], outline[count])]
    (a, u), (c, v) = ((near, far - near) for near, far in ends)
    apex = a + u * ((c - a)[0] * v[1] - (c - a)[1] * v[0]) / (u[0] * v[1] - u[1] * v[0])
    near, far = (float(np.hypot(*(end - apex))) for end in ends[0])
    return float(apex[0]), float(apex[1]), near, far, math.atan2(*u), math.atan2(*v)


def _filled(outline: Points, window: Window, canvas: NDArray[Any]) -> NDArray[Any]:
    height, width = canvas.shape
    left, top = (math.ceil(max(0.0, side)) for side in window[:2])
    right, bottom = (
        math.floor(min(size - 1.0, side)) + 1 for side, size in zip(window[2:], (width, height), strict=True)
    )
    if left < right and top < bottom:
        # In 1/16 px; fillPoly also takes the pixels that the border runs through.
        corners = np.rint((outline - (left, top)) * 16).astype(np.int32)[:, None]
        cv2.fillPoly(canvas[top:bottom, left:right], [corners], 1, shift=4)
    return canvas


class _Cost:
    """What an outline costs: what taking a pixel in costs or earns, summed, over the area of the echoes' hull."""

    def __init__(self, echoes: Mask, hull: Points) -> None:
        inside = _filled(hull, _FREE, np.zeros(echoes.shape, np.uint8))
        self.weights = np.where(inside > 0, np.float32(OUTLINE.dark), np.float32(OUTLINE.beyond))
        self.weights[echoes > 0] = -OUTLINE.missed
        self.area = float(inside.sum())
        self.all_missed = OUTLINE.missed * float(np.count_nonzero(echoes))

    def __call__(self, outline: Points, window: Window) -> float:
        taken = _filled(outline, window, np.zeros(self.weights.shape, np.float32))
        return (self.all_missed + float(np.vdot(taken, self.weights))) / self.area

    def misfit(self, shape: Shape) -> float:
        taken = _filled(shape.outline, shape.window, np.zeros(self.weights.shape, np.uint8)) > 0
        dark = np.count_nonzero(taken & (self.weights == np.float32(OUTLINE.dark)))
        return shape.cost - OUTLINE.dark * float(dark) / self.area


def _quadrilaterals(hull: Points, box: Window) -> Iterator[Points]:
    left, top, right, bottom = box
    yield np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
    if len(hull) > 4:
        # The four lines on which most of the hull lies: a parallelogram or a trapezoid. Hulls of pixels are staircases.
        straight = cv2.approxPolyDP(hull.astype(np.float32)[:, None], 1.0, True)
        if len(straight) > 4:
            yield np.asarray(cv2.minEnclosingConvexPolygon(straight, 4)[1], np.float64)
        else:
            yield np.asarray(straight, np.float64)[:, 0]


def _window(echoes: Mask, box: Window) -> Window:
    """The sides of the bounding box where the picture is cut off: those that echoes reach along a good part."""
    left, top, right, bottom = map(int, box)
    part = echoes[top : bottom + 1, left : right + 1]
    reached = (part[:, :2].any(axis=1), part[:2].any(axis=0), part[:, -2:].any(axis=1), part[-2:].any(axis=0))
    sides = [
        side if side_reached.mean() > OUTLINE.flat_side else free
        for side, free, side_reached in zip(box, _FREE, reached, strict=True)
    ]
    return sides[0], sides[1], sides[2], sides[3]


def _best_fan(echoes: Mask, hull: Points, cost: _Cost, window: Window) -> Shape | None:
    """The best fan inside the window: from pairs of straight hull edges as first and last beam, then refined."""
    rows, columns = np.nonzero(echoes[::2, ::2])
    lit = np.stack([columns, rows], 1) * 2.0
    starts = []
    for apex, axis, half in _wedges(hull):
        near, far = np.percentile(np.hypot(*(lit - apex).T), OUTLINE.ends)
        start = np.array([*apex, near, far, axis, half])
        starts.append((cost(_fan(start), window), *start.tolist()))
    if not starts:
        return None
    # Most steps on a picture of half the size, at a quarter of the time; the last ones on the whole.
    coarse = _Cost(np.ascontiguousarray(echoes[::2, ::2]), hull / 2)
    left, top, right, bottom = window
    half_window = (left / 2, top / 2, right / 2, bottom / 2)
    size = np.array([0.5, 0.5, 0.5, 0.5, 1, 1])
    refined = [
        _refined(np.array(start[1:]) * size, coarse, half_window, 1.0, OUTLINE.steps)
        for start in sorted(starts)[: OUTLINE.starts]
    ]
    best, _ = min(refined, key=lambda found: found[1])
    parameters, found_cost = _refined(best / size, cost, window, 0.25, OUTLINE.last_steps)
    return Shape("fan", _fan(parameters), window, found_cost)


def _refined(start: Points, cost: _Cost, window: Window, spread: float, steps: int) -> tuple[Points, float]:
    """Parameters of a fan with less cost, and their cost."""
    long = spread * math.sqrt(cost.area)
    offsets = np.diag([0.05 * long, 0.05 * long, 0.03 * long, 0.02 * long, 0.03 * spread, 0.03 * spread])
    return minimise(lambda p: cost(_fan(p), window), np.array([start, *(start + offsets)]), steps, 1e-5)


def _wedges(hull: Points) -> Iterator[tuple[Points, float, float]]:
    """Apex, direction (radians from straight down, to the right) and half opening of pairs of long hull edges."""
    length = cv2.arcLength(hull.astype(np.float32)[:, None], True)
    simplified = cv2.approxPolyDP(hull.astype(np.float32)[:, None], OUTLINE.hull_corner * length, True)
    corners = np.asarray(simplified, np.float64)[:, 0]
    edges = [(a, b) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    long = [(a, b) for a, b in edges if np.hypot(*(b - a)) > OUTLINE.long_edge * length]
    middle = hull.mean(axis=0)
    for (a, b), (c, d) in itertools.combinations(long, 2):
        u, v = b - a, d - c
        cross = u[0] * v[1] - u[1] * v[0]
        if abs(cross) < OUTLINE.parallel * np.hypot(*u) * np.hypot(*v):
            continue
        apex = a + u * ((c - a)[0] * v[1] - (c - a)[1] * v[0]) / cross
        # Both edges must lead away from the apex, not run across it.
        ends = [sorted(((p - apex), (q - apex)), key=lambda w: float(np.hypot(*w))) for p, q in ((a, b), (c, d))]
        if any(near @ far < 0 and np.hypot(*near) > OUTLINE.across * np.hypot(*far) for near, far in ends):
            continue
        first, second = (math.atan2(*far) for _, far in ends)
        turn = math.remainder(second - first, 2 * math.pi)
        axis = first + turn / 2
        low, high = OUTLINE.opening
        if low < abs(turn) < high and (middle - apex) @ (math.sin(axis), math.cos(axis)) > 0:
            yield apex, axis, abs(turn) / 2


def _fan(parameters: Points) -> Points:
    """Outline (66, 2) of a fan: apex x and y, near and far end (px), direction and half opening (radians)."""
    x, y, near, far, axis, half = parameters
    angles, count = axis + _ARC * half, len(_ARC)
    across, down = np.sin(angles), np.cos(angles)
    # Written in place: this is called some hundred times a scan, and np.stack takes longer than the sines.
    outline = np.empty((2 * count, 2))
    for column, (beams, start) in enumerate(((across, x), (down, y))):
        outline[:count, column] = beams * max(near, 0.0) + start
        outline[count:, column] = beams[::-1] * far + start
    return outline
