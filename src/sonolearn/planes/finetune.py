"""Full fine-tuning: every weight of the encoder and a linear head learn from the labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sonolearn.config import ClassifyConfig
from sonolearn.data.store import Frames
from sonolearn.planes.head import Best, Fitted, PlaneClassifier, Probabilities, batches_of, class_weights, mean_loss
from sonolearn.planes.images import Labelled, grey_statistics
from sonolearn.planes.views import EpochBatches, TrainingViews, make_loader
from sonolearn.runs import seed_for
from sonolearn.ssl.devices import loader_processes
from sonolearn.ssl.encoders import feature_count, normalise
from sonolearn.ssl.features import batch_of


def fit_finetune(
    encoder: nn.Module,
    train: tuple[Frames, Labelled],
    valid: tuple[Frames, Labelled],
    classes: int,
    config: ClassifyConfig,
    seed: int,
    fabric: Fabric,
    on_epoch: Callable[[], None] = lambda: None,
) -> Fitted:
    """Train encoder and head, keep the epoch with the best validation balanced accuracy.

    Class weights and normalisation come from `train`, the subset in use. There is no learning-rate schedule. Order,
    views and dropout come from (seed, epoch, image or step), whatever the number of loader processes.

    Args:
        encoder: its weights are trained in place.
        train: (n, H, W) uint8 images and their labels, n >= 2.
        valid: the same of the validation part.
        classes: C.
        config: epochs, batch size, learning rate, views and so on.
        seed: of the head, order, views and dropout.
        fabric: device and precision.
        on_epoch: called after every epoch, for a progress bar.

    Raises:
        UserError: the loss is not finite.
    """
    images, labels = train
    mean, std = grey_statistics(images)
    weights = class_weights(labels.targets, classes).to(fabric.device)
    targets = torch.from_numpy(labels.targets).to(fabric.device)
    network = PlaneClassifier(encoder, feature_count(encoder), classes, config.dropout, seed)
    fused = fabric.device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=fused)
    model, optimizer = fabric.setup(network, optimizer)

    def predict(frames: Tensor) -> Probabilities:
        return _predict(model, frames, mean, std, fabric.device)

    batches = EpochBatches(len(labels), config.batch_size, config.epochs, seed)
    workers, cuda = loader_processes(config.workers), fabric.device.type == "cuda"
    views = TrainingViews(images, labels.rows, config.randaugment, seed)
    loader = iter(make_loader(views, batches, workers, pin=cuda))
    best, valid_frames = Best(), torch.from_numpy(valid[0])
    for epoch, first_step, count in _epochs(len(labels), config):
        model.train()
        losses = []
        for step, (frames, positions) in enumerate(islice(loader, count), first_step):
            _seed_dropout(seed, step, fabric.device)
            logits = model(normalise(frames.to(fabric.device, non_blocking=True), mean, std))
            truth = targets[positions.to(fabric.device, non_blocking=True)]
            loss = cross_entropy(logits.float(), truth, weight=weights)
            optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
            losses.append(loss.detach())
        loss_of_epoch = mean_loss(losses, first_step + count - 1)
        best.offer(network, epoch, loss_of_epoch, valid[1].targets, predict(valid_frames))
        on_epoch()
    best.restore(network)
    return Fitted(predict, best.epoch, best.score, best.history, network, (mean, std))


def _epochs(count: int, config: ClassifyConfig) -> Iterator[tuple[int, int, int]]:
    """Number (from 1), first step (from 1) and steps of each epoch, the last cut off at `max_steps`."""
    each = len(batches_of(count, config.batch_size, 0, 0))
    last = min(config.epochs * each, config.max_steps or config.epochs * each)
    for first in range(1, last + 1, each):
        yield (first - 1) // each + 1, first, min(each, last - first + 1)


def _predict(model: nn.Module, frames: Tensor, mean: float, std: float, device: torch.device) -> Probabilities:
    """(n, C) probabilities of (n, H, W) uint8 frames."""
    model.eval()
    with torch.no_grad():
        parts = [
            model(normalise(part.to(device), mean, std)).float().softmax(1)
            for part in torch.split(frames, batch_of(device))
        ]
    return np.asarray(torch.cat(parts).cpu().numpy(), dtype=np.float32)


def _seed_dropout(seed: int, step: int, device: torch.device) -> None:
    """Dropout draws from the device's own generator: seeded here, it does not matter what drew from it before."""
    number = seed_for(seed, "dropout", step)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)
    else:
        torch.manual_seed(number)
