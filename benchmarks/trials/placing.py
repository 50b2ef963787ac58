"""Draw a shape and a place for it: size, turn, cut-off sides and touching edges."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.trials.shapes import Beams, Fan, Flat, Place, View
from sonolearn_phantom.patient import Patient

_SMALLEST = 0.35  # share of the screen's height that a picture takes at least, where its width allows
Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Wish:
    """How a picture is to lie on the screen; `cut` names sides where screen or window cut it off."""

    shape: str
    rotated: bool = False
    upside_down: bool = False
    cut: tuple[str, ...] = ()
    edges: bool = False
    steered: bool = False
    small: bool = False


def draw_beams(wish: Wish, patient: Patient, rng: np.random.Generator) -> Beams:
    """Beams of the wished shape that reach as deep as the patient's."""
    depth = patient.depth
    if wish.shape == "convex":
        return Fan(float(rng.uniform(0.15, 0.75) * depth), float(np.deg2rad(rng.uniform(26, 40))), depth)
    if wish.shape == "phased":
        return Fan(float(rng.uniform(0.01, 0.05) * depth), float(np.deg2rad(rng.uniform(37.5, 45))), depth)
    if wish.shape == "linear":
        steer = float(rng.choice([-1, 1]) * np.tan(np.deg2rad(rng.uniform(8, 20)))) if wish.steered else 0.0
        return Flat(float(rng.uniform(0.3, 0.65) * depth), depth, steer=steer)
    spread = float(np.tan(np.deg2rad(rng.uniform(10, 22))))
    return Flat(float(rng.uniform(0.28, 0.45) * depth), depth, spread, curved=bool(rng.random() < 0.5))


def placed(
    wish: Wish, beams: Beams, height: int, width: int, window: Window, rng: np.random.Generator, share: float = 0.0
) -> View:
    """A view of `beams` in `window`; `share` fixes its size as a share of the largest that fits."""
    angle = float(rng.choice([-1, 1]) * np.deg2rad(rng.uniform(5, 25))) if wish.rotated else 0.0
    for side in wish.cut:
        window = _narrowed(window, side, float(rng.choice([0, rng.uniform(0, 0.1)])))
    bare = Place(height, width, window, angle=angle, upside_down=wish.upside_down)
    low, high = _extent(beams, bare)
    tall, wide = window[1] - window[0], window[3] - window[2]
    size = (high[0] - low[0], high[1] - low[1])
    fit = min(wide / size[0], tall / size[1])
    room = min(wide / size[0], 0.95 * height / size[1], tall / size[1])
    scale = fit if wish.edges else room * (share or float(_share(wish, rng)))
    scale = min(max(scale, _SMALLEST * height / size[1]), max(fit, scale))
    if {"left", "right"} <= set(wish.cut):
        scale = wide / size[0] * float(rng.uniform(1.15, 1.4))
    elif wish.cut:
        scale = room * float(rng.uniform(0.9, 1.15))
    across = _start(window[2], window[3], scale * size[0], _side(wish.cut, "left", "right"), rng)
    down = _start(window[0], window[1], scale * size[1], _side(wish.cut, "top", "bottom"), rng)
    origin = (across - scale * low[0], down - scale * low[1])
    return View(beams, replace(bare, scale=scale, origin=origin))


def _share(wish: Wish, rng: np.random.Generator) -> float:
    return rng.uniform(0.38, 0.6) if wish.small else rng.uniform(0.65, 0.98)


def _extent(beams: Beams, place: Place) -> tuple[tuple[float, float], tuple[float, float]]:
    grid = np.meshgrid(np.linspace(-1, 1, 41, dtype=np.float32), np.linspace(0, 1, 41, dtype=np.float32))
    columns, rows = place.pixels(*beams.points(grid[0], grid[1]))
    low = (float(columns.min()), float(rows.min()))
    return low, (float(columns.max()), float(rows.max()))


def _side(cut: tuple[str, ...], low: str, high: str) -> int:
    return int(high in cut) - int(low in cut)


def _start(low: int, high: int, size: float, cut: int, rng: np.random.Generator) -> float:
    # A picture that is cut off reaches past the window by up to a quarter of its size.
    beyond = float(rng.uniform(0.06, 0.25)) * size
    if cut < 0:
        return low - beyond
    if cut > 0:
        return high + beyond - size
    return low + (high - 1 - low - size) * float(np.clip(rng.normal(0.5, 0.2), 0, 1))


def _narrowed(window: Window, side: str, share: float) -> Window:
    top, bottom, left, right = window
    tall, wide = round(share * (bottom - top)), round(share * (right - left))
    return {
        "top": (top + tall, bottom, left, right),
        "bottom": (top, bottom - tall, left, right),
        "left": (top, bottom, left + wide, right),
        "right": (top, bottom, left, right - wide),
    }[side]
