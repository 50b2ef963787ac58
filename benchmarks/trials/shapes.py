"""Shapes of ultrasound pictures: where the beams of a probe run, and where they land on a screen.

A sample of a picture is named by its shares: `across` from -1 (first beam) to 1 (last beam), and `along` from 0 (the
probe's face) to 1 (full depth). In the plane, x points to the right and z away from the probe, in mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonolearn_phantom.picture import Image, Probe
from sonolearn_phantom.screen import Mask
from sonolearn_phantom.solids import Array, as_array

_SAMPLES = 320  # along a beam: what pictures 256 px high need


@dataclass(frozen=True)
class Fan:
    """Beams from an arc: a convex probe, or with a small `radius` a phased one. Lengths in mm, `half` in radians."""

    radius: float
    half: float
    depth: float

    def points(self, across: Array, along: Array) -> tuple[Array, Array]:
        """Shares to x and z in mm."""
        deep, angle = self.radius + along * self.depth, across * self.half
        return as_array(deep * np.sin(angle)), as_array(deep * np.cos(angle) - self.radius)

    def shares(self, x: Array, z: Array) -> tuple[Array, Array]:
        """The shares across and along of x and z in mm."""
        from_centre = z + self.radius
        across = np.arctan2(x, from_centre) / self.half
        return as_array(across), as_array((np.hypot(x, from_centre) - self.radius) / self.depth)

    @property
    def probe(self) -> Probe:
        """The probe as the renderer knows it."""
        return Probe(self.radius, 2 * self.half, self.depth, 256, 400)

    @property
    def grid(self) -> tuple[int, int]:
        """Samples of the fine grid: depths, beams."""
        middle = (self.radius + 0.7 * self.depth) * 2 * self.half / self.depth
        return _SAMPLES, _eights(0.6 * _SAMPLES * middle)


@dataclass(frozen=True)
class Flat:
    """Beams from a straight face of half length `half` mm: a linear probe's rectangle, parallelogram or trapezoid.

    `steer` is the tangent of the beams' common slant, `spread` how much more the outermost beam slants; the far end
    is straight, or `curved` where all beams are equally long.
    """

    half: float
    depth: float
    spread: float = 0.0
    steer: float = 0.0
    curved: bool = False

    def points(self, across: Array, along: Array) -> tuple[Array, Array]:
        """Shares to x and z in mm."""
        slant = across * self.spread + self.steer
        z = along * self.depth / (np.hypot(1, slant) if self.curved else 1)
        return as_array(across * self.half + z * slant), as_array(z)

    def shares(self, x: Array, z: Array) -> tuple[Array, Array]:
        """The shares across and along of x and z in mm."""
        across = (x - z * self.steer) / np.maximum(self.half + z * self.spread, 1e-3)
        longer = np.hypot(1, across * self.spread + self.steer) if self.curved else 1
        return as_array(across), as_array(z * longer / self.depth)

    @property
    def probe(self) -> Probe:
        """A probe of nearly straight face, for the renderer's blur."""
        radius = 20 * self.depth
        return Probe(radius, 2 * self._middle / (radius + 0.4 * self.depth), self.depth, 256, 400)

    @property
    def grid(self) -> tuple[int, int]:
        """Samples of the fine grid: depths, beams."""
        return _SAMPLES, _eights(1.2 * _SAMPLES * self._middle / self.depth)

    @property
    def _middle(self) -> float:
        return self.half + 0.4 * self.depth * self.spread


Beams = Fan | Flat


@dataclass(frozen=True)
class Place:
    """How the plane lies on a screen of `height` x `width` px.

    `origin` is the column and row of the middle of the probe's face, `scale` in px / mm, `angle` in radians
    (clockwise); `upside_down` shows the probe at the bottom. Nothing is shown outside `window` (top, bottom, left,
    right; px, ends excluded).
    """

    height: int
    width: int
    window: tuple[int, int, int, int]
    scale: float = 1.0
    origin: tuple[float, float] = (0.0, 0.0)
    angle: float = 0.0
    upside_down: bool = False

    def pixels(self, x: Array, z: Array) -> tuple[Array, Array]:
        """Columns and rows in px of x and z in mm."""
        down = -z if self.upside_down else z
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        columns = self.origin[0] + self.scale * (x * cosine - down * sine)
        return as_array(columns), as_array(self.origin[1] + self.scale * (x * sine + down * cosine))

    def millimetres(self) -> tuple[Array, Array]:
        """The plane's x and z (height, width) in mm of each pixel's centre."""
        right = ((np.arange(self.width) - self.origin[0]) / self.scale)[None]
        down = ((np.arange(self.height) - self.origin[1]) / self.scale)[:, None]
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        z = down * cosine - right * sine
        return as_array(right * cosine + down * sine), as_array(-z if self.upside_down else z)


@dataclass(frozen=True)
class View:
    """One ultrasound picture on the screen."""

    beams: Beams
    place: Place

    @cached_property
    def shares(self) -> tuple[Array, Array]:
        """The shares across and along (height, width) of each pixel."""
        return self.beams.shares(*self.place.millimetres())

    @cached_property
    def sector(self) -> Mask:
        """(height, width): where the screen shows the picture."""
        across, along = self.shares
        top, bottom, left, right = self.place.window
        shown = np.zeros(across.shape, bool)
        shown[top:bottom, left:right] = True
        return shown & (np.abs(across) <= 1) & (along >= 0) & (along <= 1)

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """Top, bottom, left, right of the sector in px, ends excluded."""
        rows, columns = (np.flatnonzero(self.sector.any(axis=axis)) for axis in (1, 0))
        return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1

    @cached_property
    def inner(self) -> NDArray[np.intp]:
        """(n, 2) columns and rows of the sector's pixels that are clear of its rim."""
        reach = max(9, self.place.height // 30) | 1
        small = cv2.copyMakeBorder(self.sector.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=[0])
        clear = np.asarray(cv2.erode(small, np.ones((reach, reach), np.uint8)))[1:-1, 1:-1]
        rows, columns = np.nonzero(clear if clear.any() else self.sector)
        return np.stack([columns, rows], 1)

    def pick(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Column and row (2,) of any pixel clear of the rim."""
        return np.asarray(self.inner[int(rng.integers(len(self.inner)))], np.int64)

    def line(self, across: ArrayLike, along: ArrayLike) -> NDArray[np.int32]:
        """(n, 2) columns and rows in px of shares, rounded, to draw with."""
        both = np.broadcast_arrays(np.atleast_1d(as_array(across)), as_array(along))
        columns, rows = self.place.pixels(*self.beams.points(*both))
        return np.round(np.stack([columns, rows], 1)).astype(np.int32)

    def show(self, polar: Array, how: int = cv2.INTER_CUBIC) -> Array:
        """`polar` (depths, beams) float32 on the screen (height, width), 0 outside the sector."""
        across, along = self.shares
        depths, beams = polar.shape
        columns = np.clip((across + 1) * (beams / 2) - 0.5, -1, beams)
        rows = np.clip(along * depths - 0.5, -1, depths)
        shown = cv2.remap(polar, as_array(columns), as_array(rows), how, borderMode=cv2.BORDER_REPLICATE)
        return as_array(np.where(self.sector, shown, 0))

    def grey(self, polar: Array) -> Image:
        """Grey levels 0 to 255 of `polar` on the screen, uint8 (height, width)."""
        return np.asarray(np.clip(self.show(polar) + 0.5, 0, 255), np.uint8)


def _eights(length: float) -> int:
    return max(64, 8 * round(min(length, 400) / 8))
