"""What the training loop asks of an SSL method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from sonolearn.config import PretrainConfig
from sonolearn.ssl.optim import learning_rate, make_optimizer

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
        gradient holds this process's part (see `sonolearn.ssl.distributed.gather`).

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
