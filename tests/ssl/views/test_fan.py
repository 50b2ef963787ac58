"""The fan that is read off a picture, against fans drawn by geometry alone and against the phantom's own probe."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sonolearn.ssl.views import fan as module
from sonolearn.ssl.views.fan import Box, Fan, find_beams, interior
from sonolearn.ssl.views.plain import Window
from sonolearn_phantom import Fetus, Patient, Probe, render, still_pose


def sector(size: int, apex: tuple[float, float], near: float, far: float, degrees: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size].astype(float)
    distance, angle = np.hypot(x - apex[0], y - apex[1]), np.arctan2(x - apex[0], y - apex[1])
    return np.where((distance >= near) & (distance <= far) & (np.abs(angle) <= math.radians(degrees)), 100, 0).astype(
        np.uint8
    )


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:size, :size].astype(np.float32)
    return x, y


@pytest.mark.parametrize(
    ("size", "apex", "near", "far", "degrees"),
    [
        (256, (127.5, -60), 70, 310, 24),
        (256, (127.5, -20), 40, 240, 32),
        (256, (127.5, -40), 45, 210, 40),
        (256, (120.0, 2), 3, 250, 25),  # phased array: the apex lies in the picture
        (128, (63.5, -60), 66, 180, 19),
        (64, (31.5, -20), 26, 80, 22),
    ],
)
def test_the_apex_and_the_edges_of_a_drawn_fan_are_found(size, apex, near, far, degrees) -> None:
    fan = find_beams(sector(size, apex, near, far, degrees))
    assert isinstance(fan, Fan)
    assert np.hypot(fan.apex[0] - apex[0], fan.apex[1] - apex[1]) < 3
    assert np.rad2deg([-fan.left, fan.right]) == pytest.approx([degrees, degrees], abs=0.7)
    assert (fan.near, fan.far) == pytest.approx((near, far), abs=5)


@pytest.mark.parametrize("index", range(4))
def test_the_phantoms_probe_is_found_in_its_picture(index) -> None:
    fetus = Fetus(Patient.draw(0, index))
    probe = Probe.of(fetus.patient, 192, 192)
    frame, _ = render(fetus, still_pose(fetus, "4CH", np.random.default_rng(index)), probe)
    fan = find_beams(frame)
    assert isinstance(fan, Fan)
    column, row = probe.face
    truth = column, row - probe.radius / probe.pixel
    assert np.hypot(fan.apex[0] - truth[0], fan.apex[1] - truth[1]) < 2.5
    assert fan.size[0] == pytest.approx(probe.depth / probe.pixel, abs=4)
    assert fan.right - fan.left == pytest.approx(probe.field_of_view, abs=math.radians(1.5))


def test_a_shadow_at_the_side_and_strays_outside_do_not_move_the_edge() -> None:
    frame = sector(256, (127.5, -40), 60, 270, 25)
    frame[60:110, :128] = 0
    frame[148:160, 15:21] = frame[20:23, 2:14] = 200
    fan = find_beams(frame)
    assert isinstance(fan, Fan)
    assert np.rad2deg([-fan.left, fan.right]) == pytest.approx([25, 25], abs=1)


@pytest.mark.parametrize("margin", [0, 20])
def test_beams_of_a_linear_probe_run_straight_down(margin) -> None:
    frame = np.zeros((96, 96), np.uint8)
    frame[margin:, margin : 96 - margin] = 120
    beams = find_beams(frame)
    assert isinstance(beams, Box)
    depth, across = beams.coordinates(*grid(96))
    np.testing.assert_allclose(depth[margin:, 48], np.arange(96 - margin) / (95 - margin), atol=1e-6)
    assert (across[0, margin], across[0, 95 - margin]) == (0, 1)


def test_depth_and_beam_follow_from_distance_and_angle() -> None:
    fan = Fan((50.0, -30.0), 40.0, 140.0, -0.5, 0.5)
    angle, distance = 0.25, 90.0
    x, y = 50 + distance * math.sin(angle), -30 + distance * math.cos(angle)
    depth, across = fan.coordinates(np.full((1, 1), x, np.float32), np.full((1, 1), y, np.float32))
    assert (depth[0, 0], across[0, 0]) == pytest.approx((0.5, 0.75), abs=1e-5)


def inside(frame: np.ndarray, window: Window) -> np.ndarray:
    """`interior` on a grid as fine as the view."""
    return interior(find_beams(frame), window, window.size)


def test_the_interior_holds_dark_fluid_but_neither_the_outside_nor_the_border() -> None:
    frame = sector(128, (63.5, -30), 40, 150, 24)
    truth = frame > 0
    frame[60:80, 50:80] = 0
    held = inside(frame, Window(frame.shape, 128, 0, 0, 128, 128))
    assert held[70, 64] == 1
    assert held[~truth].max() == 0


@pytest.mark.parametrize("degrees", range(0, 45, 4))
def test_the_interior_ends_where_the_frame_ends_but_not_where_the_view_does(degrees) -> None:
    frame = np.full((96, 96), 100, np.uint8)
    part, turned = Window(frame.shape, 96, 20, 20, 48, 48, degrees), Window(frame.shape, 96, 0, 0, 96, 96, degrees)
    assert inside(frame, part).min() == 1
    held = inside(frame, turned)
    assert held[48, 48] == 1
    assert held[turned.view(frame) == 0].max(initial=0) == 0


def test_a_frame_that_was_seen_is_not_searched_again_and_no_other_is_taken_for_it(monkeypatch) -> None:
    searched = []
    monkeypatch.setattr(module, "_known", {})
    monkeypatch.setattr(module, "_MOST_KNOWN", 2)
    monkeypatch.setattr(module, "_search", lambda rows, step: searched.append(step) or len(searched))
    one, other, third = (np.full((80, 70), grey, np.uint8) for grey in (1, 2, 3))
    assert [find_beams(frame) for frame in (one, other, one.copy(), one.T, third, one)] == [1, 2, 1, 3, 4, 5]
    assert len(module._known) <= 2


@settings(max_examples=60)
@given(frame=hnp.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70))), size=st.integers(1, 70))
def test_every_picture_that_is_not_black_has_beams(frame, size) -> None:
    beams = find_beams(frame)
    if beams is None:
        assert cv2.medianBlur(frame, 3).max() <= 6
        return
    depth, across = beams.coordinates(*Window(frame.shape, size, 0, 0, *frame.shape).places(size))
    for part in (depth, across, interior(beams, Window(frame.shape, size, 0, 0, *frame.shape), size)):
        assert part.shape == (size, size)
        assert part.min() >= 0
        assert part.max() <= 1
