"""Pictures for the report: crisp inside the sector; of text outside, or hidden inside, nothing can be read."""

from __future__ import annotations

import io
import itertools
import math

import cv2
import numpy as np
import pytest
from PIL import Image

from sonolearn.cleaning.pictures import SIDE, after, before, sheet

HEIGHT, WIDTH = 480, 640
NAMES = ("Ashdown, Hedy 120487", "Kaya, Holt 010199", "WWWWW MMMMM 88888", "il. lij, 1111")
FAN = np.array([(270, 60), (370, 60), (520, 350), (420, 420), (220, 420), (120, 350)], np.float64)


def mask_of(outline: np.ndarray) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillConvexPoly(mask, outline.astype(np.int32), 1)
    return mask > 0


def screen(paper: int = 0) -> np.ndarray:
    """Speckle in FAN."""
    echoes = np.random.default_rng(0).gamma(2, 25, (HEIGHT, WIDTH)).clip(5, 255).astype(np.uint8)
    return np.where(mask_of(FAN), echoes, np.uint8(paper))


def written(name: str, place: tuple[int, int], size: float = 0.7, lines: int = 1, bold: int = 1) -> np.ndarray:
    """(HEIGHT, WIDTH) bool: strokes of a name, and of others below it."""
    ink = np.zeros((HEIGHT, WIDTH), np.uint8)
    start = NAMES.index(name)
    for line in range(lines):
        text, row = NAMES[(start + line) % len(NAMES)], place[1] + int(30 * size * line)
        cv2.putText(ink, text, (place[0], row), cv2.FONT_HERSHEY_SIMPLEX, size, 255, bold, cv2.LINE_AA)
    return ink > 60


def likeness(picture: np.ndarray, strokes: np.ndarray) -> float:
    """Normalised cross-correlation of a picture with the strokes, around them, the sign left out."""
    x, y, wide, tall = cv2.boundingRect(strokes.astype(np.uint8))
    scale = SIDE / WIDTH
    part = np.s_[int(y * scale) : int((y + tall) * scale) + 1, int(x * scale) : int((x + wide) * scale) + 1]
    small = cv2.resize(strokes.astype(np.float32), (SIDE, HEIGHT * SIDE // WIDTH), interpolation=cv2.INTER_AREA)[part]
    seen = picture.astype(np.float32).mean(axis=2)[part]
    if seen.std() < 1e-6:
        return 0.0
    return abs(float(np.corrcoef(seen.ravel(), small.ravel())[0, 1]))


@pytest.mark.parametrize(("ink", "paper"), [(255, 0), (255, 60), (0, 200)])
@pytest.mark.parametrize(("size", "lines", "bold"), [(0.45, 4, 1), (0.7, 1, 1), (0.7, 2, 2), (1.0, 1, 2)])
def test_different_names_outside_the_sector_give_the_same_picture(
    ink: int, paper: int, size: float, lines: int, bold: int
) -> None:
    pictures = []
    for name in NAMES:
        shown = screen(paper)
        shown[written(name, (6, 32), size, lines, bold) & ~mask_of(FAN)] = ink
        pictures.append(before(shown, FAN))
    for one, other in itertools.pairwise(pictures):
        np.testing.assert_array_equal(one, other)


def test_without_a_sector_nothing_can_be_read_anywhere() -> None:
    for name in NAMES:
        strokes = written(name, (150, 200))
        shown = np.where(strokes, np.uint8(255), np.uint8(20))
        everywhere = np.array([(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)], np.float64)
        assert likeness(before(shown, everywhere), strokes) > 0.9  # what is measured here would tell
        assert likeness(before(shown, None), strokes) < 0.1


@pytest.mark.parametrize("marked", [False, True])
def test_hidden_text_inside_the_sector_cannot_be_read(marked: bool) -> None:
    for name in NAMES:
        strokes = written(name, (210, 250))
        shown = screen()
        shown[strokes] = 255
        marks = strokes if marked else None
        assert likeness(before(shown, FAN, None, marks), strokes) > 0.6
        assert likeness(before(shown, FAN, None, marks, hidden=strokes), strokes) < 0.3


def test_marks_outside_the_sector_are_not_drawn() -> None:
    strokes = written(NAMES[0], (6, 32))
    np.testing.assert_array_equal(before(screen(), FAN, None, strokes), before(screen(), FAN))


def test_inside_the_sector_the_picture_is_as_it_was() -> None:
    picture = before(screen(), FAN)
    plain = cv2.resize(screen(), (240, 180), interpolation=cv2.INTER_AREA)
    well_inside = cv2.erode(cv2.resize(mask_of(FAN).astype(np.uint8), (240, 180)), np.ones((7, 7), np.uint8)) > 0
    assert well_inside.sum() > 5000
    for channel in range(3):
        np.testing.assert_array_equal(picture[:, :, channel][well_inside], plain[well_inside])


def test_a_second_picture_that_was_left_out_can_still_be_seen() -> None:
    shown = screen()
    shown[100:300, 540:635] = np.random.default_rng(1).integers(100, 200, (200, 95))
    picture = before(shown, FAN)
    assert picture[45:105, 207:232].mean() > 130
    assert picture[130:, 207:232].mean() < 5


def test_the_outline_is_blue_and_ends_at_the_window() -> None:
    def blue(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.nonzero((picture == (86, 180, 233)).all(axis=2))

    rows, columns = blue(before(screen(), FAN))
    expected = FAN * SIDE / WIDTH
    assert (columns.min(), columns.max()) == pytest.approx((expected[:, 0].min(), expected[:, 0].max()), abs=1.5)
    assert (rows.min(), rows.max()) == pytest.approx((expected[:, 1].min(), expected[:, 1].max()), abs=1.5)
    rows, columns = blue(before(screen(), FAN, (200, -math.inf, math.inf, 359)))
    assert (columns.min(), rows.max()) == pytest.approx((200 * SIDE / WIDTH, 360 * SIDE / WIDTH), abs=1.5)


def test_what_the_window_cuts_off_cannot_be_read() -> None:
    pictures = []
    for name in NAMES:
        shown = screen(0)
        shown[370:] = 0
        shown[written(name, (230, 400))] = 255
        pictures.append(before(shown, FAN, (0, 0, WIDTH - 1, 359)))
    for one, other in itertools.pairwise(pictures):
        np.testing.assert_array_equal(one, other)


def test_marks_are_orange() -> None:
    marks = np.zeros((HEIGHT, WIDTH), bool)
    marks[200:220, 300:340] = True
    picture = before(screen(), FAN, None, marks).astype(int)
    red, green, blue = picture[77:81, 115:126].reshape(-1, 3).T
    assert (red > green + 20).all()
    assert (green > blue + 40).all()
    np.testing.assert_array_equal(picture[100:130], before(screen(), FAN)[100:130])


@pytest.mark.parametrize(
    ("shape", "expected"), [((480, 640), (180, 240)), ((900, 300), (240, 80)), ((60, 40), (240, 160))]
)
def test_screens_are_scaled_to_240_px(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    grey = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    outline = np.array([(0, 0), (shape[1], 0), (shape[1], shape[0])], np.float64)
    picture = before(grey, outline)
    assert picture.shape == (*expected, 3)
    np.testing.assert_array_equal(before(np.repeat(grey[:, :, None], 3, axis=2), outline), picture)


def test_clean_frames_are_shrunk_and_never_enlarged() -> None:
    small = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    np.testing.assert_array_equal(after(small), np.stack([small] * 3, axis=2))
    assert after(np.full((512, 512), 77, np.uint8)).shape == (240, 240, 3)
    assert (after(np.full((512, 512), 77, np.uint8)) == 77).all()


def test_a_sheet_is_a_row_of_pairs_screen_left_of_clean_frame() -> None:
    red, grey = np.full((180, 240, 3), (200, 0, 0), np.uint8), np.full((240, 240, 3), 90, np.uint8)
    with Image.open(io.BytesIO(sheet([(red, grey), (red, None)]))) as opened:
        assert opened.format == "JPEG"
        picture = np.asarray(opened).astype(int)
    assert picture.shape[0] == 240
    assert 3 * 240 < picture.shape[1] < 3 * 240 + 40
    for column, colour in ((120, (200, 0, 0)), (360, (90, 90, 90)), (picture.shape[1] - 120, (200, 0, 0))):
        assert np.abs(picture[120, column] - colour).max() <= 3
    assert picture[5, 120].min() > 250  # white above the lower of the two


@pytest.mark.parametrize("count", [0, 4])
def test_a_sheet_holds_one_to_three_pairs(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} pairs"):
        sheet([(np.zeros((180, 240, 3), np.uint8), None)] * count)
