"""From the store to batches of views, in loader processes; uint8 all the way.

Order and views come from (seed, epoch, sample) alone, so that a batch is the same whatever the number of loader
processes, and a run that resumes at step k goes on with the very batches that an uninterrupted one would have seen.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sonolearn.runs import generator_for
from sonolearn.ssl.encoders import Card, normalise
from sonolearn.ssl.pairs import PairMaker

Key = tuple[int, int]
"""(epoch, sample): names a sample's views; `sample` is a frame's number in its pool."""

VALIDATION = -1
"""The epoch of validation views: they are the same every time."""


class ViewPairs(Dataset[Tensor]):
    """What a method learns from, for the samples of a pool."""

    def __init__(self, pairs: PairMaker) -> None:
        """Samples as `pairs` makes them."""
        self.pairs = pairs

    def __getitems__(self, keys: Sequence[Key]) -> Tensor:
        """A whole batch at once: (N, V, size, size) uint8, V = 2 views or 1."""
        size = self.pairs.config.image_size
        views = np.empty((len(keys), self.pairs.views, size, size), np.uint8)
        for sample_views, (epoch, sample) in zip(views, keys, strict=True):
            sample_views[:] = self.pairs.make(epoch, sample)
        return torch.from_numpy(views)

    def __getitem__(self, key: Key) -> Tensor:
        """One sample: (V, size, size) uint8."""
        return self.__getitems__([key])[0]


@dataclass(frozen=True)
class BatchPlan:
    """Which samples each step takes: every epoch a fresh order of all samples, cut into batches.

    The last, smaller batch of an epoch is used too, as long as each part of it still holds two samples.

    Attributes:
        samples: number of samples.
        batch_size: samples in a step, over all processes.
        parts: equal parts that a batch must divide into (processes x accumulated parts).
        seed: of the order.
    """

    samples: int
    batch_size: int
    parts: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in a pass over all samples."""
        rest = self.samples % self.batch_size
        return self.samples // self.batch_size + (rest // self.parts >= 2)

    def batch(self, step: int) -> tuple[int, NDArray[np.int64]]:
        """Epoch and samples of optimiser step `step` (from 0)."""
        epoch, number = divmod(step, self.steps_per_epoch)
        samples = _order(self.samples, self.seed, epoch)[number * self.batch_size : (number + 1) * self.batch_size]
        return epoch, samples[: len(samples) // self.parts * self.parts]


@lru_cache(maxsize=2)
def _order(samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch; kept because drawing it for a million frames takes as long as a step."""
    return generator_for(seed, "order", epoch).permutation(samples)


class StepSampler(Sampler[list[Key]]):
    """Keys of the batches of this process, from `first` step to before `last`."""

    def __init__(self, plan: BatchPlan, first: int, last: int, rank: int = 0, world_size: int = 1) -> None:
        """The share of process `rank` of `world_size`: every world_size-th sample of each batch."""
        self.plan, self.steps, self.rank, self.world_size = plan, range(first, last), rank, world_size

    def __iter__(self) -> Iterator[list[Key]]:
        """One list of keys a step."""
        for step in self.steps:
            epoch, samples = self.plan.batch(step)
            yield [(epoch, int(sample)) for sample in samples[self.rank :: self.world_size]]

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.steps)


def make_loader(
    pairs: ViewPairs, batches: Sampler[list[Key]] | list[list[Key]], workers: int, pin: bool
) -> DataLoader[Tensor]:
    """A loader of (N, V, size, size) uint8 batches with `workers` processes (0: in this process)."""
    return DataLoader(
        pairs,
        batch_sampler=batches,
        collate_fn=_as_it_is,  # type: ignore[arg-type]  # a batch comes whole from __getitems__
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_quiet_worker,
        prefetch_factor=4 if workers else None,
        persistent_workers=workers > 0,  # the loader of validation views is gone through again and again
    )


def validation_batches(samples: int, batch_size: int, rank: int = 0, world_size: int = 1) -> list[list[Key]]:
    """Keys of the validation views, in order; every process gets the same number of batches of at least two samples."""
    share = list(range(samples))[rank::world_size][: samples // world_size]
    batches = [share[i : i + batch_size] for i in range(0, len(share), batch_size)]
    return [[(VALIDATION, sample) for sample in batch] for batch in batches if len(batch) >= 2]


def as_pair(views: Tensor, card: Card, device: torch.device) -> tuple[Tensor, Tensor]:
    """First and second views of (N, V, size, size) uint8 as normalised floats on the device; one tensor twice if V = 1.

    They travel as uint8, a quarter of the bytes of floats.
    """
    moved = views.to(device, non_blocking=True)
    first = normalise(moved[:, 0], card.mean, card.std)
    return first, first if views.shape[1] == 1 else normalise(moved[:, 1], card.mean, card.std)


def _as_it_is(batch: Tensor) -> Tensor:
    return batch


def _quiet_worker(worker: int) -> None:
    """Leave threads and signals to the training process.

    Loader processes share the cores among themselves. Ctrl-C and SLURM's SIGTERM reach the whole process group: a
    loader process that died of it would fail the step that the training process means to finish.
    """
    cv2.setNumThreads(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
