"""Linear evaluation: linear heads on the features of a frozen encoder; a pure function of tensors.

A step of one head moves few numbers, so that its time is that of the calls it takes. All heads of an encoder, over
label fractions and seeds, are therefore trained together: those with equally many steps an epoch take each step in the
same calls. Every head keeps its own subset, standardisation, order, dropout and best epoch, and equals the head trained
alone but for rounding.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from math import isnan, prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, one_hot

from sonolearn.config import ClassifyConfig, Standardise
from sonolearn.console import UserError
from sonolearn.planes.head import (
    Fitted,
    HeldOut,
    LinearHead,
    Probabilities,
    batches_of,
    class_weights,
    make_head,
    mean_loss,
)
from sonolearn.runs import generator_for

Positions = NDArray[np.int64]
AT_ONCE = 2**26
"""Numbers (of 4 bytes) that the inputs of the heads trained together may take in memory, about."""


def fit_linear_heads(
    train: Tensor,
    targets: NDArray[np.int64],
    trainings: Sequence[tuple[Positions, int]],
    valid: HeldOut | None,
    classes: int,
    config: ClassifyConfig,
) -> list[Fitted | UserError]:
    """Train a linear head on each subset, keep of each the epoch with the best validation balanced accuracy.

    Without a validation part nothing is chosen: the last epoch is kept.

    Args:
        train: (n, F) float32 features of the training part.
        targets: (n,) their classes.
        trainings: of each head the positions of its images in `train`, and the seed of its weights, order and dropout.
        valid: features and classes of the validation part, or None.
        classes: C.
        config: epochs, batch size, learning rate, dropout, `standardise`.

    Returns:
        In the order of `trainings` what was fitted; of a head whose loss is not finite the error that says so.
    """
    fitted: dict[int, Fitted | UserError] = {}
    sizes = [len(subset) for subset, _ in trainings]
    held_out = train[:0] if valid is None else valid.features
    truth = None
    if valid is not None:
        truth = one_hot(torch.from_numpy(valid.targets).to(train.device), classes).double()
    for numbers in _together(sizes, len(held_out), train.shape[1], config.batch_size):
        heads = _Heads(train, targets, [trainings[number] for number in numbers], held_out, classes, config)
        fitted.update(zip(numbers, _fit(heads, truth, config), strict=True))
    return [fitted[number] for number in range(len(trainings))]


def fit_linear(
    train: Tensor,
    targets: NDArray[np.int64],
    valid: HeldOut | None,
    classes: int,
    config: ClassifyConfig,
    seed: int,
) -> Fitted:
    """One head on (n, F) features of its subset, other arguments as of `fit_linear_heads`.

    Raises:
        UserError: the loss is not finite.
    """
    whole = [(np.arange(len(train)), seed)]
    (fitted,) = fit_linear_heads(train, targets, whole, valid, classes, config)
    if isinstance(fitted, UserError):
        raise fitted
    return fitted


def standardisation(features: Tensor, kind: Standardise) -> tuple[Tensor, Tensor]:
    """Shift and scale of the features, from all images of the subset in use at once.

    `each` is a batch norm without affine, with the exact statistics that it approaches by running averages. It adds
    1e-5 to the variance, which would silence encoders with small features: those of random weights in evaluation mode
    differ by 1e-6 from image to image. Nothing is added here, so that results do not depend on the scale of the
    features. A feature that is constant in the subset, but for the rounding of float32, says nothing about it and gets
    scale 0. From few images the spread of a single feature is a poor estimate, and dividing by it makes the loudest of
    what varied least: `shared` divides by the root mean square of all spreads, which is the limit of an ever higher
    floor under each of them, relative to their mean.

    Args:
        features: (n, F).
        kind: shared: one scale for all features; each: one a feature; none: shift 0 and scale 1.

    Returns:
        (F,) shift and (F,) scale; standardised features are (features - shift) x scale.

    >>> _, scale = standardisation(torch.tensor([[0.0, 1.0], [2.0, 1.5]]), "shared")
    >>> scale.tolist() == [scale[0].item()] * 2
    True
    """
    if kind == "none":
        return torch.zeros_like(features[0]), torch.ones_like(features[0])
    variance, mean = torch.var_mean(features.double(), dim=0, correction=0)
    constant = variance <= 1e-11 * mean.square()
    if kind == "shared":
        variance, constant = torch.where(constant, 0, variance).mean().expand_as(variance), constant.all()
    scale = torch.where(constant, 0, variance.rsqrt())
    return mean.to(features.dtype), scale.to(features.dtype)


def balanced_accuracies(predicted: Tensor, truth: Tensor) -> Tensor:
    """`metrics.balanced_accuracy` of many predictions at once.

    Args:
        predicted: (H, m) classes.
        truth: (m, C) float64, 1 for the class of the image and 0 elsewhere.

    Returns:
        (H,) mean recall, 0 to 1, of the classes in the truth.
    """
    images = truth.sum(0)
    found = torch.stack([((predicted == plane) * truth[:, plane]).sum(1) for plane in range(truth.shape[1])], dim=1)
    # Equal means of different recalls may differ in the last digit, which must not decide.
    return (found / images)[:, images > 0].mean(1).mul(1e12).round().div(1e12)


def draw_kept(generator: np.random.Generator, rate: float, out: NDArray[np.float32]) -> None:
    """Draw what dropout at `rate` (0 to below 1) keeps: fill `out` with 1 where it does, 0 elsewhere.

    Plain bits of the generator decide: 8 for each where they say the rate exactly, as they do 0.5, else 16. On a CPU
    that takes a tenth of the time of torch's Bernoulli numbers, which would take longer than all the rest of a head's
    training, and it is the same for every device.
    """
    kind = np.uint8 if (rate * 2**8).is_integer() else np.uint16
    bits = generator.bit_generator.random_raw(-(-out.size * kind().itemsize // 8)).view(kind)[: out.size]
    threshold = min(round(rate * (np.iinfo(kind).max + 1)), np.iinfo(kind).max)
    np.greater_equal(bits.reshape(out.shape), threshold, out=out, casting="unsafe")


class _Heads:
    """Heads with equally many steps an epoch, and their images.

    Attributes:
        weight: (H, C, F) of the heads, for standardised features.
        bias: (H, C, 1).
    """

    def __init__(
        self,
        train: Tensor,
        targets: NDArray[np.int64],
        trainings: Sequence[tuple[Positions, int]],
        valid: Tensor,
        classes: int,
        config: ClassifyConfig,
    ) -> None:
        """Heads with the weights of their seeds, and the standardised features of their subsets, one after another."""
        self.seeds = [seed for _, seed in trainings]
        self.sizes = [len(subset) for subset, _ in trainings]
        self.first = np.cumsum([0, *self.sizes[:-1]])
        layers = [make_head(train.shape[1], classes, seed) for seed in self.seeds]
        self.weight = torch.stack([layer.weight.detach() for layer in layers]).to(train.device).requires_grad_()
        self.bias = torch.stack([layer.bias.detach()[:, None] for layer in layers]).to(train.device).requires_grad_()
        own = [train[torch.from_numpy(subset).to(train.device)] for subset, _ in trainings]
        self.standards = [standardisation(features, config.standardise) for features in own]
        self.inputs = torch.cat([(x - shift) * scale for x, (shift, scale) in zip(own, self.standards, strict=True)])
        self.valid = torch.stack([(valid - shift) * scale for shift, scale in self.standards])
        self.truth = torch.from_numpy(np.concatenate([targets[subset] for subset, _ in trainings])).to(train.device)
        weights = [class_weights(targets[subset], classes)[targets[subset]] for subset, _ in trainings]
        self.counts = torch.cat(weights).to(train.device)
        # Dropout divides what it keeps by its share. Done here, it is done once.
        self.inputs /= 1 - config.dropout
        self.dropout, self.draws = config.dropout, [generator_for(seed, "dropout") for seed in self.seeds]
        self._features, self._kept = torch.empty(0), np.empty(0, np.float32)

    def epoch(self, epoch: int, batch_size: int) -> Iterator[Tensor]:
        """The (H,) losses of the steps of an epoch (from 1), of each head the mean over its batch."""
        orders = [batches_of(size, batch_size, seed, epoch) for size, seed in zip(self.sizes, self.seeds, strict=True)]
        for batches in zip(*orders, strict=True):
            yield self._loss(batches)

    def _loss(self, batches: Sequence[Positions]) -> Tensor:
        """(H,) losses of a batch of each head; shorter ones are filled up with images that count nothing."""
        shape = (len(batches), max(len(batch) for batch in batches))
        rows, real = np.tile(self.first[:, None], shape[1]), np.zeros(shape, np.float32)
        for head, batch in enumerate(batches):
            rows[head, : len(batch)] += batch
            real[head, : len(batch)] = 1
        chosen = torch.from_numpy(rows).to(self.inputs.device)
        features = self._dropped(chosen, [len(batch) for batch in batches])
        # Images stand in the last place: the gradient of the weights, a product with them, is then far faster.
        logits = torch.baddbmm(self.bias, self.weight, features.mT)
        counts = self.counts[chosen] * torch.from_numpy(real).to(self.inputs.device)
        return (cross_entropy(logits, self.truth[chosen], reduction="none") * counts).sum(1) / counts.sum(1)

    def _dropped(self, rows: Tensor, sizes: Sequence[int]) -> Tensor:
        """(H, B, F) features of (H, B) rows after dropout, of which the first `sizes` are real; valid for one step."""
        shape = (*rows.shape, self.inputs.shape[1])
        if self._features.numel() < prod(shape):
            # Memory that is asked for anew in every step costs more time than what is done with it.
            self._features, self._kept = self.inputs.new_empty(prod(shape)), np.zeros(prod(shape), np.float32)
        features = self._features[: prod(shape)].view(-1, shape[2])
        torch.index_select(self.inputs, 0, rows.flatten(), out=features)
        if self.dropout:
            kept = self._kept[: prod(shape)].reshape(shape)
            for head, (size, draw) in enumerate(zip(sizes, self.draws, strict=True)):
                draw_kept(draw, self.dropout, kept[head, :size])
            features *= torch.from_numpy(kept).view_as(features).to(features.device)
        return features.view(shape)

    def valid_classes(self) -> Tensor:
        """(H, m) predictions of the validation part."""
        with torch.no_grad():
            # Along a dimension that is not the last, max takes a tenth of argmax's time.
            return torch.baddbmm(self.bias, self.weight, self.valid.mT).max(1).indices


class _AdamW:
    """`torch.optim.AdamW` with its default betas; making that one loads torch's compiler, which takes a second."""

    def __init__(self, parameters: Sequence[Tensor], lr: float, weight_decay: float) -> None:
        """Nothing is averaged yet."""
        self.parameters, self.lr, self.weight_decay, self.steps = parameters, lr, weight_decay, 0
        self.averages = [(torch.zeros_like(p).detach(), torch.zeros_like(p).detach()) for p in parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move the parameters (Loshchilov & Hutter, ICLR 2019)."""
        self.steps += 1
        for parameter, gradient, (mean, square) in zip(self.parameters, gradients, self.averages, strict=True):
            mean.lerp_(gradient, 0.1)
            square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            parameter.mul_(1 - self.lr * self.weight_decay)
            spread = (square / (1 - 0.999**self.steps)).sqrt_().add_(1e-8)
            parameter.addcdiv_(mean, spread, value=-self.lr / (1 - 0.9**self.steps))


def _fit(heads: _Heads, valid_truth: Tensor | None, config: ClassifyConfig) -> list[Fitted | UserError]:
    """Train; `valid_truth` is (m, C), 1 for the class of the image."""
    parameters = heads.weight, heads.bias
    optimizer = _AdamW(parameters, config.lr, config.weight_decay)
    best = heads.weight.new_full((len(heads.seeds), 1, 1), -1, dtype=torch.float64)
    kept = [p.detach().clone() for p in parameters]
    losses, means, scores = list[Tensor](), list[Tensor](), list[Tensor]()
    for epoch in range(1, config.epochs + 1):
        first = len(losses)
        for loss in islice(heads.epoch(epoch, config.batch_size), (config.max_steps or sys.maxsize) - first):
            optimizer.step(torch.autograd.grad(loss.sum(), parameters))
            losses.append(loss.detach())
        if len(losses) == first:
            break
        means.append(torch.stack(losses[first:]).mean(0))
        if valid_truth is None:
            scores.append(torch.full_like(means[-1], torch.nan))
            kept = [p.detach() for p in parameters]
        else:
            scores.append(balanced_accuracies(heads.valid_classes(), valid_truth))
            better = scores[-1][:, None, None] > best
            best = torch.where(better, scores[-1][:, None, None], best)
            kept = [torch.where(better, now.detach(), then) for now, then in zip(parameters, kept, strict=True)]
        if not torch.isfinite(means[-1]).any():
            break
    histories = zip(torch.stack(means, 1).tolist(), torch.stack(scores, 1).tolist(), strict=True)
    of_steps = torch.stack(losses, 1).cpu()
    return [
        _fitted(weight, bias[:, 0], standard, list(steps), *history)
        for weight, bias, standard, steps, history in zip(*kept, heads.standards, of_steps, histories, strict=True)
    ]


def _fitted(
    weight: Tensor,
    bias: Tensor,
    standard: tuple[Tensor, Tensor],
    steps: list[Tensor],
    losses: list[float],
    scores: list[float],
) -> Fitted | UserError:
    """What a head with the (C, F) weight and (C,) bias of its best epoch gave, from its losses in steps and epochs."""
    try:
        mean_loss(steps, len(steps))
    except UserError as error:
        return error
    weight, bias, (shift, scale) = weight.clone(), bias.clone(), standard

    def predict(features: Tensor) -> Probabilities:
        logits = linear((features - shift) * scale, weight, bias)
        return np.asarray(logits.softmax(1).cpu().numpy(), dtype=np.float32)

    history = [
        {"epoch": epoch, "train_loss": loss, "valid_balanced_accuracy": score}
        for epoch, (loss, score) in enumerate(zip(losses, scores, strict=True), 1)
    ]
    best = max(scores)
    epoch = len(scores) if isnan(best) else 1 + scores.index(best)
    head = LinearHead(shift.expand(weight.shape[1]), weight * scale, bias)
    return Fitted(predict, epoch, best, history, linear=head)


def _together(sizes: Sequence[int], held_out: int, features: int, batch_size: int) -> Iterator[list[int]]:
    """Numbers of the subsets with equally many steps an epoch, as many at once as memory allows."""
    by_steps: dict[int, list[int]] = defaultdict(list)
    for number, size in enumerate(sizes):
        by_steps[len(batches_of(size, batch_size, 0, 0))].append(number)
    for numbers in by_steps.values():
        each = (max(sizes[number] for number in numbers) + held_out + 3 * batch_size) * features
        together = max(1, AT_ONCE // each)
        for start in range(0, len(numbers), together):
            yield numbers[start : start + together]
