"""An epoch of fine-tuning against the bare computation: forward, backward and optimiser on ready batches.

    python -m benchmarks.finetune [--quick]

Ours is `fit_finetune` as `classify --recipe study` calls it: views drawn in loader processes (as many as by default),
handed over, moved, normalised, dropout, weighted loss, the mean loss, the best weights kept. The bare loop has the same
network, loss, fused AdamW, batch sizes, memory format and number of threads, and its batches are normalised floats that
lie ready. A few validation images are predicted after each epoch on both sides. An epoch is timed by the clock, since
several processes work on it; sides take turns, and the median of the epochs counts, without the first of each training,
in which loader processes start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.figure import Row, device, run_script, speed, synchronise
from sonolearn.config import ClassifyConfig
from sonolearn.planes.finetune import fit_finetune
from sonolearn.planes.head import HeldOut, PlaneClassifier, class_weights
from sonolearn.planes.images import Labelled
from sonolearn.recipes import classify_recipe
from sonolearn.runs import generator_for
from sonolearn.ssl.devices import loader_processes, make_fabric
from sonolearn.ssl.encoders import Card, build, feature_count, normalise
from sonolearn.store.store import Frames

CLASSES, VALID = 5, 10
Part = tuple[Frames, Labelled]


def rows(quick: bool) -> Iterator[Row]:
    """224 px, whose target stands in the issue, and 64 px, where views weigh more."""
    if quick:
        yield epoch("test_resnet", 32, 16, 8, 3, 1, None)
        return
    yield epoch("resnet18", 224, 48, 16, 3, 2, 0.95)
    yield epoch("resnet18", 64, 256, 64, 4, 2, None)


def epoch(encoder: str, size: int, images: int, batch: int, epochs: int, rounds: int, target: float | None) -> Row:
    """Seconds of an epoch of both in turns."""
    train, valid = part(images, size), part(VALID, size)
    config = classify_recipe("study", epochs=epochs, batch_size=batch, precision="32-true")
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(rounds):
        seconds["ours"] += between(lambda tick: ours(encoder, train, valid, config, tick))
        seconds["bare"] += between(lambda tick: bare(encoder, train, valid, config, tick))
    loaders = loader_processes(None)
    work = f"{images} images of {size} px, {encoder}, batches of {batch}, loader processes: {loaders}"
    times = {name: median(found) for name, found in seconds.items()}
    return speed(f"an epoch of fine-tuning: {work}", times["ours"], "ready batches", times["bare"], target)


def part(images: int, size: int) -> Part:
    """Noise with all classes."""
    frames = generator_for("images", images).integers(0, 256, (images, size, size), dtype=np.uint8)
    number = np.arange(images)
    return frames, Labelled(number, number % CLASSES, number.astype(object))


def between(train: Callable[[Callable[[], None]], object]) -> list[float]:
    """Seconds of each epoch but the first of a training that calls its argument after every epoch."""
    ends: list[float] = []

    def tick() -> None:
        synchronise()
        ends.append(time.perf_counter())

    train(tick)
    return list(np.diff(ends))


def ours(encoder: str, train: Part, valid: Part, config: ClassifyConfig, tick: Callable[[], None]) -> None:
    """The product's loop."""
    fabric = make_fabric("auto", config.precision)
    held_out = HeldOut(torch.from_numpy(valid[0]), valid[1].targets)
    fit_finetune(build(Card(encoder), 0), Card(encoder), train, held_out, CLASSES, config, 0, fabric, tick)


def bare(encoder: str, train: Part, valid: Part, config: ClassifyConfig, tick: Callable[[], None]) -> None:
    """The least that an epoch can cost."""
    images, held_out = (normalise(torch.from_numpy(frames).to(device()), 0.5, 0.5) for frames in (train[0], valid[0]))
    truth = torch.from_numpy(train[1].targets).to(device())
    batches = list(zip(images.split(config.batch_size), truth.split(config.batch_size), strict=True))
    weights = class_weights(train[1].targets, CLASSES).to(device())
    network: nn.Module = build(Card(encoder), 0)
    network = PlaneClassifier(network, feature_count(network), CLASSES, config.dropout, 0).to(device())
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    for _ in range(config.epochs):
        network.train()
        for batch, targets in batches:
            loss = cross_entropy(network(batch), targets, weight=weights)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        network.eval()
        with torch.no_grad():
            network(held_out).softmax(1).cpu()
        tick()


if __name__ == "__main__":
    run_script(rows, __doc__)
