"""Small pictures of a screen before cleaning and of its frame after, which may lie in a store that is given away.

Text on a screen names patients. So pixels are shown as they are only inside the sector. The rest is shown in blocks, 64
along the longer side, from a median that thin strokes do not change: text as high as a thirtieth of the screen is long
leaves nothing behind that could be compared with a name, while a second picture that was left out can still be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.cleaning.clean import Example
from sonolearn.cleaning.marks import words
from sonolearn.scans.scan import Pixels

Mask = NDArray[np.bool_]
Pair = tuple[Pixels, Pixels | None]

SIDE = 240  # px: the longer side of a picture
_BLOCKS = 64  # along the longer side of the screen
_SAMPLES = 4  # along a side of a block: enough for a median, and as quick for large screens as for small ones
_THIN = 3  # blocks: what is thinner is left out
_OUTLINE = (86, 180, 233)  # sky blue and orange: the colour-blind can tell them from one another and from grey
_MARKS = (230, 159, 0)
_TINT = 0.65  # share of orange in a mark
_NEAR, _APART, _QUALITY = 4, 20, 80  # px between the two of a pair, and between pairs; JPEG quality
_FULL_COLOUR = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
_MOST = 3
_WORDS = 20  # of a scan at most
_TALL, _WIDE = 48, 360  # px of a crop at most: enough to read a word
_MARGIN = 4  # px around a word, and a third of its height
_CROP_QUALITY = 85


def sheet_of(examples: Sequence[Example]) -> bytes:
    """A JPEG of one to three frames, each screen left of its clean frame, that shows no text as it is."""
    return sheet([(_before(example), None if example.clean is None else after(example.clean)) for example in examples])


def _before(example: Example) -> Pixels:
    shape = example.sector.shape if example.sector else None
    marks = None if example.marks is None else example.marks > 0
    # A frame that was left out was not searched for text, so none of it is shown clearly.
    hidden = marks if example.clean is not None else np.ones(example.screen.shape[:2], np.bool_)
    outline, window = (shape.outline, shape.window) if shape else (None, None)
    return before(example.screen, outline, window, marks, hidden)


def text_crops(examples: Sequence[Example]) -> list[bytes]:
    """Small JPEGs, as it was on the screen, of what looks like text inside the sector: of the frame with most of it."""
    return max((list(_words(example)) for example in examples), key=len, default=[])


def _words(example: Example) -> Iterator[bytes]:
    """A JPEG a word, from top to bottom."""
    boxes = words(example.marks) if example.clean is not None and example.marks is not None else []
    for left, top, wide, tall in sorted(boxes, key=lambda box: (box[1], box[0]))[:_WORDS]:
        margin = _MARGIN + tall // 3
        rows = slice(max(0, top - margin), top + tall + margin)
        yield _jpeg(example.screen[rows, max(0, left - margin) : left + wide + margin])


def _jpeg(pixels: Pixels) -> bytes:
    scale = min(1.0, _TALL / pixels.shape[0], _WIDE / pixels.shape[1])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    bgr = small[..., ::-1] if small.ndim == 3 else small
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _CROP_QUALITY])
    return jpeg.tobytes()


def before(
    pixels: Pixels,
    outline: NDArray[np.float64] | None,
    window: tuple[float, float, float, float] | None = None,
    marks: Mask | None = None,
    hidden: Mask | None = None,
) -> Pixels:
    """The screen as it was, with the outline of the sector in blue and marks in orange.

    Args:
        pixels: (H, W) grey or (H, W, 3) RGB screen, 0 to 255.
        outline: (k, 2) columns and rows of the sector's corners in px; None: no sector, so nothing is shown clearly.
        window: left, top, right and bottom border of the sector in px, ends included; may be infinite.
        marks: (H, W) what was painted over; shown only inside the sector.
        hidden: (H, W) what must not be readable inside the sector; every block that it touches is hidden as a whole.

    Returns:
        (h, w, 3) RGB; the longer side is `SIDE`.
    """
    height, width = pixels.shape[:2]
    inside = _drawn(outline, window, height, width)
    clear = inside.copy() if hidden is None else inside & ~_whole_blocks(hidden)
    picture = np.asarray(cv2.copyTo(pixels, clear.astype(np.uint8), _blocks(pixels)), np.uint8)
    if picture.ndim == 2:
        picture = np.asarray(cv2.merge([picture] * 3), np.uint8)
    if marks is not None:
        # Marks that are hidden are tinted by the block: in their own shape they could be read as before.
        tinted = clear & marks | inside & ~clear & _whole_blocks(marks)
        picture[tinted] = np.rint(_TINT * np.array(_MARKS) + (1 - _TINT) * picture[tinted])
    picture = _scaled(picture)
    shape = _scaled(inside.astype(np.uint8) * np.uint8(255)) > 127
    contours, _ = cv2.findContours(shape.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(picture, contours, -1, _OUTLINE, 1), np.uint8)


def after(grey: Pixels) -> Pixels:
    """A clean frame (S, S), 0 to 255, as (s, s, 3) with s at most `SIDE`."""
    return np.repeat((_scaled(grey) if max(grey.shape) > SIDE else grey)[:, :, None], 3, axis=2)


def sheet(pairs: Sequence[Pair]) -> bytes:
    """A JPEG of one to three pairs in a row on white, each screen left of its clean frame (None: there is none).

    Raises:
        ValueError: no pair, or more than three.
    """
    if not 1 <= len(pairs) <= _MOST:
        raise ValueError(f"{len(pairs)} pairs: give 1 to {_MOST}")
    height = max(picture.shape[0] for pair in pairs for picture in pair if picture is not None)
    columns: list[Pixels] = []
    for screen, clean in pairs:
        columns += [_white(height, _APART)] if columns else []
        columns += [_centred(screen, height)]
        columns += [_white(height, _NEAR), _centred(clean, height)] if clean is not None else []
    # Colours at full resolution: the outline is one pixel wide.
    settings = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _FULL_COLOUR]
    done, jpeg = cv2.imencode(".jpg", np.hstack(columns)[:, :, ::-1], settings)
    if not done:
        raise ValueError("the pictures cannot be written as JPEG")
    return jpeg.tobytes()


def _drawn(
    outline: NDArray[np.float64] | None, window: tuple[float, float, float, float] | None, height: int, width: int
) -> Mask:
    """(height, width): the inside of an outline that is cut off at a window."""
    drawn = np.zeros((height, width), np.uint8)
    if outline is None:
        return drawn > 0
    cv2.fillPoly(drawn, [np.rint(outline * 16).astype(np.int32)[:, None]], 1, shift=4)
    columns, rows = np.arange(width), np.arange(height)
    left, top, right, bottom = window or (0, 0, width, height)
    within = ((rows >= top) & (rows <= bottom))[:, None] & ((columns >= left) & (columns <= right))
    return (drawn > 0) & within


def _blocks(pixels: Pixels) -> Pixels:
    """(H, W[, 3]) in blocks of one colour each: medians, so that text is gone, in which nothing thin is left either."""
    columns, rows = _grid(*pixels.shape[:2])
    # Not averaged: strokes cover the smaller part of a line of text, and the median is what lies between them.
    samples = cv2.resize(pixels, (_SAMPLES * columns, _SAMPLES * rows), interpolation=cv2.INTER_NEAREST)
    small = cv2.resize(cv2.medianBlur(samples, _THIN * _SAMPLES + 1), (columns, rows), interpolation=cv2.INTER_AREA)
    kernel = np.ones((_THIN, _THIN), np.uint8)
    for step in (cv2.MORPH_OPEN, cv2.MORPH_CLOSE):
        small = cv2.morphologyEx(small, step, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(small, pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def _whole_blocks(mask: Mask) -> Mask:
    """(H, W): all blocks that hold a pixel of the mask, and the pixels around it."""
    height, width = mask.shape
    columns, rows = _grid(height, width)
    wider = np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)))  # the soft rims of letters
    touched = np.zeros((rows, columns), np.uint8)
    found = cv2.findNonZero(wider)
    if found is not None:
        xs, ys = np.asarray(found).reshape(-1, 2).T
        touched[ys * rows // height, xs * columns // width] = 1
    return np.asarray(cv2.resize(touched, (width, height), interpolation=cv2.INTER_NEAREST)) > 0


def _grid(height: int, width: int) -> tuple[int, int]:
    """Blocks from left to right and from top to bottom, on a screen of this size."""
    blocks = min(_BLOCKS, max(height, width))
    return max(1, round(width * blocks / max(height, width))), max(1, round(height * blocks / max(height, width)))


def _scaled(picture: Pixels) -> Pixels:
    """(H, W[, 3]) with a longer side of `SIDE` px."""
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)


def _centred(picture: Pixels, height: int) -> Pixels:
    """The picture (h, w, 3) between white above and below."""
    top = (height - picture.shape[0]) // 2
    space = (top, height - picture.shape[0] - top)
    return np.asarray(np.pad(picture, (space, (0, 0), (0, 0)), constant_values=255), np.uint8)


def _white(height: int, width: int) -> Pixels:
    return np.full((height, width, 3), 255, np.uint8)
