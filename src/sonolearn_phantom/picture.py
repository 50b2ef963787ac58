"""From a pose to a picture: the probe's grid, echoes, blur, shadows, compression and scan conversion.

The order follows the physics: tissue on a coarse polar grid, scatterers on a fine one, the point spread function as a
blur of the complex echo, its envelope, the loss along each beam, and the logarithm that a screen shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn_phantom.patient import Patient
from sonolearn_phantom.planes import Pose
from sonolearn_phantom.solids import Array, as_array
from sonolearn_phantom.tissue import SOFT_ATTENUATION, Fetus, Tissue, beat, slice_tissue

_Whole = NDArray[np.int32]
_CELL, _LAYER = 0.28, 1.1
_TABLE_BITS = 16


def scatterers(points: Array) -> Array:
    """Complex scatterer strength (depths, beams, 2) float32 of mean power 1, at body points (3, ...) in mm.

    A hash of the cell of space that a point lies in picks a number from a table, so that the texture is endless,
    needs no memory and stays with the tissue. Along the body the cells are as long as a beam is thick, and
    neighbouring layers are blended: the speckle changes gradually while the plane sweeps.
    """
    across = [np.floor(points[i] * np.float32(1 / _CELL)).astype(np.int32) for i in (0, 1)]
    plane = (across[0] * np.int32(73856093)) ^ (across[1] * np.int32(19349663))
    height = points[2] * np.float32(1 / _LAYER)
    layer = np.floor(height)
    blend = (height - layer) * np.float32(np.pi / 2)
    below = layer.astype(np.int32)
    table = _table()
    first, second = (table[_hashed(plane, below + np.int32(shift))] for shift in (0, 1))
    mixed: Array = first * np.cos(blend)[..., None] + second * np.sin(blend)[..., None]
    return mixed


def blurred(patient: Patient, radius: float, depth: float, field_of_view: float, echoes: Array) -> Array:
    """Blur echoes (depths, beams, 2) by the beam: real and imaginary part (2, depths, beams) at unit variance.

    The beam is narrowest at its focus, two fifths down, and the pulse grows longer with depth: a narrow and a wide
    blur are mixed by depth, which is much faster than a blur of its own for each depth.
    """
    depths, beams = echoes.shape[:2]
    rows = depths / depth
    columns = beams / field_of_view / (radius + 0.4 * depth)
    narrow = (max(0.5, patient.blur_lateral * columns), max(0.5, patient.blur_axial * rows))
    wide = (1.9 * narrow[0], 1.45 * narrow[1])
    part = np.linspace(0, 1, depths, dtype=np.float32)
    weight: Array = np.clip(np.abs(part - 0.4) / 0.6, 0, 1) ** 1.3
    scale = _unit_variance(narrow, wide, weight)
    both = [
        cv2.GaussianBlur(echoes, (0, 0), sigmaX=across, sigmaY=along, borderType=cv2.BORDER_REFLECT)
        for across, along in (narrow, wide)
    ]
    share = weight[:, None, None]
    mixed = (both[0] * (1 - share) + both[1] * share) * scale[:, None, None]
    parts: Array = np.moveaxis(mixed, 2, 0)
    return parts


def _hashed(plane: _Whole, layer: _Whole) -> _Whole:
    mixed: _Whole = plane ^ (layer * np.int32(83492791))
    mixed = mixed ^ (mixed >> 15)
    picked: _Whole = (mixed * np.int32(0x2C1B3C6D)) >> 7 & np.int32((1 << _TABLE_BITS) - 1)
    return picked


@lru_cache(maxsize=1)
def _table() -> Array:
    return np.random.default_rng(7).normal(0, np.sqrt(0.5), (1 << _TABLE_BITS, 2)).astype(np.float32)


def _unit_variance(narrow: tuple[float, float], wide: tuple[float, float], weight: Array) -> Array:
    # Power of the mixed kernel: for Gaussians the sum of products is again a Gaussian's peak.
    def overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
        return float(1 / (2 * np.pi * np.hypot(a[0], b[0]) * np.hypot(a[1], b[1])))

    power = (1 - weight) ** 2 * overlap(narrow, narrow) + weight**2 * overlap(wide, wide)
    power = power + 2 * weight * (1 - weight) * overlap(narrow, wide)
    scale: Array = (1 / np.sqrt(power)).astype(np.float32)
    return scale


Image = NDArray[np.uint8]
_NOISE_FLOOR = 0.010


@dataclass(frozen=True)
class Probe:
    """A curved probe and its picture: lengths in mm, `field_of_view` in radians, `height` and `width` in px."""

    radius: float
    field_of_view: float
    depth: float
    height: int
    width: int

    @classmethod
    def of(cls, patient: Patient, height: int, width: int) -> Probe:
        """The probe of `patient` with a picture of `height` x `width` px."""
        return cls(patient.probe_radius, patient.field_of_view, patient.depth, height, width)

    @property
    def pixel(self) -> float:
        """Side of a pixel in mm: the sector fits into height and width."""
        half = self.field_of_view / 2
        tall = self.radius * (1 - np.cos(half)) + self.depth
        wide = 2 * (self.radius + self.depth) * np.sin(half)
        return float(max(tall / (self.height - 2), wide / (self.width - 2)))

    @property
    def face(self) -> tuple[float, float]:
        """Column and row (px, may be fractional) of the middle of the probe's face in the picture."""
        top = self.radius * (1 - np.cos(self.field_of_view / 2)) / self.pixel
        spare = self.height - 2 - top - self.depth / self.pixel
        return (self.width - 1) / 2, 1 + top + spare / 2

    @property
    def fine(self) -> tuple[int, int]:
        """Samples of the fine polar grid: depths, beams."""
        samples = self.depth / self.pixel
        middle = (self.radius + 0.7 * self.depth) * self.field_of_view / self.pixel
        return round(1.35 * samples / 8) * 8, round(0.8 * middle / 8) * 8


def render(
    fetus: Fetus, pose: Pose, probe: Probe, phase: float = 0.0, noise: int = 0, flow: bool = False
) -> tuple[Image, Array | None]:
    """One frame: the picture (height, width) uint8 of the sector on black, and, with `flow`, blood's velocity.

    `phase` is the cardiac phase, 0 to 1. `noise` picks the receiver's noise: give each frame another. The velocity,
    float32 of the picture's shape in -1 to 1 (towards the probe), is 0 outside blood.
    """
    depths, beams = probe.fine
    fine = beat(fetus, polar_points(probe, fetus.patient, pose, depths, beams), phase)
    coarse = beat(fetus, polar_points(probe, fetus.patient, pose, depths // 2, beams // 2), phase)
    tissue = slice_tissue(fetus, coarse, pose, phase, flow)
    power = echo_power(fetus, probe, fine, tissue)
    levels = compress(fetus.patient, power, noise)
    picture = _convert(probe, levels, cv2.INTER_LINEAR)
    if tissue.flow is None:
        return picture.astype(np.uint8), None
    return picture.astype(np.uint8), _convert(probe, _enlarged(tissue.flow, beams, depths), cv2.INTER_NEAREST)


def polar_points(probe: Probe, patient: Patient, pose: Pose, depths: int, beams: int) -> Array:
    """Body coordinates (3, depths, beams) in mm of the samples of the probe's fan."""
    along, across = _fan(probe, depths, beams)
    face = pose.centre - pose.axial * np.float32(patient.standoff)
    return np.stack([float(face[i]) + along * float(pose.axial[i]) + across * float(pose.lateral[i]) for i in range(3)])


def echo_power(fetus: Fetus, probe: Probe, points: Array, tissue: Tissue) -> Array:
    """Power (depths, beams) of the received echoes before compression; 1 is soft tissue without loss."""
    patient = fetus.patient
    depths, beams = points.shape[1:]
    step = probe.depth / tissue.echo.shape[0]
    echo = tissue.echo + _mirrors(tissue.echo, step)
    loss = np.cumsum(tissue.attenuation, axis=0) * np.float32(step)
    wall_echo, wall_loss = _maternal_wall(patient, probe, tissue.echo.shape)
    cover = wall_echo[1]
    echo += cover * (wall_echo[0] - echo)
    loss += wall_loss
    # The machine makes up for the loss in soft tissue; what lies behind fluid is therefore too bright.
    along = (np.arange(tissue.echo.shape[0], dtype=np.float32)[:, None] + 0.5) * np.float32(step)
    regain = along * np.float32(SOFT_ATTENUATION * (0.88 + patient.tgc))
    received = np.clip(regain - loss, -60, 14) + _contact(patient, beams // 2)
    strength = np.exp(_enlarged(echo, beams, depths) * np.float32(np.log(10) / 20))
    echoes = scatterers(points) * strength[..., None]
    real, imaginary = blurred(patient, probe.radius, probe.depth, probe.field_of_view, echoes)
    kept = np.exp(_enlarged(received, beams, depths) * np.float32(np.log(10) / 10))
    return as_array((real * real + imaginary * imaginary) * kept)


def compress(patient: Patient, power: Array, noise: int) -> Array:
    """Grey levels (depths, beams) float32 in 0 to 255: noise, compounding, logarithm, gain, range, grey curve."""
    depths, beams = power.shape
    rows = np.linspace(0, 1, depths, dtype=np.float32)[:, None]
    floor = np.float32(_NOISE_FLOOR**2) * np.exp(rows * np.float32(3.0))
    static = np.random.default_rng((patient.seed, patient.index, 7, noise)).integers(0, 1 << 16)
    power = power + floor * _exponential(depths, beams, int(static))
    if patient.compounding > 0:
        spread = (1.7 * patient.compounding * beams / 200, 1.1 * patient.compounding * depths / 300)
        power = as_array(cv2.GaussianBlur(power, (0, 0), max(0.3, spread[0]), sigmaY=max(0.3, spread[1])))
    decibel = np.log10(power + np.float32(1e-9)) * np.float32(10)
    top = np.float32(20.0 - patient.gain)
    level = np.clip((decibel - top) * np.float32(1 / patient.dynamic_range) + 1, 0, 1)
    return as_array(np.power(level, np.float32(patient.grey_gamma)) * np.float32(255))


def sector(probe: Probe) -> NDArray[np.bool_]:
    """(height, width): where the picture shows the probe's fan."""
    full = np.full(probe.fine, 255, np.float32)
    return _convert(probe, full, cv2.INTER_LINEAR) > 127


@lru_cache(maxsize=8)
def _fan(probe: Probe, depths: int, beams: int) -> tuple[Array, Array]:
    deep = ((np.arange(depths) + 0.5) / depths * probe.depth + probe.radius)[:, None]
    angle = (((np.arange(beams) + 0.5) / beams - 0.5) * probe.field_of_view)[None]
    return (deep * np.cos(angle) - probe.radius).astype(np.float32), (deep * np.sin(angle)).astype(np.float32)


@lru_cache(maxsize=8)
def _maps(probe: Probe, zoom: int) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    depths, beams = probe.fine
    column, row = probe.face
    step = probe.pixel / zoom
    x = (np.arange(probe.width * zoom)[None] - (column * zoom + (zoom - 1) / 2)) * step
    y = (np.arange(probe.height * zoom)[:, None] - (row * zoom + (zoom - 1) / 2)) * step + probe.radius
    angle = np.arctan2(x, y) / probe.field_of_view + 0.5
    deep = (np.hypot(x, y) - probe.radius) / probe.depth
    maps = (angle * beams - 0.5).astype(np.float32), (deep * depths - 0.5).astype(np.float32)
    fixed, fraction = cv2.convertMaps(*maps, cv2.CV_16SC2)
    return fixed.astype(np.int16), fraction.astype(np.uint16)


def _convert(probe: Probe, polar: Array, how: int) -> Array:
    # Twice as large and then shrunk by area, so that the speckle of the near field does not alias.
    fixed, fraction = _maps(probe, 2)
    large = cv2.remap(polar, fixed, fraction, how, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    shrink = cv2.INTER_AREA if how == cv2.INTER_LINEAR else cv2.INTER_NEAREST
    small: Array = np.asarray(cv2.resize(large, (probe.width, probe.height), interpolation=shrink))
    return small


def _enlarged(coarse: Array, beams: int, depths: int) -> Array:
    return np.asarray(cv2.resize(coarse, (beams, depths), interpolation=cv2.INTER_LINEAR), np.float32)


def _mirrors(echo: Array, step: float) -> Array:
    # A border that lies across the beam throws it straight back.
    change = np.abs(np.diff(echo, axis=0, prepend=echo[:1])) * np.float32(1 / step)
    return np.clip(change - 4, 0, 30) * np.float32(0.22)


def _maternal_wall(patient: Patient, probe: Probe, shape: tuple[int, ...]) -> tuple[tuple[Array, Array], Array]:
    # Skin, fat and muscle in layers that follow the probe's face; they wave a little from side to side.
    depths, beams = shape
    along = np.linspace(0, probe.depth, depths, dtype=np.float32)[:, None]
    across = np.linspace(-1, 1, beams, dtype=np.float32)[None]
    seed = patient.index * 1.7
    wave = 0.12 * np.sin(2.1 * across + seed) + 0.06 * np.sin(5.3 * across + 2 * seed)
    thick = np.float32(patient.maternal_wall) * (1 + wave.astype(np.float32))
    part = along / thick
    layers = 2.0 + 4.0 * np.sin(part * 17 + 3 * wave.astype(np.float32)) * np.exp(-part) + 5.0 * np.exp(-part * 6)
    cover = np.clip((thick - along) * np.float32(0.8) + 0.5, 0, 1)
    loss = np.minimum(along, thick) * np.float32(0.08 + 0.25 * (1 - patient.contrast))
    return (layers.astype(np.float32), cover), loss


def _contact(patient: Patient, beams: int) -> Array:
    centre, width, loss = patient.contact
    across = np.linspace(-1, 1, beams, dtype=np.float32)
    edges = np.float32(-5) * np.clip(np.abs(across) - 0.85, 0, 1) / np.float32(0.15)
    shadow: Array = (edges - np.float32(loss) * np.exp(-(((across - centre) / width) ** 2)).astype(np.float32))[None]
    return shadow


@lru_cache(maxsize=2)
def _static() -> Array:
    return np.random.default_rng(20).exponential(1.0, 1 << 20).astype(np.float32)


def _exponential(depths: int, beams: int, start: int) -> Array:
    # Drawing fresh noise for each frame would cost as much as all the rest: a long tape from another place instead.
    tape = _static()
    count = depths * beams
    if start + count > tape.size:
        return np.resize(np.roll(tape, -start), (depths, beams))
    return tape[start : start + count].reshape(depths, beams)
