"""Filling changes marked pixels only, fills what is even well, and is OpenCV's filling of the whole picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoes import block, polar, tissue
from sonolearn.cleaning.marks import Method, boxes_of, inpaint, inpaint_alike

SPECKLE = tissue(polar(120, 160, 30, 110, 0.6), 1)[0]
METHODS: dict[Method, int] = {"telea": cv2.INPAINT_TELEA, "navier_stokes": cv2.INPAINT_NS}


def cross(x: int, y: int, value: int = 1) -> np.ndarray:
    marks = np.zeros(SPECKLE.shape, np.uint8)
    cv2.drawMarker(marks, (x, y), value, cv2.MARKER_CROSS, 11, 2)
    return marks


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(-3, 165), st.integers(-3, 125)), max_size=5), st.sampled_from(sorted(METHODS)))
def test_pixels_that_are_not_marked_stay_as_they_are(places: list[tuple[int, int]], method: Method) -> None:
    marks = np.zeros(SPECKLE.shape, np.uint8)
    for x, y in places:
        marks |= cross(x, y)
    before = SPECKLE.copy()
    filled = inpaint(SPECKLE, marks, method)
    assert np.array_equal(filled[marks == 0], SPECKLE[marks == 0])
    assert np.array_equal(SPECKLE, before)
    assert filled.dtype == np.uint8


@pytest.mark.parametrize("method", METHODS)
def test_a_mark_on_a_ramp_is_filled_with_the_ramp(method: Method) -> None:
    ramp = np.broadcast_to(np.linspace(20, 220, 160), (120, 160)).astype(np.uint8)
    marks = cross(70, 60)
    written = np.where(marks > 0, 255, ramp).astype(np.uint8)
    assert np.abs(inpaint(written, marks, method).astype(int) - ramp).max() <= 6


@pytest.mark.parametrize("method", METHODS)
def test_a_mark_on_one_grey_is_filled_with_that_grey(method: Method) -> None:
    marks = cross(2, 3) | cross(100, 60)
    written = np.where(marks > 0, 255, 90).astype(np.uint8)
    assert np.abs(inpaint(written, marks, method).astype(int) - 90).max() <= 2


@pytest.mark.parametrize("method", METHODS)
def test_filling_by_boxes_is_filling_the_whole_picture(method: Method) -> None:
    marks = cross(60, 70) | cross(66, 74) | cross(100, 90) | cross(0, 119)
    expected = cv2.inpaint(SPECKLE, marks, 3, METHODS[method]).astype(int)
    difference = np.abs(inpaint(SPECKLE, marks, method).astype(int) - expected)
    # The order in which pixels are filled may differ where marks lie near each other.
    assert difference.max() <= 3
    assert difference.mean() < 0.01


def test_boxes_hold_all_marks_with_a_margin_and_little_else() -> None:
    marks = cross(30, 40) | cross(100, 60)
    inside = np.zeros(marks.shape, bool)
    for box in boxes_of(marks):
        inside[box] = True
    near = cv2.dilate(marks, np.ones((9, 9), np.uint8)) > 0
    assert inside[near].all()
    assert inside.sum() < 0.15 * inside.size


def test_everything_marked_or_nothing_is_no_fault() -> None:
    assert np.array_equal(inpaint(SPECKLE, np.zeros_like(SPECKLE)), SPECKLE)
    assert inpaint(SPECKLE, np.ones_like(SPECKLE)).shape == SPECKLE.shape
    assert boxes_of(block(9, 9, 0, 0, 0, 0).astype(np.uint8)) == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_frames_with_the_same_marks_are_filled_as_if_alone(count: int, method: Method) -> None:
    frames = list(tissue(polar(120, 160, 30, 110, 0.6), count, seed=1))
    marks = cross(80, 60) | cross(90, 90)
    expected = [cv2.inpaint(frame, marks, 3, METHODS[method]) for frame in frames]
    found = inpaint_alike(frames, marks, method)
    assert len(found) == count
    for frame, one, alone in zip(frames, found, expected, strict=True):
        assert np.array_equal(one, inpaint(frame, marks, method))
        assert np.abs(one.astype(int) - alone).max() <= 1  # whole pictures are filled in another order


def test_three_frames_with_the_same_marks_cost_one_call_a_box(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []

    def counted(grey: np.ndarray, *rest: object, real: object = cv2.inpaint) -> np.ndarray:
        calls.append(grey.shape)
        return real(grey, *rest)  # type: ignore[operator]

    monkeypatch.setattr(cv2, "inpaint", counted)
    marks = cross(40, 60) | cross(120, 60)
    inpaint_alike(list(tissue(polar(120, 160, 30, 110, 0.6), 3)), marks)
    assert len(calls) == len(boxes_of(marks)) == 2


def test_marks_are_filled_from_the_sector_alone() -> None:
    grey = np.full((40, 60), 50, np.uint8)
    grey[:, 30:] = 255  # letters beside the picture
    sector = np.zeros((40, 60), np.uint8)
    sector[:, :30] = 255
    marks = np.zeros((40, 60), np.uint8)
    marks[10:20, 24:30] = 1
    filled = inpaint(grey, marks, sector=sector)
    assert np.abs(filled[:, :30].astype(int) - 50).max() <= 3
    assert (filled[:, 30:] == 255).all()
