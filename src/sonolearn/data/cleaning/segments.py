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
    held, before, goes_on = 0, None, False
    for frame in frames:
        shot = Shot(frame)
        cells = _cells(shot.luma)
        cut = before is not None and _changed(before, cells)
        full = len(piece) >= _FRAMES or (held > _BYTES and len(piece) >= _FEWEST)
        if piece and (cut or full):
            yield piece, goes_on
            piece, held, goes_on = [], 0, not cut
        piece.append(shot)
        held += shot.luma.nbytes + (shot.chroma.nbytes if shot.chroma is not None else 0)
        before = cells
    if piece:
        yield piece, goes_on


def _cells(luma: Pixels) -> Pixels:
    return np.asarray(cv2.resize(luma, _CELLS, interpolation=cv2.INTER_AREA), np.uint8)


def _changed(before: Pixels, now: Pixels) -> bool:
    return float(np.mean(cv2.absdiff(before, now) > _DIFFERS)) > _CHANGED
