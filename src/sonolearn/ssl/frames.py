"""Which frames SSL may learn from: those of the training patients of one or several stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonolearn.config import PoolConfig
from sonolearn.console import UserError, warn
from sonolearn.runs import generator_for
from sonolearn.store.store import Frames, Rows, Store


@dataclass
class FramePool:
    """Frames of several stores under one numbering 0 ... n - 1.

    Attributes:
        stores: where they lie.
        store_of_frame: (n,) index into `stores`.
        row_of_frame: (n,) row in that store's frames.h5.
        patient_of_frame: (n,) pseudonyms.
    """

    stores: Sequence[Store]
    store_of_frame: NDArray[np.int64]
    row_of_frame: Rows
    patient_of_frame: NDArray[np.object_] = field(repr=False)

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.row_of_frame)

    def read(self, index: int) -> Frames:
        """One frame, (S, S) uint8; S is the size of its store."""
        return self.stores[self.store_of_frame.item(index)].frame(self.row_of_frame.item(index))

    def of(self, chosen: NDArray[np.bool_] | Rows) -> FramePool:
        """The chosen frames as a pool of their own; places instead of a mask say their order, too."""
        return FramePool(
            self.stores, self.store_of_frame[chosen], self.row_of_frame[chosen], self.patient_of_frame[chosen]
        )

    @cached_property
    def scan_of_frame(self) -> NDArray[np.int64]:
        """(n,) number of the scan, different for scans of different stores."""
        first = np.cumsum([0, *(len(store.scans) for store in self.stores)])
        return self._of_store(lambda i: first[i] + self.stores[i].scan_of_frame)

    @cached_property
    def checksum_of_frame(self) -> NDArray[np.uint64]:
        """(n,) checksum of the pixels."""
        return self._of_store(lambda i: self.stores[i].checksum_of_frame)

    @cached_property
    def machine_of_frame(self) -> NDArray[np.object_]:
        """(n,) machine of each frame's scan, empty where unknown."""
        return self._of_store(lambda i: self.stores[i].scans["machine"].to_numpy(object)[self.stores[i].scan_of_frame])

    @cached_property
    def time_of_frame(self) -> NDArray[np.float64]:
        """(n,) seconds since the start of the scan, NaN for stills."""
        return self._of_store(lambda i: self.stores[i].time_of_frame)

    def _of_store(self, column: Callable[[int], NDArray[Any]]) -> NDArray[Any]:
        """A column of the stores' frames, for the frames of this pool."""
        starts = np.cumsum([0, *(len(store) for store in self.stores)])
        joined = np.concatenate([column(i) for i in range(len(self.stores))])
        return np.asarray(joined[starts[self.store_of_frame] + self.row_of_frame])

    @property
    def patients(self) -> list[str]:
        """Pseudonyms of the patients, in the order of their frames, which unlike the pseudonyms depends on no key."""
        return list(dict.fromkeys(self.patient_of_frame))

    @cached_property
    def patient_number(self) -> NDArray[np.int64]:
        """(n,) place of each frame's patient in `patients`."""
        return np.asarray(pd.factorize(self.patient_of_frame)[0], np.int64)

    def mean_and_deviation(self, seed: int, sample: int = 1024) -> tuple[float, float]:
        """Mean and standard deviation of the grey values (0 to 1) over a seeded sample of frames."""
        chosen = generator_for(seed, "normalisation").permutation(len(self))[:sample]
        # Per frame moments in float64: exact for uint8 and independent of the order of summation in memory.
        frames = (self.read(int(i)).astype(np.float64) / 255 for i in np.sort(chosen))
        moments = np.array([(f.mean(), np.square(f).mean()) for f in frames]).mean(axis=0)
        mean, deviation = float(moments[0]), float(np.sqrt(moments[1] - moments[0] ** 2))
        if deviation < 1e-3:
            raise UserError(f"{self.stores[0].path}: its frames are all one grey value; look at how they were prepared")
        return mean, deviation


def all_frames(stores: Sequence[Store]) -> FramePool:
    """Every frame of the stores."""
    return _pool(stores, [np.arange(len(store)) for store in stores])


def training_frames(stores: Sequence[Store]) -> FramePool:
    """All frames that SSL may use: those of unlabelled stores, and the training part of labelled ones.

    Patients of a validation or test part are left out everywhere, also where an unlabelled store has scans of them: a
    test on patients that the encoder has seen would flatter it.
    """
    held_out = {(s.key_id, p) for s in stores if s.labels is not None for p in _held_out_patients(s.labels)}
    chosen = [_usable_rows(store, held_out) for store in stores]
    pool = _pool(stores, chosen)
    if len(pool) < 2:
        raise UserError(f"{', '.join(str(s.path) for s in stores)}: fewer than 2 frames to learn from")
    return pool


def hold_out_patients(pool: FramePool, share: float, seed: int) -> tuple[FramePool, FramePool]:
    """Training and validation frames; no patient is in both. `share` of the patients (at least one) is held out."""
    patients = pool.patients
    if share > 0 and len(patients) < 2:
        raise UserError(f"{pool.stores[0].path}: holds one patient, none can be held out; give --valid_patients 0")
    count = max(1, round(share * len(patients))) if share > 0 else 0
    order = generator_for(seed, "held-out patients").permutation(len(patients))
    held_out = {patients[i] for i in order[:count]}
    mask = np.array([p in held_out for p in pool.patient_of_frame], dtype=bool)
    return pool.of(~mask), pool.of(mask)


def _pool(stores: Sequence[Store], rows: Sequence[Rows]) -> FramePool:
    """These rows of each store."""
    return FramePool(
        stores,
        np.concatenate([np.full(len(of_store), i) for i, of_store in enumerate(rows)]),
        np.concatenate(rows),
        np.concatenate([s.patient_of_frame[of_store] for s, of_store in zip(stores, rows, strict=True)]),
    )


def _held_out_patients(labels: pd.DataFrame) -> set[str]:
    return set(labels.loc[labels["split"] != "train", "patient"])


def _usable_rows(store: Store, held_out: set[tuple[str, str]]) -> Rows:
    """Rows of a store whose patients are in no validation or test part."""
    if store.labels is not None:
        return store.labels.loc[store.labels["split"] == "train", "row"].to_numpy(np.int64)
    used = np.array([(store.key_id, p) not in held_out for p in store.patient_of_frame], dtype=bool)
    if not used.all():
        names = sorted(set(store.patient_of_frame[~used]))
        warn(
            f"{store.path}: {int((~used).sum())} frames of {len(names)} patients are left out, as these patients are "
            f"in a validation or test part: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
        )
    return np.flatnonzero(used)


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
