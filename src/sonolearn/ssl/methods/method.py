"""What the training loop asks of an SSL method."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.optim import Optimizer


class Method(nn.Module, ABC):
    """An encoder with what is needed to train it without labels. `encoder` is what remains afterwards."""

    encoder: nn.Module

    @abstractmethod
    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch of view pairs, and scalars to log.

        Where several processes share a batch, the loss is that of the global batch, the same in every process, and its
        gradient holds this process's part (see `sonolearn.ssl.distributed.gather`).

        Args:
            first: (N, 1, H, W) normalised first views.
            second: (N, 1, H, W) normalised second views of the same samples.
        """

    @abstractmethod
    def optimizer(self) -> Optimizer:
        """A new optimiser whose groups hold their learning rate in `base_lr`."""

    @abstractmethod
    def learning_rate(self, step: int, steps: int, steps_per_epoch: int) -> float:
        """Share of `base_lr` at optimiser step `step` (from 0) of `steps`."""
