"""What the training loop asks of an SSL method."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sonolearn.config import PretrainConfig
from sonolearn.ssl.optim import learning_rate, make_optimizer


def mlp(
    features: int,
    widths: Sequence[int],
    norm: bool = True,
    last: Literal["linear", "linear with bias", "norm"] = "linear",
) -> nn.Sequential:
    """Linear layers with ReLU between them.

    Args:
        features: F, the width of the input.
        widths: of the layers, the output last.
        norm: batch norm before every ReLU; the linear layers before it then have no bias, which it would cancel.
        last: what ends it: a linear layer without or with bias, or one without bias and a batch norm after it.

    Returns:
        A module from (N, F) to (N, widths[-1]).
    """
    layers: list[nn.Module] = []
    for before, width in pairwise((features, *widths[:-1])):
        layers += [nn.Linear(before, width, bias=not norm)]
        layers += [nn.BatchNorm1d(width)] if norm else []
        layers += [nn.ReLU(inplace=True)]
    before = widths[-2] if len(widths) > 1 else features
    layers += [nn.Linear(before, widths[-1], bias=last == "linear with bias")]
    layers += [nn.BatchNorm1d(widths[-1])] if last == "norm" else []
    return nn.Sequential(*layers)


def frozen_copy(module: nn.Module) -> nn.Module:
    """An equal module that no optimiser moves; as a part of the method it is in every checkpoint."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """Move the weights of `target` to momentum x target + (1 - momentum) x online, all tensors at once.

    Running statistics of batch norm stay: a target in training mode forms its own from the batches that it sees.
    """
    average = get_ema_multi_avg_fn(momentum)  # type: ignore[no-untyped-call]
    average(tuple(target.parameters()), tuple(online.parameters()), torch.zeros(()))


def momentum_at(start: float, end: float, step: int, steps: int) -> float:
    """Momentum at `step` (from 0): a cosine from `start` to `end`, which the last step has (BYOL, section 3.3)."""
    progress = step / (steps - 1) if steps > 1 else 1.0
    return end - (end - start) * 0.5 * (1 + math.cos(math.pi * progress))


Pairing = Literal["two_views", "one_view", "erased_view"]
"""two_views: two views, of one frame or of two; one_view: a view alone; erased_view: with a hole, and whole."""

Loss = tuple[Tensor, dict[str, Tensor]]
"""A scalar, and scalars to log beside it."""


class Method(nn.Module, ABC):
    """An encoder with what is needed to train it without labels. `encoder` is what remains afterwards.

    Optimiser, schedule and views are those of the method's recipe (`sonolearn.recipes`), whatever options changed.

    Attributes:
        pairing: what it learns from.
        figures: names of what it logs beside the loss.
    """

    pairing: ClassVar[Pairing] = "two_views"
    figures: ClassVar[tuple[str, ...]] = ()

    def __init__(self, encoder: nn.Module, config: PretrainConfig) -> None:
        """Take the encoder; heads are the method's own."""
        super().__init__()
        self.encoder = encoder
        self.config = config

    @abstractmethod
    def forward(self, first: Tensor, second: Tensor) -> Loss:
        """The loss of a batch of view pairs. Nothing may change here but batch-norm statistics in training mode.

        Where several processes share a batch, the loss is that of the global batch, the same in every process, and its
        gradient holds this process's part (see `sonolearn.ssl.devices.gather`).

        Args:
            first: (N, 1, H, W) normalised first views.
            second: (N, 1, H, W) normalised second views of the same samples.
        """

    def after_step(self, step: int, steps: int) -> None:
        """What changes once an optimiser step (from 0) is done: momentum encoders, queues. Never in validation."""

    def rebuild(self, views: Tensor) -> Tensor | None:
        """What an autoencoder makes of (N, 1, H, W) normalised views; None of other methods."""
        return None

    def optimizer(self) -> Optimizer:
        """A new optimiser whose groups hold their learning rate in `base_lr`."""
        return make_optimizer(self, self.config.optimizer, self.config.batch_size)

    def learning_rate(self, step: int, steps: int, steps_per_epoch: int) -> float:
        """Share of `base_lr` at optimiser step `step` (from 0) of `steps`."""
        return learning_rate(self.config.optimizer, step, steps, steps_per_epoch)
