"""Outlines fitted to masks that were drawn pixel by pixel from polar coordinates and half planes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from echoes import Mask, iou, polar
from sonolearn.cleaning.shapes import Shape, fit_shape, rectangle

HEIGHT, WIDTH = 330, 384
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH].astype(float)
QUICK = settings(
    max_examples=12, derandomize=True, suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip


def fan(near: float, far: float, half: float, axis: float = 0.0) -> Mask:
    return polar(HEIGHT, WIDTH, near, far, half, axis)


def inside(corners: list[tuple[float, float]]) -> Mask:
    """The pixels on the right hand of all sides of a convex polygon, whose corners go clockwise on the screen."""
    within = np.ones((HEIGHT, WIDTH), bool)
    for (x, y), (u, v) in zip(corners, corners[1:] + corners[:1], strict=True):
        within &= (u - x) * (ROWS - y) - (v - y) * (COLUMNS - x) >= 0
    return within


def fitted(mask: Mask) -> Shape:
    return fit_shape(mask.astype(np.uint8))


def agreement(mask: Mask) -> float:
    return iou(fitted(mask).draw(HEIGHT, WIDTH), mask)


turns = st.floats(-math.pi, math.pi)
"""Upside down and lying pictures, too."""


@QUICK
@given(st.floats(0.25, 0.55), st.floats(200, 280), st.floats(0.35, 0.6), turns)
def test_a_convex_fan_is_found_at_any_angle(near: float, far: float, half: float, axis: float) -> None:
    assert agreement(fan(near * far, far, half, axis)) >= 0.98


@QUICK
@given(st.floats(0, 0.08), st.floats(180, 240), st.floats(0.35, 0.75), turns)
def test_a_phased_fan_is_found_at_any_angle(near: float, far: float, half: float, axis: float) -> None:
    assert agreement(fan(near * far, far, half, axis)) >= 0.98


@pytest.mark.parametrize("name", ["left", "right", "bottom", "top"])
def test_a_fan_that_a_window_cuts_off_is_cut_off_there(name: str) -> None:
    mask = fan(80, 250, 0.6)
    reached = mask.nonzero()
    cut = {
        "left": np.s_[:, : reached[1].min() + 35], "right": np.s_[:, reached[1].max() - 35 :],
        "bottom": np.s_[reached[0].max() - 25 :], "top": np.s_[: reached[0].min() + 15],
    }[name]  # fmt: skip
    mask[cut] = False
    shape = fitted(mask)
    assert iou(shape.draw(HEIGHT, WIDTH), mask) >= 0.98
    assert not shape.draw(HEIGHT, WIDTH)[cut].any()


@QUICK
@given(st.integers(0, 60), st.integers(0, 60), st.integers(120, 300), st.integers(100, 260))
def test_a_rectangle_is_found(left: int, top: int, wide: int, tall: int) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + tall, left : left + wide] = True
    assert agreement(mask) >= 0.98


@QUICK
@given(st.floats(-90, 90), st.floats(150, 230), st.floats(160, 260))
def test_a_steered_linear_picture_is_found(shift: float, wide: float, tall: float) -> None:
    x, y = (WIDTH - wide - shift) / 2, (HEIGHT - tall) / 2
    mask = inside([(x, y), (x + wide, y), (x + wide + shift, y + tall), (x + shift, y + tall)])
    assert agreement(mask) >= 0.95


@QUICK
@given(turns)
def test_a_turned_rectangle_is_found(turn: float) -> None:
    away = np.array([(-120, -80), (120, -80), (120, 80), (-120, 80)])
    turned = away @ [(math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))] + (WIDTH / 2, HEIGHT / 2)
    assert agreement(inside([(x, y) for x, y in turned.tolist()])) >= 0.98


def test_black_corners_and_shadows_do_not_move_the_outline() -> None:
    mask = fan(80, 270, 0.55)
    rows, columns = mask.nonzero()
    depth, aside = ROWS - rows.min(), np.abs(COLUMNS - WIDTH / 2) / (columns.max() - columns.min())
    lit = mask & ~((depth > 150) & (aside > 0.4))  # both deep corners are too dark for echoes
    lit &= ~((np.abs(depth - 110) < 15) & (aside < 0.1))  # fluid
    assert iou(lit, mask) < 0.95
    assert iou(fitted(lit).draw(HEIGHT, WIDTH), mask) >= 0.98


def test_two_pictures_cost_more_than_one_and_a_shadow_in_one_is_no_misfit() -> None:
    one, two = fan(80, 270, 0.5), np.zeros((HEIGHT, WIDTH), bool)
    two[30:200, 10:180] = True
    two[150:320, 200:370] = True
    shadowed = one & ~((np.abs(COLUMNS - WIDTH / 2 - 15) < 12) & (ROWS > 150))
    assert fitted(one).cost < 0.01 < 0.05 < fitted(two).cost
    assert fitted(shadowed).cost > 0.02 > fitted(shadowed).misfit


@QUICK
@given(st.floats(20, 80), st.floats(150, 230), st.floats(0.3, 0.7), turns)
def test_a_drawn_outline_holds_the_pixels_whose_middle_is_inside(
    near: float, far: float, half: float, axis: float
) -> None:
    angles = axis + np.linspace(-half, half, 99)
    beams = np.stack([np.sin(angles), np.cos(angles)], 1)
    outline = np.concatenate([near * beams, far * beams[::-1]])
    middle = (outline.max(axis=0) + outline.min(axis=0)) / 2
    shape = Shape(
        "fan", outline - middle + np.array([WIDTH / 2, HEIGHT / 2]), (-math.inf, -math.inf, math.inf, math.inf)
    )
    assert iou(shape.draw(HEIGHT, WIDTH), fan(near, far, half, axis)) >= 0.985


def ring(x: int, y: int, near: float, far: float, turn: float) -> Shape:
    """Nearly a half ring, cut off on two sides."""
    angles = turn + np.linspace(-0.9, 0.9, 20)
    beams = np.stack([np.sin(angles), np.cos(angles)], 1)
    outline = np.concatenate([near * beams, far * beams[::-1]]) + np.array([x, y])
    return Shape("hull", outline, (x - 40.0, y - 45.0, x + 44.0, y + 50.0))


shapes = st.builds(ring, st.integers(60, 100), st.integers(60, 90), st.floats(10, 20), st.floats(30, 60), turns)


@QUICK
@given(shapes, st.integers(-8, 30), st.integers(-8, 30))
def test_moving_a_shape_moves_its_drawing(shape: Shape, x: int, y: int) -> None:
    # Not exactly: corners are rounded to parts of a pixel.
    moved, drawn = shape.moved(x, y).draw(HEIGHT, WIDTH), shape.draw(HEIGHT, WIDTH)
    assert iou(moved, np.roll(drawn, (y, x), axis=(0, 1))) > 0.995


@QUICK
@given(shapes, st.sampled_from([3, 5]))
def test_a_scaled_shape_is_the_same_at_the_pixels_middles(shape: Shape, factor: int) -> None:
    larger = shape.scaled(factor).draw(HEIGHT * factor, WIDTH * factor)
    assert iou(larger[factor // 2 :: factor, factor // 2 :: factor], shape.draw(HEIGHT, WIDTH)) > 0.97
    assert shape.scaled(factor).area() == pytest.approx(factor**2 * shape.area(), rel=1e-4)


def test_the_area_is_that_of_the_polygon() -> None:
    assert rectangle(10, 20, 111, 71).area() == pytest.approx(100 * 50)


def test_a_rectangle_excludes_its_ends() -> None:
    drawn = rectangle(10, 20, 13, 22).draw(30, 30)
    assert np.argwhere(drawn).tolist() == [[20, 10], [20, 11], [20, 12], [21, 10], [21, 11], [21, 12]]


@pytest.mark.parametrize("pixels", [[(5, 7)], [(5, 7), (5, 8)], [(0, 0), (329, 383)]])
def test_hardly_any_echoes_still_have_an_outline(pixels: list[tuple[int, int]]) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[tuple(np.transpose(pixels))] = True
    assert fitted(mask).draw(HEIGHT, WIDTH)[mask].all()
