"""Views that a loader process hands over to the training process: batches of uint8 against floats collated by torch.

Making views costs nothing on either side: two lie ready in memory, and what is measured is all that comes after, from
the dataset in a worker of torch's `DataLoader` to a batch in the training process. sonolearn's way is `make_loader`: a
worker fills one uint8 array with one channel a batch. The usual way, and the study's: `__getitem__` gives two float32
tensors in three channels, and torch's own `collate_fn` stacks those of a batch. Both have one worker, the same batches,
views and pixels, and no pinned memory; neither batch is looked at in the training process.

Wall time, as two processes work; the median of rounds that take turns. In each round a worker starts anew, and the
first batches, which fill the queue, do not count.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.figure import Row, rate, run_script
from sonolearn.recipes import recipe
from sonolearn.ssl.loader import PairMaker, ViewPairs, make_loader

SIZE, FIRST = 224, 6
"""Side of a view in px; batches that do not count."""


def rows(quick: bool) -> Iterator[Row]:
    """Views handed over a second."""
    torch.set_num_threads(1)
    batch, batches, repeats = (8, 4, 1) if quick else (256, 6, 5)
    seconds = medians({"ours": lambda: ours(batch, batches), "usual": lambda: usual(batch, batches)}, batches, repeats)
    figure, peer = f"views of {SIZE} px handed over by a worker, batches of {batch} pairs", "floats in 3 channels"
    yield rate(figure, "views/s", 2 * batch / seconds["ours"], peer, 2 * batch / seconds["usual"], 8)


def medians(loaders: Mapping[str, Callable[[], DataLoader[Any]]], batches: int, repeats: int) -> dict[str, float]:
    """Median seconds of a batch, of each loader."""
    times: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(repeats):
        for name, loader in loaders.items():
            iterator = iter(loader())
            for _ in range(FIRST):
                next(iterator)
            started = time.perf_counter()
            for _ in range(batches):
                next(iterator)
            times[name].append((time.perf_counter() - started) / batches)
            del iterator  # stops its worker
    return {name: statistics.median(found) for name, found in times.items()}


def ours(batch: int, batches: int) -> DataLoader[Tensor]:
    """The loader of pre-training, of pairs that are ready."""
    keys = [[(0, sample) for sample in range(batch)]] * (FIRST + batches)
    return make_loader(ViewPairs(cast(PairMaker, ReadyPairs())), keys, workers=1, pin=False)


def usual(batch: int, batches: int) -> DataLoader[list[Tensor]]:
    """Torch's loader as it comes, with as many batches made beforehand."""
    return DataLoader(ReadyFloats(batch * (FIRST + batches)), batch, num_workers=1, prefetch_factor=4)


class ReadyPairs:
    """In the place of `PairMaker`: every sample gives the same two views."""

    views, config = 2, recipe("simclr", None, image_size=SIZE)

    def __init__(self) -> None:
        """Draw them."""
        self.pair = list(np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE), np.uint8))

    def make(self, use: int, sample: int) -> list[NDArray[np.uint8]]:
        """Two views (SIZE, SIZE)."""
        return self.pair


class ReadyFloats(Dataset[tuple[Tensor, Tensor]]):
    """Every sample gives the same two views, (3, SIZE, SIZE) float32."""

    def __init__(self, samples: int) -> None:
        """Draw them."""
        self.samples, self.pair = samples, (torch.rand(3, SIZE, SIZE), torch.rand(3, SIZE, SIZE))

    def __len__(self) -> int:
        """Number of samples."""
        return self.samples

    def __getitem__(self, sample: int) -> tuple[Tensor, Tensor]:
        """The two views."""
        return self.pair


if __name__ == "__main__":
    run_script(rows, __doc__)
