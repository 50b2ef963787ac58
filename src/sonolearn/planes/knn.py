"""Weighted nearest neighbours on frozen features (Wu et al., CVPR 2018; the evaluation of DINO): nothing is trained."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonolearn.config import ClassifyConfig
from sonolearn.planes.head import Fitted, HeldOut, Probabilities
from sonolearn.planes.metrics import balanced_accuracy
from sonolearn.ssl.features import knn_votes


def fit_knn(
    train: Tensor,
    targets: NDArray[np.int64],
    valid: HeldOut | None,
    classes: int,
    config: ClassifyConfig,
) -> Fitted:
    """Remember the training features; the validation part is measured but decides nothing.

    Args:
        train: (n, F) features of the subset in use.
        targets: (n,) their classes.
        valid: features and classes of the validation part, or None.
        classes: C.
        config: `neighbours`, at most n of which vote, and `temperature`.
    """
    truth = torch.from_numpy(targets).to(train.device)

    def predict(features: Tensor) -> Probabilities:
        votes = knn_votes(train, truth, features, classes, config.neighbours, config.temperature)
        return np.asarray(votes.cpu().numpy(), dtype=np.float32)

    score = balanced_accuracy(valid.targets, predict(valid.features).argmax(1)) if valid else float("nan")
    return Fitted(predict, 0, score)
