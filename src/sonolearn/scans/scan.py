"""What every reader gives: a `Scan`. What cannot be used is `Rejected`, with a reason."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.console import no_formula, one_line

Kind = Literal["dicom", "video", "still", "sequence"]
Pixels = NDArray[np.uint8]

MOST_PIXELS = 22_000_000
"""Pixels of a still, at most, and twice those of a recording, whose frames are held by fours: below 1 GB both."""
MOST_FRAMES = 300_000
"""Frames of a recording, at most: nearly three hours at 30 frames a second."""


class Rejected(Exception):  # noqa: N818 - an outcome, not a fault of the program
    """A file that cannot be used. It never stops the others.

    Attributes:
        reason: short code for tables and programs, such as "truncated".
        message: one sentence for people, without file name, header text or patient: it is written to the store.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


def check_size(height: int, width: int, frames: int | None = None) -> None:
    """Refuse by size, before memory is taken for it.

    Args:
        height: of a frame, in px.
        width: of a frame, in px.
        frames: how many there are; None where it is not known.

    Raises:
        Rejected: it would take too much memory, or has more frames than any scan.
    """
    most = MOST_PIXELS if frames == 1 else MOST_PIXELS // 2
    if height * width > most:
        message = f"has {width} x {height} pixels, more than {most // 1_000_000} million: scale it down"
        raise Rejected("too_large", message)
    if frames is not None and frames > MOST_FRAMES:
        raise Rejected("too_large", f"has {frames} frames, more than {MOST_FRAMES}: cut it into shorter recordings")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a scan."""

    index: int
    """Number in the recording, from 0."""
    time: float
    """Seconds since the first frame; NaN for a still."""
    pixels: Pixels
    """(H, W) grey or (H, W, 3) RGB, uint8, 0 to 255."""
    chroma: Pixels | None = None
    """(h, w, 2) uint8, Cb and Cr of a colour frame whose `pixels` are its luma, 128 where it is grey; at half the size
    in most videos. None where `pixels` are RGB, or where there is no colour."""


@dataclass(frozen=True)
class Region:
    """An ultrasound region as the machine wrote it (DICOM PS3.3 C.8.5.5), not checked against the picture."""

    spatial_format: int
    """1 is 2D; 2 M-mode, 3 spectral, 4 waveform, 5 graphics."""
    data_type: int
    """1 is tissue (B-mode), 2 colour flow; above: Doppler, waveforms, texts."""
    x0: int
    y0: int
    x1: int
    """One past the last column, in px."""
    y1: int
    """One past the last row, in px."""
    mm_per_px: float | None = None
    """Side of a pixel; None where it is unknown."""


# Gives the frames whose index the function takes; in RGB where asked, else in what is cheapest to read.
Read = Callable[[Callable[[int], bool], bool], Iterator[Frame]]


@dataclass(frozen=True)
class Scan:
    """One recording or still, with square pixels. Each call of `frames` reads the file from its start."""

    kind: Kind
    height: int
    width: int
    read: Read = field(repr=False)
    count: int | None = None
    """Number of frames by the header, None where it does not say."""
    fps: float | None = None
    """Frames a second, None where unknown."""
    mm_per_px: float | None = None
    """Side of a square pixel in mm, None where unknown; regions may know better."""
    machine: str = ""
    """Manufacturer and model."""
    regions: tuple[Region, ...] = ()
    patient_id: str | None = field(default=None, repr=False)
    """The raw id of the header, to be pseudonymised and forgotten: never written, never shown."""

    def frames(self, step: int = 1, only: Collection[int] | None = None, colour: bool = False) -> Iterator[Frame]:
        """Read frames one by one; memory does not grow with the length of the scan.

        Args:
            step: take every n-th frame.
            only: take these frames instead.
            colour: give (H, W, 3) RGB where the file has colour; otherwise what is cheapest to read: luma and chroma,
                or RGB.

        Raises:
            Rejected: the file is damaged, or ends before its last frame; known only once its end was reached.
        """
        wanted = None if only is None else frozenset(only)
        return self.read((lambda index: index % step == 0) if wanted is None else wanted.__contains__, colour)


def printable(text: object, limit: int = 64) -> str:
    """Free text as one short printable line, which no spreadsheet computes."""
    return no_formula(one_line(text or ""))[:limit]


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
