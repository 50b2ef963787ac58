"""Colour is what departs from the tint of the grey levels; Doppler fills areas, and strokes and letters do not."""

from __future__ import annotations

from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray

from echoes import Pixels, block, iou, polar, tissue
from sonolearn.cleaning.colour import areas, find_tint

MASK = polar(240, 320, 40, 210, 0.6)
GREY = tissue(MASK, 1)[0]
INSIDE = MASK.astype(np.uint8)


def planes(rgb: NDArray[Any]) -> tuple[Pixels, Pixels]:
    """Luma and chroma (Cb, Cr) by OpenCV."""
    converted = cv2.cvtColor(rgb.astype(np.uint8), cv2.COLOR_RGB2YCrCb)
    return np.ascontiguousarray(converted[..., 0]), np.ascontiguousarray(converted[..., [2, 1]])


def shown_in(name: str, grey: Pixels = GREY) -> NDArray[Any]:
    """Grey levels in a colour map of Matplotlib; "sepia" and "blue" as machines tint them."""
    levels = np.arange(256)[:, None]
    table = {
        "sepia": np.clip(levels * [1.05, 0.95, 0.75], 0, 255),
        "blue": np.clip(levels * [0.8, 0.95, 1.15], 0, 255),
    }.get(name)
    return np.asarray((mpl.colormaps[name](np.arange(256))[:, :3] * 255 if table is None else table).round()[grey])


@pytest.mark.parametrize("name", ["sepia", "blue", "copper", "bone", "pink"])
def test_a_tint_is_the_colour_map_and_no_pixel_departs_from_it(name: str) -> None:
    luma, chroma = planes(shown_in(name))
    tint = find_tint(luma, chroma, INSIDE)
    for level in (level for level in range(30, 200, 10) if (MASK & (luma == level)).sum() > 200):
        expected = np.median(chroma[MASK & (luma == level)], axis=0)
        assert np.abs(tint.table[level] - expected).max() <= 5
    assert tint.strength > 3
    assert tint.colour(luma, chroma)[MASK].max() <= 15


def test_grey_has_no_tint() -> None:
    luma, chroma = planes(shown_in("gray"))
    tint = find_tint(luma, chroma, INSIDE)
    assert tint.strength == 0
    assert not tint.colour(luma, chroma).any()


@pytest.mark.parametrize("ink", [(230, 40, 40), (40, 200, 60), (255, 220, 0)])
@pytest.mark.parametrize("name", ["gray", "sepia", "blue"])
def test_a_drawn_colour_departs_from_the_tint(name: str, ink: tuple[int, int, int]) -> None:
    shown = shown_in(name)
    drawn = block(240, 320, 140, 100, 150, 110)
    shown[drawn] = ink
    luma, chroma = planes(shown)
    colour = find_tint(luma, chroma, INSIDE).colour(luma, chroma)
    assert (colour[drawn] > 40).all()
    assert colour[MASK & ~drawn].max() <= 15


def test_without_tint_colour_is_the_distance_from_grey() -> None:
    luma, chroma = planes(np.random.default_rng(0).integers(0, 256, (40, 50, 3)))
    tint = find_tint(GREY, np.full((*GREY.shape, 2), 128, np.uint8), INSIDE)
    assert np.array_equal(tint.colour(luma, chroma), np.abs(chroma.astype(int) - 128).max(axis=2))


def test_chroma_of_half_the_size_gives_colour_of_half_the_size() -> None:
    luma, chroma = planes(shown_in("sepia"))
    half = np.ascontiguousarray(chroma[::2, ::2])
    tint = find_tint(luma[::2, ::2], half, INSIDE[::2, ::2])
    colour = tint.colour(luma, half)
    assert colour.shape == (120, 160)
    assert np.mean(colour[MASK[::2, ::2]]) < 6


def test_a_few_frames_at_once_and_too_few_pixels() -> None:
    luma, chroma = planes(shown_in("sepia"))
    one, two = find_tint(luma, chroma, INSIDE), find_tint(np.stack([luma] * 2), np.stack([chroma] * 2), INSIDE)
    assert np.abs(one.table[30:150].astype(int) - two.table[30:150]).max() <= 2
    assert find_tint(luma, chroma, np.zeros_like(INSIDE)).strength == 0


def test_flow_is_an_area_and_strokes_and_letters_are_none() -> None:
    flow = np.zeros(MASK.shape, np.uint8)
    cv2.ellipse(flow, (160, 130), (30, 16), 20, 0, 360, 1, -1)
    coloured = flow.copy()
    cv2.putText(coloured, "LV 12", (130, 190), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1, 1)
    cv2.line(coloured, (120, 80), (200, 90), 1, 2)
    cv2.drawMarker(coloured, (120, 170), 1, cv2.MARKER_CROSS, 11, 2)
    found = areas(coloured, INSIDE)
    assert iou(found, flow) > 0.85
    assert not found[(coloured > 0) & (cv2.dilate(flow, np.ones((9, 9), np.uint8)) == 0)].any()


def test_a_colour_bar_outside_the_sector_is_no_area_of_it() -> None:
    bar = block(240, 320, 300, 20, 315, 200).astype(np.uint8)
    assert not areas(bar, INSIDE).any()


def test_no_colour_is_no_area() -> None:
    assert not areas(np.zeros_like(INSIDE), INSIDE).any()
