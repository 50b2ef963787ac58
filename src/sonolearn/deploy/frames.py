"""The frames of a scan as a classifier takes them: cleaned and resized by the very steps that its training data saw."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sonolearn.config import CleaningConfig
from sonolearn.console import UserError
from sonolearn.data.cleaning.clean import clean
from sonolearn.data.scans.find import open_scan
from sonolearn.data.scans.scan import Frame, Rejected, Scan
from sonolearn.data.store import Frames


@dataclass
class Reading:
    """A scan while it is read, and what is known of it afterwards.

    Attributes:
        name: its pseudonym.
        paths: its file, or the stills of a sequence.
        kind: dicom, video, still or sequence; empty if it cannot be opened.
        patient_id: of the header, to be pseudonymised and forgotten.
        taken: frames that were looked at, good or not.
        rejected: why it cannot be used.
    """

    name: str
    paths: tuple[Path, ...]
    kind: str = ""
    patient_id: str | None = field(default=None, repr=False)
    taken: int = 0
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
        with _rejecting_faults():
            opened = opened_safely(scan.paths)
            scan.kind, scan.patient_id = opened.kind, opened.patient_id
            cleaned = clean(opened, cutting.frame_size, cutting.frame_skip, config=cutting.cleaning)
            for frame in cleaned.frames:
                scan.taken = cleaned.taken
                # One frame is held back, so that the last batch of the scan is known as such.
                if len(held) == cutting.batch:
                    yield _batch(scan, held, cutting.image_size, last=False)
                    held = []
                held.append(frame)
            scan.taken = cleaned.taken
    except Rejected as rejected:
        scan.rejected, held = rejected, []
    yield _batch(scan, held, cutting.image_size, last=True)


def opened_safely(paths: Sequence[Path]) -> Scan:
    """Open a scan; whatever decoders raise on a damaged file, now or while it is read, becomes a rejection."""
    with _rejecting_damage():
        scan = open_scan(paths)

    def read(takes: Callable[[int], bool], colour: bool) -> Iterator[Frame]:
        with _rejecting_damage():
            yield from scan.read(takes, colour)

    return replace(scan, read=read)


@contextmanager
def _rejecting_damage() -> Iterator[None]:
    try:
        yield
    except (Rejected, UserError):
        raise
    except Exception as error:
        raise Rejected("unreadable", "cannot be read: the file or its disk is damaged") from error


@contextmanager
def _rejecting_faults() -> Iterator[None]:
    """A fault of ours must not stop the other scans; what the error says may be of the file, so it is not told."""
    try:
        yield
    except (Rejected, UserError):
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} in {Path(where.filename).name} line {where.lineno}"
        raise Rejected("failed", f"makes sonolearn fail ({what}): please report this") from error


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
