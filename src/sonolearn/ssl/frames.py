"""Which frames SSL may learn from: those of the training patients of one or several stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonolearn.console import UserError, warn
from sonolearn.data.store import Frames, Rows, Store
from sonolearn.runs import generator_for


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
