"""The benchmark of losses: its rows, and that both sides compute the same."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.losses import backward, losses, optimisers, rows


@pytest.fixture(scope="module")
def found():
    return list(rows(quick=True))


def test_each_loss_the_momentum_update_and_the_optimiser_have_a_row(found):
    figures = [row.figure.split(",")[0] for row in found]
    losses_of = ["Barlow Twins", "VICReg", "SimCLR", "MoCo (4096 keys)", "BYOL"]
    assert figures == [*(f"{name} loss" for name in losses_of), "momentum update", "LARS step"]
    assert [row.target for row in found] == [10, 10, 1, 1, 1, 1, 1]
    assert all(row.ratio is not None and math.isfinite(row.ratio) and row.ratio > 0 for row in found)


@pytest.mark.parametrize("name", list(losses(2, 2, 2)))
def test_both_sides_get_the_same_loss_and_gradient(name):
    torch.manual_seed(0)
    features, _, ours, theirs = losses(12, 40, 6)[name]
    views = [torch.randn(12, features) for _ in range(2)]
    (loss, gradient), (their_loss, their_gradient) = (backward(f, views)() for f in (ours, theirs))
    torch.testing.assert_close(loss, their_loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient, their_gradient, rtol=1e-3, atol=1e-5)


def test_both_optimisers_have_the_same_groups_and_gradients():
    ours, theirs = (step.__self__ for step in optimisers("test_resnet"))
    for mine, other in zip(ours.param_groups, theirs.param_groups, strict=True):
        assert all(mine[name] == other[name] for name in ("lr", "weight_decay", "always_adapt", "momentum"))
        for p, q in zip(mine["params"], other["params"], strict=True):
            assert torch.equal(p.grad, q.grad)
            assert torch.equal(p, q)
