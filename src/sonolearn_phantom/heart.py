"""The beating heart and its great vessels as solids: four chambers, septa, valves, aorta, pulmonary trunk, duct, veins.

Positions follow the usual fetal anatomy (ISUOG practice guidelines on the fetal heart, 2023; AIUM 2020): the heart lies
nearly flat in the chest, its apex to the left and to the front; the aorta leaves the left ventricle to the right
shoulder and arches back; the pulmonary trunk leaves the right ventricle further in front, crosses over the aorta and
runs straight back into the duct; the superior vena cava lies to the right of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonolearn_phantom.patient import Patient
from sonolearn_phantom.solids import Array, Capsule, as_array, ellipsoid, tube

# Landmarks in thorax radii: x to the fetus's left, y to the front, z to the head; 0 is the middle of the chest at the
# level of the four chambers. The last number is how far the landmark turns with the cardiac axis.
_LANDMARKS: dict[str, tuple[float, float, float, float]] = {
    "aortic_valve": (0.01, 0.03, 0.19, 1.0),
    "ascending": (-0.15, 0.09, 0.29, 0.6),
    "ascending_top": (-0.11, 0.06, 0.59, 0.1),
    "arch": (-0.01, -0.18, 0.645, 0.0),
    "arch_end": (0.10, -0.44, 0.575, 0.0),
    "descending": (0.12, -0.53, 0.40, 0.0),
    "infundibulum": (0.07, 0.40, 0.16, 1.0),
    "pulmonary_valve": (0.14, 0.33, 0.31, 0.6),
    "trunk": (0.17, 0.13, 0.42, 0.2),
    "duct": (0.165, -0.15, 0.52, 0.0),
    "duct_end": (0.125, -0.46, 0.505, 0.0),
    "cava": (-0.32, -0.08, 0.55, 0.0),
}


@dataclass(frozen=True, eq=False)
class Heart:
    """One patient's heart at rest. Lengths in mm in the body frame.

    `axes` (3, 3) has rows apex direction, leftward direction, cranial normal: the heart's own frame (u, v, w) around
    `crux`, the point where septa and valves meet. `vessels` carry flow; `marks` are landmarks (3,) by name.
    """

    unit: float
    scale: float
    wall: float
    right_left_ratio: float
    crux: Array
    axes: Array
    marks: dict[str, Array]
    vessels: tuple[Capsule, ...]

    @classmethod
    def of(cls, patient: Patient) -> Heart:
        """Place the heart of `patient`."""
        unit, angle = patient.thorax_radius, patient.cardiac_axis
        crux = np.array([0.05, -0.02, 0.0], np.float32) * np.float32(unit)
        turn = angle - np.pi / 4
        marks = {
            name: _turned(np.array(place[:3]) + shift, turn * place[3], crux / unit) * np.float32(unit)
            for (name, place), shift in zip(_LANDMARKS.items(), patient.jitter, strict=True)
        }
        apex = np.array([np.sin(angle), np.cos(angle), -0.06])
        apex /= np.linalg.norm(apex)
        left = np.cross(apex, [0, 0, 1])
        left /= np.linalg.norm(left)
        axes = np.stack([apex, left, np.cross(left, apex)]).astype(np.float32)
        vessels = _vessels(marks, crux, axes, unit, patient)
        return cls(unit, patient.heart_scale, patient.wall, patient.right_left_ratio, crux, axes, marks, vessels)

    def local(self, points: Array) -> Array:
        """`points` (3, ...) in the body frame as (u, v, w) of the heart, in thorax radii times the heart's scale."""
        moved = [points[i] - float(self.crux[i]) for i in range(3)]
        by = 1 / (self.unit * self.scale)
        rows = [[float(value) * by for value in row] for row in self.axes]
        return np.stack([row[0] * moved[0] + row[1] * moved[1] + row[2] * moved[2] for row in rows])

    def at(self, u: float, v: float, w: float) -> Array:
        """The body point (3,) in mm of heart coordinates."""
        shift = (np.array([u, v, w], np.float32) * np.float32(self.unit * self.scale)) @ self.axes
        return as_array(self.crux + shift)


def squeeze(phase: float) -> float:
    """How far the ventricles are contracted at a cardiac phase: 0 in diastole, 1 at the end of systole.

    Phase 0 is the start of systole; systole takes 0.42 of the beat, as in a fetus at 140 beats a minute.
    """
    phase %= 1.0
    rise = np.clip(phase / 0.36, 0, 1)
    fall = np.clip((phase - 0.42) / 0.2, 0, 1)
    return float(0.5 - 0.5 * np.cos(np.pi * rise)) * float(0.5 + 0.5 * np.cos(np.pi * fall))


def opening(phase: float) -> float:
    """How far the valves between atria and ventricles are open, 0 to 1: shut in systole, two waves in diastole."""
    phase %= 1.0
    if phase < 0.45:
        return 0.0
    early, late = (phase - 0.6) / 0.11, (phase - 0.86) / 0.09
    return float(min(1.0, 0.25 + np.exp(-early * early) + 0.8 * np.exp(-late * late)) * min(1.0, (phase - 0.45) / 0.06))


def chambers(heart: Heart, local: Array, phase: float) -> list[Array]:
    """Signed distances in heart units of left and right ventricle, left and right atrium, at heart coordinates."""
    u, v, _ = local
    systole = squeeze(phase)
    thin, fill = 1 - 0.24 * systole, 1 + 0.10 * systole
    ratio = heart.right_left_ratio
    septum = 0.036 * heart.wall * (1 + 0.25 * systole)
    left = ellipsoid(local, (0.27, 0.19, 0.01), (0.40 * (1 - 0.1 * systole), 0.185 * thin, 0.22 * thin))
    right = ellipsoid(local, (0.23, -0.205, 0.02), (0.36 * (1 - 0.1 * systole), 0.20 * thin * ratio, 0.20 * thin))
    left_atrium = ellipsoid(local, (-0.18, 0.165, 0.03), (0.20 * fill, 0.19 * fill, 0.19))
    right_atrium = ellipsoid(local, (-0.16, -0.185, 0.02), (0.22 * fill, 0.205 * fill * ratio, 0.20))
    # Flat septa and a flat floor at the valves: an ellipsoid cut by planes. The right valve sits nearer the apex.
    return [
        np.maximum(np.maximum(left, septum - v), 0.012 - u),
        np.maximum(np.maximum(right, v + septum), 0.045 - u),
        np.maximum(np.maximum(left_atrium, 0.014 - v), u + 0.012),
        np.maximum(np.maximum(right_atrium, v + 0.014), u - 0.018),
    ]


def blood(
    heart: Heart, points: Array, local: Array, phase: float, near: list[Capsule]
) -> tuple[Array, NDArray[np.int16]]:
    """Signed distance in mm to the nearest blood, and the index of the flow it belongs to.

    The index counts the four chambers first (as in `chambers`), then `near`, the vessels that the plane may cut.
    """
    size = heart.unit * heart.scale
    u, v, w = local
    parts = [part * size for part in chambers(heart, local, phase)]
    # The two rings of the valves join atria and ventricles; the leaflets are painted over them.
    mitral = np.maximum(np.hypot(v - 0.155, w) - 0.105, np.abs(u) - 0.06) * size
    tricuspid = np.maximum(np.hypot(v + 0.175, w) - 0.12, np.abs(u - 0.03) - 0.06) * size
    foramen = np.maximum(np.hypot(u + 0.19, w) - 0.05, np.abs(v) - 0.05) * size
    parts[0] = np.minimum(parts[0], mitral)
    parts[1] = np.minimum(parts[1], tricuspid)
    parts[3] = np.minimum(parts[3], foramen)
    best: Array = parts[0]
    owner = np.zeros(best.shape, np.int16)
    for index, distance in enumerate([*parts[1:], *(vessel.distance(points) for vessel in near)], start=1):
        closer = distance < best
        owner[closer] = index
        best = np.minimum(best, distance)
    return best, owner


def leaflets(heart: Heart, local: Array, phase: float) -> Array:
    """Signed distance in mm to the leaflets of the valves, the flap of the oval window and the moderator band."""
    u, v, w = local
    way = opening(phase)
    thin = 0.011
    lines = [
        _line(u, v, (0.0, 0.03), (0.05 + 0.10 * way, 0.15 - 0.09 * way), thin),
        _line(u, v, (0.0, 0.285), (0.05 + 0.10 * way, 0.16 + 0.10 * way), thin),
        _line(u, v, (0.03, -0.03), (0.08 + 0.10 * way, -0.165 + 0.10 * way), thin),
        _line(u, v, (0.03, -0.32), (0.08 + 0.10 * way, -0.175 - 0.11 * way), thin),
        _line(u, v, (-0.25, 0.015), (-0.17, 0.06 + 0.03 * way), 0.007),
    ]
    plates = np.maximum(np.minimum.reduce(lines), np.abs(w) - 0.15)
    band = np.maximum(_line(u, v, (0.40, -0.05), (0.43, -0.30), 0.022), np.abs(w + 0.02) - 0.05)
    return as_array(np.minimum(plates, band) * (heart.unit * heart.scale))


def muscle(heart: Heart, local: Array) -> Array:
    """Signed distance in mm to the outside of the heart (without its vessels)."""
    thick = 0.07 * heart.wall
    ventricles = ellipsoid(local, (0.22, -0.01, 0.0), (0.47 + thick, 0.40 + thick, 0.23 + thick))
    atria = ellipsoid(local, (-0.16, -0.01, 0.02), (0.24, 0.40, 0.22))
    return as_array(np.minimum(ventricles, atria) * (heart.unit * heart.scale))


def _vessels(marks: dict[str, Array], crux: Array, axes: Array, unit: float, patient: Patient) -> tuple[Capsule, ...]:
    wide = unit * patient.vessel_scale

    def body(x: float, y: float, z: float) -> Array:
        return np.array([x, y, z], np.float32) * np.float32(unit)

    def heart(u: float, v: float, w: float) -> Array:
        return as_array(crux + (np.array([u, v, w], np.float32) * np.float32(unit * patient.heart_scale)) @ axes)

    m = marks
    aorta = [heart(0.25, 0.16, 0.07), m["aortic_valve"], m["ascending"], m["ascending_top"]]
    back = [m["descending"], body(0.13, -0.56, -0.6), body(0.05, -0.5, -3)]
    arch = [m["ascending_top"], m["arch"], m["arch_end"], *back]
    outflow = [heart(0.30, -0.22, 0.06), m["infundibulum"], m["pulmonary_valve"]]
    trunk = [m["pulmonary_valve"], m["trunk"], m["duct"], m["duct_end"], m["descending"]]
    cava_top, cava_root = m["cava"] + body(-0.02, -0.02, 0.7), heart(-0.2, -0.26, 0.1)
    # The branches leave downwards, so that the right one passes below the arch.
    branch = (m["trunk"] + m["duct"]) * np.float32(0.5) - body(0, 0, 0.05)
    return (
        *tube(aorta, [wide * r for r in (0.115, 0.092, 0.098, 0.092)], 1.0),
        *tube(arch, [wide * r for r in (0.092, 0.082, 0.075, 0.08, 0.078, 0.065)], 0.9),
        *tube(outflow, [wide * r for r in (0.15, 0.17, 0.105)], 0.7),
        *tube(trunk, [wide * r for r in (0.105, 0.112, 0.088, 0.075, 0.078)], 0.9),
        *tube([cava_top, m["cava"], cava_root], [wide * r for r in (0.06, 0.07, 0.08)], 0.4),
        *tube([body(-0.22, -0.2, -1.1), heart(-0.24, -0.24, -0.12)], [wide * 0.06, wide * 0.075], 0.4),
        *tube([branch, body(-0.3, -0.24, 0.34)], [wide * 0.05, wide * 0.04], 0.4),
        *tube([branch, body(0.42, -0.3, 0.40)], [wide * 0.05, wide * 0.035], 0.4),
        *tube([body(0.45, -0.5, 0.06), heart(-0.26, 0.24, 0.03)], [wide * 0.03, wide * 0.04], 0.3),
        *tube([body(-0.4, -0.52, 0.05), heart(-0.3, 0.12, 0.03)], [wide * 0.03, wide * 0.04], 0.3),
        *tube([m["arch"], m["arch"] + body(-0.1, 0.08, 0.6)], [wide * 0.045, wide * 0.035], 0.4),
    )


def _turned(place: Array, angle: float, around: Array) -> Array:
    # A larger cardiac axis turns the heart to the left, which is clockwise seen from the head.
    x, y = place[0] - around[0], place[1] - around[1]
    cos, sin = np.cos(angle), np.sin(angle)
    turned = (around[0] + cos * x + sin * y, around[1] - sin * x + cos * y, place[2])
    return np.array(turned, np.float32)


def _line(u: Array, v: Array, start: tuple[float, float], end: tuple[float, float], radius: float) -> Array:
    along = (end[0] - start[0], end[1] - start[1])
    du, dv = u - start[0], v - start[1]
    part = np.clip((du * along[0] + dv * along[1]) * (1 / (along[0] ** 2 + along[1] ** 2)), 0, 1)
    return as_array(np.hypot(du - part * along[0], dv - part * along[1]) - radius)
