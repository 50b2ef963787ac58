"""Pictures follow the physics: dark blood, shadows behind bone, a sector on black."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sonolearn_phantom import Fetus, Patient, Probe, pose, render, standard_planes
from sonolearn_phantom.picture import echo_power, polar_points, sector
from sonolearn_phantom.tissue import SOFT_ATTENUATION, Tissue, slice_tissue


@pytest.fixture(scope="module")
def probe(fetus: Fetus) -> Probe:
    return Probe.of(fetus.patient, 96, 128)


def test_picture_is_grey_inside_the_sector_and_black_outside(fetus: Fetus, probe: Probe) -> None:
    picture, velocity = render(fetus, pose(fetus.patient, standard_planes(fetus.heart)["4CH"]), probe)
    assert picture.shape == (96, 128)
    assert picture.dtype == np.uint8
    assert velocity is None
    around = cv2.dilate(sector(probe).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    assert picture[~around].max() == 0
    assert picture[sector(probe)].std() > 15


def test_sector_touches_the_edges_of_the_picture(probe: Probe) -> None:
    rows, columns = np.nonzero(sector(probe))
    tall, wide = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
    assert tall >= 92 or wide >= 124
    assert abs((columns.max() + columns.min()) - 127) <= 2


def test_same_call_gives_the_same_picture_and_the_beat_changes_it(fetus: Fetus, probe: Probe) -> None:
    seen = pose(fetus.patient, standard_planes(fetus.heart)["4CH"])
    rest, again, systole = (render(fetus, seen, probe, phase)[0] for phase in (0.0, 0.0, 0.4))
    np.testing.assert_array_equal(rest, again)
    assert np.abs(rest.astype(int) - systole).mean() > 1


def test_every_patient_has_blood_darker_than_the_heart_around_it() -> None:
    for index in range(6):
        fetus = Fetus(Patient.draw(0, index))
        seen = pose(fetus.patient, standard_planes(fetus.heart)["4CH"])
        points = polar_points(Probe.of(fetus.patient, 128, 160), fetus.patient, seen, 128, 96)
        echo = slice_tissue(fetus, points, seen, 0.9).echo
        local = fetus.heart.local(points)
        left = (np.hypot(local[0] - 0.27, local[1] - 0.2) < 0.07) & (np.abs(local[2]) < 0.1)
        septum = (np.abs(local[0] - 0.3) < 0.1) & (np.abs(local[1]) < 0.01)
        assert echo[septum].mean() - echo[left].mean() > 8


def test_bone_casts_a_shadow_and_fluid_does_not(fetus: Fetus, probe: Probe) -> None:
    depths, beams = probe.fine
    points = polar_points(probe, fetus.patient, pose(fetus.patient, standard_planes(fetus.heart)["4CH"]), depths, beams)
    shape = (depths // 2, beams // 2)
    even = Tissue(np.zeros(shape, np.float32), np.full(shape, SOFT_ATTENUATION, np.float32))
    third, middle = depths // 6, beams // 4
    patch = (slice(third, third + 3), slice(middle - 4, middle + 4))
    behind = (slice(depths // 2, depths - 8), slice(2 * middle - 5, 2 * middle + 5))

    def level(attenuation: float) -> float:
        changed = even.attenuation.copy()
        changed[patch] = attenuation
        power = echo_power(fetus, probe, points, Tissue(even.echo, changed))
        return float(10 * np.log10(power[behind].mean()))

    step = probe.depth / shape[0]
    assert level(SOFT_ATTENUATION) - level(6.0) == pytest.approx((6.0 - SOFT_ATTENUATION) * 3 * step, rel=0.15)
    assert level(0.0) > level(SOFT_ATTENUATION)


def test_flow_is_only_in_blood_and_turns_with_the_probe(fetus: Fetus, probe: Probe) -> None:
    cut = standard_planes(fetus.heart)["RVOT"]
    seen, opposite = pose(fetus.patient, cut), pose(fetus.patient, cut, tilt=np.pi)
    points = polar_points(probe, fetus.patient, seen, 96, 96)
    forward, backward = (slice_tissue(fetus, points, p, 0.2, flow=True).flow for p in (seen, opposite))
    assert forward is not None
    assert backward is not None
    assert 0 < (forward != 0).mean() < 0.3
    assert np.abs(forward).max() <= 1
    np.testing.assert_allclose(forward, -backward, atol=1e-5)
