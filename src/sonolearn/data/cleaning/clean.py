"""Cleaning a scan: the sector alone, marks filled, bad frames left out with a reason; frame by frame, in flat memory.

A recording is read once, in pieces of one layout (`segments`). Of each piece the sector is found (`sector`), what the
screen and each frame show (`layouts`, `colour`, `stillness`) and what is drawn on them (`marks`); good frames are filled
(`inpaint`), cut out and scaled (`grey`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from sonolearn.config import CleaningConfig
from sonolearn.data.cleaning.duplicates import Thinner
from sonolearn.data.cleaning.examine import Examined, Mask, examine
from sonolearn.data.cleaning.grey import fit, fit_scale
from sonolearn.data.cleaning.inpaint import inpaint
from sonolearn.data.cleaning.marks import words
from sonolearn.data.cleaning.sector import Sector
from sonolearn.data.cleaning.segments import Shot, pieces
from sonolearn.data.cleaning.verdicts import SENTENCES, Verdict
from sonolearn.data.scans.scan import Frame, Pixels, Rejected, Scan

_SHOWN = 3  # frames kept for the report


@dataclass(frozen=True)
class Example:
    """A frame before and after, for the report."""

    screen: Pixels
    """(H, W) luma, or (H, W, 3) RGB, as recorded."""
    sector: Sector | None
    marks: Mask | None
    """(H, W) 0 or 1."""
    clean: Pixels | None
    """(S, S) what is stored; None for a frame that is left out."""


@dataclass
class Cleaned:
    """A scan after cleaning. `frames` is read once; the rest is known when it was."""

    frames: Iterator[Frame]
    """Clean frames, (S, S) grey uint8."""
    sector: Sector | None = None
    """Of the first good frames."""
    mm_per_px: float | None = None
    """Side of a pixel of the clean frames; None where unknown, or where it changes midway."""
    taken: int = 0
    """Frames that were looked at."""
    refused: Counter[Verdict] = field(default_factory=Counter)
    """How many of them were left out, by reason."""
    marked: float = 0.0
    """Mean share of the sector's pixels, over the good frames, that marks covered."""
    texts: int = 0
    """Words found inside the sector."""
    examples: list[Example] = field(default_factory=list)


def clean(
    scan: Scan,
    size: int,
    step: int = 1,
    only: Collection[int] | None = None,
    config: CleaningConfig | None = None,
) -> Cleaned:
    """Clean a scan; it is read as `frames` is, so that memory does not grow with its length.

    Args:
        scan: what to clean.
        size: side S of the clean frames in px.
        step: take every n-th frame.
        only: take these frames instead.
        config: what to take away.

    Raises:
        Rejected: while `frames` is read: the file is damaged, or none of its frames is good; then the reason is that of
            most frames.
    """
    cleaned = Cleaned(iter(()))
    cleaned.frames = _clean_frames(scan, scan.frames(step, only), size, config or CleaningConfig(), cleaned)
    return cleaned


def _clean_frames(
    scan: Scan, source: Iterator[Frame], size: int, config: CleaningConfig, cleaned: Cleaned
) -> Iterator[Frame]:
    thinner = Thinner(config.least_change)
    found, covered, kept = None, 0.0, 0
    for shots, goes_on in pieces(source):
        found = examine(shots, scan.regions, found if goes_on else None, config)
        texts = 0
        for number, shot in enumerate(shots):
            cleaned.taken += 1
            verdict, marks = found.verdicts[number], found.marks[number]
            clean_frame = None
            if verdict is None:
                clean_frame = _cleaned(found, number, size, config)
                if config.least_change > 0 and not thinner.keeps(clean_frame):
                    verdict, clean_frame = "alike", None
            _remember(cleaned, scan, shot, found, number, clean_frame)
            if verdict is not None or clean_frame is None:
                cleaned.refused[verdict or "blank"] += 1
                continue
            kept += 1
            if marks is not None:
                covered += cv2.countNonZero(marks) / max(1, cv2.countNonZero(found.sector.mask))
                texts = texts or len(words(marks))
            cleaned.marked = covered / kept
            yield replace(shot.frame, pixels=clean_frame, chroma=None)
        cleaned.texts = max(cleaned.texts, texts)
    if kept == 0:
        raise _none_good(cleaned)


def _cleaned(found: Examined, number: int, size: int, config: CleaningConfig) -> Pixels:
    """One frame (size, size): marks filled, everything outside the sector 0."""
    crop, marks = found.crops[number], found.marks[number]
    if marks is not None and config.marks != "keep":
        crop = inpaint(crop, marks, config.marks)
    if found.sector.shape is not None:
        crop = np.asarray(cv2.bitwise_and(crop, found.sector.mask))
    return fit(crop, size)


def _remember(
    cleaned: Cleaned, scan: Scan, shot: Shot, found: Examined, number: int, clean_frame: Pixels | None
) -> None:
    """Note where the sector is, and keep examples: the first frames, and the first good one."""
    sector = found.sector
    if clean_frame is not None and cleaned.sector is None:
        cleaned.sector = sector
        mm_per_px = sector.mm_per_px or scan.mm_per_px
        if mm_per_px:
            cleaned.mm_per_px = mm_per_px / fit_scale(
                sector.y1 - sector.y0, sector.x1 - sector.x0, size=len(clean_frame)
            )
    elif clean_frame is not None and cleaned.sector is not sector:
        cleaned.mm_per_px = None
    good = sum(example.clean is not None for example in cleaned.examples)
    if clean_frame is None and (good or cleaned.examples):
        return
    if good >= _SHOWN or (good and cleaned.taken < 12 * good):
        return
    marks = found.marks[number]
    if marks is not None:
        whole = np.zeros(shot.luma.shape, np.uint8)
        sector.crop(whole)[:] = marks
        marks = whole
    cleaned.examples = [e for e in cleaned.examples if e.clean is not None]
    cleaned.examples.append(Example(shot.frame.pixels.copy(), sector if sector.shape else None, marks, clean_frame))


def _none_good(cleaned: Cleaned) -> Rejected:
    if not cleaned.refused:
        return Rejected("no_frames", "holds no frame")
    reason, count = cleaned.refused.most_common(1)[0]
    rest = "" if count == cleaned.taken else f" in {count} of {cleaned.taken} frames, and no other frame is good"
    return Rejected(reason, SENTENCES[reason] + rest)
