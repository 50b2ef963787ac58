"""Blur, erasing and solarisation; jitter stands in test_views."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torchvision.transforms.v2 import functional as tv

from sonolearn.ssl.views.plain import blur, erase, solarize

SCALE, RATIO = (0.05, 0.3), (0.3, 3.3)


def speckle(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(120, 20, (height, width)), 0, 255).astype(np.uint8)


def box(different: np.ndarray) -> tuple[slice, slice]:
    """The smallest rectangle around what is true."""
    rows, columns = np.flatnonzero(different.any(axis=1)), np.flatnonzero(different.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def test_solarize_is_torchvisions() -> None:
    view = np.arange(256, dtype=np.uint8).reshape(8, 32)
    assert np.array_equal(solarize(view), tv.solarize(torch.from_numpy(view).unsqueeze(0), 128)[0].numpy())


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("shape", [(40, 60), (1, 1), (3, 50)])
def test_blur_is_scipys(sigma, shape) -> None:
    view = speckle(*shape)
    theirs = ndimage.gaussian_filter(view.astype(float), sigma, mode="mirror", radius=round(3 * sigma))
    assert np.abs(blur(view, sigma) - theirs).max() <= 0.51


@pytest.mark.parametrize("seed", range(60))
def test_a_rectangle_of_noise_replaces_a_part_and_nothing_else(seed) -> None:
    view = speckle(90, 120)
    original = view.copy()
    erased = erase(view, SCALE, RATIO, np.random.default_rng(seed))
    assert np.array_equal(view, original), "the view itself is not changed"
    assert erased.dtype == np.uint8
    different = erased != view
    rows, columns = box(different)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    # Two draws of the same noise agree in about 1.4 % of the pixels, never all along an edge; sides are rounded.
    assert different[rows, columns].mean() > 0.95
    assert SCALE[0] * 0.95 <= height * width / view.size <= SCALE[1] * 1.05
    assert RATIO[0] * 0.95 <= height / width <= RATIO[1] * 1.05
    noise = erased[rows, columns].astype(float)
    error = view.std() / math.sqrt(noise.size)
    assert noise.mean() == pytest.approx(view.mean(), abs=4.5 * error)
    assert noise.std() == pytest.approx(view.std(), rel=4.5 / math.sqrt(2 * noise.size))


def test_noise_has_the_mean_and_deviation_of_the_view() -> None:
    view, rng = speckle(128, 128), np.random.default_rng(1)
    parts = []
    for _ in range(200):
        erased = erase(view, SCALE, RATIO, rng)
        parts.append(erased[box(erased != view)].astype(float).ravel())
    noise = np.concatenate(parts)
    assert noise.mean() == pytest.approx(view.mean(), abs=0.2)
    assert noise.std() == pytest.approx(view.std(), abs=0.2)


def test_rectangles_reach_all_over_the_view_and_use_the_whole_range_of_areas() -> None:
    view, rng = speckle(64, 64), np.random.default_rng(2)
    touched, shares = np.zeros(view.shape, dtype=int), []
    for _ in range(400):
        different = erase(view, SCALE, RATIO, rng) != view
        touched += different
        rows, columns = box(different)
        shares.append((rows.stop - rows.start) * (columns.stop - columns.start) / view.size)
    assert touched[2:-2, 2:-2].min() > 0
    assert all(edge.any() for edge in (touched[0], touched[-1], touched[:, 0], touched[:, -1]))
    assert min(shares) < 0.07
    assert max(shares) > 0.27
    assert np.mean(shares) == pytest.approx(np.mean(SCALE), abs=0.015), "areas are uniform"


def test_what_cannot_fit_leaves_the_view_unchanged() -> None:
    view = speckle(20, 20)
    assert np.array_equal(erase(view, (1.5, 2.0), (1.0, 1.0), np.random.default_rng(0)), view)


@settings(max_examples=200)
@given(height=st.integers(1, 12), width=st.integers(1, 12), seed=st.integers(0, 2**32), high=st.floats(0.02, 1))
def test_tiny_views_never_fail_and_the_seed_decides(height, width, seed, high) -> None:
    view = speckle(height, width, seed)
    original = view.copy()
    first, again = (erase(view, (0.01, high), RATIO, np.random.default_rng(seed)) for _ in range(2))
    assert first.shape == (height, width)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert np.array_equal(view, original)
