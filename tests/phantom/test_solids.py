"""Signed distances against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from sonolearn_phantom.solids import Array, Capsule, ellipsoid, inside, sphere, tube


@pytest.fixture(scope="module")
def points() -> Array:
    return np.random.default_rng(0).uniform(-40, 40, (3, 20, 30)).astype(np.float32)


def test_sphere_is_distance_to_centre_less_radius(points: Array) -> None:
    centre = np.array([3, -4, 5], np.float32)
    expected = np.linalg.norm(points.reshape(3, -1).T - centre, axis=1).reshape(20, 30) - 7
    np.testing.assert_allclose(sphere(points, centre, 7.0), expected, atol=1e-4)


def test_capsule_is_distance_to_the_nearest_point_of_its_axis(points: Array) -> None:
    start, end = np.array([-10, 2, 3], np.float32), np.array([12, -6, 9], np.float32)
    axis = start[:, None] + np.linspace(0, 1, 4001)[None] * (end - start)[:, None]
    flat = points.reshape(3, -1)
    nearest = np.sqrt(((flat[:, :, None] - axis[:, None, ::4]) ** 2).sum(0)).min(1).reshape(20, 30) - 2.5
    np.testing.assert_allclose(Capsule(start, end, (2.5, 2.5)).distance(points), nearest, atol=5e-3)


def test_capsule_narrows_from_one_radius_to_the_other() -> None:
    cone = Capsule(np.zeros(3, np.float32), np.array([0, 0, 10], np.float32), (4.0, 2.0))
    beside = np.array([[20, 20, 20], [0, 0, 0], [0, 5, 10]], np.float32)
    np.testing.assert_allclose(cone.distance(beside), [16, 17, 18], atol=1e-5)


def test_ellipsoid_with_equal_radii_is_a_sphere_and_zero_on_its_surface(points: Array) -> None:
    round_one = ellipsoid(points, (1.0, 2.0, 3.0), (9.0, 9.0, 9.0))
    np.testing.assert_allclose(round_one, sphere(points, np.array([1, 2, 3], np.float32), 9.0), atol=1e-3)
    tips = np.array([[5, 0, 0], [0, 3, 0], [0, 0, 8]], np.float32)
    np.testing.assert_allclose(ellipsoid(tips, (0, 0, 0), (5, 3, 8)), 0, atol=1e-4)


def test_distances_stay_float32_so_that_rendering_stays_fast(points: Array) -> None:
    radius = np.float64(3.0)
    pipe = tube([points[:, 0, 0], points[:, 0, 1], points[:, 0, 2]], [radius, radius, radius])
    solids = [sphere(points, points[:, 0, 0], radius), ellipsoid(points, (0, 0, 0), (radius, 1, 1))]
    assert {a.dtype for a in [*solids, *(p.distance(points) for p in pipe)]} == {np.dtype(np.float32)}


def test_clearance_never_hides_a_tube_that_the_plane_cuts(points: Array) -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        start, end = rng.uniform(-20, 20, (2, 3)).astype(np.float32)
        pipe = Capsule(start, end, (2.0, 2.0))
        normal = rng.normal(size=3).astype(np.float32)
        normal /= np.linalg.norm(normal)
        point = rng.uniform(-20, 20, 3).astype(np.float32)
        flat = points.reshape(3, -1)
        on_plane = flat - normal[:, None] * (normal @ (flat - point[:, None]))
        assert pipe.distance(on_plane).min() >= pipe.clearance(point, normal) - 1e-3


def test_inside_goes_from_one_to_zero_over_its_softness() -> None:
    np.testing.assert_allclose(inside(np.array([-5, -1, 0, 1, 5], np.float32), 2.0), [1, 1, 0.5, 0, 0])
