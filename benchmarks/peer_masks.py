"""What other packages make of scans; run by an interpreter that has them and need not have sonolearn.

    PYTHON benchmarks/peer_masks.py PACKAGE OUT FILE...

For each video file it writes OUT/NAME.npz: `mask` (height, width) bool, true where the package keeps the pixel; `box`,
left, top, right and bottom of its crop in px, ends excluded; `seconds` of processor time from the file to clean frames
in memory; `error`, what it says where it gives no result. `benchmarks/cleaning_peers.py` starts it and reads these.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

Found = tuple[Any, tuple[int, int, int, int]]


def sonocrop(file: Path) -> Found:
    """As its commands `edges`, `crop` and `mask` do with their defaults: what never changes is blackened or cut off."""
    from sonocrop import vid

    video, _, frames, _, _ = vid.loadvideo(str(file))
    changing = vid.countUniquePixelsAlongFrames(video) / frames
    left, right = vid.findEdges(np.max(changing, axis=0), thresh=0.1)
    top, bottom = vid.findEdges(np.max(changing, axis=1), thresh=0.1)
    mask = changing > 0.05
    vid.applyMask(video, mask)
    return mask, (left, top, right, bottom)


def ultraml(file: Path) -> Found:
    """As its command `video` does with its defaults: what moves, and what is bright and joined to it, is kept."""
    import ultraml

    video = cv2.VideoCapture(str(file))
    frames = []
    while True:
        read, frame = video.read()
        if not read:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    sequence = np.stack(frames)
    _, static = ultraml.extract_ultrasound_video_foreground(sequence)
    spent = time.process_time()
    _, (top, bottom, left, right) = ultraml.compute_ultrasound_video_mask(sequence)
    _unpaid.append(time.process_time() - spent)
    return ~static, (left, top, right, bottom)


# The box of ultraml takes a second call, which its users do not make.
_unpaid: list[float] = []
PACKAGES: dict[str, Callable[[Path], Found]] = {"sonocrop": sonocrop, "ultraml": ultraml}


def main() -> None:
    """Write one result a file."""
    package, out, files = sys.argv[1], Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]]
    cv2.setNumThreads(1)
    PACKAGES[package](files[0])  # imports are not counted
    for file in files:
        _unpaid.clear()
        started = time.process_time()
        mask, box, error = np.zeros((0, 0), bool), (0, 0, 0, 0), ""
        try:
            mask, box = PACKAGES[package](file)
        except ValueError as problem:
            error = str(problem)
        seconds = time.process_time() - started - sum(_unpaid)
        np.savez_compressed(out / f"{file.stem}.npz", mask=mask, box=np.array(box), seconds=seconds, error=error)


if __name__ == "__main__":
    main()
