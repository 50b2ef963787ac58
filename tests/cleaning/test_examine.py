"""A guard against getting worse: ten trial scans, compared with their truth pixel by pixel and frame by frame.

The numbers were chosen among those whose verdicts were right at the time; `benchmarks/cleaning.py` scores all trials.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.trials import trial
from echoes import iou, scan_of
from sonolearn.cleaning.examine import examine
from sonolearn.cleaning.grey import pieces
from sonolearn.config import CleaningConfig

NUMBERS = (3, 5, 6, 11, 12, 13, 24, 26, 38, 53)


class Score(NamedTuple):
    """Of one trial: overlap of the sector in each good frame, and counts of pixels over these frames."""

    overlaps: list[float]
    found: int
    drawn: int
    touched: int
    clean: int
    wrong: list[tuple[str, str]]
    """Verdicts that differ from the truth, as said and true."""


def score(number: int) -> Score:
    truth = trial(number, frames=8)
    seen, said, overlaps, pixels = None, [], [], np.zeros(4, int)
    for shots, goes_on in pieces(scan_of(truth.frames, fps=truth.fps).frames()):
        seen = examine(shots, (), seen if goes_on else None, CleaningConfig())
        inside = np.zeros(truth.sector.shape, bool)
        seen.sector.crop(inside)[:] = seen.sector.mask > 0
        for verdict, marks in zip(seen.verdicts, seen.marks, strict=True):
            index = len(said)
            said.append(verdict or "")
            if verdict is None and not truth.verdicts[index]:
                hit = np.zeros(inside.shape, bool)
                if marks is not None:
                    seen.sector.crop(hit)[:] = marks > 0
                sector = truth.sectors[index]
                drawn, clean = truth.marks[index] & sector, sector & ~truth.marks[index]
                overlaps.append(iou(inside, sector))
                # A mark outside the found sector is gone, too.
                pixels += [((hit | ~inside) & drawn).sum(), drawn.sum(), (hit & clean).sum(), clean.sum()]
    wrong = [(s, t) for s, t in zip(said, truth.verdicts, strict=True) if s != t]
    return Score(overlaps, *pixels.tolist(), wrong)


def test_ten_trials_come_out_as_well_as_they_did() -> None:
    scores = [score(number) for number in NUMBERS]
    assert [one.wrong for one in scores] == [[]] * len(NUMBERS)
    assert np.median([np.median(one.overlaps) for one in scores if one.overlaps]) >= 0.97
    assert sum(one.found for one in scores) >= 0.8 * sum(one.drawn for one in scores) > 0
    assert sum(one.touched for one in scores) <= 0.01 * sum(one.clean for one in scores)
