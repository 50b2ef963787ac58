"""Logistic regression on frozen features, as CLIP (Radford et al., ICML 2021) and DINOv2 (Oquab et al., 2024) evaluate.

A linear head is fitted to its optimum for each strength of an L2 regularisation. The strength is chosen by
cross-validation over the patients of the subset, so that no label beyond the subset is used; or, as a study with a
labelled validation part does, on that part. There is no seed: the optimum is unique. All heads of an encoder, over
label fractions, seeds, folds and strengths, are solved together (`logistic_optimum`). A handful of images whose
patients make no folds gets its class means instead (`class_means`): docs/explanation/protocol.md has the figures.

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
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from sonolearn.config import ClassifyConfig
from sonolearn.console import UserError, warn
from sonolearn.planes.head import Fitted, HeldOut, LinearHead, Probabilities, class_weights
from sonolearn.planes.linear import Positions, balanced_accuracies, standardisation
from sonolearn.planes.logistic_optimum import optima
from sonolearn.planes.spreading import fit_to_soft_labels, neighbour_graph, soft_labels, spread_labels


def class_mean_head(
    features: Tensor, targets: NDArray[np.int64], classes: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Weight and bias whose largest logit is of the class mean with the largest cosine.

    Args:
        features: (n, F), n >= 1, raw.
        targets: (n,) their classes.
        classes: C.
        temperature: above 0. Logits are cosines over it, for features of the mean length of these.

    Returns:
        (C, F) weight; (C,) bias, 0, or -inf of a class without images, whose probability is 0.

    >>> weight, bias = class_mean_head(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), np.array([0, 1]), 3, 0.5)
    >>> weight.tolist(), bias.tolist()
    ([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [0.0, 0.0, -inf])
    """
    truth = one_hot(torch.from_numpy(targets), classes).to(features)
    means = normalize(truth.T @ normalize(features, dim=1), dim=1)
    length = features.norm(dim=1).mean().clamp(min=torch.finfo(features.dtype).tiny)
    bias = torch.where(truth.sum(0) > 0, 0.0, -torch.inf).to(features)
    return means / (temperature * length), bias


FOLDS = 5
"""Folds of the cross-validation at most; fewer where a class comes from fewer patients."""
FEW = 5
"""Images a class, on average, up to which class means take the place of a strength that cannot be chosen, and up to
which a head learns from unlabelled images, too."""
AT_ONCE = 2**26
"""Numbers (of 8 bytes) that the subsets of one batch may take in memory, about."""


@dataclass(frozen=True)
class Head:
    """A linear head with the regularisation that was chosen.

    Attributes:
        weight: (F, C) float32, for raw features: the standardisation is folded in.
        bias: (C,) float32; -inf where the subset has no image of the class, whose probability is 0.
        regularisation: lambda; None of class means.
        valid_balanced_accuracy: of the validation part, 0 to 1; NaN without one.
        valid_loss: mean over the images that chose lambda (of the validation part, or of all folds) of the
            cross-entropy with the class weights of the subset; NaN where there was no choice.
    """

    weight: Tensor
    bias: Tensor
    regularisation: float | None
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
    patients: NDArray[np.object_],
    subsets: Sequence[Positions],
    valid: HeldOut | None,
    classes: int,
    config: ClassifyConfig,
) -> list[Head]:
    """Fit a head on each subset of the training images, all of them together.

    With a validation part the strength is the one with the best balanced accuracy on it, of equals the one with the
    smallest loss, then the largest. Without one it is the one with the smallest loss over folds that share no patient;
    where a class of the subset comes from one patient only, no folds can be made: up to `FEW` images a class get their
    class means, more the middle strength. Class weights and standardisation come from the subset (in folds: from the
    rest of the fold). A head depends neither on
    the order of its images nor on the other subsets; equal subsets are solved once.

    Args:
        train: (n, F) features; they are worked on where they lie, in float64.
        targets: (n,) classes.
        patients: (n,) the patient of each.
        subsets: positions in `train`, at least two each; an image that occurs twice counts twice.
        valid: features and classes of the validation part, or None to choose within the subset.
        classes: C.
        config: `regularisations`, lambdas above 0; `standardise`; `temperature` of class means.

    Raises:
        UserError: a subset has fewer than two images, there are no validation images, features are not finite, or a
            head does not converge.
    """
    _check(train, valid, subsets)
    unlike = {_name(subset): np.sort(subset) for subset in subsets}
    folds: dict[bytes, list[tuple[Positions, Positions]]] = {}
    if valid is None and len(config.regularisations) > 1:
        folds = {name: folds_of(positions, targets, patients) for name, positions in unlike.items()}
    learnt = {_name(fitted): fitted for pairs in folds.values() for fitted, _ in pairs}
    solutions = _solve(train, targets, {**unlike, **learnt}, classes, config)
    inputs, truth = train.double(), torch.tensor(targets, device=train.device)
    heads = {}
    for name in unlike:
        own = solutions[name]
        if valid is not None:
            judged = [_judge(own, valid.features.double(), torch.tensor(valid.targets, device=train.device))]
            heads[name] = _best(own, judged, own.class_weights, by_accuracy=True)
        elif not folds.get(name, True) and is_few(targets[unlike[name]]):
            heads[name] = _means(inputs[unlike[name]], targets[unlike[name]], classes, config)
        else:
            judged = [
                _judge(solutions[_name(rest)], inputs[held_out], truth[held_out])
                for rest, held_out in folds.get(name, [])
            ]
            heads[name] = _best(own, judged, own.class_weights, by_accuracy=False)
    return [heads[_name(subset)] for subset in subsets]


def fit_logistic(
    train: Tensor,
    targets: NDArray[np.int64],
    patients: NDArray[np.object_],
    subsets: Sequence[Positions],
    valid: HeldOut | None,
    classes: int,
    config: ClassifyConfig,
) -> list[Fitted]:
    """The classifiers of `fit_heads`, whose arguments and errors these are; they learn from the other images, too.

    With `config.spread_labels`, and without a validation part, the images of `train` outside a subset count as
    unlabelled: their targets, which may be missing from the end of `targets`, are not looked at.
    """
    heads = fit_heads(train, targets, patients, subsets, valid, classes, config)
    if config.spread_labels != "never" and valid is None:
        heads = with_unlabelled(train, targets, subsets, heads, classes, config)
    centre = train.double().mean(0).float()
    return [
        Fitted(h.predict, 0, h.valid_balanced_accuracy, linear=h.around(centre), regularisation=h.regularisation)
        for h in heads
    ]


def is_few(targets: NDArray[np.int64]) -> bool:
    """Whether (n,) classes of labelled images are at most `FEW` a class.

    >>> is_few(np.array([0, 0, 2])), is_few(np.zeros(6, int))
    (True, False)
    """
    return len(targets) <= FEW * len(set(targets.tolist()))


def with_unlabelled(
    train: Tensor,
    targets: NDArray[np.int64],
    subsets: Sequence[Positions],
    heads: Sequence[Head],
    classes: int,
    config: ClassifyConfig,
) -> list[Head]:
    """Heads that learn from the images outside their subset as well; see `spreading`. Arguments as of `fit_heads`.

    The strength is the middle one. A head whose subset is all of `train`, or has more than a few images a class, unless
    `config.spread_labels` is always, stays as it is.
    """
    unlike = {
        _name(own): (np.sort(own), head)
        for own, head in zip(subsets, heads, strict=True)
        if len(set(own)) < len(train) and (config.spread_labels == "always" or is_few(targets[own]))
    }
    if not unlike:
        if config.unlabelled:
            warn(f"--unlabelled: no head has at most {FEW} images a class; give --spread_labels always to use it")
        return list(heads)
    graph, strength = neighbour_graph(train), sorted(config.regularisations)[len(config.regularisations) // 2]
    labels = [
        soft_labels(
            [head.predict(train).astype(np.float64), spread_labels(graph, own, targets[own], classes)],
            own, targets[own],
        )
        for own, head in unlike.values()
    ]  # fmt: skip
    found = dict(zip(unlike, fit_to_soft_labels(train, labels, strength, config.standardise), strict=True))
    centre = train.double().mean(0)

    def student(head: Head, weight: Tensor, bias: Tensor) -> Head:
        rounded = weight.float()
        kept = (bias + (weight - rounded) @ centre).float()
        return Head(rounded.T.contiguous(), kept, strength, head.valid_balanced_accuracy, head.valid_loss)

    return [student(h, *found[_name(s)]) if _name(s) in found else h for s, h in zip(subsets, heads, strict=True)]


def folds_of(
    positions: Positions, targets: NDArray[np.int64], patients: NDArray[np.object_]
) -> list[tuple[Positions, Positions]]:
    """Folds of a subset, as (rest, held out) positions: no patient is on both sides, and the rest shows every class.

    Args:
        positions: of the subset's images among all.
        targets: (n,) classes of all images.
        patients: (n,) their patients.

    Returns:
        At most `FOLDS`; none where a class comes from one patient only, or where no split keeps all classes in the
        rest of every fold.

    >>> folds_of(np.arange(4), np.array([0, 1, 0, 1]), np.array(["a", "a", "b", "b"], object))
    [(array([2, 3]), array([0, 1])), (array([0, 1]), array([2, 3]))]
    """
    own, theirs = targets[positions], patients[positions]
    count = min(FOLDS, *(len(set(theirs[own == plane])) for plane in np.unique(own)))
    if count < 2:
        return []
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    pairs = [(positions[rest], positions[out]) for rest, out in splitter.split(own, own, theirs)]
    whole = all(len(set(targets[rest])) == len(set(own)) for rest, _ in pairs)
    return pairs if whole and len(set(own)) > 1 else []


@dataclass(frozen=True)
class _Solution:
    """The heads of a subset, one a strength.

    Attributes:
        exact: (L, C, F) float64 weights for raw features, and bias (L, C).
        mean: (F,) weighted mean of the features.
    """

    strengths: Tensor
    exact: Tensor
    bias: Tensor
    mean: Tensor
    class_weights: Tensor

    def head(self, index: int) -> tuple[Tensor, Tensor]:
        """(C, F) and (C,) float32: rounding a weight moves no logit at the mean if the bias makes up for it."""
        weight = self.exact[index].float()
        return weight, (self.bias[index] + (self.exact[index] - weight) @ self.mean).float()


def _solve(
    train: Tensor, targets: NDArray[np.int64], subsets: dict[bytes, Positions], classes: int, config: ClassifyConfig
) -> dict[bytes, _Solution]:
    """The optimum of every subset and strength."""
    strengths = torch.tensor(sorted(config.regularisations), dtype=torch.float64, device=train.device)
    found = {}
    for batch in _batches(subsets, train.shape[1], len(strengths) * classes):
        samples = [
            _Sample(train[torch.from_numpy(p).to(train.device)].double(), targets[p], classes) for p in batch.values()
        ]
        scales = torch.stack([standardisation(sample.features, config.standardise)[1] for sample in samples])
        weight, bias = optima(
            torch.stack([sample.features for sample in samples]) * scales[:, None],
            torch.stack([sample.weights for sample in samples]),
            torch.stack([sample.truth for sample in samples]),
            strengths,
        )
        weight = weight * scales[:, None, None]
        for name, sample, *solved in zip(batch, samples, weight, bias, strict=True):
            mean = sample.weights @ sample.features
            found[name] = _Solution(strengths, solved[0], solved[1], mean, sample.class_weights)
    return found


class _Sample:
    """The images of a subset."""

    def __init__(self, features: Tensor, targets: NDArray[np.int64], classes: int) -> None:
        truth = torch.tensor(targets, device=features.device)
        self.features, self.truth = features, one_hot(truth, classes).to(features).T
        self.class_weights = class_weights(targets, classes).to(features)
        self.weights = self.class_weights[truth] / len(truth)


def _judge(solution: _Solution, features: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """(L, m, C) logits of all strengths for (m, F) float64 features, and their (m,) classes."""
    kept = [solution.head(index) for index in range(len(solution.strengths))]
    weight, bias = torch.stack([w for w, _ in kept]).double(), torch.stack([b for _, b in kept]).double()
    return torch.einsum("mf,lcf->lmc", features, weight) + bias[:, None], truth


def _best(
    solution: _Solution, judged: list[tuple[Tensor, Tensor]], class_weights: Tensor, *, by_accuracy: bool
) -> Head:
    """The head of the best strength by the logits of images that it was not fitted on; the middle one without any."""
    strengths = solution.strengths.tolist()
    index, accuracy, loss = len(strengths) // 2, float("nan"), float("nan")
    if judged:
        logits, truth = torch.cat([of_fold for of_fold, _ in judged], 1), torch.cat([classes for _, classes in judged])
        accuracies = balanced_accuracies(logits.argmax(2), one_hot(truth, logits.shape[2]).double()).tolist()
        surprise = -logits.log_softmax(2).gather(2, truth[None, :, None].expand(len(logits), -1, 1)).squeeze(2)
        counts = class_weights[truth]
        losses = torch.where(counts > 0, counts * surprise, 0).mean(1).tolist()
        first = accuracies if by_accuracy else [0.0] * len(strengths)
        options = zip(first, (-one for one in losses), strengths, range(len(strengths)), strict=True)
        index = max(options)[3]
        accuracy, loss = accuracies[index] if by_accuracy else accuracy, losses[index]
    weight, bias = solution.head(index)
    return Head(weight.T.contiguous(), bias.clone(), strengths[index], accuracy, loss)


def _means(features: Tensor, targets: NDArray[np.int64], classes: int, config: ClassifyConfig) -> Head:
    """The head of the class means of (n, F) float64 features."""
    weight, bias = class_mean_head(features, targets, classes, config.temperature)
    return Head(weight.T.float().contiguous(), bias.float(), None, float("nan"), float("nan"))


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


def _check(train: Tensor, valid: HeldOut | None, subsets: Sequence[Positions]) -> None:
    for subset in subsets:
        if len(subset) < 2:
            raise UserError(f"{len(subset)} training image is too few; give a larger fraction in --fractions")
    if valid is not None and not len(valid.targets):
        raise UserError("there is no validation image to choose the regularisation by; give --valid within")
    held_out = [] if valid is None else [valid.features]
    if not all(torch.isfinite(features).all() for features in (train, *held_out)):
        raise UserError("the encoder's features are not finite; give --precision 32-true, or another --init")
