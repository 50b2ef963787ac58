"""A frozen frame repeats the one before but for compression and marks; a live one does not."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from echoes import polar, tissue
from media import write_video
from sonolearn.cleaning.examine import is_frozen
from sonolearn.scans.find import open_scan

FAN = polar(240, 320, 40, 210, 0.6)
MASK = FAN * np.uint8(255)
FIRST, SECOND = tissue(FAN, 2, pace=1)


def test_the_same_frame_again_is_frozen() -> None:
    assert is_frozen(FIRST, FIRST.copy(), MASK)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mpeg", "mpeg2video")])
def test_compression_does_not_make_a_frozen_frame_live(name: str, codec: str, tmp_path: Path) -> None:
    live = tissue(FAN, 8)
    file = write_video(tmp_path / name, np.concatenate([live, live[-1:].repeat(8, axis=0)]), codec)
    read = [frame.pixels for frame in open_scan(file).frames()]
    frozen = [is_frozen(before, now, MASK) for before, now in itertools.pairwise(read)]
    assert not any(frozen[:7])
    assert sum(frozen[8:]) >= 5  # the first may still be refined, and key frames are coded anew


def test_a_calliper_that_comes_does_not_make_a_frozen_frame_live() -> None:
    marked = FIRST.copy()
    for place in ((120, 120), (180, 140)):
        cv2.drawMarker(marked, place, 255, cv2.MARKER_CROSS, 13, 2)
    assert is_frozen(FIRST, marked, MASK)
    assert is_frozen(marked, FIRST, MASK)


def test_what_changes_outside_the_sector_does_not_count() -> None:
    clock = FIRST.copy()
    clock[:60, :100] = np.where(FAN[:60, :100], clock[:60, :100], 255)
    assert is_frozen(FIRST, clock, MASK)


def test_tissue_that_moves_by_a_pixel_is_live() -> None:
    assert not is_frozen(FIRST, SECOND, MASK)


def test_a_probe_at_rest_is_live_by_its_noise() -> None:
    noise = np.random.default_rng(0).normal(0, 6, FIRST.shape)
    now = np.where(FAN, np.clip(FIRST + noise, 0, 255), 0).astype(np.uint8)
    assert not is_frozen(FIRST, now, MASK)


def test_a_patch_that_moves_in_dark_fluid_is_live() -> None:
    still = (FIRST // 30).astype(np.uint8)
    before, now = still.copy(), still.copy()
    before[100:130, 140:170] = FIRST[100:130, 140:170]
    now[100:130, 140:170] = SECOND[100:130, 140:170]
    assert not is_frozen(before, now, MASK)


def test_a_heart_that_beats_in_a_chest_at_rest_is_live() -> None:
    now = FIRST.copy()
    now[100:150, 130:190] = SECOND[100:150, 130:190]
    assert 0.05 < (now != FIRST).sum() / FAN.sum() < 0.15
    assert not is_frozen(FIRST, now, MASK)


def test_without_echoes_only_equal_frames_are_frozen() -> None:
    black = np.zeros_like(FIRST)
    other = black.copy()
    other[100, 150] = 5
    assert is_frozen(black, black.copy(), MASK)
    assert not is_frozen(black, other, MASK)
