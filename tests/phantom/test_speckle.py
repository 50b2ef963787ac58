"""Speckle has the statistics of ultrasound and stays in the tissue."""

from __future__ import annotations

import numpy as np
import pytest

from sonolearn_phantom import Fetus
from sonolearn_phantom.picture import blurred, scatterers
from sonolearn_phantom.solids import Array


def block(height: float = 0.0, size: int = 320) -> Array:
    """A flat grid of points with a spacing of 0.3 mm at a height z."""
    x, y = np.meshgrid(np.arange(size) * 0.3, np.arange(size) * 0.3)
    return np.stack([x, y, np.full_like(x, height)]).astype(np.float32)


def test_envelope_of_even_tissue_is_rayleigh_at_every_depth(fetus: Fetus) -> None:
    real, imaginary = blurred(fetus.patient, 40.0, 96.0, 1.2, scatterers(block()))
    envelope = np.hypot(real, imaginary)
    assert envelope.mean() / envelope.std() == pytest.approx(1.91, abs=0.08)
    power = (envelope**2).reshape(8, 40, -1).mean((1, 2))
    np.testing.assert_allclose(power, 1, atol=0.2)


def test_texture_belongs_to_the_tissue_and_not_to_the_picture() -> None:
    first, moved = scatterers(block()), scatterers(block()[:, 7:, 11:])
    np.testing.assert_array_equal(first[7:, 11:], moved)


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 1.0, 1.0), (0.1, 0.9, 1.0), (3.0, -0.1, 0.1)])
def test_texture_changes_gradually_along_the_body(shift: float, low: float, high: float) -> None:
    a, b = (scatterers(block(2.0 + z)).ravel() for z in (0, shift))
    assert low - 1e-6 <= np.corrcoef(a, b)[0, 1] <= high + 1e-6


def test_texture_does_not_repeat() -> None:
    values = scatterers(block())[..., 0]
    spectrum = np.abs(np.fft.fft2(values)) ** 2
    correlation = np.fft.ifft2(spectrum).real
    correlation[:3, :3] = correlation[-2:, :3] = correlation[:3, -2:] = correlation[-2:, -2:] = 0
    assert correlation.max() < 0.2 * (values**2).sum()
