"""The VICReg loss against the paper's formula and against lightly, in both of its forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightly.loss import VICRegLoss
from torch import Tensor

from operators import WAITS, Operators
from sonolearn.config import VICRegConfig
from sonolearn.console import UserError
from sonolearn.ssl.methods.vicreg import hinge_and_covariance, vicreg_loss
from ssl_methods import SHAPES, embeddings

WEIGHTS = VICRegConfig()


def reference(z1: Tensor, z2: Tensor, weights: VICRegConfig) -> Tensor:
    """Equations 1 to 6 of the paper in float64, the covariance matrix written out."""
    z1, z2 = z1.double(), z2.double()
    n, d = z1.shape
    invariance = ((z1 - z2) ** 2).sum() / (n * d)
    variance = covariance = torch.zeros((), dtype=torch.float64)
    for z in (z1, z2):
        variance = variance + torch.clamp(1 - torch.sqrt(z.var(0) + 1e-4), min=0).mean() / 2
        c = sum(torch.outer(row, row) for row in z - z.mean(0)) / (n - 1)
        covariance = covariance + c[~torch.eye(d, dtype=torch.bool)].square().sum() / d
    return weights.invariance * invariance + weights.variance * variance + weights.covariance * covariance


@pytest.mark.parametrize(("count", "features"), SHAPES)
@pytest.mark.parametrize("peer", ["lightly", "formula"])
@pytest.mark.parametrize("scale", [0.1, 1.0], ids=["hinge at work", "hinge at rest"])
def test_value_and_gradients_equal(count: int, features: int, peer: str, scale: float) -> None:
    z1, z2 = ((z * scale).requires_grad_() for z in embeddings(count, features))
    loss, _ = vicreg_loss(z1, z2, WEIGHTS)
    ours = torch.autograd.grad(loss, (z1, z2))
    expected = VICRegLoss()(z1, z2) if peer == "lightly" else reference(z1, z2, WEIGHTS)
    theirs = torch.autograd.grad(expected, (z1, z2))
    torch.testing.assert_close(loss.double(), expected.double(), rtol=2e-5, atol=1e-5)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("count", [5, 63, 64, 65, 200])
def test_the_covariance_term_is_that_of_numpys_matrix_in_both_forms(count: int) -> None:
    z, _ = embeddings(count, 64)
    c = torch.from_numpy(np.cov(z.double().numpy(), rowvar=False))
    expected = (c.square().sum() - c.diagonal().square().sum()) / 64
    assert float(hinge_and_covariance(z)[1]) == pytest.approx(float(expected), rel=1e-4)


def test_the_terms_are_reported_without_their_weights() -> None:
    z1, z2 = embeddings(12, 5)
    weights = VICRegConfig(invariance=2, variance=3, covariance=4)
    loss, (invariance, variance, covariance) = vicreg_loss(z1, z2, weights)
    assert float(loss) == pytest.approx(float(2 * invariance + 3 * variance + 4 * covariance), rel=1e-6)


def test_collapsed_embeddings_pay_the_whole_hinge() -> None:
    _, (invariance, variance, covariance) = vicreg_loss(torch.ones(6, 4), torch.ones(6, 4), WEIGHTS)
    assert (float(invariance), float(covariance)) == (0, 0)
    assert float(variance) == pytest.approx(1 - 0.01)


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(UserError, match="at least 2 frames"):
        vicreg_loss(torch.randn(1, 8), torch.randn(1, 8), WEIGHTS)


@pytest.mark.parametrize(("count", "features"), [(8, 64), (64, 8)])
def test_no_matrix_is_larger_than_the_batch_or_the_smaller_of_both_squares(count: int, features: int) -> None:
    z1, z2 = (z.requires_grad_() for z in embeddings(count, features))
    with Operators() as operators:
        vicreg_loss(z1, z2, WEIGHTS)[0].backward()
    assert operators.largest == count * features < max(count, features) ** 2
    # For each view one forward, and two backward.
    assert operators.calls["mm"] == 6
    assert not WAITS & set(operators.calls)
