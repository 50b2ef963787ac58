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
    lit = (before > _LIT) & (mask > 0)
    echoes = np.count_nonzero(lit)
    if echoes == 0:
        return bool(np.array_equal(before, now))
    changed = cv2.absdiff(before, now) > _STEP
    return bool(np.count_nonzero(changed & lit) <= _CHANGED * echoes)
