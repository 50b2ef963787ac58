"""Windows against scipy's rotation and interpolation; what torchvision has in common stands in test_views."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sonolearn.ssl.views.plain import Window

SIZES = [64, 63]


def frame(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (127 + 60 * np.sin(x / 9) + 50 * np.cos(y / 7 + x / 30)).astype(np.uint8)


def turned(original: np.ndarray, degrees: float) -> np.ndarray:
    """What a window of the whole of a square frame shows."""
    side = len(original)
    return Window(original.shape, side, 0, 0, side, side, degrees).view(original)


def scipys(original: np.ndarray, window: Window, finer: int = 1) -> np.ndarray:
    """The view by scipy's bilinear interpolation at `finer` x `finer` points a px; turned as complex numbers."""
    steps = (np.arange(window.size * finer) + 0.5) / (window.size * finer)
    x, y = window.left - 0.5 + steps * window.width, window.top - 0.5 + steps * window.height
    middle = complex(original.shape[1] - 1, original.shape[0] - 1) / 2
    place = middle + (x + 1j * y[:, None] - middle) * np.exp(1j * np.deg2rad(window.degrees))
    view = ndimage.map_coordinates(original.astype(float), [place.imag, place.real], order=1, mode="grid-constant")
    return view.reshape(window.size, finer, window.size, finer).mean(axis=(1, 3))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("degrees", [-180, -90, -33.3, -10, -1, 0, 0.5, 7, 45, 90, 170])
def test_rotation_is_scipys(size, degrees) -> None:
    original = frame(size, size)
    theirs = ndimage.rotate(original.astype(float), degrees, reshape=False, order=1, mode="grid-constant", cval=0)
    ours = turned(original, degrees).astype(float)
    # Some versions of OpenCV place pixels to 1/32: a level or two inside, 8 where the picture falls to 0 at its edge.
    assert np.abs(ours - theirs).max() <= 9
    assert np.mean(np.abs(ours - theirs) <= 1.01) > 0.97


@pytest.mark.parametrize("size", SIZES)
def test_no_and_half_a_turn_are_exact(size) -> None:
    original = frame(size, size)
    assert np.array_equal(turned(original, 0), original)
    assert np.array_equal(turned(original, 180), original[::-1, ::-1])


@pytest.mark.parametrize("side", [40, 41])
def test_a_quarter_turn_goes_counter_clockwise(side) -> None:
    original = frame(side, side)
    assert np.array_equal(turned(original, 90), np.rot90(original))
    assert np.array_equal(turned(original, -90), np.rot90(original, -1))


def test_what_comes_in_from_outside_is_black() -> None:
    view = turned(np.full((50, 50), 200, dtype=np.uint8), 45)
    assert view[0, 0] == view[0, -1] == view[-1, 0] == view[-1, -1] == 0
    assert np.all(view[18:32, 18:32] == 200)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize(
    "window",
    [
        Window((90, 130), 64, 10, 25, 60, 58, 12.0),
        Window((90, 130), 64, 0, 40, 75, 60, -15.0),
        Window((90, 130), 32, 20, 30, 35, 33, 5.0),
    ],
)
def test_a_turned_window_shows_its_part_of_the_turned_frame(window, kind) -> None:
    original = frame(90, 130)
    theirs, ours = scipys(original, window), window.view(original.astype(kind))
    assert ours.dtype == kind
    assert np.mean(np.abs(ours - theirs) <= 1.01) > 0.97
    assert np.abs(ours - theirs).max() <= 9


@pytest.mark.parametrize("size", [140, 72, 48])
def test_shrunk_and_turned_speckle_does_not_alias(size) -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (256, 256)).astype(np.uint8), (0, 0), 0.7)
    window = Window(noise.shape, size, 30, 20, 200, 190, 10.0)
    fine, coarse, ours = scipys(noise, window, 8), scipys(noise, window), window.view(noise)
    assert 0.7 * fine.std() < ours.std() < 1.02 * fine.std() < coarse.std()
    smooth = frame(256, 256)
    assert np.abs(window.view(smooth) - scipys(smooth, window, 8)).mean() < 1.2


@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_places_are_where_the_pixels_of_the_view_come_from(degrees) -> None:
    y, x = np.mgrid[:100, :120].astype(np.float32)
    window = Window(x.shape, 40, 30, 40, 40, 40, degrees)
    for places, coordinate in zip(window.places(40), (x, y), strict=True):
        np.testing.assert_allclose(places, window.view(coordinate), atol=0.02)
    np.testing.assert_allclose(
        window.places(10), window.places(40).reshape(2, 10, 4, 10, 4).mean(axis=(2, 4)), atol=1e-4
    )


@settings(max_examples=100)
@given(height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(1, 50), degrees=st.floats(-360, 360))
def test_any_frame_gives_a_view_of_the_size_and_is_not_changed(height, width, size, degrees) -> None:
    original = frame(height, width)
    view = Window(original.shape, size, 0, 0, height, width, degrees).view(original)
    assert view.shape == (size, size)
    assert view.dtype == np.uint8
    assert np.array_equal(original, frame(height, width))
