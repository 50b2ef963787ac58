"""The class mean of a few images as a linear head: weight imprinting (Qi, Brown & Lowe, CVPR 2018).

An image is of the class whose mean direction has the largest cosine with its features. Six images say where a class
lies, but not how it spreads: a logistic regression takes the spread from them all the same, and falls behind.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize, one_hot


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
