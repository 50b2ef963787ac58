"""Poses of the probe's plane, the standard planes of a patient, and the label that follows from a pose.

Standard planes as in the ISUOG practice guidelines (fetal heart, 2023) and the AIUM practice parameter for fetal
echocardiography (2020): the four-chamber view across the chest; the left outflow with the aorta leaving the left
ventricle; the right outflow with the pulmonary trunk; the three vessels (and trachea) in the upper chest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonolearn_phantom.heart import Heart
from sonolearn_phantom.patient import Patient
from sonolearn_phantom.solids import Array

PLANES = ("3VV/3VT", "4CH", "LVOT", "RVOT", "non-heart")
"""The five classes, in the order of a contact sheet."""
ANGLE_TOLERANCE = 8.0
"""Degrees between a plane and the standard plane up to which it still counts as that plane."""
DISTANCE_TOLERANCE = 0.06
"""Likewise the distance, in thorax radii, from the standard plane's centre."""


@dataclass(frozen=True, eq=False)
class Pose:
    """Where the probe's plane lies in the body frame: vectors (3,), `centre` in mm, the others of length 1.

    `centre` is the point of the plane that the probe looks at, `axial` the direction of the middle beam, `lateral` the
    direction to the right of the picture.
    """

    centre: Array
    axial: Array
    lateral: Array

    @property
    def normal(self) -> Array:
        """Unit normal (3,) of the plane; its sign depends on whether the fetus is flipped."""
        return np.cross(self.axial, self.lateral).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Slice:
    """A plane in the body: `point` (3,) in mm and unit `normal` (3,) to the head's side."""

    point: Array
    normal: Array


def pose(patient: Patient, cut: Slice, pan: tuple[float, float] = (0.0, 0.0), tilt: float = 0.0) -> Pose:
    """The pose by which `patient`'s probe shows the plane `cut`.

    `pan` moves the picture's centre within the plane (axial, lateral; mm), `tilt` turns it within the plane (radians).
    """
    normal = cut.normal
    axial = patient.beam - normal * (patient.beam @ normal)
    axial /= np.linalg.norm(axial)
    lateral = np.cross(normal, axial) * (-1 if patient.flipped else 1)
    turned = axial * np.cos(tilt) + lateral * np.sin(tilt)
    lateral = lateral * np.cos(tilt) - axial * np.sin(tilt)
    # The probe follows the middle of the body; only the plane's own offset is kept.
    middle = np.array([0, 0, cut.point[2]], np.float32)
    centre = middle + normal * ((cut.point - middle) @ normal) + turned * pan[0] + lateral * pan[1]
    return Pose(centre.astype(np.float32), turned.astype(np.float32), lateral.astype(np.float32))


def standard_planes(heart: Heart) -> dict[str, Slice]:
    """The standard planes of a heart: 4CH, LVOT, RVOT, and 3VV and 3VT, which share one class."""
    m, unit = heart.marks, heart.unit
    out = m["ascending"] - heart.at(0.5, 0.19, 0.03)
    trunk = m["duct"] - m["pulmonary_valve"]
    across = np.array([1, 0, 0], np.float32)
    vessels = (m["trunk"] + m["duct"]) * np.float32(0.5)
    level = np.array([-0.02, 0.03, 1.0], np.float32)
    lift = np.array([0, 0, 0.085 * unit], np.float32)
    middle = np.array([0.0, 0.0, vessels[2] + 0.04 * unit], np.float32)
    return {
        "4CH": Slice(heart.at(0.1, 0.0, 0.0), heart.axes[2]),
        "LVOT": Slice((m["aortic_valve"] + m["ascending"]) * np.float32(0.5), _normal(out, heart.axes[1])),
        "RVOT": Slice((m["pulmonary_valve"] + m["trunk"] + m["duct"]) / np.float32(3), _normal(trunk, across)),
        "3VV": Slice(middle, _unit(level)),
        "3VT": Slice(middle + lift, _unit(level)),
    }


def label(heart: Heart, where: Pose) -> str:
    """The plane of a pose: one of `PLANES`, or "" for a transition.

    A standard plane counts within `ANGLE_TOLERANCE` and `DISTANCE_TOLERANCE`; a plane that passes clear of the heart
    and its great vessels is non-heart; everything else is a transition.
    """
    normal = where.normal
    found, closest = "", np.inf
    for name, cut in standard_planes(heart).items():
        angle = np.rad2deg(np.arccos(min(1.0, abs(float(normal @ cut.normal)))))
        distance = abs(float((cut.point - where.centre) @ normal)) / heart.unit
        miss = max(angle / ANGLE_TOLERANCE, distance / DISTANCE_TOLERANCE)
        if miss <= 1 and miss < closest:
            found, closest = "3VV/3VT" if name in ("3VV", "3VT") else name, miss
    if found:
        return found
    return "non-heart" if clearance(heart, where) > 0 else ""


def clearance(heart: Heart, where: Pose) -> float:
    """Distance in mm by which the plane misses the heart and its arches; negative where it cuts them."""
    size = heart.unit * heart.scale
    chest, top = heart.at(0.12, 0.0, 0.0), heart.marks["arch"]
    low, high = (float((place - where.centre) @ where.normal) for place in (chest, top))
    if low * high < 0:
        return -min(abs(low), abs(high))
    return min(abs(low) - 0.50 * size, abs(high) - 0.16 * size)


def _normal(along: Array, across: Array) -> Array:
    normal = _unit(np.cross(along, across))
    return normal if normal[2] > 0 else -normal


def _unit(vector: Array) -> Array:
    return (vector / np.linalg.norm(vector)).astype(np.float32)
