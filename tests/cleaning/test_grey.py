"""Scaling keeps the aspect, pads with black and averages."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sonolearn.cleaning.grey import fit, to_grey


@given(st.integers(1, 90), st.integers(1, 90), st.integers(16, 64))
def test_the_picture_is_centred_and_the_rest_is_black(height: int, width: int, size: int) -> None:
    square = fit(np.full((height, width), 200, np.uint8), size)
    ys, xs = np.flatnonzero(square.any(axis=1)), np.flatnonzero(square.any(axis=0))
    assert square.shape == (size, size)
    assert set(np.unique(square)) <= {0, 200}
    assert max(len(ys), len(xs)) == size
    assert abs(ys[0] - (size - 1 - ys[-1])) <= 1
    assert abs(xs[0] - (size - 1 - xs[-1])) <= 1
    assert abs(len(ys) * width - len(xs) * height) <= max(height, width)  # rounded to a px of the result


def test_shrinking_averages_areas() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (128, 128)).astype(np.uint8)
    expected = picture.reshape(32, 4, 32, 4).mean(axis=(1, 3))
    assert np.abs(fit(picture, 32) - expected).max() <= 0.51


def test_grey_is_the_luma_of_pillow() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    assert np.abs(to_grey(rgb).astype(int) - np.asarray(Image.fromarray(rgb).convert("L"))).max() <= 1
    assert to_grey(rgb[..., 0]) is not rgb
