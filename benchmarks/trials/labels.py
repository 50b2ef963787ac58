"""Marks with words and signs: annotations, results, body marks and the maker's logo."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.trials.inks import FACES, INKS, Pen, Style, ink, pixel, text_size, write
from benchmarks.trials.shapes import View
from sonolearn_phantom.picture import Image

Random = np.random.Generator
_WORDS = ("4CH", "LV", "RV", "AO", "LA", "RA", "SPINE", "PA", "SVC", "HEART", "STOMACH", "3VV", "12.4", "V1", "L", "R",
          "FETUS A", "LVOT")  # fmt: skip
_VALUES = ("FL", "HC", "BPD", "AC", "Ao", "LVD", "D1", "NT")


def text(view: View, frames: int, rng: Random) -> Pen:
    """One to three words on the picture, some with a dark rim, some typed midway."""
    unit = view.place.height / 480
    colour = INKS[str(rng.choice(["white", "yellow", "grey", "cyan", "orange"]))]
    style = Style(round(unit * rng.uniform(13, 27)), str(rng.choice(FACES)), colour, bool(rng.random() < 0.3))
    words = [str(word) for word in rng.choice(_WORDS, int(rng.integers(1, 4)), replace=False)]
    start = int(rng.integers(1, max(2, frames // 2))) if rng.random() < 0.2 else 0
    corners = [_inside(view, word, style, rng) for word in words]

    def pen(image: Image, frame: int, mask: bool) -> None:
        if frame >= start:
            for word, corner in zip(words, corners, strict=True):
                write(image, word, corner, style, mask)

    return pen


def results(view: View, frames: int, rng: Random) -> Pen:
    """A box with measured values over a corner of the picture, dark or see-through; in some scans from midway on."""
    unit = view.place.height / 480
    colour = INKS[str(rng.choice(["white", "yellow", "grey", "cyan"]))]
    style = Style(round(unit * rng.uniform(12, 17)), str(rng.choice(FACES)), colour)
    lines = [f"{name} {rng.uniform(8, 90):.1f} mm" for name in rng.choice(_VALUES, int(rng.integers(1, 4)))]
    high, wide = style.size * len(lines) + 4, max(text_size(line, style)[0] for line in lines) + 6
    way = np.array([rng.choice([-1, 1]), rng.choice([-1, 1, 1])])
    spot = view.inner[int(np.argmax(view.inner @ way))] - np.array([wide // 2, high // 2])
    column, row = (int(value) for value in np.clip(spot, 0, (view.place.width - wide, view.place.height - high)))
    boxed = rng.random() < 0.6
    start = int(rng.integers(1, max(2, frames // 2))) if rng.random() < 0.3 else 0

    def pen(image: Image, frame: int, mask: bool) -> None:
        if frame < start:
            return
        if boxed:
            cv2.rectangle(image, (column, row), (column + wide, row + high), ink((24, 26, 32), mask), -1)
        for number, line in enumerate(lines):
            write(image, line, (column + 3, row + 2 + number * style.size), style, mask)

    return pen


def body_mark(view: View, frames: int, rng: Random) -> Pen:
    """A pictogram of a belly with the probe's place, over a corner of the picture."""
    unit = view.place.height / 480
    colour = INKS[str(rng.choice(["white", "grey", "yellow"]))]
    corner = view.inner[int(np.argmax(view.inner @ [rng.choice([-1, 1]), 1]))] - [0, round(20 * unit)]
    size, turn, thick = unit * rng.uniform(16, 28), float(rng.uniform(0, 180)), int(rng.integers(1, 3))

    def pen(image: Image, frame: int, mask: bool) -> None:
        middle, shade = (int(corner[0]), int(corner[1])), ink(colour, mask)
        cv2.ellipse(image, middle, (round(0.7 * size), round(size)), 0, 0, 360, shade, thick, cv2.LINE_AA)
        cv2.circle(image, (middle[0], middle[1] + round(0.2 * size)), max(2, round(0.15 * size)), shade, 1, cv2.LINE_AA)
        along = 0.4 * size * np.array([np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))])
        cv2.line(image, pixel(corner - along), pixel(corner + along), ink((90, 200, 90), mask), 3, cv2.LINE_AA)

    return pen


def logo(view: View, frames: int, rng: Random) -> Pen:
    """The maker's letter in a ring, at the probe's face or at a corner."""
    unit = view.place.height / 480
    spot = view.line(float(rng.choice([-0.85, 0.0, 0.85])), float(rng.choice([0.03, 0.05])))[0]
    spot = view.inner[int(np.argmin(np.abs(view.inner - spot).sum(1)))]
    size, letter = round(unit * rng.uniform(9, 15)), str(rng.choice(list("PVGSTC")))
    colour = ((110, 180, 250), (240, 240, 240), (120, 220, 120))[int(rng.integers(3))]
    style = Style(round(1.3 * size), "sans", colour)

    def pen(image: Image, frame: int, mask: bool) -> None:
        cv2.circle(image, pixel(spot), size, ink(colour, mask), 1, cv2.LINE_AA)
        wide, high = text_size(letter, style)
        write(image, letter, (int(spot[0]) - wide // 2, int(spot[1]) - high // 2), style, mask)

    return pen


def _inside(view: View, word: str, style: Style, rng: Random) -> tuple[int, int]:
    wide, high = text_size(word, style)
    spot = view.pick(rng)
    for _ in range(30):  # rather wholly inside
        right, low = min(spot[0] + wide, view.place.width - 1), min(spot[1] + high, view.place.height - 1)
        if view.sector[spot[1], right] and view.sector[low, right] and view.sector[low, spot[0]]:
            break
        spot = view.pick(rng)
    return int(spot[0]), int(spot[1])
