"""Classifiers on the features of a frozen encoder, all of an encoder at once, for `classify` and for studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sonolearn.config import ClassifyConfig
from sonolearn.console import UserError
from sonolearn.planes.head import Fitted, HeldOut
from sonolearn.planes.images import Labelled
from sonolearn.planes.knn import fit_knn
from sonolearn.planes.linear import Positions, fit_linear_heads
from sonolearn.planes.logistic import fit_logistic


def fit_frozen(
    features: Mapping[str, Tensor],
    parts: Mapping[str, Labelled],
    trainings: Sequence[tuple[Positions, int]],
    classes: int,
    config: ClassifyConfig,
) -> list[Fitted | UserError]:
    """Fit a classifier of mode linear or knn on each subset of the training part; the test part is not looked at.

    Args:
        features: of the parts train and valid, (n, F) each.
        parts: their labels.
        trainings: of each classifier the positions of its images in the training part, and its seed.
        classes: C.
        config: mode, solver and their options; `valid` says whether the validation part may choose anything.

    Returns:
        In the order of `trainings`; of an AdamW head whose loss is not finite the error that says so.

    Raises:
        UserError: features are not finite, or a logistic head does not converge.
    """
    train, targets = features["train"], parts["train"].targets
    held_out = HeldOut(features["valid"], parts["valid"].targets) if config.valid == "whole" else None
    if config.mode == "knn":
        return [
            fit_knn(train[torch.from_numpy(own).to(train.device)], targets[own], held_out, classes, config)
            for own, _ in trainings
        ]
    if config.solver == "adamw":
        return fit_linear_heads(train, targets, trainings, held_out, classes, config)
    subsets = [own for own, _ in trainings]
    return [*fit_logistic(train, targets, parts["train"].patient, subsets, held_out, classes, config)]
