"""The box of the ultrasound picture: found among text and bars, by the machine's region where that can be right."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sonolearn.data.cleaning.sector import Sector, find_sector
from sonolearn.data.scans.find import open_scan
from sonolearn.data.scans.scan import Region

HEIGHT, WIDTH = 480, 640
BOX = (160, 90, 520, 430)


def screen(frames: int = 1, background: int = 0, seed: int = 0) -> np.ndarray:
    """A speckled fan in BOX, with a header bar, text, a ruler and a grey bar around it."""
    random = np.random.default_rng(seed)
    picture = np.full((frames, HEIGHT, WIDTH), background, np.uint8)
    fan = np.zeros((HEIGHT, WIDTH), np.uint8)
    corners = np.array([[300, 90], [380, 90], [519, 380], [440, 429], [240, 429], [160, 380]])
    cv2.fillConvexPoly(fan, corners, 1)
    for frame in picture:
        frame[:40] = 50
        cv2.putText(frame, "CLINIC 12:30 MI 0.9", (20, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 250, 2)
        for row in range(5):
            cv2.putText(frame, "Gain 40", (10, 100 + 20 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 220, 1)
        frame[80:300, 615:625] = np.linspace(255, 0, 220, dtype=np.uint8)[:, None]
        frame[90:430:20, 600:606] = 255
        echoes = np.clip(random.gamma(2, 30, fan.shape), 4, 255).astype(np.uint8)
        frame[fan > 0] = echoes[fan > 0]
    return picture


def agreement(box: Sector, expected: tuple[int, int, int, int] = BOX) -> float:
    """Intersection over union."""
    x0, y0, x1, y1 = expected
    inside = max(0, min(box.x1, x1) - max(box.x0, x0)) * max(0, min(box.y1, y1) - max(box.y0, y0))
    return inside / ((box.x1 - box.x0) * (box.y1 - box.y0) + (x1 - x0) * (y1 - y0) - inside)


def region(box: tuple[int, int, int, int], spatial: int = 1, data: int = 1) -> Region:
    return Region(spatial, data, *box, mm_per_px=0.3)


@pytest.mark.parametrize("frames", [1, 8])
@pytest.mark.parametrize("background", [0, 30])
def test_the_fan_is_found_among_text_and_bars(frames: int, background: int) -> None:
    box = find_sector(screen(frames, background))
    assert box.source == "image"
    assert agreement(box) > 0.9


def test_dark_depths_belong_to_the_picture() -> None:
    picture = screen(4).astype(np.float32)
    picture[:, 90:430, 160:520] *= np.linspace(1, 0.07, 340)[:, None]
    assert agreement(find_sector(picture.astype(np.uint8))) > 0.88


def test_a_still_panel_of_a_cine_is_left_out() -> None:
    picture = np.zeros((8, 300, 700), np.uint8)
    picture[:, 20:280, 20:280] = np.random.default_rng(0).integers(20, 200, (8, 260, 260))
    picture[:, 20:280, 400:680] = np.random.default_rng(1).integers(20, 200, (260, 280))
    assert agreement(find_sector(picture), (20, 20, 280, 280)) > 0.95


@pytest.mark.parametrize("value", [0, 90])
def test_nothing_to_see_keeps_the_whole_frame(value: int) -> None:
    box = find_sector(np.full((3, 100, 150), value, np.uint8))
    assert box == Sector(0, 0, 150, 100, "whole")


def test_the_machines_region_goes_first() -> None:
    box = find_sector(screen(), [region((20, 430, 600, 470), 3, 5), region((150, 80, 530, 440))])
    assert box == Sector(150, 80, 530, 440, "dicom", 0.3)


def test_of_two_regions_the_one_with_more_echoes() -> None:
    picture = screen()
    picture[:, :, :340] //= 40
    assert find_sector(picture, [region((160, 90, 340, 430)), region((340, 90, 520, 430))]).x0 == 340


@pytest.mark.parametrize(
    "wrong",
    [
        (150, 80, 900, 700),  # of another picture size
        (0, 445, 640, 480),  # nothing there
        (200, 200, 200, 300),  # empty
        (-10, 80, 500, 430),
        (500, 400, 160, 90),  # the wrong way round
    ],
)
def test_a_region_that_cannot_be_right_is_not_taken(wrong: tuple[int, int, int, int]) -> None:
    box = find_sector(screen(), [region(wrong)])
    assert box.source == "image"
    assert agreement(box) > 0.9


def test_a_region_of_the_whole_screen_gives_only_the_scale() -> None:
    box = find_sector(screen(), [region((0, 0, WIDTH + 1, HEIGHT))])
    assert agreement(box) > 0.9
    assert box.mm_per_px == 0.3


# Boxes that an early version found on real screens, looked at and corrected by eye: they guard against getting worse,
# and say nothing about screens that nobody looked at.
REAL = {
    "screens/clarius-ocular-short.mp4": (262, 82, 1018, 875),
    "screens/butterfly_axial-lateral-resolution-2020.png": (594, 14, 1326, 1080),
    "screens/interson-image-annotation.jpg": (386, 60, 907, 851),
    "dicom/sonoque_anechoic-3mm-3mm.dcm": (374, 90, 1735, 1416),
    "dicom/US1_UNCI.dcm": (0, 92, 638, 338),
    "lung_clips/Reg_pat1Image_133410.mpeg": (0, 0, 370, 362),
}


@pytest.mark.parametrize("name", REAL)
def test_real_screens(shared_data: object, name: str) -> None:
    from sonolearn.data.cleaning.clean import clean

    assert agreement(clean(open_scan(shared_data / name), 64, 5).sector, REAL[name]) > 0.9  # type: ignore[operator]
