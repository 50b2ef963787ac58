"""From pixels as they are stored to the picture that viewers show: square pixels, turned and mirrored as the file says.

What comes later takes pixels for square: outlines of sectors are arcs of circles, and a heart must not become narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sonolearn.data.scans.scan import Pixels

_SQUARE = 0.02  # by which width and height of a pixel may differ: vendors round
_ABSURD = 3  # ratio of width and height that no machine writes


@dataclass(frozen=True)
class Geometry:
    """How a picture is shown: stretched first, then mirrored, then turned."""

    aspect: float = 1.0
    """Width of a stored pixel by its height."""
    mirrored: bool = False
    """Whether left and right are exchanged."""
    turns: int = 0
    """Quarter turns, counter-clockwise."""

    @property
    def stretch(self) -> tuple[float, float]:
        """Factors of height and width by which pixels become square; no side loses pixels.

        >>> Geometry(aspect=1.25).stretch
        (1.0, 1.25)
        """
        if not 1 / _ABSURD <= self.aspect <= _ABSURD or abs(self.aspect - 1) <= _SQUARE:
            return 1.0, 1.0
        return max(1.0, 1 / self.aspect), max(1.0, self.aspect)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in px of a picture that is stored with these.

        >>> Geometry(aspect=0.5, turns=1).size(100, 200)
        (200, 200)
        """
        down, across = self.stretch
        shown = round(height * down), round(width * across)
        return shown[::-1] if self.turns % 2 else shown

    def show(self, pixels: Pixels, chroma: Pixels | None = None) -> tuple[Pixels, Pixels | None]:
        """A frame (H, W[, 3]) and its chroma as they are shown; chroma has a size of its own and is not stretched."""
        if self.stretch != (1.0, 1.0):
            height, width = Geometry(self.aspect).size(*pixels.shape[:2])
            pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        return self._turned(pixels), None if chroma is None else self._turned(chroma)

    def _turned(self, pixels: Pixels) -> Pixels:
        if self.mirrored:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(np.rot90(pixels, self.turns)) if self.mirrored or self.turns else pixels
