"""Fill marks with what is around them, and touch nothing else.

Telea, An Image Inpainting Technique Based on the Fast Marching Method, J Graphics Tools 2004; or the Navier-Stokes
method of Bertalmio et al., CVPR 2001; both as OpenCV has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.data.scans.scan import Pixels

Method = Literal["telea", "navier_stokes"]
_METHODS = {"telea": cv2.INPAINT_TELEA, "navier_stokes": cv2.INPAINT_NS}
TOGETHER = 3
"""Frames that are filled at once."""
_RADIUS = 3  # px around a pixel that it is filled from
_MARGIN = 5  # px around a mark that are looked at
_JOIN = 9  # px: marks closer than this are filled together


def boxes_of(marks: NDArray[np.uint8]) -> list[tuple[slice, slice]]:
    """Boxes around the marks of a mask (H, W), with a margin; filling costs by the pixel of these boxes."""
    joined = cv2.dilate(marks, np.ones((_JOIN, _JOIN), np.uint8))
    # Contours cost a tenth of labelled components.
    contours, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [
        (slice(max(0, y - _MARGIN), y + tall + _MARGIN), slice(max(0, x - _MARGIN), x + wide + _MARGIN))
        for x, y, wide, tall in map(cv2.boundingRect, contours)
    ]


def inpaint_alike(
    frames: Sequence[Pixels],
    marks: NDArray[np.uint8],
    method: Method = "telea",
    sector: NDArray[np.uint8] | None = None,
) -> list[Pixels]:
    """Frames (H, W) with the same marks, filled as `inpaint` does; `TOGETHER` of them cost little more than one."""
    if len(frames) == TOGETHER:
        # As the colours of one picture: the way through a mark is found once, and each colour is filled as if alone.
        together = np.asarray(cv2.merge(frames), np.uint8)
        return [np.asarray(frame, np.uint8) for frame in cv2.split(inpaint(together, marks, method, sector))]
    return [inpaint(frame, marks, method, sector) for frame in frames]


def inpaint(
    grey: Pixels, marks: NDArray[np.uint8], method: Method = "telea", sector: NDArray[np.uint8] | None = None
) -> Pixels:
    """(H, W) or (H, W, 3) uint8 with the marked pixels filled from their surroundings; all others as they were.

    Args:
        grey: (H, W) uint8, or (H, W, 3).
        marks: (H, W), non-zero where a mark is.
        method: how.
        sector: (H, W), non-zero where marks may be filled from: letters beside the picture are no echoes.
    """
    filled = grey.copy()
    for box in boxes_of(marks):
        drawn = np.ascontiguousarray(marks[box])
        hole = drawn if sector is None else np.where(sector[box] == 0, np.uint8(1), drawn)
        if hole.all():
            continue
        part = cv2.inpaint(np.ascontiguousarray(grey[box]), hole, _RADIUS, _METHODS[method])
        filled[box][drawn > 0] = part[drawn > 0]
    return filled
