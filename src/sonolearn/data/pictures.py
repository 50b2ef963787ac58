"""Pictures of a scan before and after cleaning: for the report without its text, and crops of text for its owner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from sonolearn.data.cleaning.clean import Example
from sonolearn.data.cleaning.marks import words
from sonolearn.data.cleaning.thumbnails import after, before, sheet
from sonolearn.data.scans.scan import Pixels

_WORDS = 20  # of a scan at most
_TALL, _WIDE = 48, 360  # px of a crop at most: enough to read a word
_MARGIN = 4  # px around a word, and a third of its height
_QUALITY = 85


def sheet_of(examples: Sequence[Example]) -> bytes:
    """A JPEG of one to three frames, each screen left of its clean frame, that shows no text as it is."""
    return sheet([(_before(example), None if example.clean is None else after(example.clean)) for example in examples])


def _before(example: Example) -> Pixels:
    shape = example.sector.shape if example.sector else None
    marks = None if example.marks is None else example.marks > 0
    # A frame that was left out was not searched for text, so none of it is shown clearly.
    hidden = marks if example.clean is not None else np.ones(example.screen.shape[:2], np.bool_)
    outline, window = (shape.outline, shape.window) if shape else (None, None)
    return before(example.screen, outline, window, marks, hidden)


def text_crops(examples: Sequence[Example]) -> list[bytes]:
    """Small JPEGs, as it was on the screen, of what looks like text inside the sector: of the frame with most of it."""
    return max((list(_words(example)) for example in examples), key=len, default=[])


def _words(example: Example) -> Iterator[bytes]:
    """A JPEG a word, from top to bottom."""
    boxes = words(example.marks) if example.clean is not None and example.marks is not None else []
    for left, top, wide, tall in sorted(boxes, key=lambda box: (box[1], box[0]))[:_WORDS]:
        margin = _MARGIN + tall // 3
        rows = slice(max(0, top - margin), top + tall + margin)
        yield _jpeg(example.screen[rows, max(0, left - margin) : left + wide + margin])


def _jpeg(pixels: Pixels) -> bytes:
    scale = min(1.0, _TALL / pixels.shape[0], _WIDE / pixels.shape[1])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", small[..., ::-1] if small.ndim == 3 else small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return jpeg.tobytes()
