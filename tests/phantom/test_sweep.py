"""Scans move smoothly through the body; stills show what they are asked for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sonolearn_phantom import PLANES, Fetus, Patient, label, scan_poses, still_pose
from sonolearn_phantom.patient import generator


@pytest.mark.parametrize("plane", PLANES)
def test_still_has_the_plane_asked_for_and_varies(fetus: Fetus, plane: str) -> None:
    poses = [still_pose(fetus, plane, generator(0, 3, 3, number)) for number in range(12)]
    assert {label(fetus.heart, pose) for pose in poses} == {plane}
    assert len({tuple(pose.centre) for pose in poses}) == 12


def test_still_of_an_unknown_plane_is_refused(fetus: Fetus) -> None:
    with pytest.raises(ValueError, match="5CH"):
        still_pose(fetus, "5CH", generator(0, 0, 0))


def test_hand_moves_without_jumps() -> None:
    for index in range(6):
        fetus = Fetus(Patient.draw(3, index))
        poses = scan_poses(fetus, 90, generator(3, index, 2))
        assert len(poses) == 90
        steps = np.linalg.norm(np.diff([pose.centre for pose in poses], axis=0), axis=1)
        turns = [float(a.normal @ b.normal) for a, b in pairwise(poses)]
        assert steps.max() < 0.25 * fetus.patient.thorax_radius
        assert np.rad2deg(np.arccos(min(turns))) < 15


def test_scans_of_a_group_show_every_plane_and_transitions() -> None:
    seen = set()
    for index in range(8):
        fetus = Fetus(Patient.draw(0, index))
        seen |= {label(fetus.heart, pose) for pose in scan_poses(fetus, 60, generator(0, index, 2))}
    assert seen == {*PLANES, ""}


def test_a_scan_may_have_one_frame(fetus: Fetus) -> None:
    assert len(scan_poses(fetus, 1, generator(0, 0, 2))) == 1
