"""The steps of cleaning in their order: find the sector, crop, grey, scale; or refuse with a reason."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from sonolearn.data.cleaning.grey import fit, fit_scale, to_grey
from sonolearn.data.cleaning.sector import Sector, find_sector
from sonolearn.data.scans.scan import Frame, Rejected, Scan

# Frames that the sector is found in; they are held in memory at full size.
_SAMPLE = 16
# A frame whose grey levels lie this close together shows nothing.
_BLANK_RANGE = 10


@dataclass(frozen=True)
class Cleaned:
    """A scan after cleaning; `frames` is read once."""

    sector: Sector
    mm_per_px: float | None
    """Side of a pixel of the clean frames."""
    frames: Iterator[Frame]
    """Clean frames, (S, S) grey uint8; blank ones are left out."""


def clean(scan: Scan, size: int, step: int = 1, only: Collection[int] | None = None, crop: bool = True) -> Cleaned:
    """Clean a scan; frames are read as `frames` is, so that memory does not grow with the scan.

    Args:
        scan: what to clean.
        size: side S of the clean frames in px.
        step: take every n-th frame.
        only: take these frames instead.
        crop: crop to the ultrasound picture.

    Raises:
        Rejected: nothing can be read, or there is nothing to see (here or while `frames` is read).
    """
    source = scan.frames(step, only)
    sample = list(itertools.islice(source, _SAMPLE))
    if not sample:
        raise Rejected("no_frames", "holds no frame")
    height, width = sample[0].pixels.shape[:2]
    sector = Sector(0, 0, width, height, "whole")
    if crop:
        sector = find_sector(np.stack([to_grey(frame.pixels) for frame in sample]), scan.regions)
    mm_per_px = sector.mm_per_px or scan.mm_per_px
    return Cleaned(
        sector=sector,
        mm_per_px=mm_per_px / fit_scale(sector.y1 - sector.y0, sector.x1 - sector.x0, size) if mm_per_px else None,
        frames=_clean_frames(_handed_on(sample, source), sector, size),
    )


def _handed_on(sample: list[Frame], source: Iterator[Frame]) -> Iterator[Frame]:
    """The sample, forgotten frame by frame, then the rest."""
    while sample:
        yield sample.pop(0)
    yield from source


def _clean_frames(frames: Iterator[Frame], sector: Sector, size: int) -> Iterator[Frame]:
    shown = False
    for frame in frames:
        grey = fit(to_grey(sector.crop(frame.pixels)), size)
        if int(grey.max()) - int(grey.min()) < _BLANK_RANGE:
            continue
        shown = True
        yield replace(frame, pixels=grey)
    if not shown:
        raise Rejected("blank", "shows nothing: all its frames are of one grey")
