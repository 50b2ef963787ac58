"""A picture of the first batch: what the network really sees."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from sonolearn.data.store import Frames
from sonolearn.runs import writing


def write_contact_sheet(path: Path, frames: list[Frames], views: Tensor, columns: int = 8) -> None:
    """Write a PNG with a column a sample: the frame above its first and its second view.

    Args:
        path: the PNG.
        frames: whole frames, (S, S) uint8 each.
        views: (N, 2, size, size) uint8 of the same samples.
        columns: how many samples to show at most.
    """
    size = max(96, views.shape[-1])
    shown = min(columns, len(frames))
    gap = 4
    sheet = np.full((3 * (size + gap) - gap, shown * (size + gap) - gap), 255, np.uint8)
    for column in range(shown):
        left = column * (size + gap)
        pictures = [frames[column], *views[column].numpy()]
        for row, picture in enumerate(pictures):
            top = row * (size + gap)
            shrinks = picture.shape[0] > size
            resized = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
            sheet[top : top + size, left : left + size] = resized
    with writing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())
