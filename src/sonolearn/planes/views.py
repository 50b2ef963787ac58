"""Training views of fine-tuning, drawn for (seed, epoch, image) in loader processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sonolearn.config import ViewsConfig
from sonolearn.data.store import Frames, Rows
from sonolearn.planes.head import batches_of
from sonolearn.runs import generator_for
from sonolearn.ssl.views import make_view

Key = tuple[int, int]
"""(epoch, position in the subset)."""


class TrainingViews(Dataset[Tensor]):
    """One augmented view of an image, (H, W) uint8, for each (epoch, position)."""

    def __init__(self, images: Frames, rows: Rows, config: ViewsConfig, seed: int) -> None:
        """Views of (n, H, W) uint8 images; `rows` name them, so that an image has the same views at every fraction."""
        self.images, self.rows, self.config, self.seed = images, rows, config, seed

    def __getitems__(self, keys: Sequence[Key]) -> tuple[Tensor, Tensor]:
        """A whole batch at once, so that views are copied once: (B, H, W) uint8 views and (B,) int64 positions."""
        views = np.empty((len(keys), *self.images.shape[1:]), np.uint8)
        for view, (epoch, position) in zip(views, keys, strict=True):
            rng = generator_for(self.seed, "views", epoch, int(self.rows[position]))
            view[:] = make_view(self.images[position], self.images.shape[1], self.config, 0, rng)
        return torch.from_numpy(views), torch.tensor([position for _, position in keys])

    def __getitem__(self, key: Key) -> Tensor:
        """The view of an image in an epoch."""
        return self.__getitems__([key])[0][0]


class StepBatches(Sampler[list[Key]]):
    """Keys of all batches of a training, so that one set of loader processes serves the whole of it."""

    def __init__(self, count: int, batch_size: int, steps: int, seed: int) -> None:
        """`steps` batches of `count` images, in another order in every epoch (from 1)."""
        self.count, self.batch_size, self.steps, self.seed = count, batch_size, steps, seed

    def __iter__(self) -> Iterator[list[Key]]:
        """One list of keys a step."""
        epoch, done = 0, 0
        while done < self.steps:
            epoch += 1
            for batch in batches_of(self.count, self.batch_size, self.seed, epoch)[: self.steps - done]:
                done += 1
                yield [(epoch, int(position)) for position in batch]


def make_loader(views: TrainingViews, batches: StepBatches, workers: int, pin: bool) -> DataLoader[Any]:
    """A loader of batches: (B, H, W) uint8 views, and (B,) int64 positions."""
    return DataLoader(
        views,
        batch_sampler=batches,
        collate_fn=_as_it_is,
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_one_thread,
    )


def _as_it_is(batch: Any) -> Any:
    """A batch comes whole from `TrainingViews.__getitems__`."""
    return batch


def _one_thread(worker: int) -> None:
    """Loader processes share the cores among themselves."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
