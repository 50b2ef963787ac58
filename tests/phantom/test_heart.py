"""The heart has the anatomy that the standard planes show."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sonolearn_phantom import Fetus, Patient, standard_planes
from sonolearn_phantom.heart import Heart, blood, chambers, leaflets, opening, squeeze
from sonolearn_phantom.solids import Array

PATIENTS = [Fetus(Patient.draw(0, index)).heart for index in range(8)]


def depth_of_blood(heart: Heart, places: list[Array], phase: float = 0.8) -> Array:
    """Signed distance to blood at some points."""
    points = np.stack(places, 1)
    return blood(heart, points, heart.local(points), phase, list(heart.vessels))[0]


def path(heart: Heart, *names: str) -> list[Array]:
    """Points along the straight lines between landmarks."""
    ends = [heart.marks[name] for name in names]
    return [a + (b - a) * np.float32(t) for a, b in pairwise(ends) for t in np.linspace(0, 1, 9)]


@pytest.mark.parametrize("heart", PATIENTS)
def test_four_chambers_are_parted_by_septa(heart: Heart) -> None:
    middles = [heart.at(0.27, 0.2, 0), heart.at(0.2, -0.2, 0), heart.at(-0.17, 0.17, 0), heart.at(-0.16, -0.2, 0)]
    assert (depth_of_blood(heart, middles) < 0).all()
    septum = [heart.at(u, 0.0, 0.0) for u in (0.15, 0.3, 0.45)]
    assert (depth_of_blood(heart, septum) > 0).all()


@pytest.mark.parametrize("heart", PATIENTS)
def test_aorta_leaves_the_left_ventricle_in_the_plane_of_the_left_outflow(heart: Heart) -> None:
    channel = [heart.at(0.25, 0.16, 0.07), *path(heart, "aortic_valve", "ascending", "ascending_top")]
    assert (depth_of_blood(heart, channel) < 0).all()
    cut = standard_planes(heart)["LVOT"]
    for name in ("aortic_valve", "ascending"):
        assert abs(float((heart.marks[name] - cut.point) @ cut.normal)) < 0.06 * heart.unit


@pytest.mark.parametrize("heart", PATIENTS)
def test_trunk_leaves_the_right_ventricle_and_runs_back_into_the_duct(heart: Heart) -> None:
    names = ("infundibulum", "pulmonary_valve", "trunk", "duct", "duct_end", "descending")
    assert (depth_of_blood(heart, path(heart, *names)) < 0).all()
    cut = standard_planes(heart)["RVOT"]
    for name in ("pulmonary_valve", "trunk", "duct"):
        assert abs(float((heart.marks[name] - cut.point) @ cut.normal)) < 0.06 * heart.unit


@pytest.mark.parametrize("heart", PATIENTS)
def test_three_vessels_lie_apart_from_front_left_to_back_right(heart: Heart) -> None:
    level = standard_planes(heart)["3VV"].point[2]

    def at_level(first: str, second: str) -> Array:
        a, b = heart.marks[first], heart.marks[second]
        return a + (b - a) * np.float32(np.clip((level - a[2]) / (b[2] - a[2]), 0, 1))

    vessels = [at_level("trunk", "duct"), at_level("ascending", "ascending_top"), heart.marks["cava"]]
    assert (depth_of_blood(heart, vessels) < 0).all()
    assert vessels[0][0] > vessels[1][0] > vessels[2][0]
    between = [(a + b) * np.float32(0.5) for a, b in pairwise(vessels)]
    assert (depth_of_blood(heart, between) > 0).all()


def test_ventricles_empty_in_systole_while_the_atria_fill(fetus: Fetus) -> None:
    grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.8, 40)] * 3, indexing="ij")).astype(np.float32)
    rest, systole = (
        np.array([(part < 0).sum() for part in chambers(fetus.heart, grid, phase)]) for phase in (0.9, 0.4)
    )
    assert (systole[:2] < 0.8 * rest[:2]).all()
    assert (systole[2:] > rest[2:]).all()


def test_beat_is_periodic_and_valves_shut_while_ventricles_contract() -> None:
    phases = np.linspace(0, 1, 201)
    assert squeeze(0.3) == pytest.approx(squeeze(1.3))
    assert squeeze(0.0) == pytest.approx(squeeze(0.99), abs=0.01)
    assert max(opening(p) for p in phases if p < 0.42) == 0
    assert max(opening(p) for p in phases) > 0.95


def test_closed_leaflets_bar_the_mitral_ring_and_open_ones_let_blood_through(fetus: Fetus) -> None:
    across = np.stack([fetus.heart.at(u, 0.155, 0.0) for u in np.linspace(-0.02, 0.12, 60)], 1)
    local = fetus.heart.local(across)
    assert leaflets(fetus.heart, local, 0.3).min() < 0
    assert leaflets(fetus.heart, local, 0.6).min() > 0
