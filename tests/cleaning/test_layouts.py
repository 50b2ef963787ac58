"""What a screen shows besides one picture: by the machine's regions, else by the number and place of the pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from echoes import Mask, block, polar, tissue
from sonolearn.cleaning.layouts import nothing, several
from sonolearn.cleaning.sector import Sector, find_sector
from sonolearn.scans.scan import Region

HEIGHT, WIDTH = 480, 640
FAN = polar(HEIGHT, WIDTH, 90, 400, 0.5)


def moved(mask: Mask, right: int, down: int) -> Mask:
    return np.roll(mask, (down, right), axis=(0, 1))


def rectangle(left: int, top: int, right: int, bottom: int) -> Mask:
    return block(HEIGHT, WIDTH, left, top, right, bottom)


def shown(mask: Mask, frames: int) -> str:
    """What a screen shows with tissue in a mask."""
    sector = find_sector(tissue(mask, frames))
    assert sector is not None
    return several(sector, (), HEIGHT, WIDTH, cine=frames > 1)


ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
FLUID = np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([250, 320])[:, None, None])) < 60
SMALL = moved(polar(HEIGHT, WIDTH, 30, 230, 0.5), 0, -110)
QUARTER = polar(HEIGHT, WIDTH, 30, 200, 0.4)
FOUR = np.logical_or.reduce([moved(QUARTER, x, y) for x in (-150, 150) for y in (-115, 115)])
HALF = polar(HEIGHT, WIDTH, 40, 250, 0.45)
SCREENS = {
    "a fan": (FAN, ""),
    "a phased fan": (polar(HEIGHT, WIDTH, 6, 380, 0.7), ""),
    "a rectangle": (rectangle(150, 60, 480, 430), ""),
    "a fan with a rib's shadow": (FAN & ~rectangle(300, 180, 318, 480), ""),
    "a fan with two shadows": (FAN & ~rectangle(240, 150, 252, 480) & ~rectangle(380, 150, 395, 480), ""),
    "a fan with fluid": (FAN & ~FLUID, ""),
    "two fans": (moved(HALF, -160, 0) | moved(HALF, 160, 0), "split"),
    "two rectangles": (rectangle(20, 60, 300, 420) | rectangle(330, 60, 610, 420), "split"),
    "one above the other": (rectangle(200, 10, 480, 230) | rectangle(200, 250, 480, 470), "split"),
    "four fans": (FOUR, "split"),
    "a strip under a fan": (SMALL | rectangle(40, 330, 600, 460), "spectral"),
    "a strip of which a corner is empty": (
        SMALL | rectangle(40, 330, 600, 460) & ~(COLUMNS + 2 * ROWS < 860), "spectral"),
}  # fmt: skip


@pytest.mark.parametrize("frames", [1, 12])
@pytest.mark.parametrize("name", SCREENS)
def test_what_a_screen_shows(name: str, frames: int) -> None:
    mask, expected = SCREENS[name]
    assert shown(mask, frames) == expected


def test_four_rectangles_are_pictures_and_not_strips() -> None:
    four = [rectangle(x, y, x + 290, y + 210) for x in (20, 330) for y in (20, 250)]
    assert shown(np.logical_or.reduce(four), 12) == "split"


def tissue_region(x0: int, y0: int, x1: int, y1: int) -> Region:
    return Region(1, 1, x0, y0, x1, y1, mm_per_px=0.2)


WHOLE = Sector(0, 0, WIDTH, HEIGHT, "whole")
REGIONS = {
    "one picture": ([tissue_region(100, 50, 500, 450)], ""),
    "two pictures": ([tissue_region(0, 50, 310, 450), tissue_region(320, 50, 640, 450)], "split"),
    "a picture and a small preview": ([tissue_region(100, 50, 500, 450), tissue_region(0, 0, 90, 80)], ""),
    "colour flow on a picture": ([tissue_region(100, 50, 500, 450), Region(1, 2, 100, 50, 500, 450, None)], ""),
    "spectral Doppler": ([tissue_region(100, 0, 500, 200), Region(3, 3, 0, 250, 640, 450, None)], "spectral"),
    "M-mode": ([tissue_region(100, 0, 500, 200), Region(2, 1, 0, 250, 640, 450, None)], "spectral"),
    "an ECG": ([tissue_region(100, 0, 500, 400), Region(4, 10, 0, 420, 640, 480, None)], ""),
    "none": ([], ""),
}


@pytest.mark.parametrize("name", REGIONS)
def test_the_machines_regions_tell(name: str) -> None:
    regions, expected = REGIONS[name]
    assert several(WHOLE, regions, HEIGHT, WIDTH, cine=True) == expected


def test_a_black_a_grey_and_a_nearly_empty_screen_are_blank() -> None:
    screen = np.zeros((HEIGHT, WIDTH), np.uint8)
    assert nothing(screen) == nothing(screen + np.uint8(90)) == "blank"
    cv2.putText(screen, "P", (60, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 220, 2)
    assert nothing(screen) == "blank"


@pytest.mark.parametrize(("ground", "ink"), [(0, 220), (230, 20)])
def test_a_page_of_text_is_a_menu(ground: int, ink: int) -> None:
    page = np.full((HEIGHT, WIDTH), ground, np.uint8)
    for row in range(40, 460, 30):
        cv2.putText(page, "Biparietal diameter 52 mm", (60, row), cv2.FONT_HERSHEY_SIMPLEX, 0.8, ink, 2)
    assert nothing(page) == "menu"


def test_faint_echoes_are_dark_and_not_blank() -> None:
    assert nothing((tissue(FAN, 1)[0] / 20).astype(np.uint8)) == "dark"
