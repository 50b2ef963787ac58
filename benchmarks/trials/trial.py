"""A trial: a short scan on a machine's screen with the truth about every pixel and every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.trials.plan import plan_of
from benchmarks.trials.shots import shots
from benchmarks.trials.stage import STEP, Shot, Stage
from sonolearn_phantom.picture import Image
from sonolearn_phantom.screen import Mask


@dataclass(frozen=True)
class Trial:
    """A scan and its truth; lists hold one entry a frame."""

    frames: list[Image]
    """(height, width, 3) uint8 RGB screens."""
    unmarked: list[Image]
    """(height, width) uint8: grey values (ITU-R 601) of the same tissue without any mark, 0 outside the sector."""
    sector: Mask
    """(height, width): the visible part of the ultrasound picture, of the first good frame if there is one."""
    sectors: list[Mask]
    """(height, width): the visible part of the picture, or all pictures; empty where there is none."""
    marks: list[Mask]
    """(height, width): pixels of marks inside the sector, with their smooth rims."""
    verdicts: list[str]
    """Empty where the frame is good, else doppler, spectral, split, rendering, blank, frozen, menu or dark."""
    shape: str
    """convex, phased, linear or trapezoid."""
    traits: tuple[str, ...]
    """What else is to be seen, such as "rotated", "cut off", "callipers", "text", "ecg"."""
    fps: float


def trial(number: int, seed: int = 0, frames: int = 30, height: int = 480, width: int = 640) -> Trial:
    """Trial `number`: it decides what is shown, `seed` the patient and how exactly things look.

    `frames` are about five video frames apart. `height` and `width` are in px and even, as video needs. Over 200
    numbers each mode, shape and mark comes as often as `plan` says.
    """
    plan = plan_of(number)
    stage = Stage(plan, number, seed, frames, (height, width))
    return trial_of(stage, shots(stage))


def trial_of(stage: Stage, taken: Sequence[Shot]) -> Trial:
    """The trial of the frames that a stage took."""
    first = next((shot for shot in taken if not shot.verdict), taken[0])
    return Trial(
        frames=[shot.frame for shot in taken],
        unmarked=[shot.unmarked for shot in taken],
        sector=first.sector,
        sectors=[shot.sector for shot in taken],
        marks=[shot.marks for shot in taken],
        verdicts=[shot.verdict for shot in taken],
        shape=stage.plan.shape,
        traits=tuple(stage.traits),
        fps=float(max(1, round(stage.patient.frame_rate / STEP))),
    )
