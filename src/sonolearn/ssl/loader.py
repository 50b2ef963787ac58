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
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from sonolearn.ssl.batches import Key
from sonolearn.ssl.encoders import Card, normalise
from sonolearn.ssl.pairs import PairMaker

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
