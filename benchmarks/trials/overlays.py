"""Marks that people and machines put on the ultrasound picture itself.

Each function takes the view, the number of frames and a random generator, and returns the pen that draws the mark.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.trials.inks import INKS, Colour, Pen, Style, ink, pixel, write
from benchmarks.trials.labels import body_mark, logo, results, text
from benchmarks.trials.shapes import View
from benchmarks.trials.traces import ecg_over
from sonolearn_phantom.picture import Image

Random = np.random.Generator
_CALLIPER_INKS = ("yellow", "green", "cyan", "white", "grey")


def callipers(view: View, frames: int, rng: Random) -> Pen:
    """One to three pairs of crosses; some joined by dots or a line, some put on midway, some moved."""
    unit = view.place.height / 480
    colour = INKS[str(rng.choice(_CALLIPER_INKS))]
    kind = int(rng.choice([cv2.MARKER_CROSS, cv2.MARKER_TILTED_CROSS]))
    arm, thick = max(2, round(unit * rng.uniform(3, 6.5))), 2 if rng.random() < 0.25 else 1
    join = str(rng.choice(["none", "dots", "dots", "line"]))
    digits = Style(max(10, round(14 * unit)), "sans", colour) if rng.random() < 0.4 else None
    pairs = [_pair(view, rng) for _ in range(int(rng.integers(1, 4)))]
    starts = [int(rng.integers(1, max(2, frames * 2 // 3))) if rng.random() < 0.35 else 0 for _ in pairs]
    moves = [rng.normal(0, 25 * unit, 2) if rng.random() < 0.3 else np.zeros(2) for _ in pairs]
    until = max(1, int(frames * rng.uniform(0.3, 0.9)))

    def pen(image: Image, frame: int, mask: bool) -> None:
        for number, ((first, second), start, move) in enumerate(zip(pairs, starts, moves, strict=True), 1):
            if frame < start:
                continue
            end = second + np.round(move * min(1.0, frame / until)).astype(int)
            for spot in (first, end):
                cv2.drawMarker(image, pixel(spot), ink(colour, mask), kind, 2 * arm + 1, thick)
            _join(image, first, end, join, ink(colour, mask), arm)
            if digits:
                write(image, str(number), (int(first[0]) + arm + 2, int(first[1]) - arm - digits.size), digits, mask)

    return pen


def ellipse(view: View, frames: int, rng: Random) -> Pen:
    """An ellipse of dots around a section, with its axes' crosses."""
    unit = view.place.height / 480
    colour = INKS[str(rng.choice(_CALLIPER_INKS))]
    centre = view.pick(rng)
    axes = unit * rng.uniform(25, 80) * np.array([1, rng.uniform(0.6, 0.95)])
    turn, count = rng.uniform(0, np.pi), int(rng.integers(24, 70))
    dashed, dot = rng.random() < 0.3, max(1, round(unit * rng.uniform(0.6, 1.4)))

    def pen(image: Image, frame: int, mask: bool) -> None:
        angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
        x, y = axes[0] * np.cos(angles), axes[1] * np.sin(angles)
        points = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1) + centre
        for one, other in zip(points, np.roll(points, -1, 0), strict=True):
            if dashed:
                cv2.line(image, pixel(one), pixel((one + other) / 2), ink(colour, mask), 1, cv2.LINE_AA)
            else:
                cv2.circle(image, pixel(one), dot, ink(colour, mask), -1)
        for part in range(0, count, max(1, count // 4)):
            cv2.drawMarker(image, pixel(points[part]), ink(colour, mask), cv2.MARKER_CROSS, 9, 1)

    return pen


def arrow(view: View, frames: int, rng: Random) -> Pen:
    """An arrow that points at something."""
    unit = view.place.height / 480
    colour = INKS[str(rng.choice(["white", "yellow", "green", "cyan"]))]
    tip, turn, long = view.pick(rng), rng.uniform(0, 2 * np.pi), unit * rng.uniform(20, 55)
    tail = tip - long * np.array([np.cos(turn), np.sin(turn)])
    filled, thick = rng.random() < 0.4, int(rng.integers(1, 3))

    def pen(image: Image, frame: int, mask: bool) -> None:
        if not filled:
            cv2.arrowedLine(image, pixel(tail), pixel(tip), ink(colour, mask), thick, cv2.LINE_AA, tipLength=0.35)
            return
        away = (tail - tip) / long
        aside = np.array([-away[1], away[0]])
        head = np.stack([tip, tip + away * 14 * unit + aside * 6 * unit, tip + away * 14 * unit - aside * 6 * unit])
        cv2.fillPoly(image, [np.round(head).astype(np.int32)], ink(colour, mask), cv2.LINE_AA)
        cv2.line(image, pixel(tip + away * 12 * unit), pixel(tail), ink(colour, mask), 2, cv2.LINE_AA)

    return pen


def focus(view: View, frames: int, rng: Random) -> Pen:
    """Focus markers on the picture's side, one to three small triangles."""
    side, size = float(rng.choice([-1, 1])), 5 * view.place.height / 480
    middle = rng.uniform(0.3, 0.7)
    spots = [view.line(side * 0.98, middle + 0.06 * step)[0] for step in range(int(rng.integers(1, 4)))]
    colour = INKS[str(rng.choice(["yellow", "green", "white", "orange"]))]

    def pen(image: Image, frame: int, mask: bool) -> None:
        for spot in spots:
            corners = np.array([[-side * size, 0], [side * size, -size], [side * size, size]]) + spot
            cv2.fillPoly(image, [np.round(corners).astype(np.int32)], ink(colour, mask), cv2.LINE_AA)

    return pen


def guide(view: View, frames: int, rng: Random) -> Pen:
    """A dotted line (a biopsy guide, or the line of an M-mode to come) through the picture; one or two."""
    colour = INKS[str(rng.choice(["green", "white", "yellow", "cyan"]))]
    across = rng.uniform(-0.7, 0.7) + np.array([0, 0.12])[: int(rng.integers(1, 3))]
    slant, count = rng.uniform(-0.5, 0.5), int(rng.integers(25, 60))
    dot = int(rng.integers(0, 2))
    along = np.linspace(0.02, 0.97, count)
    lines = [view.line(start + slant * along, along) for start in across]

    def pen(image: Image, frame: int, mask: bool) -> None:
        for spot in np.concatenate(lines):
            cv2.circle(image, pixel(spot), dot, ink(colour, mask), -1)

    return pen


def depth_dots(view: View, frames: int, rng: Random) -> Pen:
    """A dot for each centimetre down the middle beam."""
    colour = INKS[str(rng.choice(["grey", "white", "green"]))]
    depth, dot = view.beams.depth, int(rng.integers(0, 2))
    spots = view.line(0, np.arange(5, depth, 5 if depth < 60 else 10) / depth)

    def pen(image: Image, frame: int, mask: bool) -> None:
        for spot in spots:
            cv2.circle(image, pixel(spot), dot, ink(colour, mask), -1)

    return pen


OVERLAYS: dict[str, tuple[Callable[[View, int, Random], Pen], float]] = {
    "callipers": (callipers, 5),
    "ellipse": (ellipse, 2),
    "text": (text, 5),
    "results": (results, 2),
    "arrow": (arrow, 2),
    "body mark": (body_mark, 1.5),
    "logo": (logo, 1.2),
    "focus": (focus, 1.2),
    "guide": (guide, 1.5),
    "ecg": (ecg_over, 2),
    "depth dots": (depth_dots, 1.5),
}
"""Each kind of mark: what makes its pen, and how common it is."""


def _pair(view: View, rng: Random) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    size = view.place.height
    first = view.pick(rng)
    for _ in range(60):
        second = view.pick(rng)
        if 0.06 * size < np.linalg.norm(second - first) < 0.45 * size:
            break
    return first, second


def _join(image: Image, first: NDArray[np.int64], end: NDArray[np.int64], how: str, colour: Colour, arm: int) -> None:
    if how == "line":
        cv2.line(image, pixel(first), pixel(end), colour, 1, cv2.LINE_AA)
    if how == "dots":
        count = int(np.linalg.norm(end - first) / (1.8 * arm)) + 2
        for part in np.linspace(0, 1, count)[1:-1]:
            cv2.circle(image, pixel(first + (end - first) * part), max(0, arm // 5), colour, -1)
