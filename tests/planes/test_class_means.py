"""Class means as a linear head: the nearest mean direction, whatever the length of features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sonolearn.planes.logistic import class_mean_head

CLASSES = 3


def images(n: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Features of unequal length around three directions."""
    rng = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(CLASSES), rng.integers(0, CLASSES, n - CLASSES)])
    points = rng.normal(size=(n, 8)) + 2 * np.eye(CLASSES, 8)[targets]
    return torch.tensor(points * rng.uniform(0.5, 3, size=(n, 1))), targets


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_logit_is_that_of_the_largest_cosine_with_a_class_mean(seed: int) -> None:
    train, targets = images(12, seed)
    queries = images(40, seed + 100)[0].numpy()
    weight, bias = class_mean_head(train, targets, CLASSES, 0.07)

    unit = train.numpy() / np.linalg.norm(train.numpy(), axis=1, keepdims=True)
    means = np.stack([unit[targets == plane].mean(0) for plane in range(CLASSES)])
    cosines = queries @ means.T / np.linalg.norm(queries, axis=1, keepdims=True) / np.linalg.norm(means, axis=1)
    logits = queries @ weight.numpy().T + bias.numpy()
    assert (logits.argmax(1) == cosines.argmax(1)).all()
    length = np.linalg.norm(train.numpy(), axis=1).mean()
    scaled = cosines / 0.07 * np.linalg.norm(queries, axis=1, keepdims=True) / length
    assert logits == pytest.approx(scaled)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_scale_of_the_features_changes_no_logit(factor: float) -> None:
    train, targets = images(9, 0)
    weight, _ = class_mean_head(train, targets, CLASSES, 0.07)
    scaled, _ = class_mean_head(train * factor, targets, CLASSES, 0.07)
    assert (train * factor @ scaled.T).numpy() == pytest.approx((train @ weight.T).numpy())


def test_the_number_of_images_of_a_class_does_not_matter() -> None:
    train, targets = images(9, 1)
    doubled = torch.cat([train, train[targets == 0]]), np.concatenate([targets, targets[targets == 0]])
    weight, doubled_weight = class_mean_head(train, targets, 3, 1.0)[0], class_mean_head(*doubled, 3, 1.0)[0]
    directions = [w / w.norm(dim=1, keepdim=True) for w in (weight, doubled_weight)]
    assert directions[0].numpy() == pytest.approx(directions[1].numpy())


def test_a_class_without_images_is_never_predicted() -> None:
    weight, bias = class_mean_head(torch.ones(2, 4, dtype=torch.float64), np.array([0, 2]), CLASSES, 0.07)
    assert (torch.ones(1, 4, dtype=torch.float64) @ weight.T + bias).softmax(1)[0, 1] == 0


def test_features_that_are_all_zero_say_nothing() -> None:
    weight, _ = class_mean_head(torch.zeros(3, 4), np.arange(3), CLASSES, 0.07)
    assert not weight.any()
