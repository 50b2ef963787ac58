"""Full fine-tuning: every weight of the encoder and a linear head learn from the labelled images.

By default the network starts as the linear evaluation of the same encoder on the same images: fine-tuning a random head
together with a pre-trained encoder distorts the features before the head is of any use (Kumar et al., "Fine-tuning can
distort pretrained features and underperform out-of-distribution", ICLR 2022). Lower layers learn more slowly (Clark et
al., ICLR 2020), the weights are averaged over steps, and the end is a mixture of where it started and where training
led (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022), so that it cannot fall far behind its head.
`recipe: study` is the study's training instead: a random head, one rate, the epoch chosen by the validation part.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, Sampler

from sonolearn.config import ClassifyConfig, ViewsConfig
from sonolearn.planes.head import (
    Best,
    Fitted,
    HeldOut,
    PlaneClassifier,
    Probabilities,
    batches_of,
    class_weights,
    mean_loss,
)
from sonolearn.planes.images import Labelled, grey_statistics
from sonolearn.planes.linear import standardisation
from sonolearn.planes.logistic import fit_logistic
from sonolearn.planes.metrics import balanced_accuracy
from sonolearn.runs import generator_for, seed_for
from sonolearn.ssl.devices import loader_processes
from sonolearn.ssl.encoders import Card, feature_count, normalise
from sonolearn.ssl.features import batch_of, extract
from sonolearn.ssl.optim import warmup_cosine
from sonolearn.ssl.views import make_view
from sonolearn.store.store import Frames, Rows

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


MIXTURES = (0.0, 0.5, 1.0)
"""Shares of the fine-tuned weights that a validation part may choose from."""


def fit_finetune(
    encoder: nn.Module,
    card: Card,
    train: tuple[Frames, Labelled],
    valid: HeldOut | None,
    classes: int,
    config: ClassifyConfig,
    seed: int,
    fabric: Fabric,
    on_epoch: Callable[[], None] = lambda: None,
    unlabelled: Tensor | None = None,
) -> Fitted:
    """Train encoder and head.

    Class weights come from `train`, the subset in use. Order, views and dropout come from (seed, epoch, image or step),
    whatever the number of loader processes.

    Args:
        encoder: its weights are trained in place.
        card: its normalisation; random weights take that of the subset.
        train: (n, H, W) uint8 images and their labels, n >= 2.
        valid: (m, H, W) uint8 images and classes of the validation part, where it chooses the epoch or the mixture.
        classes: C.
        config: start of the head, length, rates, views and so on.
        seed: of a random head, order, views and dropout.
        fabric: device and precision.
        on_epoch: called `config.epochs` times, for a progress bar.
        unlabelled: (m, F) features by this encoder of images without a label, for the head that it starts from.

    Raises:
        UserError: the loss is not finite.
    """
    images, labels = train
    fresh = config.init == "random"
    normalisation = grey_statistics(images) if fresh or config.head == "random" else (card.mean, card.std)
    network = PlaneClassifier(encoder, feature_count(encoder), classes, config.dropout, seed)
    if config.head == "logistic" and not fresh:
        start_from_logistic(network, card, train, classes, config, fabric, valid, unlabelled)
    training = _Training(network, images, labels, normalisation, classes, config, seed, fabric)
    if config.head == "random":
        return _by_epoch(training, valid, on_epoch)
    return _mixed(training, valid, config.mixture if not fresh else 1.0, on_epoch)


def start_from_logistic(
    network: PlaneClassifier,
    card: Card,
    train: tuple[Frames, Labelled],
    classes: int,
    config: ClassifyConfig,
    fabric: Fabric,
    valid: HeldOut | None = None,
    unlabelled: Tensor | None = None,
) -> None:
    """Make the network equal to linear evaluation of its encoder on the same images, and the same unlabelled ones."""
    images, labels = train
    own = extract(network.encoder, card, images, fabric)
    features = own if unlabelled is None else torch.cat([own, unlabelled.to(own.device)])
    if valid is not None:
        valid = HeldOut(extract(network.encoder, card, valid.features.numpy(), fabric), valid.targets)
    whole = [np.arange(len(labels))]
    # One set of options describes both; a raw or otherwise standardised head would have another scale.
    linear = dataclasses.replace(config, mode="linear", solver="logistic")
    (fitted,) = fit_logistic(features, labels.targets, labels.patient, whole, valid, classes, linear)
    assert fitted.linear is not None
    network.to(fabric.device).start_from(fitted.linear, standardisation(features, config.standardise)[1])


class _Training:
    """A network in training on the labelled images of a subset."""

    def __init__(
        self,
        network: PlaneClassifier,
        images: Frames,
        labels: Labelled,
        normalisation: tuple[float, float],
        classes: int,
        config: ClassifyConfig,
        seed: int,
        fabric: Fabric,
    ) -> None:
        self.network, self.normalisation, self.config, self.seed, self.fabric = (
            network, normalisation, config, seed, fabric,
        )  # fmt: skip
        self.steps, self.each = length(len(labels), config)
        self.weights = class_weights(labels.targets, classes).to(fabric.device)
        self.targets = torch.from_numpy(labels.targets).to(fabric.device)
        fused = fabric.device.type in ("cpu", "cuda")
        optimizer = torch.optim.AdamW(_groups(network, config), lr=config.lr, weight_decay=0.0, fused=fused)
        self.model, self.optimizer = fabric.setup(network, optimizer)
        # Statistics of a few images are worse than those that a pre-trained encoder brings.
        self.frozen_norms = config.head == "logistic" and config.init != "random"
        views = TrainingViews(images, labels.rows, config.views, seed)
        batches = StepBatches(len(labels), config.batch_size, self.steps, seed)
        cuda = fabric.device.type == "cuda"
        self.loader = iter(make_loader(views, batches, loader_processes(config.workers), pin=cuda))

    def rounds(self, after_step: Callable[[], None] = lambda: None) -> Iterator[tuple[int, float]]:
        """Train; the number (from 1) and mean loss of every round of `each` steps, an epoch of the study's recipe."""
        for number, first in enumerate(range(0, self.steps, self.each), 1):
            self._train_mode()
            losses = []
            for step, batch in enumerate(islice(self.loader, min(self.each, self.steps - first)), first):
                losses.append(self._step(step, *batch))
                after_step()
            yield number, mean_loss(losses, first + len(losses))

    def _train_mode(self) -> None:
        self.model.train()
        if self.frozen_norms:
            for module in self.network.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()

    def _step(self, step: int, frames: Tensor, positions: Tensor) -> Tensor:
        device = self.fabric.device
        _seed_dropout(self.seed, step + 1, device)
        if self.config.schedule == "cosine":
            factor = warmup_cosine(step, self.steps, self.config.warmup * self.steps, 0.0)
            for group in self.optimizer.param_groups:
                group["lr"] = self.config.lr * group.get("lr_scale", 1.0) * factor
        logits = self.model(normalise(frames.to(device, non_blocking=True), *self.normalisation))
        truth = self.targets[positions.to(device, non_blocking=True)]
        loss = cross_entropy(logits.float(), truth, weight=self.weights)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        return loss.detach()

    def predict(self, frames: Tensor) -> Probabilities:
        """(n, C) probabilities of (n, H, W) uint8 frames."""
        self.model.eval()
        mean, std = self.normalisation
        with torch.no_grad():
            parts = [
                self.model(normalise(part.to(self.fabric.device), mean, std)).float().softmax(1)
                for part in torch.split(frames, batch_of(self.fabric.device))
            ]
        return np.asarray(torch.cat(parts).cpu().numpy(), dtype=np.float32)

    def fitted(self, epoch: int, score: float, history: list[dict[str, float]]) -> Fitted:
        """What was fitted, with the weights that the network has now."""
        head = self.network.linear()
        return Fitted(self.predict, epoch, score, history, self.network, self.normalisation, head)


def _by_epoch(training: _Training, valid: HeldOut | None, on_epoch: Callable[[], None]) -> Fitted:
    """The epoch with the best validation balanced accuracy; the last without a validation part."""
    best, history = Best(), list[dict[str, float]]()
    for number, loss in training.rounds():
        if valid is not None:
            best.offer(training.network, number, loss, valid.targets, training.predict(valid.features))
        history.append({"epoch": number, "train_loss": loss, "valid_balanced_accuracy": math.nan})
        on_epoch()
    if valid is None:
        return training.fitted(len(history), math.nan, history)
    best.restore(training.network)
    return training.fitted(best.epoch, best.score, best.history)


def _mixed(training: _Training, valid: HeldOut | None, share: float, on_epoch: Callable[[], None]) -> Fitted:
    """The averaged weights of the whole training, mixed with those of its start.

    Args:
        training: at its start.
        valid: chooses the share of the fine-tuned weights by balanced accuracy, the larger of equals.
        share: that share without a validation part.
        on_epoch: called after every round.
    """
    network = training.network
    start = copy.deepcopy(network.state_dict())
    average = get_ema_multi_avg_fn(training.config.average)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    history = []
    for number, loss in training.rounds(lambda: averaged.update_parameters(network)):
        history.append({"epoch": number, "train_loss": loss, "valid_balanced_accuracy": math.nan})
        on_epoch()
    end = averaged.module.state_dict()
    score = math.nan
    if valid is not None:
        scores = []
        for part in MIXTURES:
            network.load_state_dict(mixture(start, end, part))
            scores.append((balanced_accuracy(valid.targets, training.predict(valid.features).argmax(1)), part))
        score, share = max(scores)
    network.load_state_dict(mixture(start, end, share))
    return training.fitted(len(history), score, history)


def mixture(start: dict[str, Tensor], end: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights between two states of a network, `share` (0 to 1) of the way from `start` to `end`."""
    return {
        name: torch.lerp(tensor, end[name].to(tensor), share) if tensor.is_floating_point() else end[name]
        for name, tensor in start.items()
    }


def length(count: int, config: ClassifyConfig) -> tuple[int, int]:
    """Optimiser steps of a training on `count` images, and how many of them are reported together.

    >>> length(6, ClassifyConfig(epochs=20, min_steps=100, batch_size=32))
    (100, 5)
    >>> length(5000, ClassifyConfig(epochs=20, min_steps=100, batch_size=32))
    (3140, 157)
    """
    epoch = len(batches_of(count, config.batch_size, 0, 0))
    steps = max(config.epochs * epoch, config.min_steps)
    each = max(epoch, math.ceil(steps / config.epochs))
    return min(steps, config.max_steps or steps), each


def _groups(network: PlaneClassifier, config: ClassifyConfig) -> list[dict[str, Any]]:
    """Parameters by layer: each has `layer_decay` times the rate of the next; biases and norms do not decay."""
    if config.layer_decay < 1 and hasattr(network.encoder, "group_matcher"):
        groups = param_groups_layer_decay(network.encoder, config.weight_decay, layer_decay=config.layer_decay)
    else:
        decaying = config.head == "random"
        groups = [
            {"params": [p for p in network.encoder.parameters() if p.ndim > 1], "weight_decay": config.weight_decay},
            {
                "params": [p for p in network.encoder.parameters() if p.ndim <= 1],
                "weight_decay": config.weight_decay if decaying else 0.0,
            },
        ]
    kept = ("params", "weight_decay", "lr_scale")
    groups = [{k: g[k] for k in kept if k in g} for g in groups if len(g["params"])]
    groups = [{**g, "lr": config.lr * g.get("lr_scale", 1.0)} for g in groups]
    return [*groups, {"params": list(network.head.parameters()), "weight_decay": config.weight_decay}]


def _seed_dropout(seed: int, step: int, device: torch.device) -> None:
    """Dropout draws from the device's own generator: seeded here, it does not matter what drew from it before."""
    number = seed_for(seed, "dropout", step)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
    else:
        torch.manual_seed(number)
