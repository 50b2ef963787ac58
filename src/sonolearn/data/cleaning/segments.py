"""Cut a recording where its screen changes, and into pieces that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from sonolearn.data.cleaning.grey import luma_and_chroma
from sonolearn.data.scans.scan import Frame, Pixels

_FRAMES = 48  # frames of a piece: enough to tell what stands still
_BYTES = 96_000_000  # of a piece in memory, at most, but for the smallest number of frames
_FEWEST = 4
_CELLS = (32, 24)  # columns and rows in which screens are compared
_DIFFERS = 20  # grey levels between two screens' cells
_CHANGED = 0.3  # share of cells that differ where the layout changed


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
        full = len(piece) >= _FRAMES or (held > _BYTES and len(piece) >= _FEWEST)
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
    shrunk = now.shape[0] >= _CELLS[1] and now.shape[1] >= _CELLS[0]
    if shrunk and cv2.norm(before, now, cv2.NORM_L1) < _CHANGED * (_DIFFERS - 1) * now.size:
        return False
    cells, cells_now = (cv2.resize(luma, _CELLS, interpolation=cv2.INTER_AREA) for luma in (before, now))
    return float(np.mean(cv2.absdiff(cells, cells_now) > _DIFFERS)) > _CHANGED
