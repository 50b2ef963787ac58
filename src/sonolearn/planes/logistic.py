"""Logistic regression on frozen features, as CLIP (Radford et al., ICML 2021) and DINOv2 (Oquab et al., 2024) evaluate.

A linear head is fitted to its optimum for each strength of an L2 regularisation, and the validation part chooses the
strength. There is nothing else to set and no seed: the optimum is unique. All heads of an encoder, over label
fractions, seeds and strengths, are solved together (`logistic_optimum`).

The objective of a head is the mean over its n images of the class-weighted cross-entropy + (lambda / 2) ||W||^2 on
standardised features. The bias is not regularised. scikit-learn's LogisticRegression with the class weights as
`sample_weight` has the same optimum at C = 1 / (lambda n).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from sonolearn.config import ClassifyConfig
from sonolearn.console import UserError
from sonolearn.planes.head import Fitted, LinearHead, Probabilities, class_weights
from sonolearn.planes.linear import Positions, balanced_accuracies, standardisation
from sonolearn.planes.logistic_optimum import optima

AT_ONCE = 2**26
"""Numbers (of 8 bytes) that the subsets of one batch may take in memory, about."""


@dataclass(frozen=True)
class Head:
    """A linear head with the regularisation that the validation part chose.

    Attributes:
        weight: (F, C) float32, for raw features: the standardisation is folded in.
        bias: (C,) float32; -inf where the subset has no image of the class, whose probability is 0.
        regularisation: lambda.
        valid_balanced_accuracy: of the validation part, 0 to 1.
        valid_loss: mean over the validation images of the cross-entropy with the class weights of the subset; a class
            that the subset lacks has weight 0.
    """

    weight: Tensor
    bias: Tensor
    regularisation: float
    valid_balanced_accuracy: float
    valid_loss: float

    def predict(self, features: Tensor) -> Probabilities:
        """(n, F) raw features to (n, C) probabilities, which add up to 1."""
        # Raw features may be far from 0 compared with how they differ; float32 would round the difference away.
        logits = features.double() @ self.weight.double() + self.bias.double()
        return np.asarray(logits.softmax(1).cpu().numpy(), dtype=np.float32)

    def around(self, centre: Tensor) -> LinearHead:
        """The same head for features less a (F,) float32 centre."""
        bias = self.bias.double() + centre.double() @ self.weight.double()
        return LinearHead(centre, self.weight.T, bias.float())


def fit_heads(
    train: Tensor,
    targets: NDArray[np.int64],
    subsets: Sequence[Positions],
    valid: Tensor,
    valid_targets: NDArray[np.int64],
    classes: int,
    regularisations: Sequence[float],
    standardise: bool,
) -> list[Head]:
    """Fit a head on each subset of the training images, all of them together.

    The strength is the one with the best validation balanced accuracy, of equals the one with the smallest validation
    loss, then the largest. Class weights and standardisation come from the subset. A head depends neither on the
    order of its images nor on the other subsets; equal subsets are solved once.

    Args:
        train: (n, F) features; they are worked on where they lie, in float64.
        targets: (n,) classes.
        subsets: positions in `train`, at least two each; an image that occurs twice counts twice.
        valid: (m, F) features of the validation part, m >= 1.
        valid_targets: (m,) their classes.
        classes: C.
        regularisations: lambdas, above 0.
        standardise: whether lambda weighs standardised features (`linear.standardisation`) or raw ones.

    Raises:
        UserError: a subset has fewer than two images, there are no validation images, features are not finite, or a
            head does not converge.
    """
    _check(train, valid, subsets)
    inputs, held_out = train.double(), (valid.double(), torch.tensor(valid_targets, device=train.device))
    strengths = torch.tensor(sorted(regularisations), dtype=torch.float64, device=train.device)
    unlike = {_name(subset): np.sort(subset) for subset in subsets}
    heads: dict[bytes, Head] = {}
    for batch in _batches(unlike, train.shape[1], len(strengths) * classes):
        samples = [_Sample(inputs[torch.from_numpy(p).to(train.device)], targets[p], classes) for p in batch.values()]
        scales = torch.stack([sample.scale(standardise) for sample in samples])
        weight, bias = optima(
            torch.stack([sample.features for sample in samples]) * scales[:, None],
            torch.stack([sample.weights for sample in samples]),
            torch.stack([sample.truth for sample in samples]),
            strengths,
        )
        weight = weight * scales[:, None, None]
        for name, sample, *solved in zip(batch, samples, weight, bias, strict=True):
            heads[name] = _chosen(solved[0], solved[1], strengths, *held_out, sample)
    return [heads[_name(subset)] for subset in subsets]


def fit_logistic(
    train: Tensor,
    targets: NDArray[np.int64],
    subsets: Sequence[Positions],
    valid: Tensor,
    valid_targets: NDArray[np.int64],
    classes: int,
    config: ClassifyConfig,
) -> list[Fitted]:
    """The classifiers of `fit_heads`, whose arguments and errors these are; `config` has its options."""
    data = train, targets, subsets, valid, valid_targets, classes
    heads = fit_heads(*data, config.regularisations, config.standardise)
    centre = train.double().mean(0).float()
    return [Fitted(h.predict, 0, h.valid_balanced_accuracy, linear=h.around(centre)) for h in heads]


class _Sample:
    """The images of a subset."""

    def __init__(self, features: Tensor, targets: NDArray[np.int64], classes: int) -> None:
        truth = torch.tensor(targets, device=features.device)
        self.features, self.truth = features, one_hot(truth, classes).to(features).T
        self.class_weights = class_weights(targets, classes).to(features)
        self.weights = self.class_weights[truth] / len(truth)

    def scale(self, standardise: bool) -> Tensor:
        """(F,) what each feature is multiplied by before lambda weighs it."""
        return standardisation(self.features)[1] if standardise else self.features.new_ones(self.features.shape[1])


def _chosen(exact: Tensor, bias: Tensor, strengths: Tensor, valid: Tensor, truth: Tensor, sample: _Sample) -> Head:
    """The best of the (L, C, F) weights and (L, C) biases on the (m, F) validation features."""
    # Heads are judged as they are kept. Rounding a weight moves no logit at the mean if the bias makes up for it.
    weight = exact.float()
    bias = (bias + (exact - weight) @ (sample.weights @ sample.features)).float()
    logits = torch.einsum("mf,lcf->lmc", valid, weight.double()) + bias.double()[:, None]
    accuracy = balanced_accuracies(logits.argmax(2), one_hot(truth, logits.shape[2]).double())
    surprise = -logits.log_softmax(2).gather(2, truth[None, :, None].expand(len(logits), -1, 1)).squeeze(2)
    counts = sample.class_weights[truth]
    loss = torch.where(counts > 0, counts * surprise, 0).mean(1)
    options = list(zip(accuracy.tolist(), (-loss).tolist(), strengths.tolist(), range(len(strengths)), strict=True))
    best_accuracy, best_loss, strength, index = max(options)
    return Head(weight[index].T.contiguous(), bias[index].clone(), strength, best_accuracy, -best_loss)


def _name(subset: Positions) -> bytes:
    """Equal for subsets of the same images."""
    return np.sort(subset).astype(np.int64).tobytes()


def _batches(subsets: dict[bytes, Positions], features: int, columns: int) -> Iterator[dict[bytes, Positions]]:
    """Subsets of the same size, as many at once as memory allows."""
    by_size: dict[int, list[bytes]] = defaultdict(list)
    for name, positions in subsets.items():
        by_size[len(positions)].append(name)
    for size, names in by_size.items():
        numbers = size * (3 * features + min(size, 2 * features) + 16 * columns) + columns * features
        together = max(1, AT_ONCE // numbers)
        for start in range(0, len(names), together):
            yield {name: subsets[name] for name in names[start : start + together]}


def _check(train: Tensor, valid: Tensor, subsets: Sequence[Positions]) -> None:
    for subset in subsets:
        if len(subset) < 2:
            raise UserError(f"{len(subset)} training image is too few; give a larger fraction in --fractions")
    if not len(valid):
        raise UserError(
            "there is no validation image to choose the regularisation by; make the store again with another --split"
        )
    if not (torch.isfinite(train).all() and torch.isfinite(valid).all()):
        raise UserError("the encoder's features are not finite; give --precision 32-true, or another --init")
