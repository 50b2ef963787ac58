"""What must be rejected and shows no echoes: surface renderings, empty screens, menus and reports."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from benchmarks.trials.inks import Style, write
from sonolearn_phantom.picture import Image

Random = np.random.Generator
_ROWS = ("BPD", "HC", "AC", "FL", "EFW", "FHR", "AFI", "HC/AC", "CRL", "NT", "UA PI", "MCA PI")


def rendering(height: int, width: int, rng: Random) -> Callable[[int], Image]:
    """A smooth shaded surface on black, sepia or orange, that turns a little from frame to frame."""
    count = 26
    spots = rng.normal(0, [0.42, 0.34], (count, 2))
    sizes, tall = rng.uniform(0.08, 0.35, count), rng.uniform(-0.25, 0.6, count)
    warm = np.array(((255, 178, 110), (235, 190, 140), (250, 150, 80))[int(rng.integers(3))], np.float32)
    middle = np.array([width * rng.uniform(0.42, 0.58), height * rng.uniform(0.45, 0.55)])
    reach, light = height * rng.uniform(0.5, 0.62), rng.uniform(0, 2 * np.pi)
    x = ((np.arange(width) - middle[0]) / reach)[None].astype(np.float32)
    y = ((np.arange(height) - middle[1]) / reach)[:, None].astype(np.float32)

    def frame(number: int) -> Image:
        turn = np.float32(0.25 * np.sin(number * 0.12 + light))
        relief = np.float32(0.9) - (x / 0.95) ** 2 - (y / 0.8) ** 2
        for (across, down), size, bump in zip(spots, sizes, tall, strict=True):
            away = ((x - across - turn * bump) ** 2 + (y - down) ** 2) / size**2
            relief = relief + np.float32(bump) * np.exp(-away).astype(np.float32)
        slope_y, slope_x = np.gradient(relief, float(1 / reach))
        steep = np.sqrt(1 + slope_x**2 + slope_y**2)
        shade = (np.cos(light) * -slope_x * 0.5 + 0.6 * -slope_y + 0.9) / steep
        edge = np.clip(relief * 7, 0, 1) * np.clip(0.25 + 0.75 * shade, 0.08, 1)
        grain = np.random.default_rng(number).normal(0, 0.015, edge.shape)
        smooth = cv2.GaussianBlur(edge + grain, (0, 0), max(1.0, height / 300))[..., None]
        return np.asarray(np.clip(smooth * warm, 0, 255), np.uint8)

    return frame


def blank(height: int, width: int, kind: int) -> Image:
    """A screen of one colour: black, or for another `kind` one of the greys."""
    return np.full((height, width, 3), (0, 0, 128, 40, 255)[kind % 5], np.uint8)


def menu(height: int, width: int, rng: Random) -> Callable[[int], Image]:
    """A menu or report page: a table of measurements with a title, a logo and often a growth curve."""
    light = rng.random() < 0.5
    paper, text = ((244, 246, 248), (20, 24, 30)) if light else ((18, 24, 36), (205, 212, 222))
    page = np.full((height, width, 3), paper, np.uint8)
    unit = height / 480
    title, plain = Style(round(26 * unit), "sans", text), Style(round(16 * unit), "sans", text)
    cv2.rectangle(page, (0, 0), (width, round(38 * unit)), (60, 90, 150), -1)
    write(page, "OB Report" if light else "Measurements", (round(16 * unit), round(6 * unit)), title, False)
    cv2.circle(page, (width - round(30 * unit), round(19 * unit)), round(12 * unit), (240, 170, 40), -1, cv2.LINE_AA)
    rows = int(rng.integers(7, len(_ROWS) + 1))
    for number, name in enumerate(_ROWS[:rows]):
        row = round((60 + 31 * number) * unit)
        cells = (name, f"{rng.uniform(2, 300):.1f}", str(rng.choice(["mm", "g", "bpm"])), f"{rng.integers(18, 35)}w2d")
        for part, cell in enumerate(cells):
            write(page, cell, (round((20 + 85 * part) * unit), row), plain, False)
        cv2.line(page, (round(14 * unit), row + round(24 * unit)), (round(350 * unit), row + round(24 * unit)), text, 1)
    if rng.random() < 0.6:
        _curve(page, width, unit, text)
    line = round(60 + 31 * int(rng.integers(rows))) * unit

    def frame(number: int) -> Image:
        shown = page.copy()
        # A cursor that walks down the table now and then.
        row = round(line + (number // 8) * 31 * unit) % height
        cv2.rectangle(shown, (round(12 * unit), row), (round(352 * unit), row + round(24 * unit)), (240, 170, 40), 1)
        return shown

    return frame


def _curve(page: Image, width: int, unit: float, ink: tuple[int, int, int]) -> None:
    left, right, top, bottom = round(390 * unit), width - round(20 * unit), round(80 * unit), round(330 * unit)
    cv2.rectangle(page, (left, top), (right, bottom), ink, 1)
    part = np.linspace(0, 1, 60)
    for share in (0.75, 0.9, 1.05):
        rows = bottom - (bottom - top) * 0.9 * share * part**1.3
        line = np.round(np.stack([left + (right - left) * part, np.maximum(rows, top)], 1)).astype(np.int32)
        cv2.polylines(page, [line], False, (90, 160, 110), 1, cv2.LINE_AA)
