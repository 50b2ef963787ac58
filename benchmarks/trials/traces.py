"""Traces that a sweep writes from left to right over the trace of the sweep before: the ECG."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.trials.inks import INKS, Pen, ink
from benchmarks.trials.shapes import View
from sonolearn_phantom.picture import Image
from sonolearn_phantom.solids import Array, as_array

_PASSES = 8
_WAVES = ((0.22, 0.025, 0.12), (0.37, 0.01, -0.12), (0.4, 0.013, 1.0), (0.43, 0.012, -0.25), (0.66, 0.045, 0.28))
"""Middle and width as a share of a beat, and height, of the P, Q, R, S and T wave."""


def cursor(width: int, start: float, speed: float, frame: int) -> tuple[int, int]:
    """The sweep's column and how often it has begun anew, at `speed` px a frame."""
    turn, column = divmod(int(start + speed * frame), width)
    return column, turn


def swept(column: int, width: int, turn: int, gap: int) -> tuple[slice, slice]:
    """The parts of an endless tape that show left of the sweep's column and right of its gap."""
    return slice(turn * width, turn * width + column), slice((turn - 1) * width + column + gap, turn * width)


def ecg_over(view: View, frames: int, rng: np.random.Generator) -> Pen:
    """An ECG across the far field of the picture."""
    top, bottom, left, right = view.box
    row = int(top + (bottom - top) * rng.uniform(0.72, 0.93))
    beyond = int(rng.uniform(-0.05, 0.15) * (right - left))
    span = (max(0, left - beyond), min(view.place.width, right + beyond))
    return ecg(row, span, frames, 0.09 * view.place.height * float(rng.uniform(0.5, 1)), rng)


def ecg(row: int, span: tuple[int, int], frames: int, height: float, rng: np.random.Generator) -> Pen:
    """An ECG whose foot lies at `row` px, from column to column of `span`, with peaks of `height` px.

    Its sweep moves on; what it has not reached again stands still.
    """
    colour = INKS[str(rng.choice(["green", "white", "green", "yellow"]))]
    width = span[1] - span[0]
    tape = row - height * _heart(width * _PASSES, float(rng.uniform(30, 70)), rng)
    gap, start = int(rng.integers(6, 20)), float(rng.uniform(1, 1.9)) * width
    # At most once more round in a scan: the tape ends after its last pass.
    speed = float(rng.uniform(0.6, 3) * width / frames)
    bar, thick = rng.random() < 0.3, int(rng.choice([1, 1, 2]))

    def pen(image: Image, frame: int, mask: bool) -> None:
        column, turn = cursor(width, start, speed, frame)
        for part in swept(column, width, turn, gap):
            rows = tape[part]
            columns = span[0] + np.arange(part.start, part.start + len(rows)) % width
            line = np.round(np.stack([columns, rows], 1)).astype(np.int32)
            if len(line) > 1:
                cv2.polylines(image, [line], False, ink(colour, mask), thick, cv2.LINE_AA)
        if bar:
            foot = (span[0] + column, round(row + 0.2 * height))
            cv2.line(image, foot, (foot[0], round(row - height)), ink(colour, mask), 1)

    return pen


def _heart(length: int, beat: float, rng: np.random.Generator) -> Array:
    time = np.arange(length) / beat
    phase = (time + 0.02 * np.sin(time)) % 1
    wave = np.sum([size * np.exp(-(((phase - at) / wide) ** 2)) for at, wide, size in _WAVES], axis=0)
    return as_array(wave + rng.normal(0, 0.01, length))
