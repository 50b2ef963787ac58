"""Rotation against scipy's; crops stand in test_views."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sonolearn.ssl.views.geometry import rotate

SIZES = [(64, 64), (63, 95), (80, 41)]


def frame(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (127 + 60 * np.sin(x / 9) + 50 * np.cos(y / 7 + x / 30)).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("degrees", [-180, -90, -33.3, -10, -1, 0, 0.5, 7, 45, 90, 170])
def test_rotation_is_scipys(size, degrees) -> None:
    original = frame(*size)
    theirs = ndimage.rotate(original.astype(float), degrees, reshape=False, order=1, mode="grid-constant", cval=0)
    ours = rotate(original, degrees).astype(float)
    # OpenCV may place pixels to 1/32: a level or two inside, 8 where the picture falls to 0 at its edge.
    assert np.abs(ours - theirs).max() <= 9
    assert np.mean(np.abs(ours - theirs) <= 1.01) > 0.97


@pytest.mark.parametrize("size", SIZES)
def test_no_and_half_a_turn_are_exact(size) -> None:
    original = frame(*size)
    assert np.array_equal(rotate(original, 0), original)
    assert np.array_equal(rotate(original, 180), original[::-1, ::-1])


@pytest.mark.parametrize("side", [40, 41])
def test_a_quarter_turn_goes_counter_clockwise(side) -> None:
    original = frame(side, side)
    assert np.array_equal(rotate(original, 90), np.rot90(original))
    assert np.array_equal(rotate(original, -90), np.rot90(original, -1))


def test_what_comes_in_from_outside_is_black() -> None:
    turned = rotate(np.full((50, 50), 200, dtype=np.uint8), 45)
    assert turned[0, 0] == turned[0, -1] == turned[-1, 0] == turned[-1, -1] == 0
    assert np.all(turned[18:32, 18:32] == 200)


def test_turning_there_and_back_keeps_the_middle() -> None:
    original = frame(81, 81)
    back = rotate(rotate(original, 20), -20)
    middle = slice(25, 56)
    assert np.abs(back[middle, middle].astype(int) - original[middle, middle]).max() <= 3


@settings(max_examples=100)
@given(height=st.integers(1, 40), width=st.integers(1, 40), degrees=st.floats(-360, 360))
def test_any_frame_keeps_its_shape_and_is_not_changed(height, width, degrees) -> None:
    original = frame(height, width)
    turned = rotate(original, degrees)
    assert turned.shape == (height, width)
    assert turned.dtype == np.uint8
    assert np.array_equal(original, frame(height, width))
