"""Small pictures of a screen before cleaning and of its frame after, which may lie in a store that is given away.

Text on a screen names patients. So pixels are shown as they are only inside the sector. The rest is shown in blocks, 64
along the longer side, from a median that thin strokes do not change: text as high as a thirtieth of the screen is long
leaves nothing behind that could be compared with a name, while a second picture that was left out can still be seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.scans.scan import Pixels

Print = NDArray[np.uint64]

NEAR = 40
"""Bits by which the prints of one still differ at most: the harshest copies differ in 40, two exams in 50 or more."""
ALIKE = 0.96
"""Likeness from which on two pictures are one: copies have 0.98 or more (0.95 if halved, cropped and compressed all at
once), other stills of one exam up to 0.952."""

_BITS = 256
_WAVES = 16  # lowest frequencies of each axis in a print
_COARSE = 64  # px: the side from which a print is made
_BLOCK = 2048  # prints that are compared with as many others at once: 16 MB
_FINE = 128  # px: the side at which two pictures are compared; speckle must still show
_TILES = 8  # a side
_FLAT = 3.0  # grey levels: standard deviation up to which a tile shows nothing
_FEWEST = 4  # tiles that must show something
_THUMBNAIL = 32  # px: the side at which frames are compared


def fingerprint(grey: Pixels) -> Print:
    """A print that hardly changes when a picture is compressed, scaled, brightened, or cropped by a pixel.

    The signs of the lowest frequencies about their median (pHash; Zauner, Implementation and benchmarking of perceptual
    image hash functions, 2010), with 256 bits instead of 64, as stills of one view are much alike.

    Args:
        grey: (S, S) uint8.

    Returns:
        (4,) uint64; two prints differ in 0 to 256 bits.
    """
    small = cv2.resize(grey, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA).astype(np.float32)
    waves = np.asarray(cv2.dct(small))[:_WAVES, :_WAVES].ravel()
    waves[0] = 0  # the mean grey: how bright the picture is says nothing of what it shows
    return np.packbits(waves > np.median(waves[1:])).view(np.uint64)


def near_pairs(prints: Print, limit: int = NEAR) -> list[tuple[int, int]]:
    """All pairs of prints that differ in at most `limit` bits: exact, and memory does not grow with their square.

    Args:
        prints: (n, 4) uint64.
        limit: 0 to 256 bits.

    Returns:
        Pairs (i, j) of rows, i < j, in rising order.
    """
    pairs: list[tuple[int, int]] = []
    for top in range(0, len(prints), _BLOCK):
        first = _signs(prints[top : top + _BLOCK])
        for left in range(top, len(prints), _BLOCK):
            # Of signs, the product is 256 less twice the number that differ. Counting bits would take half the time,
            # but only numpy 2 can.
            i, j = np.nonzero(first @ _signs(prints[left : left + _BLOCK]).T >= _BITS - 2 * limit)
            i, j = i + top, j + left
            pairs += zip(i[i < j].tolist(), j[i < j].tolist(), strict=True)
    return sorted(pairs)


def same_picture(first: Pixels, second: Pixels) -> bool:
    """Whether two pictures are one still: its echoes, to the speckle; text and callipers may differ. Some 3 ms."""
    return likeness(first, second) >= ALIKE


def likeness(first: Pixels, second: Pixels) -> float:
    """How alike the echoes of two pictures are, once they are laid over each other.

    The median over tiles, so that a box of text on one of them does not count.

    Args:
        first: (S, S) uint8.
        second: (T, T) uint8.

    Returns:
        -1 to 1, the median correlation of the tiles in which both show something; 0 where hardly any does.
    """
    fine = [np.asarray(cv2.resize(p, (_FINE, _FINE), interpolation=cv2.INTER_AREA), np.uint8) for p in (first, second)]
    one, two = _tiles(fine[0]), _tiles(_laid_over(*fine))
    # Darkened pictures lose their faintest echoes: what is black on either says nothing.
    both = (one > 0) & (two > 0)
    count = np.maximum(both.sum(axis=1), 1)
    one, two = ((t - ((t * both).sum(axis=1) / count)[:, None]) * both for t in (one, two))
    spreads = [np.sqrt((t * t).sum(axis=1) / count) for t in (one, two)]
    shown = (np.maximum(*spreads) > _FLAT) & (count >= both.shape[1] / 2)
    if np.count_nonzero(shown) < _FEWEST:
        return 0.0
    correlations = (one * two).sum(axis=1) / count / np.maximum(spreads[0] * spreads[1], 1e-3)
    return float(np.median(correlations[shown]))


class Thinner:
    """Passes on the frames of one scan that differ from the last one passed on; keeps one thumbnail."""

    def __init__(self, least_change: float) -> None:
        """Args:
            least_change: 0 to 1, the mean difference of the echoes as a share of the range of grey; a frame must
                differ by more. 0 leaves out copies only.

        Raises:
            ValueError: outside 0 to 1.
        """
        if not 0 <= least_change <= 1:
            raise ValueError(f"least_change {least_change}: give a share from 0 to 1")
        self._least_change = least_change
        self._last: Pixels | None = None

    def keeps(self, grey: Pixels) -> bool:
        """Whether to keep the next frame, (S, S) uint8; the first is kept."""
        # In two steps, as OpenCV has a fast way to halve 256 px.
        half = cv2.resize(grey, (4 * _THUMBNAIL, 4 * _THUMBNAIL), interpolation=cv2.INTER_AREA)
        small = np.asarray(cv2.resize(half, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA), np.uint8)
        if self._last is not None and _change(self._last, small) <= self._least_change:
            return False
        self._last = small
        return True


def _change(first: Pixels, second: Pixels) -> float:
    """Mean difference, 0 to 1, of the pixels that are not black on both: the rest of the square is no echo."""
    return float(cv2.mean(cv2.absdiff(first, second), mask=cv2.max(first, second))[0]) / 255


def _signs(prints: Print) -> NDArray[np.float32]:
    """(n, 4) uint64 as (n, 256) of -1 and 1."""
    bits = np.unpackbits(np.ascontiguousarray(prints).view(np.uint8), axis=1)
    return np.where(bits, np.float32(1), np.float32(-1))


def _laid_over(first: Pixels, second: Pixels) -> Pixels:
    """The second, shifted and scaled onto the first: with a box of text on it, its sector may be cut a little wider.

    Evangelidis and Psarakis, Parametric image alignment using enhanced correlation coefficient maximization, PAMI 2008.
    """
    still, shown = np.eye(2, 3, dtype=np.float32), cv2.min(first, second)
    steps = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
    try:
        # Without the mask a black box on one of them would draw the other away from its place.
        _, warp = cv2.findTransformECC(first, second, still, cv2.MOTION_AFFINE, steps, shown)
    except cv2.error:  # they have nothing in common to go by
        return second
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(second, warp, (_FINE, _FINE), flags=how), np.uint8)


def _tiles(grey: Pixels) -> NDArray[np.float32]:
    """(S, S) as (tiles, pixels of a tile)."""
    side = _FINE // _TILES
    return grey.reshape(_TILES, side, _TILES, side).swapaxes(1, 2).reshape(_TILES**2, side**2).astype(np.float32)


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
