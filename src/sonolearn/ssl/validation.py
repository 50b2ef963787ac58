"""What a pre-training run shows of itself on held-out patients; nothing of the model changes here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sonolearn.config import PretrainConfig
from sonolearn.runs import generator_for, writing
from sonolearn.ssl.devices import loader_processes
from sonolearn.ssl.encoders import Card
from sonolearn.ssl.features import KnnMonitor
from sonolearn.ssl.frames import FramePool
from sonolearn.ssl.loader import PairMaker, ViewPairs, as_pair, make_loader, validation_batches
from sonolearn.ssl.methods import Method
from sonolearn.ssl.monitors import SAMPLES, monitor
from sonolearn.store.store import Store

GAP = 4


def write_sheet(path: Path, columns: Sequence[Sequence[NDArray[np.uint8] | Tensor]]) -> None:
    """Write a PNG with a column a sample.

    Args:
        path: the PNG.
        columns: pictures of each sample, top to bottom, (H, W) uint8 of any square size; equally many a column.
    """
    size = max(96, min(picture.shape[0] for picture in columns[0]))
    rows = len(columns[0])
    sheet = np.full((rows * (size + GAP) - GAP, len(columns) * (size + GAP) - GAP), 255, np.uint8)
    for number, column in enumerate(columns):
        left = number * (size + GAP)
        for row, picture in enumerate(column):
            top = row * (size + GAP)
            shrinks = picture.shape[0] > size
            interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
            resized = cv2.resize(np.asarray(picture), (size, size), interpolation=interpolation)
            sheet[top : top + size, left : left + size] = resized
    with writing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())


REBUILT = "rebuilt.png"


class Validation:
    """The loss and the monitors on views that are the same every time."""

    def __init__(
        self, fabric: Fabric, train: FramePool, valid: FramePool, config: PretrainConfig, method: Method, card: Card
    ) -> None:
        """Take held-out patients for the loss; without any, the monitors watch training frames."""
        self.fabric, self.config, self.method, self.card = fabric, config, method, card
        self.valid, self.watched = valid, _sample(valid if len(valid) else train, config.seed)
        self.knn = KnnMonitor(Store(config.knn_store), config.image_size) if config.knn_store else None

    @torch.no_grad()
    def loss(self, model: nn.Module) -> dict[str, float]:
        """Mean loss and figures of `model` (the method as Fabric wraps it); empty where nobody is held out."""
        totals: dict[str, float] = {}
        if not len(self.valid):
            return totals
        for views in self._loss_batches:
            loss, figures = model.eval()(*as_pair(views, self.card, self.fabric.device))
            for name, value in {"loss": loss, **figures}.items():
                totals[name] = totals.get(name, 0.0) + float(value) / len(self._loss_batches)
        return totals

    def monitors(self) -> dict[str, float]:
        """The monitors of the encoder, see `sonolearn.ssl.monitors`."""
        encoder = self.method.eval().encoder
        with self.fabric.autocast():
            figures = monitor(encoder, self._pairs())
        knn = self.knn.accuracy(encoder, self.card, self.fabric) if self.knn else math.nan
        return {**figures, "knn_accuracy": knn}

    @torch.no_grad()
    def draw_rebuilt(self, folder: Path) -> None:
        """Draw what an autoencoder rebuilds of some frames: clean view, input, output. Other methods draw nothing."""
        first, clean = next(self._pairs())
        with self.fabric.autocast():
            rebuilt = self.method.eval().rebuild(first)
        if rebuilt is not None:
            columns = zip(*(self._as_grey(images) for images in (clean, first, rebuilt)), strict=True)
            write_sheet(folder / REBUILT, list(columns)[:8])

    def _as_grey(self, images: Tensor) -> Tensor:
        """Normalised (N, 1, H, W) as (N, H, W) uint8."""
        grey = (images[:, 0].float() * self.card.std + self.card.mean) * 255
        return grey.round().clamp(0, 255).to(torch.uint8).cpu()

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        for views in self._watched_batches:
            yield as_pair(views, self.card, self.fabric.device)

    @cached_property
    def _loss_batches(self) -> DataLoader[Tensor]:
        return self._loader(self.valid)

    @cached_property
    def _watched_batches(self) -> DataLoader[Tensor]:
        return self._loader(self.watched)

    def _loader(self, pool: FramePool) -> DataLoader[Tensor]:
        fabric, config = self.fabric, self.config
        size = config.batch_size // fabric.world_size
        batches = validation_batches(len(pool), size, fabric.global_rank, fabric.world_size)
        pairs = ViewPairs(PairMaker(pool, config, self.method.pairing))
        workers = min(2, loader_processes(config.workers))
        return make_loader(pairs, batches, workers, fabric.device.type == "cuda")


def _sample(pool: FramePool, seed: int) -> FramePool:
    """A seeded choice of frames, so that many patients are watched and not the first ones."""
    chosen = np.zeros(len(pool), dtype=bool)
    chosen[generator_for(seed, "watched").permutation(len(pool))[:SAMPLES]] = True
    return pool.of(chosen)
