"""Speckle: random scatterers that are fixed in the tissue, and the blur of the beam that makes them a texture.

The envelope of many scatterers in one resolution cell follows the Rayleigh distribution (Wagner et al. 1983,
"Statistics of speckle in ultrasound B-scans"): mean over standard deviation 1.91 before compression.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.data.phantom.patient import Patient
from sonolearn.data.phantom.solids import Array

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
