"""Which stills show the same picture, and which frames of a cine hardly differ from the one before.

Stills are compared in two steps: a print of each (a perceptual hash) tells which pairs are near, and near pairs are
laid over each other and compared tile by tile.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.cleaning.thresholds import THRESHOLDS
from sonolearn.scans.scan import Pixels

Print = NDArray[np.uint64]
SIMILAR = THRESHOLDS.similar


_BITS = 256


def fingerprint(grey: Pixels) -> Print:
    """A print that hardly changes when a picture is compressed, scaled, brightened, or cropped by a pixel.

    The signs of the lowest frequencies about their median (pHash; Zauner, Implementation and benchmarking of perceptual
    image hash functions, 2010), with 256 bits instead of 64, as stills of one view are much alike.

    Args:
        grey: (S, S) uint8.

    Returns:
        (4,) uint64; two prints differ in 0 to 256 bits.
    """
    small = _shrunk(grey, SIMILAR.coarse).astype(np.float32)
    waves = np.asarray(cv2.dct(small))[: SIMILAR.waves, : SIMILAR.waves].ravel()
    waves[0] = 0  # the mean grey: how bright the picture is says nothing of what it shows
    return np.packbits(waves > np.median(waves[1:])).view(np.uint64)


def near_pairs(prints: Print, limit: int = SIMILAR.near) -> list[tuple[int, int]]:
    """All pairs of prints that differ in at most `limit` bits: exact, and memory does not grow with their square.

    Args:
        prints: (n, 4) uint64.
        limit: 0 to 256 bits.

    Returns:
        Pairs (i, j) of rows, i < j, in rising order.
    """
    pairs: list[tuple[int, int]] = []
    for top in range(0, len(prints), SIMILAR.block):
        first = _signs(prints[top : top + SIMILAR.block])
        for left in range(top, len(prints), SIMILAR.block):
            # Of signs, the product is 256 less twice the number that differ. Counting bits would take half the time,
            # but only numpy 2 can.
            i, j = np.nonzero(first @ _signs(prints[left : left + SIMILAR.block]).T >= _BITS - 2 * limit)
            i, j = i + top, j + left
            pairs += zip(i[i < j].tolist(), j[i < j].tolist(), strict=True)
    return sorted(pairs)


def same_picture(first: Pixels, second: Pixels) -> bool:
    """Whether two pictures are one still: its echoes, to the speckle; text and callipers may differ. Some 3 ms."""
    return likeness(first, second) >= SIMILAR.alike


def likeness(first: Pixels, second: Pixels) -> float:
    """How alike the echoes of two pictures are, once they are laid over each other.

    The median over tiles, so that a box of text on one of them does not count.

    Args:
        first: (S, S) uint8.
        second: (T, T) uint8.

    Returns:
        -1 to 1, the median correlation of the tiles in which both show something; 0 where hardly any does.
    """
    fine = [_shrunk(picture, SIMILAR.fine) for picture in (first, second)]
    one, two = _tiles(fine[0]), _tiles(_laid_over(*fine))
    # Darkened pictures lose their faintest echoes: what is black on either says nothing.
    both = (one > 0) & (two > 0)
    count = np.maximum(both.sum(axis=1), 1)
    one, two = ((t - ((t * both).sum(axis=1) / count)[:, None]) * both for t in (one, two))
    spreads = [np.sqrt((t * t).sum(axis=1) / count) for t in (one, two)]
    shown = (np.maximum(*spreads) > SIMILAR.flat) & (count >= both.shape[1] / 2)
    if np.count_nonzero(shown) < SIMILAR.fewest:
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
        small = _shrunk(_shrunk(grey, 4 * SIMILAR.thumbnail), SIMILAR.thumbnail)
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
    return np.asarray(cv2.warpAffine(second, warp, (SIMILAR.fine, SIMILAR.fine), flags=how), np.uint8)


def _shrunk(grey: Pixels, side: int) -> Pixels:
    return np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _tiles(grey: Pixels) -> NDArray[np.float32]:
    """(S, S) as (tiles, pixels of a tile)."""
    side = SIMILAR.fine // SIMILAR.tiles
    return (
        grey.reshape(SIMILAR.tiles, side, SIMILAR.tiles, side)
        .swapaxes(1, 2)
        .reshape(SIMILAR.tiles**2, side**2)
        .astype(np.float32)
    )
