"""The Barlow Twins loss against the paper's formula, against lightly, and over two processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightly.loss import BarlowTwinsLoss
from torch import Tensor, nn

from operators import WAITS, Operators
from processes import on_processes
from sonolearn.console import UserError
from sonolearn.ssl.devices import gather
from sonolearn.ssl.methods.barlow_twins import barlow_twins_loss
from ssl_methods import SHAPES, embeddings, make, small


def reference(z1: Tensor, z2: Tensor, redundancy: float) -> Tensor:
    """Equations 1 and 2 of the paper, in float64: the cross-correlation matrix written out element by element."""
    a, b = z1.double(), z2.double()
    a = (a - a.mean(0)) / (a.var(0, correction=0) + 1e-5).sqrt()
    b = (b - b.mean(0)) / (b.var(0, correction=0) + 1e-5).sqrt()
    c = torch.einsum("ni,nj->ij", a, b) / len(a)
    identity = torch.eye(c.shape[0], dtype=torch.bool)
    return (c[identity] - 1).square().sum() + redundancy * c[~identity].square().sum()


@pytest.mark.parametrize(("count", "features"), SHAPES)
@pytest.mark.parametrize("peer", ["lightly", "formula"])
def test_value_and_gradients_equal(count: int, features: int, peer: str) -> None:
    z1, z2 = (z.requires_grad_() for z in embeddings(count, features))
    loss, _, _ = barlow_twins_loss(z1, z2, 0.0051)
    ours = torch.autograd.grad(loss, (z1, z2))

    expected = BarlowTwinsLoss(0.0051)(z1, z2) if peer == "lightly" else reference(z1, z2, 0.0051)
    theirs = torch.autograd.grad(expected, (z1, z2))

    torch.testing.assert_close(loss.double(), expected.double(), rtol=2e-5, atol=1e-5)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=2e-5)


def test_both_sums_are_reported() -> None:
    z1, z2 = embeddings(12, 5)
    loss, on_diagonal, off_diagonal = barlow_twins_loss(z1, z2, 0.25)
    assert float(loss) == pytest.approx(float(on_diagonal) + 0.25 * float(off_diagonal), rel=1e-6)
    assert float(barlow_twins_loss(z1, z2, 0.0)[0]) == pytest.approx(float(on_diagonal), rel=1e-6)


def test_identical_uncorrelated_embeddings_have_no_loss() -> None:
    # The columns of a Hadamard matrix but the first have mean 0, variance 1 and no correlation with each other.
    h = np.array([[1]])
    for _ in range(4):
        h = np.block([[h, h], [h, -h]])
    z = torch.tensor(h[:, 1:], dtype=torch.float32)
    assert float(barlow_twins_loss(z, z, 0.0051)[0]) == pytest.approx(0, abs=1e-6)


def test_a_feature_scaled_or_shifted_changes_nothing() -> None:
    z1, z2 = embeddings(16, 40)
    scaled = z1 * torch.linspace(50, 200, 40) + 7
    torch.testing.assert_close(
        barlow_twins_loss(scaled, z2, 0.01), barlow_twins_loss(z1, z2, 0.01), rtol=1e-3, atol=1e-3
    )


def test_loss_stays_in_float32_under_autocast() -> None:
    z1, z2 = embeddings(16, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _, _ = barlow_twins_loss(z1, z2, 0.0051)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, barlow_twins_loss(z1, z2, 0.0051)[0])


@pytest.mark.parametrize(("count", "features"), [(8, 64), (64, 8)])
def test_no_matrix_is_larger_than_the_batch_or_the_smaller_of_both_squares(count: int, features: int) -> None:
    z1, z2 = (z.requires_grad_() for z in embeddings(count, features))
    with Operators() as operators:
        barlow_twins_loss(z1, z2, 0.0051)[0].backward()
    assert operators.largest == count * features < max(count, features) ** 2
    # Forward A A^T and B B^T, or A^T B; backward two for each.
    assert operators.calls["mm"] == (6 if count < features else 3)
    assert not WAITS & set(operators.calls)


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(UserError, match="at least 2 frames"):
        barlow_twins_loss(torch.randn(1, 8), torch.randn(1, 8), 0.0051)


def test_two_processes_equal_one_on_the_joined_batch() -> None:
    on_processes(2, _compare_with_joined_batch)


def _compare_with_joined_batch(rank: int, count: int) -> None:
    for batch, features in [(6, 40), (20, 8)]:
        z1, z2 = (z.requires_grad_() for z in embeddings(batch, features))
        expected, _, _ = barlow_twins_loss(z1, z2, 0.0051)
        g1, g2 = torch.autograd.grad(expected, (z1, z2))

        share = slice(rank * batch // count, (rank + 1) * batch // count)
        local1, local2 = z1.detach()[share].requires_grad_(), z2.detach()[share].requires_grad_()
        loss, _, _ = barlow_twins_loss(gather(local1), gather(local2), 0.0051)
        loss.backward()

        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(local1.grad, g1[share])
        torch.testing.assert_close(local2.grad, g2[share])


def test_the_projector_is_that_of_the_paper() -> None:
    projector = make(small("barlow_twins", barlow_twins={"projector": (64, 64, 48)})).projector
    kinds = [type(layer).__name__ for layer in projector]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert [layer.out_features for layer in projector if isinstance(layer, nn.Linear)] == [64, 64, 48]
    assert all(layer.bias is None for layer in projector if isinstance(layer, nn.Linear))
