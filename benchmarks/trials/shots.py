"""The frames of a trial in each mode: good scans, and all that cleaning has to reject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.trials.inks import Pen
from benchmarks.trials.modes import ColourBox, Strip
from benchmarks.trials.overlays import callipers, guide
from benchmarks.trials.pages import blank, menu, rendering
from benchmarks.trials.placing import Window, draw_beams, placed
from benchmarks.trials.shapes import View
from benchmarks.trials.stage import Scene, Shot, Stage
from sonolearn_phantom.picture import Image


def shots(stage: Stage) -> list[Shot]:
    """All frames of the stage's trial."""
    return _MODES[stage.plan.mode](stage)


def _good(stage: Stage) -> list[Shot]:
    return _scan(stage, stage.scene(stage.wish()), 0, stage.frames)


def _scan(stage: Stage, scene: Scene, start: int, end: int) -> list[Shot]:
    beams = scene.views[0].beams
    return [stage.shot(scene, [stage.echoes(index, beams)], index) for index in range(start, end)]


def _layout(stage: Stage) -> list[Shot]:
    stage.traits.append("layout change")
    wish = stage.wish()
    first = stage.scene(wish)
    beams = first.views[0].beams
    # Once another depth, once another place and size.
    second = replace(beams, depth=0.65 * beams.depth) if stage.plan.turn % 2 == 0 else beams
    other = stage.scene(replace(wish, small=not wish.small, cut=(), edges=False), second)
    change = _midway(stage)
    return _scan(stage, first, 0, change) + _scan(stage, other, change, stage.frames)


def _doppler(stage: Stage) -> list[Shot]:
    scene = stage.scene(stage.wish())
    power = stage.plan.mode == "power"
    box = ColourBox.draw(power, stage.rng)
    start = _midway(stage) if stage.plan.turn % 2 else 0
    stage.traits.append("power Doppler" if power else "colour Doppler")
    view = scene.views[0]
    # The hand is held still where there is flow to be seen.
    stage.poses[start:] = [stage.other_pose()] * (stage.frames - start)
    strengths = stage.rng.choice([0.2, 1.0, 1.5], stage.frames, p=[0.25, 0.5, 0.25])
    taken = _scan(stage, scene, 0, start)
    for index in range(start, stage.frames):
        levels, flow = stage.flow(index, view.beams)
        paint = partial(box.paint, view=view, flow=flow, strength=float(strengths[index]))
        taken.append(replace(stage.shot(scene, [levels], index, paint=paint), verdict="doppler"))
    return taken


def _strip(stage: Stage) -> list[Shot]:
    rng, height, width = stage.rng, stage.height, stage.width
    split = int(height * rng.uniform(0.42, 0.58))
    wish = replace(stage.wish(), cut=(), edges=False, small=False, rotated=False)
    beams = draw_beams(wish, stage.patient, rng)
    view = placed(wish, beams, height, width, (0, split, 0, width), rng)
    margin = int(width * rng.uniform(0.02, 0.12))
    box = (split + int(0.03 * height), height - int(rng.uniform(0.02, 0.08) * height), margin, width - margin)
    moving = stage.plan.mode == "m-mode"
    column = stage.echoes(0, beams)
    beam = column[:, column.shape[1] // 2] if moving else None
    strip = Strip.of(box, beam, stage.frames, float(rng.uniform(25, 70)), rng)
    scene = Scene(np.zeros((height, width, 3), np.uint8), (view,), [guide(view, stage.frames, rng)])
    scene = stage.furnished(scene, box)
    stage.traits.append(stage.plan.mode)
    # Machines often stop the picture while the strip runs.
    stands = rng.random() < 0.5
    taken = []
    for index in range(stage.frames):
        levels = column if stands else stage.echoes(index, beams)
        shot = stage.shot(scene, [levels], index, paint=partial(strip.paint, frame=index))
        taken.append(replace(shot, verdict="spectral"))
    return taken


def _several(stage: Stage) -> list[Shot]:
    quad = stage.plan.mode == "quad"
    rng, turn = stage.rng, stage.plan.turn
    touching = turn % 2 == 1
    stage.traits.append(f"{'quad' if quad else 'split'}, {'touching' if touching else 'gap'}")
    height, width = stage.height, stage.width
    cell: Window = (0, height // 2 if quad else height, 0, width // 2)
    # Zoomed fans fill their half of the screen from side to side.
    cut = ("left", "right") if touching and turn % 4 == 3 else ()
    wish = replace(stage.wish(), rotated=False, cut=cut, edges=touching and not cut, small=False)
    beams = draw_beams(wish, stage.patient, rng)
    first = placed(wish, beams, height, width, cell, rng, 0.0 if touching else float(rng.uniform(0.75, 0.92)))
    steps = [(0, 0), (0, width // 2), (height // 2, 0), (height // 2, width // 2)][: 4 if quad else 2]
    scene = Scene(np.zeros((height, width, 3), np.uint8), tuple(_moved(first, *step) for step in steps), [])
    scene = stage.furnished(scene)
    others = [stage.other_pose() if rng.random() < 0.7 else None for _ in steps[1:]]
    start = _midway(stage) if turn % 4 == 2 and not quad else 0
    taken = _scan(stage, stage.scene(wish), 0, start) if start else []
    still = [stage.echoes(start, beams, pose) for pose in others]
    lively = rng.random() < 0.4
    for index in range(start, stage.frames):
        later = (index + stage.frames // 2) % stage.frames
        beside = [stage.echoes(later, beams, pose) for pose in others] if lively else still
        taken.append(replace(stage.shot(scene, [stage.echoes(index, beams), *beside], index), verdict="split"))
    return taken


def _frozen(stage: Stage) -> list[Shot]:
    scene = stage.scene(stage.wish())
    rng, frames = stage.rng, stage.frames
    start = int(frames * rng.uniform(0.25, 0.6))
    length = (
        frames - start if stage.plan.turn % 2 else min(frames - start, max(4, int(frames * rng.uniform(0.2, 0.35))))
    )
    stage.traits.append("frozen to the end" if stage.plan.turn % 2 else "frozen midway")
    marked = scene
    if stage.plan.turn % 3:
        stage.traits.append("callipers in the freeze")
        pen = callipers(scene.views[0], length, rng)
        late = partial(_later, pen, start + 1)
        marked = replace(scene, hand=[*scene.hand, late])
    taken = _scan(stage, scene, 0, start)
    levels = [stage.echoes(start, scene.views[0].beams)]
    taken.append(stage.shot(scene, levels, start))
    for index in range(start + 1, start + length):
        shot = stage.shot(marked, levels, index, moment=start)
        taken.append(replace(shot, verdict="frozen"))
    return taken + _scan(stage, scene, start + length, frames)


def _dark(stage: Stage) -> list[Shot]:
    return [replace(shot, verdict="dark") for shot in _good(stage)]


def _blank(stage: Stage) -> list[Shot]:
    turn = stage.plan.turn
    empty = Shot.page(blank(stage.height, stage.width, turn), "blank")
    if turn in (0, 2):
        stage.traits.clear()
        return [empty] * stage.frames
    scene = stage.scene(stage.wish())
    start = _midway(stage) if turn % 2 else 0
    if turn == 4:  # the picture is gone, the writing stays
        bare = np.zeros(stage.echoes(0, scene.views[0].beams).shape, np.float32)
        empty = Shot.page(stage.shot(scene, [bare], 0).frame, "blank")
    return _scan(stage, scene, 0, start) + [empty] * (stage.frames - start)


def _pages(stage: Stage) -> list[Shot]:
    shown = stage.plan.mode
    if stage.plan.turn % 3 != 1:
        stage.traits.clear()
    start = _midway(stage) if stage.plan.turn % 3 == 1 else 0
    make = (menu if shown == "menu" else rendering)(stage.height, stage.width, stage.rng)
    taken = _scan(stage, stage.scene(stage.wish()), 0, start) if start else []
    return taken + [Shot.page(make(index), shown) for index in range(start, stage.frames)]


def _midway(stage: Stage) -> int:
    stage.traits.append("midway")
    return max(1, int(stage.frames * stage.rng.uniform(0.3, 0.65)))


def _later(pen: Pen, start: int, image: Image, frame: int, mask: bool) -> None:
    pen(image, frame - start, mask)


def _moved(view: View, down: int, across: int) -> View:
    place = view.place
    top, bottom, left, right = place.window
    window = (top + down, bottom + down, left + across, right + across)
    origin = (place.origin[0] + across, place.origin[1] + down)
    return View(view.beams, replace(place, window=window, origin=origin))


_MODES: dict[str, Callable[[Stage], list[Shot]]] = {
    "good": _good,
    "layout": _layout,
    "colour": _doppler,
    "power": _doppler,
    "spectral": _strip,
    "m-mode": _strip,
    "split": _several,
    "quad": _several,
    "rendering": _pages,
    "blank": _blank,
    "frozen": _frozen,
    "menu": _pages,
    "dark": _dark,
}
