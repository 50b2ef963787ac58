"""The frames of a scan as a classifier takes them: cleaned and resized by the very steps that its training data saw."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.cleaning.clean import clean
from sonolearn.config import CleaningConfig
from sonolearn.console import UserError
from sonolearn.scans.find import open_guarded, own_fault
from sonolearn.scans.scan import Frame, Rejected
from sonolearn.store.store import Frames

Item = TypeVar("Item")
Result = TypeVar("Result")


def overlapped(
    items: Iterator[Item], function: Callable[[Item], Result], threads: int, in_thread: Callable[[], None]
) -> Iterator[tuple[Item, Result]]:
    """Each item with what the function makes of it, in order.

    The thread that calls this makes the items; `threads` others compute, one item each. At most two items a thread are
    waiting or being computed.

    Args:
        items: made one at a time, in the calling thread.
        function: called in the other threads, for several items at the same time.
        threads: how many.
        in_thread: called first in each of them.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(threads, initializer=in_thread)
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            while waiting and (len(waiting) >= 2 * threads or waiting[0][1].done()):
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def ahead(items: Iterator[Item], most: int) -> Iterator[Item]:
    """The same items; another thread makes up to `most` of them before they are asked for.

    Raises:
        Exception: what making an item raises, where that item would have come.
    """
    end = object()
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, items, end) for _ in range(most))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield cast("Item", item)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


READ_AHEAD = 16
"""Frames that are decoded before they are cleaned, at most."""


@dataclass
class Reading:
    """A scan while it is read, and what is known of it afterwards.

    Attributes:
        name: its pseudonym.
        paths: its file, or the stills of a sequence.
        kind: dicom, video, still or sequence; empty if it cannot be opened.
        patient_id: of the header, to be pseudonymised and forgotten.
        taken: frames that were looked at, good or not.
        left_out: how many of them cleaning left out, by reason, as text.
        rejected: why it cannot be used.
    """

    name: str
    paths: tuple[Path, ...]
    kind: str = ""
    patient_id: str | None = field(default=None, repr=False)
    taken: int = 0
    left_out: str = ""
    rejected: Rejected | None = None


@dataclass(frozen=True)
class Batch:
    """Some frames of one scan, next to each other; none in the last of a scan that is rejected.

    Attributes:
        scan: whose they are.
        frames: (n, S, S) uint8.
        index: (n,) their numbers in the recording.
        time: (n,) seconds since its start, NaN for a still.
        last: whether the scan ends with them.
    """

    scan: Reading
    frames: Frames
    index: NDArray[np.int64]
    time: NDArray[np.float64]
    last: bool


@dataclass(frozen=True)
class Cutting:
    """How frames are made.

    Attributes:
        frame_size: side in px to which scans are cleaned, that of the store the classifier learnt from.
        image_size: side S in px of what the network takes.
        frame_skip: every n-th frame is taken.
        cleaning: what is taken away.
        batch: frames in a batch, at most.
    """

    frame_size: int
    image_size: int
    frame_skip: int
    cleaning: CleaningConfig
    batch: int


def batches(scan: Reading, cutting: Cutting) -> Iterator[Batch]:
    """Read, clean and resize a scan; each frame once, in flat memory.

    Raises nothing of its own: a scan that cannot be used ends with an empty batch, and `scan.rejected` says why.
    """
    held: list[Frame] = []
    try:
        opened = open_guarded(scan.paths)
        read = opened.read
        scan.kind, scan.patient_id = opened.kind, opened.patient_id
        # Nothing can be cleaned before the first 48 frames are there, and until then the network has nothing to do.
        opened = replace(opened, read=lambda takes, colour: ahead(read(takes, colour), READ_AHEAD))
        cleaned = clean(opened, cutting.frame_size, cutting.frame_skip, config=cutting.cleaning)
        for frame in cleaned.frames:
            scan.taken = cleaned.taken
            # One frame is held back, so that the last batch of the scan is known as such.
            if len(held) == cutting.batch:
                yield _batch(scan, held, cutting.image_size, last=False)
                held = []
            held.append(frame)
        scan.taken = cleaned.taken
        scan.left_out = ", ".join(f"{reason} {count}" for reason, count in sorted(cleaned.refused.items()))
    except Rejected as rejected:
        scan.rejected, held = rejected, []
    except UserError:  # a full disk concerns all scans
        raise
    except Exception as error:  # one scan must not stop the others
        scan.rejected, held = own_fault(error), []
    yield _batch(scan, held, cutting.image_size, last=True)


def _batch(scan: Reading, frames: Sequence[Frame], size: int, last: bool) -> Batch:
    pixels = np.empty((len(frames), size, size), np.uint8)
    for target, frame in zip(pixels, frames, strict=True):
        resize_into(target, frame.pixels)
    index = np.array([frame.index for frame in frames], np.int64)
    return Batch(scan, pixels, index, np.array([frame.time for frame in frames], np.float64), last)


def resize_into(target: Frames, frame: Frames) -> None:
    """Resize a clean frame as `ssl.features.read_images` does those of a store."""
    if frame.shape == target.shape:
        target[:] = frame
        return
    interpolation = cv2.INTER_AREA if len(target) < len(frame) else cv2.INTER_LINEAR
    cv2.resize(frame, target.shape[::-1], dst=target, interpolation=interpolation)
