"""From a frame of any size to a square grey one, and what colour it had."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from sonolearn.cleaning.thresholds import THRESHOLDS
from sonolearn.scans.scan import Frame, Pixels

PIECES = THRESHOLDS.pieces


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


class Shot:
    """A frame with its luma (H, W) and chroma (h, w, 2), or None where it has no colour."""

    __slots__ = ("chroma", "frame", "luma")

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.luma, self.chroma = luma_and_chroma(frame)


def pieces(frames: Iterator[Frame]) -> Iterator[tuple[list[Shot], bool]]:
    """Runs of frames of one layout, and whether each goes on with the layout of the one before."""
    piece: list[Shot] = []
    held, goes_on = 0, False
    before: Pixels | None = None
    for frame in frames:
        shot = Shot(frame)
        cut = before is not None and layout_changed(before, shot.luma)
        full = len(piece) >= PIECES.frames or (held > PIECES.bytes and len(piece) >= PIECES.fewest)
        if piece and (cut or full):
            yield piece, goes_on
            piece, held, goes_on = [], 0, not cut
        piece.append(shot)
        held += shot.luma.nbytes + (shot.chroma.nbytes if shot.chroma is not None else 0)
        before = shot.luma
    if piece:
        yield piece, goes_on


def layout_changed(before: Pixels, now: Pixels) -> bool:
    """Whether many cells of two screens (H, W) differ in their mean grey."""
    # Means differ by no more than the pixels do, which takes a sixth of the time and settles it for most frames. One
    # grey level is for rounding. Screens smaller than the cells are enlarged, of which this does not hold.
    shrunk = now.shape[0] >= PIECES.cells[1] and now.shape[1] >= PIECES.cells[0]
    if shrunk and cv2.norm(before, now, cv2.NORM_L1) < PIECES.changed * (PIECES.differs - 1) * now.size:
        return False
    cells, cells_now = (cv2.resize(luma, PIECES.cells, interpolation=cv2.INTER_AREA) for luma in (before, now))
    return float(np.mean(cv2.absdiff(cells, cells_now) > PIECES.differs)) > PIECES.changed
