"""Contact sheets: what the network really sees, a column a sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sonolearn.runs import writing

GAP = 4


def write_sheet(path: Path, columns: Sequence[Sequence[NDArray[np.uint8] | Tensor]]) -> None:
    """Write a PNG with a column a sample.

    Args:
        path: the PNG.
        columns: pictures of each sample, top to bottom, (H, W) uint8 of any square size; equally many a column.
    """
    size = max(96, min(picture.shape[0] for picture in columns[0]))
    rows = len(columns[0])
    sheet = np.full((rows * (size + GAP) - GAP, len(columns) * (size + GAP) - GAP), 255, np.uint8)
    for number, column in enumerate(columns):
        left = number * (size + GAP)
        for row, picture in enumerate(column):
            top = row * (size + GAP)
            shrinks = picture.shape[0] > size
            interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
            resized = cv2.resize(np.asarray(picture), (size, size), interpolation=interpolation)
            sheet[top : top + size, left : left + size] = resized
    with writing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())
