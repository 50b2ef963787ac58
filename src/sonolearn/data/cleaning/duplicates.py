"""Pictures that are the same, or nearly: the same still under two names, and frames in which hardly anything moved.

The same still is found in three steps: a print of each still, all pairs of prints that are near, and a look at the
pixels of those. Prints alone take neighbouring frames of one cine for the same picture; pixels alone cost too much to
compare each still with each. Both thresholds were measured on 868 stills of HC18, which hold eight such pairs, on
copies made of them, and on the phantom. A large box of text on only one of two stills hides the pair from the prints.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.data.scans.scan import Pixels

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
