"""The body around the heart as solids: skin, ribs, spine, lungs, stomach, liver, limbs; placenta and fluid around it.

Each function takes points (3, ...) in mm in the body frame and returns signed distances in mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonolearn_phantom.patient import Patient
from sonolearn_phantom.solids import Array, Capsule, as_array, ellipsoid, sphere

# Half width of the body, in thorax radii, by height z: legs' end, pelvis, belly, chest, shoulders, neck.
_HEIGHTS = (-3.2, -2.6, -2.0, -1.2, -0.3, 0.5, 0.85, 1.15, 1.4, 1.6)
_WIDTHS = (0.4, 0.72, 0.92, 1.02, 1.0, 0.95, 0.76, 0.46, 0.42, 0.42)
_RIB_STEP = 0.20


@dataclass(frozen=True, eq=False)
class Body:
    """One patient's body: its unit (thorax radius in mm), its shape, and the bones that are tubes."""

    unit: float
    depth: float
    limbs: tuple[Capsule, ...]
    bones: tuple[Capsule, ...]

    @classmethod
    def of(cls, patient: Patient) -> Body:
        """Build the body of `patient`."""
        unit = patient.thorax_radius

        def bone(start: tuple[float, float, float], end: tuple[float, float, float], radius: float) -> Capsule:
            first, last = (_mm(unit, *place) for place in (start, end))
            return Capsule(first, last, (radius * unit, radius * unit))

        limbs, bones = [], []
        for side, present in zip((1.0, -1.0), patient.arms, strict=True):
            leg = ((0.32 * side, 0.15, -2.5), (0.5 * side, 1.2, -3.1))
            limbs.append(bone(*leg, 0.3))
            bones.append(bone(*leg, 0.06))
            if present:
                upper = ((0.98 * side, -0.12, 0.72), (1.22 * side, 0.3, -0.75))
                limbs.append(bone(*upper, 0.2))
                bones.append(bone(*upper, 0.06))
        bones.extend(bone((0.12 * s, 0.62, 0.80), (0.72 * s, 0.05, 0.84), 0.035) for s in (1, -1))
        return cls(unit, patient.thorax_depth, tuple(limbs), tuple(bones))


def skin(body: Body, points: Array, limbs: list[Capsule]) -> Array:
    """Signed distance to the skin: trunk and neck, head, and the limbs near the plane."""
    unit = body.unit
    x, y, z = points
    width = np.interp(z, np.array(_HEIGHTS) * unit, np.array(_WIDTHS) * unit).astype(np.float32)
    trunk = np.sqrt(x * x + (y * (1 / body.depth)) ** 2) - width
    trunk = np.maximum(trunk, -3.0 * unit - z)
    distance = as_array(np.minimum(trunk, sphere(points, _mm(unit, 0, 0.12, 2.25), 0.95 * unit)))
    for limb in limbs:
        distance = as_array(np.minimum(distance, limb.distance(points)))
    return distance


def ribs(body: Body, points: Array) -> Array:
    """Signed distance to the ribs: slanting rings in the chest's wall, with cartilage (no echo) in front."""
    unit = body.unit
    x, y, z = (points[i] * (1 / unit) for i in range(3))
    y = y * (1 / body.depth)
    around = np.sqrt(x * x + y * y)
    # Ribs slope down to the front; `level` counts them along the body.
    level = (z + 0.28 * y) * (1 / _RIB_STEP)
    along = (level - np.round(level)) * _RIB_STEP
    narrow = np.interp(z, np.array(_HEIGHTS), np.array(_WIDTHS)).astype(np.float32)
    distance = np.hypot(around - 0.90 * narrow, along) - 0.04
    outside = np.maximum(np.abs(z - 0.02) - 0.88, y - 0.78)
    return as_array(np.maximum(distance, outside) * unit)


def spine(body: Body, points: Array) -> tuple[Array, Array]:
    """Signed distances to the vertebrae (a body and two arches at each level) and to the canal between them."""
    unit = body.unit
    x, y, z = (points[i] * (1 / unit) for i in range(3))
    y = y + 0.74 * body.depth * 0.94
    step = 0.17
    along = np.abs((z / step - np.round(z / step)) * step)
    centre = np.hypot(x, y) - 0.095
    arches = np.hypot(np.abs(x) - 0.115, y + 0.145) - 0.05
    canal = np.hypot(x, y + 0.135) - 0.055
    bones = np.maximum(np.minimum(centre, arches), along - 0.068)
    height = np.abs(z + 0.6) - 2.1
    return np.maximum(bones, height) * unit, np.maximum(canal, height) * unit


def lungs(body: Body, points: Array) -> Array:
    """Signed distance to the lungs: what the ribs enclose above the diaphragm."""
    unit = body.unit
    x, y, z = (points[i] * (1 / unit) for i in range(3))
    narrow = np.interp(z, np.array(_HEIGHTS), np.array(_WIDTHS)).astype(np.float32)
    cage = np.sqrt(x * x + (y * (1 / body.depth)) ** 2) - 0.84 * narrow
    diaphragm = -0.42 - 0.25 * (x * x + y * y) - z
    return as_array(np.maximum(np.maximum(cage, diaphragm), z - 0.95) * unit)


def belly(body: Body, points: Array) -> dict[str, Array]:
    """Signed distances to stomach, liver, the vein in the liver, gall bladder, bladder and the two kidneys."""
    unit = body.unit

    def egg(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
        return ellipsoid(points, _mm(unit, *centre), _mm(unit, *radii))

    vein = [_mm(unit, *place) for place in ((0.0, 0.8, -1.3), (0.0, 0.3, -1.02), (-0.28, 0.0, -0.98))]
    tubes = [Capsule(vein[i], vein[i + 1], (0.06 * unit, 0.055 * unit)) for i in range(2)]
    kidneys = [egg((0.34 * side, -0.45, -1.65), (0.19, 0.17, 0.33)) for side in (1, -1)]
    return {
        "liver": egg((-0.28, 0.12, -0.95), (0.66, 0.68, 0.5)),
        "stomach": egg((0.46, 0.02, -1.02), (0.24, 0.32, 0.25)),
        "vein": np.minimum(tubes[0].distance(points), tubes[1].distance(points)),
        "gall": egg((-0.32, 0.38, -1.25), (0.08, 0.18, 0.1)),
        "bladder": egg((0.0, 0.38, -2.2), (0.26, 0.24, 0.22)),
        "kidney": np.minimum(*kidneys),
    }


def skull(body: Body, points: Array) -> Array:
    """Signed distance to the skull's shell."""
    unit = body.unit
    return as_array(np.abs(sphere(points, _mm(unit, 0, 0.12, 2.25), 0.88 * unit)) - 0.035 * unit)


def _mm(unit: float, x: float, y: float, z: float) -> Array:
    return np.array([x, y, z], np.float32) * np.float32(unit)
