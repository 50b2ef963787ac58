"""Cleaning a scan: the sector alone, marks filled, bad frames left out with a reason; frame by frame, in flat memory.

A recording is read once, in pieces of one layout (`segments`). Each piece is examined (`examine`): where the sector is
(`sector`), what the screen and each frame show (`layouts`, `colour`, `stillness`) and what is drawn on them (`marks`).
Good frames are filled (`inpaint`), cut out and scaled (`grey`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from sonolearn.cleaning.examine import SENTENCES, Examined, Mask, Verdict, examine
from sonolearn.cleaning.grey import Shot, fit, fit_scale, pieces
from sonolearn.cleaning.marks import inpaint_alike, words
from sonolearn.cleaning.sector import Sector
from sonolearn.cleaning.similar import Thinner
from sonolearn.cleaning.thresholds import THRESHOLDS
from sonolearn.config import CleaningConfig
from sonolearn.scans.scan import Frame, Pixels, Rejected, Scan

_SHOWN, _APART = 3, 12  # frames kept for the report, and how many others lie between them


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
    """Clean frames, (S, S) grey uint8; (H, W) as the scan where no size was asked for."""
    sector: Sector | None = None
    """Of the first good frames."""
    misfit: float = 0.0
    """The worst of all outlines of good frames, as `Shape.misfit`; 1 where no outline was found."""
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
    size: int | None,
    step: int = 1,
    only: Collection[int] | None = None,
    config: CleaningConfig | None = None,
) -> Cleaned:
    """Clean a scan; it is read as `frames` is, so that memory does not grow with its length.

    Args:
        scan: what to clean.
        size: side S of the clean frames in px; None leaves them as large as the screen, with the sector in its place.
        step: take every n-th frame.
        only: take these frames instead; labelled ones, say, which are kept however alike they are.
        config: what to take away.

    Raises:
        Rejected: while `frames` is read: the file is damaged, or none of its frames is good; then the reason is that of
            most frames.
    """
    cleaned = Cleaned(iter(()))
    config = config or CleaningConfig()
    thinner = Thinner(config.least_change) if config.least_change > 0 and only is None else None
    cleaned.frames = _clean_frames(scan, scan.frames(step, only), size, config, thinner, cleaned)
    return cleaned


def _clean_frames(
    scan: Scan,
    source: Iterator[Frame],
    size: int | None,
    config: CleaningConfig,
    thinner: Thinner | None,
    cleaned: Cleaned,
) -> Iterator[Frame]:
    found, covered, kept = None, 0.0, 0
    for shots, goes_on in pieces(source):
        found = examine(shots, scan.regions, found if goes_on else None, config)
        drawn = np.zeros(found.crops.shape[1:], np.uint8)
        for number, (shot, crop) in enumerate(zip(shots, _filled(found, config), strict=True)):
            cleaned.taken += 1
            outcome = found.verdicts[number] or _cut_out(found, shot, crop, size, thinner)
            if isinstance(outcome, str):
                cleaned.refused[outcome] += 1
                _keep_example(cleaned, shot, found, number, None)
                continue
            _keep_example(cleaned, shot, found, number, outcome)
            _note_place(cleaned, scan, found.sector, size)
            cleaned.misfit = max(cleaned.misfit, found.sector.shape.misfit if found.sector.shape else 1.0)
            kept += 1
            marks = found.marks[number]
            if marks is not None:
                covered += cv2.countNonZero(marks) / max(1, cv2.countNonZero(found.sector.mask))
                drawn |= marks
            cleaned.marked = covered / kept
            yield replace(shot.frame, pixels=outcome, chroma=None)
        cleaned.texts = max(cleaned.texts, len(words(drawn)))
    if kept == 0:
        raise _none_good(cleaned)


def _filled(found: Examined, config: CleaningConfig) -> Iterator[Pixels]:
    """The crops (h, w) of a piece in order, with their marks filled."""
    for _, same in itertools.groupby(zip(found.crops, found.marks, strict=True), key=lambda pair: id(pair[1])):
        while run := list(itertools.islice(same, THRESHOLDS.fill.together)):
            crops, marks = [crop for crop, _ in run], run[0][1]
            if marks is not None and config.marks != "keep":
                crops = inpaint_alike(crops, marks, config.marks, found.sector.mask)
            yield from crops


def _cut_out(found: Examined, shot: Shot, crop: Pixels, size: int | None, thinner: Thinner | None) -> Pixels | Verdict:
    """One frame (size, size), or as large as the screen, everything outside the sector 0; or why it is left out."""
    if found.sector.shape is not None:
        crop = np.asarray(cv2.bitwise_and(crop, found.sector.mask))
    if size is None:
        clean_frame = np.zeros(shot.luma.shape, np.uint8)
        found.sector.crop(clean_frame)[:] = crop
    else:
        clean_frame = fit(crop, size)
    return clean_frame if thinner is None or thinner.keeps(clean_frame) else "alike"


def _note_place(cleaned: Cleaned, scan: Scan, sector: Sector, size: int | None) -> None:
    """Note where the sector of a good frame is; where its scale changes midway, no one pixel size holds."""
    mm_per_px = sector.mm_per_px or scan.mm_per_px
    if mm_per_px and size is not None:
        mm_per_px /= fit_scale(sector.y1 - sector.y0, sector.x1 - sector.x0, size)
    if cleaned.sector is None:
        cleaned.sector, cleaned.mm_per_px = sector, mm_per_px
    elif cleaned.mm_per_px != mm_per_px:
        cleaned.mm_per_px = None


def _keep_example(cleaned: Cleaned, shot: Shot, found: Examined, number: int, clean_frame: Pixels | None) -> None:
    """Keep a few good frames, some time apart, for the report; the first frame until there is a good one."""
    good = [example for example in cleaned.examples if example.clean is not None]
    if len(good) >= _SHOWN or (good and cleaned.taken < _APART * len(good)):
        return
    if clean_frame is None and cleaned.examples:
        return
    whole, marks = None, found.marks[number]
    if marks is not None:
        whole = np.zeros(shot.luma.shape, np.uint8)
        found.sector.crop(whole)[:] = marks
    sector = found.sector if found.sector.shape else None
    cleaned.examples = [*good, Example(shot.frame.pixels.copy(), sector, whole, clean_frame)]


def _none_good(cleaned: Cleaned) -> Rejected:
    if not cleaned.refused:
        return Rejected("no_frames", "holds no frame")
    reason, count = cleaned.refused.most_common(1)[0]
    rest = "" if count == cleaned.taken else f" in {count} of {cleaned.taken} frames, and no other frame is good"
    return Rejected(reason, SENTENCES[reason] + rest)
