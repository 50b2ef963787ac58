"""Frames that repeat the one before: a frozen or paused recording."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.data.scans.scan import Pixels

_STEP = 3  # grey levels by which compression changes a pixel of a frozen frame
_CHANGED = 0.02  # share of the echoes' pixels that change in a frozen frame: callipers may come and go
_LIT = 12  # grey from which on a pixel is an echo


def is_frozen(before: Pixels, now: Pixels, mask: NDArray[np.uint8]) -> bool:
    """Whether two pictures (H, W) are the same but for compression and marks, inside a mask.

    Speckle changes with every transmit: live pictures of a probe at rest differ in many pixels.
    """
    lit = cv2.bitwise_and(_above(before, _LIT), _above(mask, 0))
    echoes = cv2.countNonZero(lit)
    if echoes == 0:
        return bool(np.array_equal(before, now))
    changed = cv2.bitwise_and(_above(np.asarray(cv2.absdiff(before, now), np.uint8), _STEP), lit)
    return cv2.countNonZero(changed) <= _CHANGED * echoes


def _above(grey: Pixels, level: int) -> Pixels:
    """(H, W) 255 where a picture is brighter than a level, else 0."""
    return np.asarray(cv2.threshold(grey, level, 255, cv2.THRESH_BINARY)[1], np.uint8)
