"""From the store to batches of views, in loader processes; uint8 all the way.

Views come from the seed and a sample's key alone, so that a batch is the same whatever the number of loader processes.
"""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from sonolearn.config import PretrainConfig
from sonolearn.runs import generator_for
from sonolearn.ssl.batches import Key
from sonolearn.ssl.encoders import Card, normalise
from sonolearn.ssl.frames import FramePool
from sonolearn.ssl.methods.method import Pairing
from sonolearn.ssl.views import Beams, Image, erase, make_view
from sonolearn.store.store import Frames


class PairMaker:
    """Makes what a method learns from out of a pool of frames; every draw comes from (seed, epoch, sample)."""

    def __init__(self, pool: FramePool, config: PretrainConfig, pairing: Pairing) -> None:
        """Pairs of the frames in `pool`."""
        self.pool, self.config, self.pairing = pool, config, pairing
        nearby = config.positives.name == "nearby_frames"
        self.neighbours = Neighbours(pool, config.positives.seconds) if nearby else None

    @property
    def views(self) -> int:
        """Number of views of a sample: 1 or 2."""
        return 1 if self.pairing == "one_view" else 2

    def sources(self, epoch: int, sample: int) -> list[Frames]:
        """The frames that the views come from, (S, S) uint8: one, or two where they differ."""
        frames = [self.pool.read(sample)]
        if self.neighbours:
            rng = generator_for(self.config.seed, "positive", epoch, sample)
            frames.append(self.pool.read(self.neighbours.draw(sample, rng)))
        return frames

    def make(self, epoch: int, sample: int) -> list[Image]:
        """The views of a sample, each (image_size, image_size) uint8."""
        return self.augment(self.sources(epoch, sample), epoch, sample)

    def augment(self, frames: list[Frames], epoch: int, sample: int) -> list[Image]:
        """The views of a sample whose `sources` are read."""
        config = self.config
        rng = generator_for(config.seed, "views", epoch, sample)
        beams = [Beams(frame) for frame in frames]
        first = make_view(frames[0], config.image_size, config.views, 0, rng, beams[0])
        match self.pairing:
            case "two_views":
                return [first, make_view(frames[-1], config.image_size, config.views, 1, rng, beams[-1])]
            case "one_view":
                return [first]
            case "erased_view":
                hole = config.inpainting
                return [erase(first, hole.erase_scale, hole.erase_ratio, rng), first]


class Neighbours:
    """For each frame of a pool, the other frames of its scan that are near in time."""

    def __init__(self, pool: FramePool, seconds: float) -> None:
        """Find them once; two whole numbers a frame are kept.

        Args:
            pool: the frames.
            seconds: how far away a neighbour is at most.
        """
        # Stills have no time: they are their own, only neighbour.
        scan, time = pool.scan_of_frame, np.nan_to_num(pool.time_of_frame, nan=0.0).astype(np.float64)
        scan = np.where(np.isnan(pool.time_of_frame), -1 - np.arange(len(pool)), scan)
        self.order = np.lexsort((time, scan))
        # Scans are laid one after the other on one axis of time, too far apart to be neighbours.
        starts = np.flatnonzero(np.diff(scan[self.order], prepend=scan[self.order[0]] - 1))
        number = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(pool)))
        axis = time[self.order] + number * (np.ptp(time) + 2 * seconds + 1)
        reach = seconds * (1 + 1e-6)
        self.place = np.argsort(self.order)
        self.first = np.searchsorted(axis, axis - reach, side="left")
        self.count = np.searchsorted(axis, axis + reach, side="right") - self.first

    @property
    def alone(self) -> int:
        """Number of frames without a neighbour, such as stills: their pairs are two views of the same frame."""
        return int((self.count == 1).sum())

    def draw(self, sample: int, rng: np.random.Generator) -> int:
        """A neighbour of a frame, each equally likely; the frame itself where it has none."""
        place = self.place[sample]
        first, count = int(self.first[place]), int(self.count[place])
        if count == 1:
            return sample
        chosen = first + int(rng.integers(count - 1))
        # The frame itself is left out by shifting what comes after it.
        return int(self.order[chosen + (chosen >= place)])

    def of(self, sample: int) -> NDArray[np.int64]:
        """All neighbours of a frame, itself left out."""
        place = self.place[sample]
        found = self.order[self.first[place] : self.first[place] + self.count[place]]
        return np.sort(found[found != sample])


PREFETCHED = 4
"""Batches that each loader process makes beforehand."""

VALIDATION = -1
"""The use in the keys of validation views: they are the same every time."""


class ViewPairs(Dataset[Tensor]):
    """What a method learns from, for the samples of a pool."""

    def __init__(self, pairs: PairMaker) -> None:
        """Samples as `pairs` makes them."""
        self.pairs = pairs

    def __getitems__(self, keys: Sequence[Key]) -> Tensor:
        """A whole batch at once: (N, V, size, size) uint8, V = 2 views or 1."""
        size = self.pairs.config.image_size
        batch = new_batch((len(keys), self.pairs.views, size, size))
        for places, (use, sample) in zip(batch.numpy(), keys, strict=True):
            for place, view in zip(places, self.pairs.make(use, sample), strict=True):
                place[:] = view
        return batch

    def __getitem__(self, key: Key) -> Tensor:
        """One sample: (V, size, size) uint8."""
        return self.__getitems__([key])[0]


def new_batch(shape: Sequence[int]) -> Tensor:
    """An uint8 batch to be filled; in a loader process it lies where the training process reads it, without a copy."""
    if get_worker_info() is None:
        return torch.empty(*shape, dtype=torch.uint8)
    # As torch's own `default_collate` does; `share_memory_` of a new tensor would copy what is not there yet.
    memory = torch.UntypedStorage._new_shared(math.prod(shape))  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.uint8).set_(memory).view(*shape)


def make_loader(
    pairs: Dataset[Tensor], batches: Sampler[list[Key]] | list[list[Key]], workers: int, pin: bool
) -> DataLoader[Tensor]:
    """A loader of (N, V, size, size) uint8 batches with `workers` processes (0: in this process)."""
    return DataLoader(
        pairs,
        batch_sampler=batches,
        collate_fn=_as_it_is,  # type: ignore[arg-type]  # a batch comes whole from __getitems__
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_quiet_worker,
        prefetch_factor=PREFETCHED if workers else None,
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
    loader process that died of it would fail the step that the training process means to finish. A SIGTERM of the
    training process itself does end it: that is how Python ends its children when an error keeps them in use.
    """
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS, where torch's own handler ends the process at any SIGTERM
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_told, daemon=True).start()


def _end_when_told() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
