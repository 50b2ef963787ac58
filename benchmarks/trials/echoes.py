"""Grey levels of a fetus along the beams of any shape, and what makes the edge of a picture hard to find."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from benchmarks.trials.shapes import Beams
from sonolearn_phantom.patient import Patient
from sonolearn_phantom.picture import Image, compress, echo_power
from sonolearn_phantom.planes import Pose
from sonolearn_phantom.solids import Array, as_array
from sonolearn_phantom.tissue import Fetus, beat, slice_tissue

HARD = ("dark far field", "side shadow", "reverberation", "bright lines")
"""What makes a sector hard to find."""


def echoes(
    fetus: Fetus, beams: Beams, pose: Pose, phase: float, noise: int, flow: bool = False
) -> tuple[Array, Array | None]:
    """Grey levels (depths, beams) float32 in 0 to 255, and with `flow` blood's velocity in -1 to 1 on half the grid."""
    depths, count = beams.grid
    fine = beat(fetus, _body_points(beams, fetus.patient, pose, depths, count), phase)
    coarse = beat(fetus, _body_points(beams, fetus.patient, pose, depths // 2, count // 2), phase)
    tissue = slice_tissue(fetus, coarse, pose, phase, flow)
    power = echo_power(fetus, beams.probe, fine, tissue)
    return compress(fetus.patient, power, noise), tissue.flow


def troubled(patient: Patient, traits: Collection[str], rng: np.random.Generator) -> Patient:
    """`patient` at another gain, and with lost contact or hardly any gain as `traits` name."""
    patient = replace(patient, gain=patient.gain - float(rng.uniform(0, 9)))
    if "side shadow" in traits:
        side = float(rng.choice([-1, 1]))
        patient = replace(patient, contact=(side, float(rng.uniform(0.25, 0.5)), float(rng.uniform(25, 45))))
    if "dark" in traits:
        patient = replace(patient, gain=-float(rng.uniform(0.72, 0.9)) * patient.dynamic_range)
    return patient


def disturbed(levels: Array, traits: Collection[str], seed: int, phase: float) -> Array:
    """Grey levels (depths, beams) with what `traits` name: dark far field, repeats of the face, bright flat borders."""
    rng = np.random.default_rng(seed)
    depths, beams = levels.shape
    along = np.linspace(0, 1, depths, dtype=np.float32)[:, None]
    across = np.linspace(-1, 1, beams, dtype=np.float32)[None]
    if "dark far field" in traits:
        start = float(rng.uniform(0.3, 0.6))
        levels = levels - np.float32(rng.uniform(170, 330)) * np.clip((along - start) / (1 - start), 0, 1)
    if "reverberation" in traits:
        period = float(rng.uniform(0.05, 0.11))
        waves = np.clip(np.cos(2 * np.pi * along / period), 0, 1) ** 6 * np.exp(-along / 0.22)
        levels = levels + np.float32(120) * waves
    if "bright lines" in traits:
        for _ in range(int(rng.integers(2, 5))):
            middle, tilt, bend = rng.uniform(0.12, 0.8), rng.normal(0, 0.12), rng.normal(0, 0.08)
            start, length = rng.uniform(-1, 0.4), rng.uniform(0.3, 0.9)
            row = middle + tilt * across + bend * across**2 + 0.006 * np.sin(2 * np.pi * phase)
            ends = np.clip((across - start) / 0.05, 0, 1) * np.clip((start + length - across) / 0.05, 0, 1)
            line = np.exp(-(((along - row) / 0.008) ** 2)) * ends
            levels = levels + np.float32(200) * line.astype(np.float32)
    return as_array(np.clip(levels, 0, 255))


def tint(name: str) -> Image:
    """(256, 3) uint8 RGB for each grey level: plain, or the maps that machines offer."""
    level = np.linspace(0, 1, 256)[:, None]
    powers = {
        "sepia": (0.80, 1.0, 1.45),
        "blue": (1.35, 1.05, 0.75),
        "amber": (0.7, 1.05, 1.9),
        "cool": (1.15, 1.0, 0.9),
    }
    return np.asarray(np.round(level ** np.array([powers.get(name, (1, 1, 1))]) * 255), np.uint8)


@lru_cache(maxsize=16)
def _plane_points(beams: Beams, depths: int, count: int) -> tuple[Array, Array]:
    along = ((np.arange(depths, dtype=np.float32) + 0.5) / depths)[:, None]
    across = ((np.arange(count, dtype=np.float32) + 0.5) / count * 2 - 1)[None]
    x, z = beams.points(*np.broadcast_arrays(across, along))
    return x, z


def _body_points(beams: Beams, patient: Patient, pose: Pose, depths: int, count: int) -> Array:
    x, z = _plane_points(beams, depths, count)
    face = pose.centre - pose.axial * np.float32(patient.standoff)
    return np.stack([float(face[i]) + z * float(pose.axial[i]) + x * float(pose.lateral[i]) for i in range(3)])


def shrunk(flow: Array) -> Array:
    """Blood's velocity in the coarse cells in which machines estimate it."""
    rows, columns = flow.shape
    return as_array(cv2.resize(flow, (columns // 3, rows // 3), interpolation=cv2.INTER_AREA))
