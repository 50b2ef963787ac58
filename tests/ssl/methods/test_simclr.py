"""The NT-Xent loss against the paper's formula and against lightly, and what it means."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import NTXentLoss
from torch import Tensor

from operators import WAITS, Operators
from sonolearn.console import UserError
from sonolearn.ssl.methods.simclr import nt_xent
from ssl_methods import SHAPES, embeddings, make, small


def reference(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Equation 1 of the paper in float64, view by view."""
    z = torch.cat([z1, z2]).double()
    z = z / z.norm(dim=1, keepdim=True)
    n, total = len(z1), torch.zeros((), dtype=torch.float64)
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        similarity = (z * z[i]).sum(dim=1) / temperature
        others = torch.cat([similarity[:i], similarity[i + 1 :]])
        total = total - similarity[j] + others.exp().sum().log()
    return total / (2 * n)


@pytest.mark.parametrize(("count", "features"), SHAPES)
@pytest.mark.parametrize("peer", ["lightly", "formula"])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_value_and_gradients_equal(count: int, features: int, peer: str, temperature: float) -> None:
    z1, z2 = (z.requires_grad_() for z in embeddings(count, features))
    loss, _ = nt_xent(z1, z2, temperature)
    ours = torch.autograd.grad(loss, (z1, z2))
    expected = NTXentLoss(temperature)(z1, z2) if peer == "lightly" else reference(z1, z2, temperature)
    theirs = torch.autograd.grad(expected, (z1, z2))
    torch.testing.assert_close(loss.double(), expected.double(), rtol=1e-5, atol=1e-5)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)


def test_views_that_all_look_alike_give_the_loss_of_guessing() -> None:
    z = torch.ones(5, 4)
    assert float(nt_xent(z, z, 0.5)[0]) == pytest.approx(math.log(9))


def test_equal_views_of_frames_at_right_angles_are_found() -> None:
    z = torch.eye(6)
    loss, top1 = nt_xent(z, z, 0.5)
    assert float(loss) == pytest.approx(math.log(math.e**2 + 10) - 2)
    assert float(top1) == 1


def test_the_length_of_an_embedding_changes_nothing() -> None:
    z1, z2 = embeddings(9, 5)
    torch.testing.assert_close(nt_xent(z1 * 7, z2 * 0.01, 0.5), nt_xent(z1, z2, 0.5))


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(UserError, match="at least 2 frames"):
        nt_xent(torch.randn(1, 8), torch.randn(1, 8), 0.5)


def test_the_projector_is_that_of_the_study() -> None:
    projector = make(small("simclr", simclr={"projector": (512, 128)})).projector
    assert [type(layer).__name__ for layer in projector] == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert [layer.out_features for layer in projector if hasattr(layer, "out_features")] == [512, 128]


def test_all_similarities_are_one_product_and_nothing_is_larger() -> None:
    z1, z2 = (z.requires_grad_() for z in embeddings(20, 6))
    with Operators() as operators:
        nt_xent(z1, z2, 0.5)[0].backward()
    assert operators.largest == (2 * 20) ** 2
    # One forward, two backward.
    assert operators.calls["mm"] == 3
    assert not WAITS & set(operators.calls)
