"""LARS against its formula, and the schedule at the points that define it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from operators import Operators
from sonolearn.config import OptimizerConfig
from sonolearn.ssl.optim import learning_rate, make_optimizer, set_learning_rate, warmup_cosine

LARS = OptimizerConfig("lars", lr=0.2, lr_biases=0.0048, weight_decay=0.01)


def test_lars_takes_the_step_of_its_paper() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    optimizer = make_optimizer(layer, LARS, 256)
    for momentum in (0.0, 0.9):
        layer.weight.grad, layer.bias.grad = torch.ones(3, 4), torch.full((3,), 2.0)
        decayed = torch.ones(3, 4) + 0.01 * weight
        trust = 0.001 * weight.norm() / (torch.ones(3, 4).norm() + 0.01 * weight.norm())
        velocity = trust * decayed + (momentum * velocity if momentum else 0)  # noqa: F821 - set in the first pass
        bias_velocity = 2.0 + (momentum * bias_velocity if momentum else 0)  # noqa: F821
        weight, bias = weight - 0.2 * velocity, bias - 0.0048 * bias_velocity
        optimizer.step()
        torch.testing.assert_close(layer.weight.detach(), weight)
        torch.testing.assert_close(layer.bias.detach(), bias)


@pytest.mark.parametrize(("name", "peer"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_sgd_and_adamw_decay_all_with_one_rate(name, peer) -> None:
    config = OptimizerConfig(name, lr=0.03, weight_decay=1e-4, lr_batch=None)
    optimizer = make_optimizer(nn.Linear(2, 2), config, 64)
    assert isinstance(optimizer, peer)
    assert [group["base_lr"] for group in optimizer.param_groups] == [0.03, 0.03]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-4, 1e-4]


def test_rates_grow_with_the_batch_and_lars_spares_biases_the_decay() -> None:
    weights, biases = make_optimizer(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), LARS, 512).param_groups
    assert (weights["base_lr"], biases["base_lr"]) == (pytest.approx(0.4), pytest.approx(0.0096))
    assert (weights["weight_decay"], biases["weight_decay"]) == (0.01, 0)
    assert {p.ndim for p in weights["params"]} == {2}
    assert [p.ndim for p in biases["params"]] == [1, 1, 1]


def test_what_is_frozen_is_left_alone() -> None:
    layer = nn.Linear(3, 4)
    layer.bias.requires_grad_(False)
    assert [len(group["params"]) for group in make_optimizer(layer, LARS, 256).param_groups] == [1]


def test_the_step_schedule_falls_after_every_so_many_epochs() -> None:
    config = OptimizerConfig("adamw", schedule="step", decay=0.5624, decay_epochs=50)
    factors = [learning_rate(config, step, 10_000, 4) for step in (0, 199, 200, 399, 400)]
    assert factors == pytest.approx([1, 1, 0.5624, 0.5624, 0.5624**2])


def test_schedule_rises_to_one_and_falls_to_its_end_at_the_last_step() -> None:
    factors = [warmup_cosine(step, steps=101, warmup=10, final=0.001) for step in range(101)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[9] == pytest.approx(10 / 11)
    assert factors[10] == pytest.approx(1)
    assert factors[55] == pytest.approx(0.5 * (1 + 0.001))
    assert factors[100] == pytest.approx(0.001)
    assert all(a > b for a, b in pairwise(factors[10:]))


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (1, 10), (2, 1), (5, 20)])
def test_schedule_of_very_short_runs_stays_in_range(steps: int, warmup: float) -> None:
    assert all(0 < warmup_cosine(step, steps, warmup, 0.001) <= 1 for step in range(steps))


def test_setting_the_rate_keeps_the_ratio_of_the_groups() -> None:
    optimizer = make_optimizer(nn.Linear(2, 2), LARS, 256)
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.0024]


@pytest.mark.parametrize(("name", "kernel"), [("sgd", "_fused_sgd_"), ("adamw", "_fused_adamw_")])
def test_a_step_of_sgd_or_adamw_is_one_kernel_a_group_whatever_the_number_of_weights(name, kernel) -> None:
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(20)))
    optimizer = make_optimizer(model, OptimizerConfig(name), 256)
    for _ in range(2):
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        with Operators() as operators:
            optimizer.step()
    assert operators.calls[kernel] == 2
    assert sum(count for call, count in operators.calls.items() if call.startswith(("add", "mul", "lerp"))) == 0
