"""How a sonographer moves the probe: the path of the plane in a scan, and the plane of each labelled still."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sonolearn_phantom.patient import Patient
from sonolearn_phantom.planes import (
    ANGLE_TOLERANCE,
    DISTANCE_TOLERANCE,
    PLANES,
    Pose,
    Slice,
    label,
    pose,
    standard_planes,
)
from sonolearn_phantom.solids import Array, as_array
from sonolearn_phantom.tissue import Fetus

_UP = ("belly", "4CH", "LVOT", "RVOT", "3VV", "3VT", "neck")
_WAYS = (_UP, _UP[::-1], ("4CH", "LVOT", "RVOT", "3VV", "3VT"), ("3VT", "3VV", "RVOT", "LVOT", "4CH", "belly"),
         ("side", "belly", "4CH", "LVOT", "4CH"), ("neck", "3VV", "RVOT", "3VV"))  # fmt: skip


def still_pose(fetus: Fetus, plane: str, rng: np.random.Generator) -> Pose:
    """A pose that shows `plane` (one of `PLANES`), a little off the standard as hands are.

    Raises:
        ValueError: `plane` is none of the five.
    """
    if plane not in PLANES:
        raise ValueError(f"{plane!r} is none of the planes {PLANES}")
    while True:
        if plane == "non-heart":
            cut = elsewhere(fetus.patient, rng)
        else:
            name = plane if plane != "3VV/3VT" else ("3VV", "3VT")[int(rng.integers(2))]
            cut = _off(fetus, standard_planes(fetus.heart)[name], rng)
        found = _held(fetus.patient, cut, rng)
        if label(fetus.heart, found) == plane:
            return found


def scan_poses(fetus: Fetus, frames: int, rng: np.random.Generator) -> list[Pose]:
    """The pose of each of `frames` frames: a sweep with dwells at standard planes, and tremor throughout."""
    cuts = _stops(fetus, rng)
    # Half of the time the hand rests near a stop, half of the time it moves on; ends may be cut off.
    dwell = rng.uniform(0.3, 1.0, len(cuts)) * np.array([0.5 if name in ("belly", "neck") else 1 for name, _ in cuts])
    travel = rng.uniform(0.4, 1.0, len(cuts))
    # The end of each dwell and of each journey, in turn.
    times = np.cumsum(np.stack([dwell, travel], 1).ravel())
    start = rng.uniform(0, 0.15) * times[-1]
    clock = np.linspace(start, times[-2] - rng.uniform(0, 0.1) * times[-1], frames)
    pan, turn = rng.normal(0, 0.06, 2) * fetus.patient.thorax_radius, float(rng.normal(0, 0.07))
    shake = _tremor(frames, fetus.patient, rng)
    poses = []
    for index, now in enumerate(clock):
        cut = _between(cuts, times, float(now))
        move = shake[index]
        moved = Slice(cut.point + cut.normal * move[0], _unit(cut.normal + move[1:4] * np.float32(0.02)))
        sway = (float(pan[0] + move[4]), float(pan[1] + move[5]))
        poses.append(pose(fetus.patient, moved, sway, turn + 0.02 * float(move[3])))
    return poses


def elsewhere(patient: Patient, rng: np.random.Generator) -> Slice:
    """A plane that misses the heart: belly, pelvis, neck and head, or lengthwise along the fetus's side."""
    kind = rng.choice(["belly", "kidneys", "neck", "side"], p=[0.4, 0.2, 0.2, 0.2])
    if kind == "side":
        return _side(patient, rng)
    height = {"belly": (-1.35, -0.62), "kidneys": (-2.5, -1.35), "neck": (0.9, 2.5)}[str(kind)]
    level = np.array([*rng.normal(0, 0.1, 2), 1.0], np.float32)
    return Slice(_point(patient, 0, 0, float(rng.uniform(*height))), _unit(level))


def _stops(fetus: Fetus, rng: np.random.Generator) -> list[tuple[str, Slice]]:
    patient, standard = fetus.patient, standard_planes(fetus.heart)
    level = _unit(np.array([*rng.normal(0, 0.05, 2), 1.0], np.float32))
    ends = {
        "belly": Slice(_point(patient, 0, 0, float(rng.uniform(-1.3, -0.8))), level),
        "neck": Slice(_point(patient, 0, 0, float(rng.uniform(0.95, 1.3))), level),
        "side": _side(patient, rng),
    }
    way = _WAYS[rng.choice(len(_WAYS), p=[0.25, 0.2, 0.2, 0.15, 0.1, 0.1])]
    return [(name, ends[name] if name in ends else _off(fetus, standard[name], rng)) for name in way]


def _between(cuts: list[tuple[str, Slice]], times: Array, now: float) -> Slice:
    step = min(int(np.searchsorted(times, now, side="right")), 2 * len(cuts) - 2)
    stop, moving = divmod(step, 2)
    if not moving:
        return cuts[stop][1]
    part = (now - times[step - 1]) / (times[step] - times[step - 1])
    part = np.float32(part * part * (3 - 2 * part))
    first, second = cuts[stop][1], cuts[stop + 1][1]
    point = first.point + (second.point - first.point) * part
    return Slice(point.astype(np.float32), _unit(first.normal * (1 - part) + second.normal * part))


def _tremor(frames: int, patient: Patient, rng: np.random.Generator) -> Array:
    # Hand tremor and the mother's breathing: (frames, 6) slow sums of sines, in mm.
    time = np.arange(frames)[:, None, None] / patient.frame_rate
    rate = rng.uniform(0.2, 5.0, (6, 4))
    wave = np.sin(2 * np.pi * (rate * time + rng.random((6, 4)))) / (1 + rate)
    size = rng.uniform(0.2, 0.9) * patient.thorax_radius / 30
    moved: Array = (wave.sum(axis=2) * size).astype(np.float32)
    return moved


def _off(fetus: Fetus, cut: Slice, rng: np.random.Generator) -> Slice:
    # Up to 80 % of the tolerance, so that the tremor seldom leaves the plane.
    shift = rng.uniform(-0.8, 0.8) * DISTANCE_TOLERANCE * fetus.heart.unit
    angle = np.deg2rad(rng.uniform(0, 0.8) * ANGLE_TOLERANCE)
    aside = np.cross(cut.normal, rng.normal(size=3))
    normal = cut.normal * np.cos(angle) + _unit(aside) * np.sin(angle)
    return Slice((cut.point + cut.normal * np.float32(shift)).astype(np.float32), _unit(normal))


def _held(patient: Patient, cut: Slice, rng: np.random.Generator) -> Pose:
    pan = rng.normal(0, 0.07, 2) * patient.thorax_radius
    return pose(patient, cut, (float(pan[0]), float(pan[1])), float(rng.normal(0, 0.12)))


def _side(patient: Patient, rng: np.random.Generator) -> Slice:
    # Lengthwise, along the beam: the probe turned by a quarter and moved to one side.
    across = np.cross(patient.beam, [0, 0, 1])
    normal = _unit(across + rng.normal(0, 0.06, 3))
    side = 1 if rng.random() < 0.5 else -1
    height = float(rng.uniform(-0.4, 0.2))
    offset = float(rng.uniform(0.66, 0.85)) * side
    point = (across * offset + [0, 0, height]) * patient.thorax_radius
    return Slice(point.astype(np.float32), normal)


def _point(patient: Patient, x: float, y: float, z: float) -> Array:
    return np.array([x, y, z], np.float32) * np.float32(patient.thorax_radius)


def _unit(vector: ArrayLike) -> Array:
    long = np.asarray(vector, np.float64)
    return as_array(long / np.linalg.norm(long))
