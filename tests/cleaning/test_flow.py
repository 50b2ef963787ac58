"""Which frames show colour Doppler: flow has many colours, ink has one, and a coloured box alone is enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from echoes import Pixels, polar, scan_of, tissue
from sonolearn.cleaning.examine import examine
from sonolearn.cleaning.grey import pieces
from sonolearn.config import CleaningConfig

MASK = polar(240, 320, 40, 210, 0.6)
GREY = tissue(MASK, 8)
GREEN = (60, 230, 90)
Draw = Callable[[Pixels], None]


def coloured(count: int, draw: Draw) -> list[Pixels]:
    """The first frames in RGB (240, 320, 3), with the same drawing on each."""
    frames = [np.repeat(frame[..., None], 3, axis=2) for frame in GREY[:count]]
    for frame in frames:
        draw(frame)
    return frames


def verdicts(frames: Sequence[Pixels]) -> list[str | None]:
    ((shots, _),) = pieces(scan_of(frames).frames())
    return list(examine(shots, (), None, CleaningConfig()).verdicts)


def little_flow(frame: Pixels) -> None:
    """Red to yellow, in a disc of under one per cent of the sector."""
    rows, columns = np.mgrid[:240, :320]
    away = np.hypot(columns - 160, rows - 140)
    inside = away < 8
    frame[inside] = np.stack([200 + 5 * away, 30 * away, 0 * away], axis=-1)[inside].clip(0, 255).astype(np.uint8)


def dot(frame: Pixels) -> None:
    cv2.circle(frame, (160, 140), 8, GREEN, -1)


def box(frame: Pixels) -> None:
    cv2.polylines(frame, [np.array([(120, 90), (200, 90), (215, 160), (105, 160)])], True, GREEN, 1)


def ellipse(frame: Pixels) -> None:
    cv2.ellipse(frame, (160, 130), (45, 35), 0, 0, 360, GREEN, 1)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_coloured_box_alone_is_doppler(count: int) -> None:
    assert verdicts(coloured(count, box)) == ["doppler"] * count


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("draw", [ellipse, dot])
def test_a_drawn_ellipse_and_a_dot_are_not(draw: Draw, count: int) -> None:
    assert "doppler" not in verdicts(coloured(count, draw))


def test_an_ecg_that_runs_through_a_cine_is_no_flow() -> None:
    frames = coloured(8, lambda frame: None)
    columns = np.arange(60, 260)
    for number, frame in enumerate(frames):
        beats = np.where((columns + 20 * number) % 50 < 3, 20, 0)
        cv2.polylines(frame, [np.stack([columns, 170 - beats], 1).astype(np.int32)], False, GREEN, 2)
    assert "doppler" not in verdicts(frames)


@pytest.mark.parametrize("count", [1, 3])
def test_a_little_flow_of_many_colours_is_doppler_in_few_frames(count: int) -> None:
    assert verdicts(coloured(count, little_flow)) == ["doppler"] * count


def test_the_dither_of_a_gif_is_neither_flow_nor_drawn() -> None:
    palette = Image.new("P", (1, 1))
    steps = range(0, 256, 85)
    palette.putpalette([value for r in steps for g in steps for b in steps for value in (r, g, b)])

    def dithered(frame: NDArray[np.uint8]) -> Pixels:
        sprinkled = frame.astype(int) + np.random.default_rng(0).integers(-40, 41, frame.shape) * MASK[..., None]
        return np.asarray(
            Image.fromarray(sprinkled.clip(0, 255).astype(np.uint8)).quantize(palette=palette).convert("RGB")
        )

    frames = [dithered(frame) for frame in coloured(3, lambda frame: None)]
    ((shots, _),) = pieces(scan_of(frames).frames())
    found = examine(shots, (), None, CleaningConfig())
    assert found.verdicts == [None] * 3
    assert sum(0 if marks is None else cv2.countNonZero(marks) for marks in found.marks) < 0.02 * 3 * MASK.sum()
