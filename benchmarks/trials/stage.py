"""A patient on the couch and a screen: everything needed to take one frame of a trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.trials.echoes import disturbed, echoes, shrunk, tint, troubled
from benchmarks.trials.furniture import furniture
from benchmarks.trials.inks import Pen, drawn
from benchmarks.trials.overlays import OVERLAYS
from benchmarks.trials.placing import Window, Wish, draw_beams, placed
from benchmarks.trials.plan import Plan
from benchmarks.trials.screens import backdrop
from benchmarks.trials.shapes import Beams, View
from sonolearn_phantom.files import frame_grey
from sonolearn_phantom.patient import Patient, generator
from sonolearn_phantom.picture import Image, Probe, render
from sonolearn_phantom.planes import Pose
from sonolearn_phantom.screen import Mask
from sonolearn_phantom.solids import Array
from sonolearn_phantom.sweep import scan_poses, still_pose
from sonolearn_phantom.tissue import Fetus

STEP = 5
"""Video frames between two frames of a trial: a trial is what is left after all others were skipped."""
_SIDES = (("bottom",), ("left",), ("right",), ("top",), ("left", "bottom"), ("right", "bottom"), ("left", "right"),
          ("left", "right", "bottom"))  # fmt: skip
Paint = Callable[[Image], None]


@dataclass(frozen=True)
class Shot:
    """One frame and its truth; shapes as in `Trial`."""

    frame: Image
    unmarked: Image
    sector: Mask
    marks: Mask
    verdict: str = ""

    @classmethod
    def page(cls, frame: Image, verdict: str) -> Shot:
        """A frame (height, width, 3) without any ultrasound picture."""
        empty = np.zeros(frame.shape[:2], bool)
        return cls(frame, np.zeros(frame.shape[:2], np.uint8), empty, empty, verdict)


@dataclass(frozen=True)
class Scene:
    """One layout of the screen: the empty screen (height, width, 3), its pictures, and what is drawn over them.

    `pens` keep the machine's time, which stands still when it freezes; `hand` goes on: marks of a person, a clock.
    """

    screen: Image
    views: tuple[View, ...]
    pens: list[Pen]
    hand: list[Pen] = field(default_factory=list)


class Stage:
    """Takes the frames of trial `number`: `frames` of `height` x `width` px, all drawn from `seed` and `number`."""

    def __init__(self, plan: Plan, number: int, seed: int, frames: int, size: tuple[int, int]) -> None:
        self.plan, self.frames = plan, frames
        self.height, self.width = size
        self.rng = rng = generator(seed, number, 50)
        self.traits: list[str] = ["dark"] if plan.mode == "dark" else [plan.trouble] if plan.trouble else []
        self.patient = troubled(Patient.draw(seed, number), self.traits, rng)
        self.fetus = Fetus(self.patient)
        self.poses = scan_poses(self.fetus, frames * STEP, rng)[::STEP]
        beats = STEP * self.patient.heart_rate / 60 / self.patient.frame_rate
        self.phases = [float(phase % 1) for phase in rng.random() + beats * np.arange(frames)]
        self.trouble_seed = int(rng.integers(1 << 31))
        self.colours = tint(plan.tint)

    def wish(self) -> Wish:
        """How the plan wants the picture to lie; its traits are noted."""
        plan, rng = self.plan, self.rng
        # A rectangle that fills the width would leave nothing else to see.
        sides = _SIDES if plan.shape in ("convex", "phased") else _SIDES[:-2]
        cut = sides[int(rng.integers(len(sides)))] if plan.fit == "cut off" else ()
        wish = Wish(plan.shape, plan.lie == "rotated", plan.lie == "upside down", cut, plan.fit == "edge")
        wish = replace(wish, steered=bool(rng.random() < 0.35), small=bool(rng.random() < 0.15))
        named = {plan.lie: plan.lie != "straight", plan.fit: True, "steered": wish.steered and plan.shape == "linear",
                 "small": wish.small and not plan.fit, "tinted": bool(plan.tint),
                 plan.screen: plan.screen != "black"}  # fmt: skip
        self.traits += [name for name, holds in named.items() if name and holds]
        return wish

    def scene(self, wish: Wish, beams: Beams | None = None) -> Scene:
        """A screen with one picture, furniture, and as many kinds of marks as the plan says."""
        screen = backdrop(self.plan.screen, self.height, self.width, self._thumbnail(), self.rng)
        beams = beams or draw_beams(wish, self.patient, self.rng)
        view = placed(wish, beams, self.height, self.width, screen.window, self.rng)
        return self.furnished(Scene(screen.image, (view,), []))

    def furnished(self, scene: Scene, busy: Window = (0, 0, 0, 0)) -> Scene:
        """`scene` with furniture beside its pictures, clear of a `busy` box, and marks on the first picture."""
        taken = np.any([view.sector for view in scene.views], axis=0)
        taken[busy[0] : busy[1], busy[2] : busy[3]] = True
        pens, names = furniture(taken, scene.views[0], self.patient, self.frames, self.rng)
        odds = np.array([share for _, share in OVERLAYS.values()])
        kinds = self.rng.choice(list(OVERLAYS), self.plan.marks, replace=False, p=odds / odds.sum())
        marks = [OVERLAYS[str(kind)][0](scene.views[0], self.frames, self.rng) for kind in kinds]
        self.traits += [name for name in (*names, *(str(kind) for kind in kinds)) if name not in self.traits]
        # On some machines the clock goes on while the picture stands.
        clocks = [pen for pen, name in zip(pens, names, strict=True) if name == "clock" and self.rng.random() < 0.5]
        pens = [pen for pen in pens if pen not in clocks]
        return replace(scene, pens=[*scene.pens, *pens, *marks], hand=[*scene.hand, *clocks])

    def echoes(self, index: int, beams: Beams, pose: Pose | None = None) -> Array:
        """Grey levels of frame `index`, at its pose in the sweep or another one."""
        levels, _ = echoes(self.fetus, beams, pose or self.poses[index], self.phases[index], index)
        # Bright borders belong to one plane.
        traits = [name for name in self.traits if pose is None or name != "bright lines"]
        return disturbed(levels, traits, self.trouble_seed, self.phases[index])

    def flow(self, index: int, beams: Beams) -> tuple[Array, Array]:
        """Grey levels of frame `index`, and blood's velocity in -1 to 1 in a machine's coarse cells."""
        levels, flow = echoes(self.fetus, beams, self.poses[index], self.phases[index], index, flow=True)
        assert flow is not None
        return disturbed(levels, self.traits, self.trouble_seed, self.phases[index]), shrunk(flow)

    def shot(
        self, scene: Scene, levels: list[Array], index: int, moment: int | None = None, paint: Paint | None = None
    ) -> Shot:
        """Frame `index`: `levels` of each view, what `paint` adds, and the marks as of the machine's `moment`."""
        screen, sector = scene.screen.copy(), np.zeros((self.height, self.width), bool)
        for view, polar in zip(scene.views, levels, strict=True):
            screen[view.sector] = self.colours[view.grey(polar)[view.sector]]
            sector |= view.sector
        unmarked = np.where(sector, frame_grey(screen), 0).astype(np.uint8)
        if paint:
            paint(screen)
        marks = drawn(screen, scene.pens, index if moment is None else moment) | drawn(screen, scene.hand, index)
        return Shot(screen, unmarked, sector, marks & sector)

    def other_pose(self) -> Pose:
        """A pose at one of the standard planes."""
        return still_pose(self.fetus, ("4CH", "LVOT", "RVOT", "3VV/3VT")[int(self.rng.integers(4))], self.rng)

    def _thumbnail(self) -> NDArray[np.uint8]:
        if self.plan.screen != "thumbnails":
            return np.zeros((8, 8), np.uint8)
        return render(self.fetus, self.other_pose(), Probe.of(self.patient, 96, 120), 0.3)[0]
