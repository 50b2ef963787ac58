"""Which pixels are echoes: of a screen with text, rulers, bars and panels, the large, rough areas that move."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.data.scans.scan import Pixels

Mask = NDArray[np.uint8]

CONTRAST = 12  # grey levels by which echoes differ from the screen's background
_FAINT = 3  # the same of the faintest echoes
_MOVING = 6  # grey levels by which a pixel differs between frames of a cine, beyond compression noise
_STEP = np.array([[0, -1, 1]], np.float32)  # from a pixel to the next
_FLAT = 0.2  # mean step of grey from pixel to pixel up to which nothing was measured there
_ROUGH = 1.0  # the same from which on it is speckle
_LONGEST = 4  # longer side of a picture by its shorter one, at most
_SMALLEST = 0.025  # share of the frame that a picture takes at least: 3.6 % on a wide screen, text less
_LARGE, _PART = 0.15, 0.01  # shares of the largest area: large areas of echoes, and small parts that shadows cut off
_CORNER = 20  # of the side: how far from an area its rounded corners may lie
_TINY = 16  # px: nothing can be told on smaller screens
_SOLID = 25  # moving parts thinner than the side by this are no echoes


class Echoes(NamedTuple):
    """Where echoes are: (h, w) masks, 0 or 1."""

    large: Mask
    """The large areas; in a cine those that move."""
    every: Mask
    """These with small parts, which shadows and fluid cut off."""
    panels: Mask
    """All large areas, moving or not."""
    moving: bool
    """Whether the frames are a cine of which enough moves."""
    grey: Pixels
    """(h, w) of one frame."""


def find_echoes(sample: Pixels, background: int, scale: float) -> Echoes | None:
    """Where echoes are, in a picture `scale` times as large; None where nothing looks like a picture.

    Args:
        sample: (n, H, W) uint8 grey frames.
        background: grey of the empty screen.
        scale: 0 to 1.
    """
    height, width = sample.shape[1:]
    if min(height, width) * scale < _TINY:
        return None
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Speckle in one frame; over many the brightest grey of each pixel is as even as a bar.
    grey = _small(sample[len(sample) // 2], shape)
    speckle, rough, flat = _dense(grey, background)
    side = min(shape)
    # Drops what is thinner than 5 % of the picture: lines of text, rulers, bars, traces.
    thick = cv2.morphologyEx(rough, cv2.MORPH_OPEN, _disc(side // 20))
    count, labels = cv2.connectedComponents(thick, connectivity=8)
    if count < 2:
        return None
    areas = rough_areas = np.bincount(labels.ravel(), weights=speckle.ravel(), minlength=count)[1:]
    lowest, highest = sample.min(axis=0), sample.max(axis=0)
    lit = _lit(highest, background, shape)
    moved_by = np.asarray(highest - lowest > _MOVING, np.uint8)
    moving = (_small(moved_by * 255, shape) > 96).astype(np.uint8)
    moved = np.bincount(labels.ravel(), weights=(moving & speckle).ravel(), minlength=count)[1:]
    is_cine = moved.max() > 0.02 * moving.size
    if is_cine:
        # In a cine the picture is what moves: a still logo or panel counts for nothing.
        areas = moved
    # Opening rounded the corners off: what is lit and joined within a few px belongs to an area.
    large, parts, panels = (
        np.isin(labels, 1 + np.flatnonzero(sizes >= share * sizes.max())).astype(np.uint8)
        for sizes, share in ((areas, _LARGE), (areas, _PART), (rough_areas, _LARGE))
    )
    if is_cine:
        # Traces and clocks move, too, but are thin.
        solid = cv2.morphologyEx(_mostly(moving, _window(shape)), cv2.MORPH_OPEN, _disc(side // _SOLID))
        parts = large | np.asarray(solid, np.uint8)
        flat &= 1 - moving
    lit &= 1 - flat
    large, every, panels = (
        np.asarray(cv2.dilate(m, _disc(side // _CORNER)), np.uint8) & lit for m in (large, parts, panels)
    )
    ys, xs = np.flatnonzero(large.any(axis=1)), np.flatnonzero(large.any(axis=0))
    if large.sum() < _SMALLEST * large.size:
        return None
    tall, wide = ys[-1] - ys[0] + 1, xs[-1] - xs[0] + 1
    return None if max(tall, wide) > _LONGEST * min(tall, wide) else Echoes(large, every, panels, bool(is_cine), grey)


def _dense(grey: Pixels, background: int) -> tuple[Mask, Mask, Mask]:
    """Three (H, W) masks of 0 and 1: where speckle is, where at least faint echoes may be, and flat pixels of bars.

    In speckle most pixels differ from their neighbours; text is mostly gaps. Faint echoes differ a little from the
    screen; what differs much and is flat is a bar of the screen.
    """
    values = grey.astype(np.float32)
    # Along rows and along columns: a bar with a shade from top to bottom is flat along its rows.
    steps = [cv2.boxFilter(np.abs(cv2.filter2D(values, -1, k)), -1, (3, 3)) for k in (_STEP, _STEP.T)]
    roughness = np.minimum(*steps)
    away = np.abs(values - background)
    speckle = (roughness > _ROUGH) & (away > CONTRAST)
    bar = (away > CONTRAST) & (roughness <= _FLAT)
    faint = (away > _FAINT) & ~bar
    window = _window(grey.shape)
    speckle_mask, faint_mask = _mostly(speckle, window), _mostly(faint, window)
    return speckle_mask, speckle_mask | faint_mask, bar.astype(np.uint8)


def _lit(highest: Pixels, background: int, shape: tuple[int, int]) -> Mask:
    """Pixels that differ from the screen at any time, without thin strokes; scaled to (width, height)."""
    away = cv2.absdiff(highest, np.full_like(highest, background))
    # The rim of a picture is a mixture of echoes and screen: without this step outlines come out 1 px too wide.
    eroded = np.asarray(cv2.erode(away, np.ones((3, 3), np.uint8)), np.uint8)
    lit = (_small(eroded, shape) > _FAINT).astype(np.uint8)
    letter = max(3, min(shape) // 60 | 1)  # px: strokes of letters are thinner
    return np.asarray(cv2.morphologyEx(lit, cv2.MORPH_OPEN, np.ones((letter, letter), np.uint8)), np.uint8)


def _window(shape: tuple[int, ...]) -> int:
    """Side in px of the neighbourhood that tells an area from strokes."""
    return max(3, min(shape) // 40) | 1


def _mostly(mask: NDArray[Any], window: int) -> Mask:
    """1 where more than half of the neighbourhood is set."""
    share = cv2.boxFilter(mask.astype(np.float32), -1, (window, window), borderType=cv2.BORDER_REPLICATE)
    return (share > 0.5).astype(np.uint8)


def _small(image: Pixels, shape: tuple[int, int]) -> Pixels:
    """An (H, W) image scaled down to (width, height)."""
    return np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA), np.uint8)


def _disc(size: int) -> Mask:
    """A disc of about `size` px across, at least 3."""
    size = max(3, size)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size | 1, size | 1)), np.uint8)
