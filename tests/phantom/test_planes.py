"""The label follows from the pose of the plane."""

from __future__ import annotations

import numpy as np
import pytest

from sonolearn_phantom import PLANES, Fetus, Patient, Pose, label, pose, standard_planes
from sonolearn_phantom.planes import ANGLE_TOLERANCE, DISTANCE_TOLERANCE, Slice

CLASS = {"3VV": "3VV/3VT", "3VT": "3VV/3VT", "4CH": "4CH", "LVOT": "LVOT", "RVOT": "RVOT"}
FETUSES = [Fetus(Patient.draw(seed, index)) for seed in (0, 5) for index in range(6)]


@pytest.mark.parametrize("fetus", FETUSES)
def test_standard_pose_has_its_own_label(fetus: Fetus) -> None:
    found = {name: label(fetus.heart, pose(fetus.patient, cut)) for name, cut in standard_planes(fetus.heart).items()}
    assert found == CLASS


@pytest.mark.parametrize("name", CLASS)
@pytest.mark.parametrize("share", [0.9, 1.1])
def test_label_is_lost_just_beyond_the_tolerances(fetus: Fetus, name: str, share: float) -> None:
    cut = standard_planes(fetus.heart)[name]
    away = {"3VV": -1, "RVOT": -1}.get(name, 1)  # away from the neighbour that has a label of its own
    shift = cut.normal * np.float32(share * DISTANCE_TOLERANCE * fetus.heart.unit * away)
    moved = Pose(cut.point + shift, *_axes(cut.normal))
    assert (label(fetus.heart, moved) == CLASS[name]) == (share < 1)
    # Tilted sideways, so that it comes near no other standard plane.
    angle = np.deg2rad(share * ANGLE_TOLERANCE)
    aside = np.cross(cut.normal, [0.0, 1.0, 0.0])
    aside /= np.linalg.norm(aside)
    tilted = Pose(cut.point, *_axes(cut.normal * np.cos(angle) + aside * np.sin(angle)))
    assert (label(fetus.heart, tilted) == CLASS[name]) == (share < 1)


def test_turning_the_picture_within_the_plane_keeps_the_label(fetus: Fetus) -> None:
    cut = standard_planes(fetus.heart)["LVOT"]
    for tilt in (-0.8, 0.3, 2.0):
        assert label(fetus.heart, pose(fetus.patient, cut, (4.0, -3.0), tilt)) == "LVOT"


def test_belly_and_neck_are_non_heart_and_what_lies_between_is_a_transition(fetus: Fetus) -> None:
    def at(height: float) -> str:
        point = np.array([0, 0, height * fetus.heart.unit], np.float32)
        return label(fetus.heart, pose(fetus.patient, Slice(point, np.array([0, 0, 1], np.float32))))

    assert [at(height) for height in (-2.0, -1.0, 1.0, 2.0)] == ["non-heart"] * 4
    assert at(-0.3) == ""
    assert at(0.15) == ""


def test_poses_are_right_angled_and_look_along_the_beam(fetus: Fetus) -> None:
    for cut in standard_planes(fetus.heart).values():
        seen = pose(fetus.patient, cut)
        axes = np.stack([seen.axial, seen.lateral, seen.normal])
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-5)
        assert abs(float(seen.normal @ cut.normal)) == pytest.approx(1, abs=1e-5)
        assert float(seen.axial @ fetus.patient.beam) > 0.8


def test_classes_have_the_names_of_the_project() -> None:
    assert PLANES == ("3VV/3VT", "4CH", "LVOT", "RVOT", "non-heart")


def _axes(normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axial = np.cross(normal, [1.0, 0.2, 0.0])
    axial /= np.linalg.norm(axial)
    return axial.astype(np.float32), np.cross(normal, axial).astype(np.float32)
