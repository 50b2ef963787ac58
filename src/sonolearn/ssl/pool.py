"""Part of the training frames, drawn for a question: do more patients help, or more frames of the same ones?

Patients are numbered by their order in the pool, and so are the scans of each: no choice depends on a pseudonym. Which
scans of a patient are taken does not depend on which other patients are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonolearn.config import PoolConfig
from sonolearn.console import UserError
from sonolearn.runs import generator_for
from sonolearn.ssl.frames import FramePool

Indices = NDArray[np.int64]

Scans = list[Indices]
"""Frames of each of a patient's scans, in the order of the recording."""


def draw_pool(pool: FramePool, config: PoolConfig) -> FramePool:
    """The frames of `pool` that `config` asks for, in the order of `pool`.

    Patients are drawn first, then scans of each, then frames are skipped, then frames are chosen out of what is left.

    Args:
        pool: the training frames, without those of held-out patients.
        config: what to draw; with the defaults all is kept.

    Raises:
        UserError: there are fewer patients or frames than asked for, or less than one frame is asked for a patient.
    """
    scans_of = _scans_by_patient(pool)
    drawn = [_some_scans(scans_of[patient], patient, config) for patient in _draw_patients(len(scans_of), config)]
    if config.frames is not None:
        drawn = _spread_over_patients(drawn, config.frames)
    kept = np.zeros(len(pool), dtype=bool)
    kept[np.concatenate([frames for scans in drawn for frames in scans])] = True
    return pool.of(kept)


def even_shares(available: Sequence[int], total: int) -> list[int]:
    """Deal `total` out as evenly as possible: equal shares, but nobody gets more than is available there.

    Args:
        available: how many each can give at most.
        total: from 0 to the sum of `available`.

    Returns:
        A share for each, `total` together. One that is less than all that is available is the largest or 1 below it;
        what does not divide goes to those with the most, of equals to the first.
    """
    shares, left = [0] * len(available), total
    # From the smallest on, each takes its part of what is left, rounded down, or all that it has.
    order = sorted(range(len(available)), key=lambda place: (available[place], -place))
    for others, place in zip(reversed(range(len(order))), order, strict=True):
        shares[place] = min(available[place], left // (others + 1))
        left -= shares[place]
    return shares


def at_equal_steps(frames: Indices, count: int) -> Indices:
    """`count` of the frames, each from the middle of one of `count` equal stretches."""
    return frames[(2 * np.arange(count) + 1) * len(frames) // max(1, 2 * count)]


def _scans_by_patient(pool: FramePool) -> list[Scans]:
    """The scans of each patient."""
    order = np.lexsort((pool.row_of_frame, pool.scan_of_frame))
    found: list[Scans] = [[] for _ in pool.patients]
    for frames in np.split(order, np.flatnonzero(np.diff(pool.scan_of_frame[order])) + 1):
        found[pool.patient_number[frames[0]]].append(frames)
    return found


def _draw_patients(there: int, config: PoolConfig) -> list[int]:
    """Numbers of the patients in a seeded order that is cut off: more patients only add to fewer."""
    if config.patients is not None and config.patients > there:
        raise UserError(f"--pool.patients {config.patients}: {there} are there to learn from; give at most {there}")
    order = generator_for(config.seed, "pool patients").permutation(there)
    return [int(patient) for patient in order[: config.patients]]


def _some_scans(scans: Scans, patient: int, config: PoolConfig) -> Scans:
    """The first scans of a patient in a seeded order, with every frame_skip-th of their frames."""
    order = generator_for(config.seed, "pool scans", patient).permutation(len(scans))
    return [scans[scan][:: config.frame_skip] for scan in order[: config.scans]]


def _spread_over_patients(drawn: Sequence[Scans], total: int) -> list[Scans]:
    """`total` frames, as evenly as possible from each patient, and of each from every scan."""
    available = [sum(len(frames) for frames in scans) for scans in drawn]
    if total > sum(available):
        most = sum(available)
        raise UserError(f"--pool.frames {total}: {most} are there to choose from; give at most {most}")
    if total < len(drawn):
        raise UserError(
            f"--pool.frames {total}: each of the {len(drawn)} patients gives at least one; give at least {len(drawn)}, "
            f"or --pool.patients {total}"
        )
    shares = even_shares(available, total)
    return [_spread_over_scans(scans, share) for scans, share in zip(drawn, shares, strict=True)]


def _spread_over_scans(scans: Scans, share: int) -> Scans:
    counts = even_shares([len(frames) for frames in scans], share)
    return [at_equal_steps(frames, count) for frames, count in zip(scans, counts, strict=True)]
