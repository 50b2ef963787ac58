"""Momentum encoders against lightly's, and the schedule at the points that define it."""

from __future__ import annotations

import copy

import pytest
import torch
from lightly.models.utils import update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import nn

from operators import Operators
from sonolearn.config import Method as MethodName
from sonolearn.ssl.methods.method import follow, frozen_copy, momentum_at
from ssl_methods import frames, make, small


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.996, 1.0])
def test_following_equals_lightlys_loop_over_parameters(momentum: float) -> None:
    online, target = network(0), frozen_copy(network(1))
    theirs = copy.deepcopy(target)
    follow(target, online, momentum)
    update_momentum(online, theirs, momentum)
    for mine, other in zip(target.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_running_statistics_are_its_own() -> None:
    online, target = network(0), frozen_copy(network(0))
    online(torch.randn(8, 1, 4, 4))
    follow(target, online, 0.5)
    assert not torch.equal(online[1].running_mean, target[1].running_mean)


def test_a_frozen_copy_is_equal_and_takes_no_gradient() -> None:
    online = network(0)
    target = frozen_copy(online)
    assert all(torch.equal(a, b) for a, b in zip(online.parameters(), target.parameters(), strict=True))
    assert not any(p.requires_grad for p in target.parameters())
    assert all(p.requires_grad for p in online.parameters())


@pytest.mark.parametrize("step", [0, 1, 50, 99])
def test_the_schedule_is_lightlys_cosine(step: int) -> None:
    assert momentum_at(0.996, 1.0, step, 100) == pytest.approx(cosine_schedule(step, 100, 0.996, 1.0))


def test_the_schedule_starts_and_ends_where_it_says() -> None:
    assert momentum_at(0.9, 1.0, 0, 7) == pytest.approx(0.9)
    assert momentum_at(0.9, 1.0, 6, 7) == 1.0
    assert momentum_at(0.9, 1.0, 0, 1) == 1.0
    assert momentum_at(0.999, 0.999, 3, 7) == pytest.approx(0.999)


def test_following_is_one_operator_whatever_the_number_of_weights() -> None:
    online, target = nn.Sequential(*(network(i) for i in range(5))), nn.Sequential(*(network(i + 9) for i in range(5)))
    with Operators() as operators:
        follow(target, online, 0.99)
    assert operators.calls["_foreach_lerp_"] == 1
    # And the counter of averages, a scalar that nothing depends on.
    assert sum(operators.calls.values()) <= 2
    assert operators.largest <= 1


@pytest.mark.parametrize(
    ("name", "copies"),
    [
        ("moco", {"momentum_encoder": "encoder", "momentum_projector": "projector"}),
        ("byol", {"target_encoder": "encoder", "target_projector": "projector"}),
    ],
)
def test_after_each_step_every_copy_in_a_method_has_followed_its_own_network(
    name: MethodName, copies: dict[str, str]
) -> None:
    method = make(small(name))
    assert {part.split(".")[0] for part, p in method.named_parameters() if not p.requires_grad} == set(copies)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter += torch.rand_like(parameter)
    before = {part: p.clone() for part, p in method.named_parameters()}
    method(*frames())
    method.after_step(3, 10)
    settings = getattr(method.config, name)
    momentum = momentum_at(settings.momentum, settings.final_momentum, 3, 10)
    for copied, own in copies.items():
        for part, moved in method.get_submodule(copied).named_parameters():
            was, online = before[f"{copied}.{part}"], before[f"{own}.{part}"]
            torch.testing.assert_close(moved, momentum * was + (1 - momentum) * online)
            assert not torch.equal(moved, was)
