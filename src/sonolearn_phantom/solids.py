"""Signed distances of simple solids: negative inside, positive outside, in mm.

Points are float32 arrays of shape (3, ...): x, y, z first, so that each coordinate is one contiguous array. Scalars are
Python floats on purpose: a numpy float64 scalar would turn every float32 array into float64 and halve the speed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Triple = Array | tuple[float, float, float]


def as_array(values: ArrayLike) -> Array:
    """`values` as float32, without a copy where they are."""
    return np.asarray(values, np.float32)


def sphere(points: Array, centre: Array, radius: float) -> Array:
    """Signed distance in mm, shape `points.shape[1:]`, of a sphere with `centre` (3,) and `radius` in mm."""
    x, y, z = (points[i] - float(centre[i]) for i in range(3))
    return as_array(np.sqrt(x * x + y * y + z * z) - float(radius))


def ellipsoid(points: Array, centre: Triple, radii: Triple) -> Array:
    """Approximate signed distance in mm of an axis-aligned ellipsoid; exact on the surface and for equal radii."""
    x, y, z = ((points[i] - float(centre[i])) / float(radii[i]) for i in range(3))
    stretched = np.sqrt(x * x + y * y + z * z) + 1e-6
    gradient = np.sqrt((x / float(radii[0])) ** 2 + (y / float(radii[1])) ** 2 + (z / float(radii[2])) ** 2) + 1e-6
    return as_array(stretched * (stretched - 1) / gradient)


@dataclass(frozen=True, eq=False)
class Capsule:
    """A tube with round ends: the vessels, limbs and bones of the phantom.

    `start` and `end` are points (3,) in mm, `radii` the radius at either end in mm. `speed` is the mean flow from
    start to end, in units of the largest in the body; 0 for what is no vessel.
    """

    start: Array
    end: Array
    radii: tuple[float, float]
    speed: float = 0.0

    def distance(self, points: Array) -> Array:
        """Signed distance in mm, shape `points.shape[1:]`; exact where both radii are equal."""
        along = [float(value) for value in self.end - self.start]
        x, y, z = (points[i] - float(self.start[i]) for i in range(3))
        length2 = max(sum(value * value for value in along), 1e-6)
        part = np.clip((x * along[0] + y * along[1] + z * along[2]) * (1 / length2), 0, 1)
        x -= part * along[0]
        y -= part * along[1]
        z -= part * along[2]
        first, last = self.radii
        return as_array(np.sqrt(x * x + y * y + z * z) - (first + (last - first) * part))

    def clearance(self, point: Array, normal: Array) -> float:
        """Distance in mm between the solid and the plane through `point` with unit `normal`; negative where cut."""
        a, b = float((self.start - point) @ normal), float((self.end - point) @ normal)
        if a * b < 0:
            return -max(self.radii)
        return min(abs(a), abs(b)) - max(self.radii)

    @property
    def direction(self) -> Array:
        """Unit vector (3,) from start to end."""
        along = self.end - self.start
        return as_array(along / np.float32(max(float(np.linalg.norm(along)), 1e-6)))


def tube(path: list[Array], radii: list[float], speed: float = 0.0) -> list[Capsule]:
    """A bent vessel: capsules through the points of `path` (3,) with a radius in mm at each point."""
    return [Capsule(path[i], path[i + 1], (float(radii[i]), float(radii[i + 1])), speed) for i in range(len(path) - 1)]


def inside(distance: Array, softness: float) -> Array:
    """How much of a sample lies inside a solid, 0 to 1, with an edge that is `softness` mm wide."""
    part = np.clip(0.5 - distance * (1 / float(softness)), 0, 1)
    return as_array(part * part * (3 - 2 * part))
