"""What the ultrasound meets in a slice of the body: how strongly tissue echoes and how fast it swallows the beam.

`slice_tissue` paints the solids over each other from the outside in, as echogenicity in dB (0 is soft tissue) and
attenuation in dB a mm, there and back. The values are typical of 5 MHz (0.5 dB / cm / MHz one way in soft tissue).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sonolearn_phantom import body as anatomy
from sonolearn_phantom.body import Body
from sonolearn_phantom.heart import Heart, blood, leaflets, muscle, squeeze
from sonolearn_phantom.patient import Patient, generator
from sonolearn_phantom.planes import Pose
from sonolearn_phantom.solids import Array, Capsule, as_array, inside

SOFT_ATTENUATION = 0.42
_FLUID, _STOMACH, _BLOOD = -44.0, -34.0, -25.0


@dataclass(frozen=True, eq=False)
class Fetus:
    """A patient with the solids built from it; make one and render many frames."""

    patient: Patient

    @cached_property
    def heart(self) -> Heart:
        """The heart and its vessels."""
        return Heart.of(self.patient)

    @cached_property
    def body(self) -> Body:
        """The body around the heart."""
        return Body.of(self.patient)

    @cached_property
    def mottle(self) -> Array:
        """(4, 4): three slow waves of uneven echogenicity, each a wave vector in 1 / mm and a phase."""
        rng = generator(self.patient.seed, self.patient.index, 1)
        waves = rng.normal(0, 4.0 / self.patient.thorax_radius, (4, 4))
        waves[:, 3] = rng.uniform(0, 2 * np.pi, 4)
        return waves.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Tissue:
    """A slice: `echo` in dB, `attenuation` in dB / mm, `flow` in -1 to 1 towards the probe; all of the grid's shape."""

    echo: Array
    attenuation: Array
    flow: Array | None = None


def beat(fetus: Fetus, points: Array, phase: float) -> Array:
    """Where the tissue now at `points` (3, ...) lies at rest: the whole heart draws together in systole.

    Solids and speckle are both looked up there, so that the texture moves with the tissue.
    """
    heart = fetus.heart
    centre = heart.at(0.1, 0.0, 0.0)
    away = [points[i] - float(centre[i]) for i in range(3)]
    reach = 1 / (0.62 * heart.unit * heart.scale)
    near = np.clip(1 - (away[0] ** 2 + away[1] ** 2 + away[2] ** 2) * (reach * reach), 0, 1)
    stretch = near * (0.07 * squeeze(phase))
    return np.stack([points[i] + away[i] * stretch for i in range(3)])


def slice_tissue(fetus: Fetus, points: Array, where: Pose, phase: float, flow: bool = False) -> Tissue:
    """Echogenicity and attenuation at `points` (3, depth, beam), at rest positions as `beat` gives them.

    `where` tells which solids the plane cannot meet; `phase` is the cardiac phase, 0 to 1. With `flow`, blood's
    velocity towards the probe is returned as well.
    """
    echo, attenuation = _outside(fetus, points)
    _paint_body(fetus, points, where, echo, attenuation)
    moving = _paint_heart(fetus, points, where, phase, flow, echo, attenuation)
    _paint_bones(fetus, points, where, echo, attenuation)
    return Tissue(echo, attenuation, moving)


def _outside(fetus: Fetus, points: Array) -> tuple[Array, Array]:
    patient, unit = fetus.patient, fetus.patient.thorax_radius
    echo = np.full(points.shape[1:], _FLUID, np.float32)
    attenuation = np.full(points.shape[1:], 0.03, np.float32)
    towards = [float(value) for value in patient.placenta_direction]
    placenta = patient.placenta_distance * unit - sum(points[i] * towards[i] for i in range(3))
    _over(echo, attenuation, inside(placenta, 1.5), 0.5, 0.40)
    x, y, z = points
    room = 1.1 * unit + patient.fluid_gap
    x, y = (value - shift * unit for value, shift in zip((x, y), patient.womb_shift, strict=True))
    womb = room - np.sqrt(x * x + y * y * 1.1 + 0.12 * (z + 0.2 * unit) ** 2)
    _over(echo, attenuation, inside(womb, 2.0), -2.0, 0.45)
    return echo, attenuation


def _paint_body(fetus: Fetus, points: Array, where: Pose, echo: Array, attenuation: Array) -> None:
    body, unit = fetus.body, fetus.body.unit
    limbs = [limb for limb in body.limbs if limb.clearance(where.centre, where.normal) < 2]
    surface = anatomy.skin(body, points, limbs)
    _over(echo, attenuation, inside(surface, 0.8), 1.0, SOFT_ATTENUATION)
    echo += 6.0 * np.exp(-(((surface + 0.5) * 1.4) ** 2))
    low, high = float(points[2].min()) / unit, float(points[2].max()) / unit
    if high > -0.75 and low < 0.95:
        _over(echo, attenuation, inside(anatomy.lungs(body, points), 1.2), 1.5, SOFT_ATTENUATION)
    if low < -0.4:
        _paint_belly(body, points, echo, attenuation)
    if high > 1.2:
        head = inside(anatomy.skull(body, points), 0.8)
        _over(echo, attenuation, head, 15.0, 3.0)
    wave = sum(np.sin(points[0] * w[0] + points[1] * w[1] + points[2] * w[2] + w[3]) for w in fetus.mottle)
    echo += np.where(surface < 0, 1.1, 0.8).astype(np.float32) * wave


def _paint_belly(body: Body, points: Array, echo: Array, attenuation: Array) -> None:
    organs = anatomy.belly(body, points)
    _over(echo, attenuation, inside(organs["liver"], 1.2), -1.0, SOFT_ATTENUATION)
    _over(echo, attenuation, inside(organs["kidney"], 1.2), -5.0, SOFT_ATTENUATION)
    for name in ("stomach", "vein", "gall", "bladder"):
        echo += 4.0 * np.exp(-(((organs[name] - 0.5) * 1.5) ** 2))
        _over(echo, attenuation, inside(organs[name], 0.9), _STOMACH, 0.05)


def _paint_heart(
    fetus: Fetus, points: Array, where: Pose, phase: float, flow: bool, echo: Array, attenuation: Array
) -> Array | None:
    heart, contrast = fetus.heart, fetus.patient.contrast
    dark = _BLOOD * contrast
    local = heart.local(points)
    near = [vessel for vessel in heart.vessels if vessel.clearance(where.centre, where.normal) < 2]
    distance, owner = blood(heart, points, local, phase, near)
    _over(echo, attenuation, inside(muscle(heart, local), 1.0), -3.5, SOFT_ATTENUATION)
    # Vessels' walls and the lining of the chambers shine.
    echo += 9.0 * contrast * np.exp(-(((distance - 0.5) * 1.7) ** 2))
    filled = inside(distance, 0.7)
    _over(echo, attenuation, filled, dark, 0.08)
    _over(echo, attenuation, inside(leaflets(heart, local, phase), 0.8), 3.0 * contrast, 0.2)
    if not flow:
        return None
    # Fastest in the middle, slow along the walls.
    profile = np.clip(-distance * np.float32(0.6), 0.15, 1) * (filled > 0.5)
    return as_array(_velocity(heart, where, owner, near, phase) * profile)


def _velocity(heart: Heart, where: Pose, owner: NDArray[np.int16], near: list[Capsule], phase: float) -> Array:
    # Ventricles fill along the axis to the apex and empty back to the valves; vessels flow in systole.
    out = squeeze(phase + 0.12)
    towards = -where.axial
    filling = float(heart.axes[0] @ towards) * (0.75 * (1 - out) - 0.55 * out)
    speeds = [filling, filling, 0.6 * filling, 0.6 * filling]
    speeds += [vessel.speed * (0.25 + 0.85 * out) * float(vessel.direction @ towards) for vessel in near]
    return as_array(speeds)[owner]


def _paint_bones(fetus: Fetus, points: Array, where: Pose, echo: Array, attenuation: Array) -> None:
    body, patient, unit = fetus.body, fetus.patient, fetus.body.unit
    bones, canal = anatomy.spine(body, points)
    _over(echo, attenuation, inside(canal, 0.8), -9.0, SOFT_ATTENUATION)
    _over(echo, attenuation, inside(bones, 0.9), 14.0, 6.0 * patient.spine)
    low, high = float(points[2].min()) / unit, float(points[2].max()) / unit
    if high > -0.9 and low < 0.95:
        _over(echo, attenuation, inside(anatomy.ribs(body, points), 0.8), 8.0 + 5.0 * patient.ribs, 6.0 * patient.ribs)
    for bone in body.bones:
        if bone.clearance(where.centre, where.normal) < 1:
            _over(echo, attenuation, inside(bone.distance(points), 0.8), 13.0, 6.0)


def _over(echo: Array, attenuation: Array, cover: Array, decibel: float, absorbed: float) -> None:
    echo += cover * (np.float32(decibel) - echo)
    attenuation += cover * (np.float32(absorbed) - attenuation)
