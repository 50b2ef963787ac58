"""The scanner's screen around the picture: text, depth ruler, grey bar, callipers, colour box, second view.

Whatever is drawn is drawn twice with the same calls, in colour on the screen and in white on a mask, so that the
ground truth is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn_phantom.patient import MACHINES, Patient, generator
from sonolearn_phantom.picture import Image, Probe, sector
from sonolearn_phantom.solids import Array

Mask = NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)
_YELLOW, _GREY, _CREAM = (250, 225, 70), (185, 185, 185), (235, 230, 170)


@dataclass(frozen=True)
class Layout:
    """Places on the screen, in px: the screen's `height` and `width`, and the left upper corner of each view's picture.

    `views` has one corner (row, column), or two on a split screen; `probe` gives the pictures' size.
    """

    height: int
    width: int
    views: tuple[tuple[int, int], ...]
    probe: Probe

    @classmethod
    def of(cls, patient: Patient, size: int, split: bool = False) -> Layout:
        """The screen of `patient`'s machine for pictures `size` px high; its sides are even, as video needs."""
        top, bottom, side, wide = ((0.12, 0.05, 0.10, 1.35), (0.07, 0.12, 0.06, 1.45), (0.10, 0.08, 0.16, 1.25))[
            patient.machine
        ]
        height, picture = _even(size * (1 + top + bottom)), _even(size * wide)
        width = picture + 2 * _even(size * side)
        row, column = _even(size * top), _even(size * side)
        if not split:
            return cls(height, width, ((row, column),), Probe.of(patient, size, picture))
        half = Probe.of(patient, size, picture // 2)
        return cls(height, width, ((row, column), (row, column + picture // 2)), half)

    def placed(self, picture: NDArray[T], view: int = 0) -> NDArray[T]:
        """`picture` (height, width, ...) of a view on an empty (zero) screen."""
        screen = np.zeros((self.height, self.width, *picture.shape[2:]), picture.dtype)
        row, column = self.views[view]
        screen[row : row + picture.shape[0], column : column + picture.shape[1]] = picture
        return screen

    def sector(self, view: int = 0) -> Mask:
        """(height, width) bool: where the screen shows a view's fan."""
        return self.placed(sector(self.probe), view).astype(bool)


class Canvas:
    """A screen (height, width, 3) uint8 RGB and the masks of what was drawn on it.

    Overlays stand still in a scan, so the masks of its first frame serve all: without `masked` none are drawn.
    """

    def __init__(self, grey: Image, masked: bool = True) -> None:
        """Start from a grey screen (height, width)."""
        self.rgb: Image = np.repeat(grey[:, :, None], 3, axis=2)
        self.masked = masked
        self.masks: dict[str, Mask] = {}

    def draw(self, layer: str, pen: Callable[[Image, bool], None]) -> None:
        """Let `pen` draw on the screen and, with True, on the mask of `layer`, where any value but 0 counts."""
        pen(self.rgb, False)
        if self.masked:
            stencil = np.zeros_like(self.rgb)
            pen(stencil, True)
            self.masks[layer] = stencil.max(axis=2) > 0


def draw_text(canvas: Canvas, layout: Layout, patient: Patient, date: str) -> None:
    """Write what machines write: maker, made-up name and id, date, age, indices; draw the depth ruler and grey bar."""
    size = layout.probe.height
    scale, thick = size / 640, max(1, round(size / 400))
    weeks, days = divmod(int(patient.gestational_age * 7), 7)
    maker, model = MACHINES[patient.machine]
    rows = [f"GA {weeks}w{days}d", "TIs 0.4 MI 1.2", f"{model} {patient.frame_rate}Hz", f"Gn {int(patient.gain * 3)}"]
    head = f"{patient.person.replace('^', ', ')}  {patient.name}   {date}   {maker}"
    left = patient.machine != 1
    column = int(0.015 * size) if left else layout.width - int(0.34 * size)

    def pen(image: Image, mask: bool) -> None:
        def write(text: str, row: float, where: int, colour: tuple[int, int, int]) -> None:
            place, ink = (where, int(row)), (255, 255, 255) if mask else colour
            cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thick, cv2.LINE_AA)

        line = size * 0.045
        write(head, line, int(0.02 * size), _GREY)
        start = layout.views[0][0] + line
        for number, text in enumerate(rows):
            write(text, start + 1.1 * number * line, column, _CREAM)
        _ruler(image, layout, left, mask)

    canvas.draw("text", pen)


def draw_callipers(canvas: Canvas, layout: Layout, rng: np.random.Generator) -> None:
    """Measure something: one or two pairs of yellow crosses joined by dots, inside the sector of the first view."""
    rows, columns = np.nonzero(cv2.erode(layout.sector().astype(np.uint8), np.ones((9, 9), np.uint8)))
    size = layout.probe.height
    pairs = []
    for _ in range(int(rng.integers(1, 3))):
        spots: list[NDArray[np.float64]] = []
        while len(spots) < 2:
            pick = int(rng.integers(len(rows)))
            spot = np.array([columns[pick], rows[pick]], float)
            if not spots or 0.12 * size < np.linalg.norm(spot - spots[0]) < 0.5 * size:
                spots.append(spot)
        pairs.append(spots)
    arm = max(2, round(size / 60))

    def pen(image: Image, mask: bool) -> None:
        ink = (255, 255, 255) if mask else _YELLOW
        for first, second in pairs:
            for spot in (first, second):
                cv2.drawMarker(image, (int(spot[0]), int(spot[1])), ink, cv2.MARKER_CROSS, 2 * arm + 1, 1)
            count = int(np.linalg.norm(second - first) / (2.2 * arm)) + 2
            for part in np.linspace(0, 1, count)[1:-1]:
                dot = first + (second - first) * part
                cv2.circle(image, (int(dot[0]), int(dot[1])), max(0, arm // 4), ink, -1)

    canvas.draw("callipers", pen)


def draw_colour(canvas: Canvas, layout: Layout, velocity: Array, box: tuple[float, float, float, float]) -> None:
    """Colour Doppler: red towards the probe, blue away, in a box with a white frame; the mask is the whole box.

    `velocity` (height, width) of the first view is in -1 to 1. `box` gives depth and angle from and to, as shares of
    the sector (depth from, depth to, angle from, angle to).
    """
    probe = layout.probe
    column, row = probe.face
    corner = layout.views[0]
    outline = [
        (corner[1] + column + probe_x, corner[0] + row + probe_y) for probe_x, probe_y in _box_outline(probe, box)
    ]
    polygon = np.round(np.array(outline)).astype(np.int32)
    flow = layout.placed(velocity).astype(np.float32)
    strength = np.clip(np.abs(flow), 0, 1)[..., None]
    warm, cool = np.array((255, 40, 10), np.float32), np.array((15, 70, 255), np.float32)
    colour = np.where(flow[..., None] > 0, warm, cool) * (0.45 + 0.55 * strength)
    shown = strength[..., 0] > 0.08

    def pen(image: Image, mask: bool) -> None:
        area = np.zeros(image.shape[:2], np.uint8)
        cv2.fillPoly(area, [polygon], 1)
        inside = area.astype(bool)
        if mask:
            image[inside] = 255
        else:
            image[inside & shown] = colour[inside & shown].astype(np.uint8)
        cv2.polylines(image, [polygon], True, (255, 255, 255), 1)

    canvas.draw("colour", pen)


def colour_box(layout: Layout, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A colour box around the middle of the sector, as `draw_colour` takes it."""
    depth, angle = rng.uniform(0.38, 0.62), rng.uniform(0.4, 0.6)
    tall, wide = rng.uniform(0.15, 0.27), rng.uniform(0.16, 0.3)
    return float(depth - tall), float(min(depth + tall, 0.96)), float(angle - wide), float(angle + wide)


def exam_date(patient: Patient) -> str:
    """The made-up day of the examination, YYYYMMDD."""
    rng = generator(patient.seed, patient.index, 8)
    return f"20{rng.integers(19, 25)}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}"


def _ruler(image: Image, layout: Layout, bar_right: bool, mask: bool) -> None:
    probe = layout.probe
    top = layout.views[0][0] + probe.face[1]
    edge = layout.width - 3 if bar_right else 2
    inward = -1 if bar_right else 1
    tick = max(3, probe.height // 40)
    for number in range(int(probe.depth // 10) + 1):
        row = int(top + number * 10 / probe.pixel)
        cv2.line(image, (edge, row), (edge + inward * tick, row), _GREY, 1)
    wide, high = max(3, probe.height // 45), probe.height // 3
    start = edge + inward * (tick + 3) - (wide if inward < 0 else 0)
    shades = np.full(high, 255) if mask else np.linspace(255, 1, high)
    row = layout.views[0][0]
    image[row : row + high, start : start + wide] = shades.astype(np.uint8)[:, None, None]


def _box_outline(probe: Probe, box: tuple[float, float, float, float]) -> list[tuple[float, float]]:
    near, far = (probe.radius + share * probe.depth for share in box[:2])
    angles = np.linspace((box[2] - 0.5) * probe.field_of_view, (box[3] - 0.5) * probe.field_of_view, 24)
    arc = [(near, angle) for angle in angles] + [(far, angle) for angle in angles[::-1]]
    return [
        (radius * np.sin(angle) / probe.pixel, (radius * np.cos(angle) - probe.radius) / probe.pixel)
        for radius, angle in arc
    ]


def _even(length: float) -> int:
    return 2 * round(length / 2)
