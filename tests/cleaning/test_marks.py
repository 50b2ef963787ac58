"""Marks drawn on moving speckle are found to their rims; echoes, however bright, are none."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoes import Mask, Pixels, block, polar, tissue
from sonolearn.cleaning.marks import coloured_marks, grown, level_of, still_marks, stroke_marks, words

HEIGHT, WIDTH = 480, 640
FAN = polar(HEIGHT, WIDTH, 90, 420, 0.6)
INSIDE = FAN * np.uint8(255)
LIVE = tissue(FAN, 24)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def crosses(ink: Pixels) -> None:
    for place in ((290, 250), (370, 300)):
        cv2.drawMarker(ink, place, 255, cv2.MARKER_CROSS, 15, 2)


def text(ink: Pixels) -> None:
    cv2.putText(ink, "LVOT 12 mm", (250, 360), FONT, 0.7, 255, 2, cv2.LINE_AA)


def arrow(ink: Pixels) -> None:
    cv2.arrowedLine(ink, (390, 190), (350, 220), 255, 2, cv2.LINE_AA)


def dots(ink: Pixels) -> None:
    for step in range(12):
        cv2.circle(ink, (260 + 10 * step, 240 + 3 * step), 1, 255, -1)


def trace(ink: Pixels) -> None:
    cv2.ellipse(ink, (320, 270), (60, 40), 15, 0, 360, 255, 1, cv2.LINE_AA)


DRAWN = [crosses, text, arrow, dots, trace]


def marked(frames: Pixels, *draw: Callable[[Pixels], None], grey: int = 255) -> tuple[Pixels, Mask]:
    """Frames with something drawn on them in one grey, and its pixels with their smooth rims."""
    ink = np.zeros(frames.shape[1:], np.uint8)
    for one in draw:
        one(ink)
    shown = frames + (grey - frames.astype(float)) * (ink / 255)
    return shown.round().astype(np.uint8), ink > 0


def shares(found: Pixels, drawn: Mask) -> tuple[float, float]:
    """Share of the drawn pixels that were found, and of the clean ones inside the fan that were touched."""
    return float((found > 0)[drawn].mean()), float((found > 0)[FAN & ~drawn].mean())


@pytest.mark.parametrize("draw", DRAWN)
def test_what_is_drawn_on_moving_tissue_is_found(draw: Callable[[Pixels], None]) -> None:
    frames, drawn = marked(LIVE, draw)
    hit, touched = shares(still_marks(frames, INSIDE), drawn)
    assert hit >= 0.95
    assert touched <= 0.01


def test_all_of_it_at_once_in_a_paler_grey() -> None:
    frames, drawn = marked(LIVE, *DRAWN, grey=235)
    hit, touched = shares(still_marks(frames, INSIDE), drawn)
    assert hit >= 0.95
    assert touched <= 0.01


def test_a_box_behind_results_is_found_whole() -> None:
    frames, _ = marked(LIVE)
    box = block(HEIGHT, WIDTH, 250, 300, 400, 340)
    frames[:, box] = 60
    frames, _ = marked(frames, lambda ink: cv2.putText(ink, "BPD 52 mm", (258, 328), FONT, 0.7, 255, 2))
    hit, touched = shares(still_marks(frames, INSIDE), box)
    assert hit >= 0.95
    assert touched <= 0.01


def bright_bands(frames: Pixels) -> Pixels:
    """Bright smooth echoes such as bone, which move as the tissue does."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    bands = []
    for n in range(len(frames)):
        away = np.hypot((columns - 320 - 2 * n) / 1.3, rows - 260 - 2 * n) - 70
        bands.append(
            np.clip(frames[n] * (1 + 2 * np.exp(-(away**2) / 40)) + 60 * np.exp(-(away**2) / 40), 0, 255) * FAN
        )
    return np.stack(bands).astype(np.uint8)


def test_nothing_is_drawn_on_moving_speckle_and_on_bright_smooth_echoes() -> None:
    assert not still_marks(LIVE, INSIDE).any()
    assert (still_marks(bright_bands(LIVE), INSIDE) > 0)[FAN].mean() < 0.001


def test_tissue_that_rests_near_the_probe_is_not_drawn() -> None:
    """Bright layers that all but stand still, over tissue that moves: they are as still as what lies between them."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(3).normal(0, 4, LIVE.shape)
    layers = 120 + 60 * np.sin(rows / 2.5 + 0.4 * np.sin(columns / 30)) + noise
    frames = np.where((rows < 200) & FAN, layers, LIVE).clip(0, 255).astype(np.uint8)
    assert (still_marks(frames, INSIDE) > 0)[FAN].mean() < 0.0035


def test_where_nothing_moves_standing_still_means_nothing() -> None:
    frames, _ = marked(LIVE[:1].repeat(12, axis=0), crosses)
    assert not still_marks(frames, INSIDE).any()


def test_outside_the_sector_nothing_is_a_mark() -> None:
    frames = LIVE.copy()
    for frame in frames:
        cv2.putText(frame, "Gain 40", (5, 400), FONT, 0.7, 255, 2)
    assert not still_marks(frames, INSIDE)[~FAN].any()
    assert not stroke_marks(frames[0], INSIDE)[~FAN].any()
    assert not still_marks(frames, np.zeros_like(INSIDE)).any()


@pytest.mark.parametrize("gain", [1.0, 0.4])
def test_callipers_on_a_still_are_found(gain: float) -> None:
    frames, drawn = marked((LIVE[:1] * gain).astype(np.uint8), crosses)
    hit, touched = shares(stroke_marks(frames[0], INSIDE), drawn)
    assert hit >= 0.95
    assert touched <= 0.01


@pytest.mark.parametrize("gain", [1.0, 0.4])
def test_smooth_letters_on_a_still_are_found(gain: float) -> None:
    frames, drawn = marked((LIVE[:1] * gain).astype(np.uint8), text)
    assert shares(stroke_marks(frames[0], INSIDE), drawn)[0] >= 0.8


def test_on_a_still_speckle_and_bright_smooth_echoes_are_no_strokes() -> None:
    assert not stroke_marks(LIVE[0], INSIDE).any()
    assert (stroke_marks(bright_bands(LIVE[:1])[0], INSIDE) > 0)[FAN].mean() < 0.005  # saturated grains


def test_colour_at_half_the_size_covers_the_pixels_that_were_drawn() -> None:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.drawMarker(drawn, (300, 250), 1, cv2.MARKER_CROSS, 21, 2)
    assert np.array_equal(coloured_marks(drawn, INSIDE), drawn)
    found = coloured_marks(cv2.resize(drawn, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), INSIDE)
    found |= coloured_marks(np.maximum.reduce([drawn[i::2, j::2] for i in (0, 1) for j in (0, 1)]), INSIDE)
    assert found[drawn > 0].all()
    assert found.sum() < 4 * drawn.sum()
    assert not coloured_marks(np.ones((HEIGHT, WIDTH), np.uint8), INSIDE)[~FAN].any()


def test_growing_takes_the_rim_next_to_a_mark_and_no_other() -> None:
    core, rim = np.zeros((9, 9), np.uint8), np.ones((9, 9), np.uint8)
    core[4, 4] = 1
    assert np.argwhere(grown(core, rim, rim)).tolist() == [[r, c] for r in (3, 4, 5) for c in (3, 4, 5)]
    assert np.argwhere(grown(core, core, rim)).tolist() == [[4, 4]]
    assert not grown(core, rim, 1 - core)[4, 4]


def test_letters_side_by_side_are_words_and_crosses_and_arrows_are_none() -> None:
    marks = np.zeros((HEIGHT, WIDTH), np.uint8)
    crosses(marks)
    arrow(marks)
    assert words(marks) == []
    for row in (100, 200):
        cv2.putText(marks, "A P E X", (60, row), FONT, 0.9, 255, 2)
    assert sorted(y + tall for _, y, _, tall in words(marks)) == [100, 200]


@pytest.mark.parametrize("wide", [4, 6, 20])
def test_a_grain_is_no_word_however_wide(wide: int) -> None:
    marks = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(marks, (300, 250), (wide, wide // 2), 0, 0, 360, 1, -1)
    assert words(marks) == []


@pytest.mark.parametrize("rim", [1, 3])
@pytest.mark.parametrize("word", ["ANNA", "Zoe", "Kaya", "4CH", "12.4 mm", "15.03.2021"])
def test_letters_are_a_word_with_their_rims_and_without(word: str, rim: int) -> None:
    marks = np.zeros((HEIGHT, WIDTH), np.uint8)
    (wide, tall), _ = cv2.getTextSize(word, FONT, 0.6, 1)
    cv2.putText(marks, word, (200, 250), FONT, 0.6, 1, 1)
    found = words(cv2.dilate(marks, np.ones((rim, rim), np.uint8)))
    assert min(x for x, *_ in found) < 205
    assert max(x + w for x, _, w, _ in found) > 195 + wide
    assert max(y + h for _, y, _, h in found) >= 250 > min(y for _, y, *_ in found) > 245 - tall


@given(st.binary(min_size=1, max_size=300), st.sampled_from([0.0, 0.45, 0.5, 0.95, 1.0]))
def test_a_level_is_the_percentile_to_the_last_bit(greys: bytes, share: float) -> None:
    values = np.frombuffer(greys, np.uint8)
    assert level_of(values, share) == np.quantile(values, share)


def test_no_pixels_have_no_level() -> None:
    assert np.isnan(level_of(np.empty(0, np.uint8), 0.5))
