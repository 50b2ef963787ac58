"""Weighted nearest neighbours on frozen features (Wu et al., CVPR 2018; the evaluation of DINO): nothing is trained."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from sonolearn.config import ClassifyConfig
from sonolearn.planes.head import Fitted, Probabilities
from sonolearn.planes.metrics import balanced_accuracy


def fit_knn(
    train: Tensor,
    targets: NDArray[np.int64],
    valid: Tensor,
    valid_targets: NDArray[np.int64],
    classes: int,
    config: ClassifyConfig,
) -> Fitted:
    """Remember the training features; the validation part is measured but decides nothing.

    Args:
        train: (n, F) features of the subset in use.
        targets: (n,) their classes.
        valid: (m, F) features of the validation part; m may be 0.
        valid_targets: (m,) their classes.
        classes: C.
        config: `neighbours`, at most n of which vote, and `temperature`.
    """
    truth = torch.from_numpy(targets).to(train.device)

    def predict(features: Tensor) -> Probabilities:
        votes = knn_votes(train, truth, features, classes, config.neighbours, config.temperature)
        return np.asarray(votes.cpu().numpy(), dtype=np.float32)

    score = balanced_accuracy(valid_targets, predict(valid).argmax(1)) if len(valid) else float("nan")
    return Fitted(predict, 0, score)


def knn_votes(
    train: Tensor, targets: Tensor, queries: Tensor, classes: int, neighbours: int, temperature: float
) -> Tensor:
    """Share of the votes for each class; a neighbour of cosine similarity s votes with exp(s / temperature).

    Args:
        train: (n, F) features.
        targets: (n,) their classes.
        queries: (m, F) features.
        classes: C.
        neighbours: k; at most n are taken.
        temperature: above 0.

    Returns:
        (m, C) shares that add up to 1.
    """
    similarity = normalize(queries, dim=1) @ normalize(train, dim=1).T
    nearest, index = similarity.topk(min(neighbours, len(train)), dim=1)
    # The softmax is the votes over their sum, without the overflow of exp at a low temperature.
    votes = (nearest / temperature).softmax(1)
    return torch.einsum("mk,mkc->mc", votes, one_hot(targets[index], classes).to(votes.dtype))
