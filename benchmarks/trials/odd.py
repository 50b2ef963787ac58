"""Odd trials: kinds of recordings that were cleaned wrongly once, one kind each, with the truth about every pixel.

The two hundred trials of `plan` are what machines show most of the time; these are rarer, and are scored by kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from PIL import Image as Pillow

from benchmarks.trials.columns import status_column
from benchmarks.trials.echoes import tint
from benchmarks.trials.inks import INKS
from benchmarks.trials.modes import ColourBox, Strip
from benchmarks.trials.overlays import callipers, guide
from benchmarks.trials.placing import Window, Wish, draw_beams, placed
from benchmarks.trials.plan import Plan
from benchmarks.trials.stage import Scene, Shot, Stage
from benchmarks.trials.trial import Trial, trial_of
from sonolearn_phantom.picture import Image
from sonolearn_phantom.solids import Array, as_array

_SHAPES = ("convex", "phased", "linear", "trapezoid")
_SEED = 7919  # keeps the patients apart from those of the other trials


@dataclass(frozen=True)
class Odd:
    """How a kind is made, of how many frames, and on how large a screen (height, width)."""

    make: Callable[[Stage], list[Shot]]
    frames: int = 16
    size: tuple[int, int] = (480, 640)


def odd_trial(kind: str, number: int, seed: int = 0) -> Trial:
    """Trial `number` of a kind of `ODD`; `number` decides the probe, `seed` the patient and how exactly things look."""
    odd = ODD[kind]
    shape = _SHAPES[number % len(_SHAPES)]
    plan = Plan("good", number, shape, "straight", "", "", "black", 0, "")
    stage = Stage(plan, 1000 * list(ODD).index(kind) + number, seed + _SEED, odd.frames, odd.size)
    stage.traits.append(kind)
    return trial_of(stage, odd.make(stage))


def _scene(stage: Stage, window: Window | None = None, edges: bool = False) -> Scene:
    wish = Wish(stage.plan.shape, edges=edges)
    beams = draw_beams(wish, stage.patient, stage.rng)
    view = placed(wish, beams, stage.height, stage.width, window or (0, stage.height, 0, stage.width), stage.rng)
    return Scene(np.zeros((stage.height, stage.width, 3), np.uint8), (view,), [])


def _along(levels: Array) -> tuple[Array, Array]:
    depths, beams = levels.shape
    along = np.linspace(0, 1, depths, dtype=np.float32)[:, None]
    return along, np.linspace(-1, 1, beams, dtype=np.float32)[None]


def _taken(
    stage: Stage, scene: Scene, change: Callable[[Array, int], Array] = lambda levels, index: levels
) -> list[Shot]:
    beams = scene.views[0].beams
    return [
        stage.shot(scene, [as_array(np.clip(change(stage.echoes(n, beams), n), 0, 255))], n)
        for n in range(stage.frames)
    ]


def _still_near_field(stage: Stage) -> list[Shot]:
    """Skin and muscle that rest under the probe in bright layers, while what lies deeper moves."""
    scene = _scene(stage, edges=True)
    first = stage.echoes(0, scene.views[0].beams)
    along, across = _along(first)
    depth, layers, tilt = stage.rng.uniform(0.2, 0.4), stage.rng.uniform(0.02, 0.05), stage.rng.uniform(-0.06, 0.06)
    waves = np.clip(np.cos(2 * np.pi * (along + tilt * across) / layers), 0, 1) ** 4
    near = np.clip(first + stage.rng.uniform(60, 130) * waves, 0, 255)
    share = np.clip((depth - along) / 0.08, 0, 1)

    def rest(levels: Array, index: int) -> Array:
        noise = np.random.default_rng(index).normal(0, 3, levels.shape) * (near > 8)
        return as_array(share * (near + noise) + (1 - share) * levels)

    return _taken(stage, scene, rest)


def _status_column(stage: Stage) -> list[Shot]:
    """A column of settings beside the picture, with a bar in inverse letters and a battery cell that blinks."""
    left = stage.plan.turn % 2 == 1
    wide = int(stage.width * stage.rng.uniform(0.14, 0.2))
    window = (0, stage.height, wide, stage.width) if left else (0, stage.height, 0, stage.width - wide)
    scene = _scene(stage, window, edges=True)
    column = 2 if left else stage.width - wide + 4
    return _taken(stage, replace(scene, pens=[status_column(column, wide - 6, stage.height, stage.rng)]))


def _few_doppler(stage: Stage) -> list[Shot]:
    """Colour Doppler in one to five frames, some with hardly any flow."""
    stage.frames = 1 + stage.plan.turn % 5
    return _flow(stage, _scene(stage), float(stage.rng.uniform(0.3, 1.2)))


def _box_alone(stage: Stage) -> list[Shot]:
    """The coloured box of colour Doppler without flow in it."""
    stage.frames = 1 if stage.plan.turn % 2 else 8
    return _flow(stage, _scene(stage), 0.0)


def _flow(stage: Stage, scene: Scene, strength: float) -> list[Shot]:
    view, box = scene.views[0], ColourBox.draw(stage.plan.turn % 3 == 2, stage.rng)
    if strength == 0:
        box = replace(box, outline=INKS[("green", "yellow", "cyan")[stage.plan.turn % 3]])
    stage.poses[:] = [stage.other_pose()] * len(stage.poses)
    taken = []
    for index in range(stage.frames):
        levels, flow = stage.flow(index, view.beams)
        shot = stage.shot(scene, [levels], index, paint=partial(box.paint, view=view, flow=flow, strength=strength))
        taken.append(replace(shot, verdict="doppler"))
    return taken


def _tissue_doppler(stage: Stage) -> list[Shot]:
    """A picture whose walls are coloured by their speed, over the strip of their spectrum."""
    height, width, rng = stage.height, stage.width, stage.rng
    split = int(height * rng.uniform(0.5, 0.6))
    scene = _scene(stage, (0, split, 0, width), edges=True)
    margin = int(width * rng.uniform(0.06, 0.12))
    strip = Strip.of((split + 12, height - 20, margin, width - margin), None, stage.frames, 60.0, rng)
    view, coloured = scene.views[0], stage.plan.turn % 2 == 0

    def paint(screen: Image, frame: int) -> None:
        strip.paint(screen, frame)
        if coloured:
            grey = screen[..., 0].astype(np.float32) / 255
            inside = view.sector & (grey > 0.25) & (np.abs(view.shares[0]) < 0.6)
            warm = np.sin(frame) > 0
            screen[inside] = (grey[inside, None] * np.array((255, 120, 0) if warm else (0, 120, 255))).astype(np.uint8)

    beams = view.beams
    shots = [stage.shot(scene, [stage.echoes(n, beams)], n, paint=partial(paint, frame=n)) for n in range(stage.frames)]
    return [replace(shot, verdict="spectral") for shot in shots]


def _small_on_wide(stage: Stage) -> list[Shot]:
    """A picture on about 3 to 5 % of a wide screen."""
    side = int(stage.rng.uniform(178, 200) if stage.plan.shape == "linear" else stage.rng.uniform(250, 280))
    top, left = int(stage.rng.uniform(80, 400)), int(stage.rng.uniform(200, 900))
    return _taken(stage, _scene(stage, (top, top + side, left, left + side + 20), edges=True))


def _dithered(stage: Stage) -> list[Shot]:
    """A GIF of 256 fixed colours: greys in between are sprinkled with colour."""
    stage.colours = tint(("", "sepia", "blue", "amber")[stage.plan.turn % 4])
    levels = [(r, g, b) for r in range(0, 256, 36) for g in range(0, 256, 36) for b in range(0, 256, 85)]
    palette = Pillow.new("P", (1, 1))
    palette.putpalette([value for colour in levels for value in colour])
    return [
        replace(s, frame=np.asarray(Pillow.fromarray(s.frame).quantize(palette=palette).convert("RGB")))
        for s in _taken(stage, _scene(stage))
    ]


def _white(stage: Stage) -> list[Shot]:
    """The picture on a white screen."""
    scene = _scene(stage)
    scene.screen[:] = 255
    return _taken(stage, scene)


def _half_black(stage: Stage) -> list[Shot]:
    """Half of the picture is black: fluid, or a probe without contact."""
    side, start = float(stage.rng.choice([-1, 1])), float(stage.rng.uniform(-0.1, 0.3))

    def fade(levels: Array, index: int) -> Array:
        _, across = _along(levels)
        return as_array(levels - 300 * np.clip((side * across - start) / 0.15, 0, 1))

    return _taken(stage, _scene(stage), fade)


def _skin_lines(stage: Stage) -> list[Shot]:
    """Bright broken lines right under the probe, like a line of text."""
    period, share = stage.rng.uniform(0.03, 0.08), stage.rng.uniform(0.5, 0.75)
    first = float(stage.rng.uniform(0.012, 0.03))

    def skin(levels: Array, index: int) -> Array:
        along, across = _along(levels)
        dashes = ((across + 0.002 * index) / period % 1) < share
        lines = sum(np.exp(-(((along - first * n) / 0.006) ** 2)) for n in (1, 2.5))
        return as_array(levels * (along > 0.06) + 230 * lines * dashes)

    return _taken(stage, _scene(stage), skin)


def _marked_still(stage: Stage) -> list[Shot]:
    """A still with callipers and the line of an M-mode."""
    stage.frames = 1
    scene = _scene(stage)
    view = scene.views[0]
    return _taken(stage, replace(scene, pens=[callipers(view, 1, stage.rng), guide(view, 1, stage.rng)]))


ODD: dict[str, Odd] = {
    "still near field": Odd(_still_near_field, 24),
    "status column": Odd(_status_column),
    "Doppler in few frames": Odd(_few_doppler, 5),
    "colour box alone": Odd(_box_alone, 8),
    "tissue Doppler over a strip": Odd(_tissue_doppler),
    "small on a wide screen": Odd(_small_on_wide, 8, (720, 1280)),
    "dithered GIF": Odd(_dithered, 8),
    "white screen": Odd(_white, 8),
    "half black": Odd(_half_black),
    "skin lines": Odd(_skin_lines),
    "marked still": Odd(_marked_still, 1),
}
"""Each kind, and how it is made."""
