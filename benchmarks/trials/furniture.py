"""What machines write and draw beside the sector: text, ruler, bars, markers, an ECG. None of it touches the sector."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from benchmarks.trials.inks import FACES, INKS, Colour, Pen, Style, ink, write
from benchmarks.trials.shapes import View
from benchmarks.trials.traces import ecg
from sonolearn_phantom.patient import MACHINES, Patient
from sonolearn_phantom.picture import Image
from sonolearn_phantom.screen import Mask, exam_date

Random = np.random.Generator


def furniture(busy: Mask, view: View, patient: Patient, frames: int, rng: Random) -> tuple[list[Pen], list[str]]:
    """Pens of what stands beside the sector, none of which touches what is `busy` (height, width), and their names."""
    taken = np.asarray(cv2.dilate(busy.astype(np.uint8), np.ones((5, 5), np.uint8))).astype(bool)
    pens, names = [], []
    for name, (make, share) in _FURNITURE.items():
        if rng.random() >= share:
            continue
        for _ in range(4):
            pen = make(view, patient, frames, rng)
            touched = np.any([_stencil(pen, taken.shape, frame) for frame in (0, frames // 2, frames - 1)], axis=0)
            if touched.any() and not (touched & taken).any():
                taken |= touched
                pens.append(pen)
                names.append(name)
                break
    return pens, names


def head(view: View, patient: Patient, frames: int, rng: Random) -> Pen:
    """Maker, made-up name, id, date and indices in one or two lines at the top or bottom."""
    place = view.place
    style = _style(view, rng)
    maker, model = MACHINES[patient.machine]
    weeks = int(patient.gestational_age)
    lines = [
        f"{patient.person.replace('^', ', ')}  {patient.name}",
        f"{model}  {exam_date(patient)}  GA={weeks}w{patient.index % 7}d   MI 1.2  TIs 0.4",
        maker,
    ][: int(rng.integers(1, 4))]
    row = int(rng.choice([2, 4, place.height - style.size * len(lines) - 4]))
    column = int(rng.choice([4, round(0.3 * place.width), round(0.55 * place.width)]))

    def pen(image: Image, frame: int, mask: bool) -> None:
        for number, line in enumerate(lines):
            write(image, line, (column, row + number * style.size), style, mask)

    return pen


def settings(view: View, patient: Patient, frames: int, rng: Random) -> Pen:
    """A column of settings at one side."""
    place = view.place
    style = _style(view, rng)
    lines = ["2D", f"{patient.frame_rate}Hz", f"{patient.depth / 10:.1f}cm", f"Gn {int(50 + patient.gain)}", "C 61",
             f"DR {int(patient.dynamic_range)}", "FHR 142", "P Low", "HGen"][: int(rng.integers(3, 10))]  # fmt: skip
    column = int(rng.choice([3, place.width - 4.5 * style.size]))
    row = int(place.height * rng.choice([0.06, 0.12, 0.3, 0.6]))

    def pen(image: Image, frame: int, mask: bool) -> None:
        for number, line in enumerate(lines):
            write(image, line, (column, row + number * style.size), style, mask)

    return pen


def clock(view: View, patient: Patient, frames: int, rng: Random) -> Pen:
    """The time of day or the number of the frame: it changes while the picture may stand."""
    place, style = view.place, _style(view, rng)
    corner = (int(place.width * rng.choice([0.02, 0.8])), int(rng.choice([3, place.height - style.size - 3])))
    counted = rng.random() < 0.5

    def pen(image: Image, frame: int, mask: bool) -> None:
        shown = f"{frame + 1:03d}/{frames:03d}" if counted else f"10:{15 + frame // 60:02d}:{frame % 60:02d}"
        write(image, shown, corner, style, mask)

    return pen


def ruler(view: View, patient: Patient, frames: int, rng: Random) -> Pen:
    """Ticks every half centimetre of depth, beside the sector or at the screen's edge."""
    place, box = view.place, view.box
    column = int(rng.choice([3, box[2] - 12, box[3] + 4, place.width - 12]))
    colour, long = INKS[str(rng.choice(["white", "grey", "yellow"]))], int(rng.integers(4, 9))
    step = max(3.0, 5 * place.scale)
    rows = np.arange(max(box[0], 2), min(box[1], place.height - 2), step)

    def pen(image: Image, frame: int, mask: bool) -> None:
        for number, row in enumerate(rows):
            length = long if number % 2 == 0 else long // 2
            cv2.line(image, (column, int(row)), (column + length, int(row)), ink(colour, mask), 1)

    return pen


def bar(view: View, patient: Patient, frames: int, rng: Random) -> Pen:
    """The grey bar, or with colour Doppler at hand the colour bar."""
    place = view.place
    high, wide = int(place.height * rng.uniform(0.15, 0.4)), int(place.width * rng.uniform(0.012, 0.025))
    column = int(rng.choice([2, 22, place.width - wide - 3, place.width - wide - 24]))
    row = int(rng.uniform(0.05, 0.5) * place.height)
    level = np.linspace(1, 0, high)[:, None]
    shades = level * np.array([[255, 255, 255]])
    if rng.random() < 0.2:
        shades = np.where(level > 0.5, [255, 90, 20], [20, 90, 255]) * np.abs(2 * level - 1)

    def pen(image: Image, frame: int, mask: bool) -> None:
        part = image[row : row + high, column : column + wide]
        part[:] = 255 if mask else shades[: part.shape[0], None].astype(np.uint8)
        cv2.rectangle(image, (column - 1, row - 1), (column + wide, row + high), ink((120, 120, 120), mask), 1)

    return pen


def orientation(view: View, patient: Patient, frames: int, rng: Random) -> Pen:
    """The probe's orientation: a dot, ring or letter near the probe's face."""
    unit = view.place.height / 480
    side = float(rng.choice([-1, 1]))
    column, row = view.line(side * float(rng.choice([0.3, 1])), 0)[0] + np.array([side * 14, -12]) * unit
    colour: Colour = ((40, 210, 60), (110, 180, 250), (230, 230, 230))[int(rng.integers(3))]
    letter, style = str(rng.choice(["", "P", "V"])), Style(round(17 * unit), "bold", colour)

    def pen(image: Image, frame: int, mask: bool) -> None:
        if letter:
            write(image, letter, (int(column) - 4, int(row) - 8), style, mask)
        else:
            cv2.circle(image, (int(column), int(row)), round(4 * unit), ink(colour, mask), -1, cv2.LINE_AA)

    return pen


def triangle(view: View, patient: Patient, frames: int, rng: Random) -> Pen:
    """The focus triangle beside the sector."""
    box, size = view.box, 5 * view.place.height / 480
    row = box[0] + (box[1] - box[0]) * rng.uniform(0.3, 0.8)
    left = rng.random() < 0.5
    column, point = (box[2] - 3 * size, size) if left else (box[3] + 3 * size, -size)
    corners = np.array([[column + point, row], [column - point, row - size], [column - point, row + size]])

    def pen(image: Image, frame: int, mask: bool) -> None:
        cv2.fillPoly(image, [np.round(corners).astype(np.int32)], ink(INKS["yellow"], mask))

    return pen


def ecg_below(view: View, patient: Patient, frames: int, rng: Random) -> Pen:
    """An ECG under the sector."""
    height = 0.06 * view.place.height
    row = round(view.place.height - 0.3 * height - 2)
    return ecg(row, (int(rng.integers(0, 90)), view.place.width - int(rng.integers(1, 90))), frames, height, rng)


_FURNITURE: dict[str, tuple[Callable[[View, Patient, int, Random], Pen], float]] = {
    "ecg beside": (ecg_below, 0.15),
    "head": (head, 0.8),
    "settings": (settings, 0.6),
    "ruler": (ruler, 0.6),
    "bar": (bar, 0.55),
    "orientation": (orientation, 0.5),
    "triangle": (triangle, 0.25),
    "clock": (clock, 0.25),
    "more text": (settings, 0.15),
}


def _style(view: View, rng: Random) -> Style:
    size = round(view.place.height / 480 * rng.uniform(11, 18))
    colour: Colour = ((185, 185, 185), (235, 230, 170), (255, 255, 255), (120, 200, 240), (240, 160, 60))[
        rng.integers(5)
    ]
    return Style(size, str(rng.choice(FACES)), colour)


def _stencil(pen: Pen, shape: tuple[int, ...], frame: int) -> Mask:
    stencil = np.zeros((*shape, 3), np.uint8)
    pen(stencil, frame, True)
    touched: Mask = stencil.max(axis=2) > 0
    return touched
