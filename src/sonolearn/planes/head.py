"""What all trained classifiers share: class weights, the linear head, the choice of the epoch, checks of the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sonolearn.console import UserError
from sonolearn.planes.card import Probabilities as Probabilities
from sonolearn.planes.metrics import balanced_accuracy
from sonolearn.runs import generator_for, seed_for

NEVER = -1e4
"""A bias that makes the probability of its class 0 in float32."""


@dataclass(frozen=True)
class HeldOut:
    """A labelled validation part, where one chooses epochs and strengths (`--valid whole`).

    Attributes:
        features: (m, F) features, or (m, H, W) uint8 images.
        targets: (m,) their classes.
    """

    features: Tensor
    targets: NDArray[np.int64]


@dataclass(frozen=True)
class LinearHead:
    """Probabilities softmax(weight (features - centre) + bias) of the features of a frozen encoder.

    The centre is near the training features: raw features may be far from 0 compared with how they differ, and a head
    that made up for it in its bias would round the difference away.

    Attributes:
        centre: (F,).
        weight: (C, F).
        bias: (C,); -inf of a class that is never predicted.
    """

    centre: Tensor
    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Fitted:
    """A classifier that was fitted without sight of the test part.

    Attributes:
        predict: (n, ...) inputs of the kind it was fitted on to (n, C) probabilities.
        best_epoch: the epoch (from 1) that it keeps; 0 where there are none.
        valid_balanced_accuracy: of that epoch; NaN without a validation part.
        history: of each epoch the mean training loss and the validation balanced accuracy.
        classifier: the fine-tuned network itself; None of other modes.
        normalisation: mean and deviation of grey values (0 to 1) that it takes.
        linear: the head, of mode linear.
        regularisation: lambda of a logistic head; None of others.
    """

    predict: Callable[[Tensor], Probabilities]
    best_epoch: int
    valid_balanced_accuracy: float
    history: list[dict[str, float]] = field(default_factory=list)
    classifier: PlaneClassifier | None = None
    normalisation: tuple[float, float] = (0.5, 0.5)
    linear: LinearHead | None = None
    regularisation: float | None = None


class PlaneClassifier(nn.Module):
    """Encoder, standardisation and dropout of its features, one linear layer: (N, 1, H, W) float32 to (N, C) logits."""

    centre: Tensor
    scale: Tensor

    def __init__(self, encoder: nn.Module, features: int, classes: int, dropout: float, seed: int) -> None:
        """A classifier on an encoder of `features` features; the head's weights come from `seed`."""
        super().__init__()
        self.encoder = encoder
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.dropout = nn.Dropout(dropout)
        self.head = make_head(features, classes, seed)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images."""
        return self.logits(self.encoder(images))

    def logits(self, features: Tensor) -> Tensor:
        """(N, C) logits of (N, F) features of the encoder."""
        logits: Tensor = self.head(self.dropout((features - self.centre) * self.scale))
        return logits

    @torch.no_grad()
    def start_from(self, head: LinearHead, scale: Tensor) -> None:
        """Give the network the logits of a fitted head; `scale`, (F,), is what its features are multiplied by."""
        self.centre.copy_(head.centre)
        self.scale.copy_(scale)
        # A feature of scale 0 is constant in the subset, and its weight is 0.
        self.head.weight.copy_(torch.where(scale > 0, head.weight / scale, 0))
        # Where a class has no image its bias is -inf, of which no average could be taken.
        self.head.bias.copy_(head.bias.clamp(min=NEVER))

    def linear(self) -> LinearHead:
        """The head for raw features of the encoder."""
        return LinearHead(self.centre, self.head.weight * self.scale, self.head.bias)


class Best:
    """Keeps the weights of the epoch with the best validation balanced accuracy, the earliest of equals."""

    def __init__(self) -> None:
        """Nothing is kept yet."""
        self.epoch, self.score = 0, -1.0
        self.history: list[dict[str, float]] = []
        self._weights: dict[str, Tensor] = {}

    def offer(
        self, model: nn.Module, epoch: int, loss: float, truth: NDArray[np.int64], predicted: Probabilities
    ) -> None:
        """Record an epoch (from 1) and keep its weights if it beats all before it."""
        score = balanced_accuracy(truth, predicted.argmax(1))
        self.history.append({"epoch": epoch, "train_loss": loss, "valid_balanced_accuracy": score})
        if score > self.score:
            self.epoch, self.score = epoch, score
            self._weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def restore(self, model: nn.Module) -> None:
        """Load the kept weights."""
        model.load_state_dict(self._weights)


def class_weights(targets: NDArray[np.int64], classes: int) -> Tensor:
    """Weights of the classes in the cross-entropy: inverse to their frequency among `targets`.

    Args:
        targets: (n,) classes of the training subset in use, not of more.
        classes: C, number of classes.

    Returns:
        (C,) float32, n / (classes present x n_c), so that the mean weight of an image is 1; 0 where n_c is 0.
    """
    counts = np.bincount(targets, minlength=classes)
    weights = np.zeros(classes, np.float32)
    present = counts > 0
    weights[present] = len(targets) / (present.sum() * counts[present])
    return torch.from_numpy(weights)


def make_head(features: int, classes: int, seed: int) -> nn.Linear:
    """A linear layer (F to C) with weights from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_for(seed, "head"))
        return nn.Linear(features, classes)


def batches_of(count: int, batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Positions 0 to count - 1 in the order of an epoch, cut into batches.

    A last batch of one image joins the batch before it, because batch norm has no variance of one.
    """
    order = generator_for(seed, "order", epoch).permutation(count)
    starts = list(range(0, count, batch_size))
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    return [order[a:b] for a, b in zip(starts, [*starts[1:], count], strict=True)]


def mean_loss(losses: list[Tensor], last_step: int) -> float:
    """Mean of the losses of an epoch's steps, which end with step `last_step` (from 1).

    They are looked at once an epoch, since every look makes the device wait.

    Raises:
        UserError: one is not finite; the sentence names its step.
    """
    values = torch.stack(losses).float()
    broken = (~torch.isfinite(values)).nonzero()
    if len(broken):
        step = last_step - len(losses) + 1 + int(broken[0])
        raise UserError(f"the training loss is not finite at step {step}; lower --lr, or give --precision 32-true")
    return float(values.mean())
