"""From a frame of any size to a square grey one, and what colour it had."""

from __future__ import annotations

import cv2
import numpy as np

from sonolearn.data.scans.scan import Frame, Pixels


def to_grey(pixels: Pixels) -> Pixels:
    """(H, W) or (H, W, 3) RGB uint8 as (H, W) luma (ITU-R BT.601), uint8. Crop before: it costs by the pixel."""
    return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def luma_and_chroma(frame: Frame) -> tuple[Pixels, Pixels | None]:
    """(H, W) luma and (h, w, 2) chroma of a frame, uint8 (BT.601; chroma is 128 without colour); None without any."""
    luma, chroma = frame.pixels, frame.chroma
    if luma.ndim == 3:
        planes = np.asarray(cv2.cvtColor(luma, cv2.COLOR_RGB2YCrCb), np.uint8)
        luma, chroma = planes[..., 0], planes[..., 2:0:-1]
    luma = np.ascontiguousarray(luma)
    if chroma is None:
        return luma, None
    chroma = np.ascontiguousarray(chroma)
    colourless = cv2.minMaxLoc(chroma.reshape(len(chroma), -1))[:2] == (128, 128)
    return luma, None if colourless else chroma


def fit_scale(height: int, width: int, size: int) -> float:
    """The factor by which `fit` scales a picture of this size."""
    return size / max(height, width)


def fit(grey: Pixels, size: int) -> Pixels:
    """Scale (H, W) uint8 to (size, size): aspect kept, centred, the rest 0.

    Shrinking averages areas, so that speckle does not alias.
    """
    height, width = grey.shape
    scale = fit_scale(height, width, size)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    if (new_height, new_width) != (height, width):
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        grey = np.asarray(cv2.resize(grey, (new_width, new_height), interpolation=method), np.uint8)
    if new_height == new_width == size:
        return np.ascontiguousarray(grey)
    square = np.zeros((size, size), np.uint8)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    square[top : top + new_height, left : left + new_width] = grey
    return square
