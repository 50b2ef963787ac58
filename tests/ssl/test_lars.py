"""LARS against timm's, over several steps, and the work that a step does."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from timm.optim.lars import Lars
from torch import nn
from torch.optim import Optimizer

from operators import WAITS, Operators
from sonolearn.ssl import optim as lars
from sonolearn.ssl.optim import LARS, trust_ratios

Make = Callable[..., Optimizer]


@pytest.fixture(params=["as on a CPU", "as on a GPU"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of taking a step, each of which a CPU can go."""
    monkeypatch.setattr(lars, "_on_cpu", lambda params: request.param == "as on a CPU")
    return str(request.param)


def network(layers: int = 2) -> nn.Module:
    torch.manual_seed(0)
    convolutions = [nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)) for _ in range(layers)]
    model = nn.Sequential(nn.Conv2d(1, 3, 3), *convolutions, nn.Flatten(), nn.Linear(108, 5))
    nn.init.zeros_(model[-1].weight)
    return model.to(memory_format=torch.channels_last)


def optimizer(model: nn.Module, make: Make, momentum: float = 0.9, decay: float = 1e-2) -> Optimizer:
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": decay, "always_adapt": True, "lr": 0.5}, {"params": biases}]
    return make(groups, lr=0.1, momentum=momentum, trust_coeff=0.001)


def train(model: nn.Module, optimizer: Optimizer, first: int, steps: int) -> None:
    """Steps on gradients that depend on the step alone; one tensor has none but zeros, one none at all."""
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        for number, p in enumerate(model.parameters()):
            drawn = torch.randn(p.shape, generator=generator).contiguous(memory_format=torch.preserve_format)
            p.grad = None if number == 3 else torch.empty_like(p).copy_(0 * drawn if number == 2 else drawn)
        optimizer.step()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 1e-2])
def test_its_steps_are_timms_also_for_weights_and_gradients_of_zeros(kernels: str, momentum: float, decay: float):
    ours, theirs = network(), network()
    train(ours, optimizer(ours, LARS, momentum, decay), 0, 6)
    train(theirs, optimizer(theirs, Lars, momentum, decay), 0, 6)
    exact = {"rtol": 0, "atol": 0} if kernels == "as on a GPU" else {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(dict(ours.named_parameters()), dict(theirs.named_parameters()), **exact)
    assert not all(torch.equal(a, b) for a, b in zip(ours.parameters(), network().parameters(), strict=True))


def test_it_goes_on_from_a_checkpoint_of_timms(kernels: str):
    through, stopped = network(), network()
    train(through, optimizer(through, Lars), 0, 5)
    saving, loading = optimizer(stopped, Lars), optimizer(stopped, LARS)
    train(stopped, saving, 0, 3)
    loading.load_state_dict(copy.deepcopy(saving.state_dict()))
    train(stopped, loading, 3, 2)
    torch.testing.assert_close(dict(stopped.named_parameters()), dict(through.named_parameters()), rtol=1e-6, atol=1e-6)


def test_a_run_from_its_own_state_goes_on_to_the_bit(kernels: str):
    through, stopped = network(), network()
    whole, before = optimizer(through, LARS), optimizer(stopped, LARS)
    train(through, whole, 0, 5)
    train(stopped, before, 0, 3)
    after = optimizer(stopped, LARS)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    train(stopped, after, 3, 2)
    assert all(torch.equal(a, b) for a, b in zip(through.parameters(), stopped.parameters(), strict=True))


def test_a_gradient_in_another_memory_order_is_read_rightly(kernels: str):
    weights = [torch.randn(4, 6).requires_grad_() for _ in range(2)]
    weights[1].data.copy_(weights[0].data)
    gradient = torch.randn(6, 4).T
    for weight, given in zip(weights, (gradient, gradient.contiguous()), strict=True):
        weight.grad = given
        LARS([{"params": [weight], "always_adapt": True}], lr=1.0).step()
    torch.testing.assert_close(weights[0], weights[1])


def test_a_ratio_is_the_papers():
    weight, gradient = torch.full((3, 4), 2.0), torch.full((3, 4), 0.5)
    (ratio,) = trust_ratios([weight], [gradient], 0.001, 0.1).tolist()
    assert ratio == pytest.approx(0.001 * 2 / (0.5 + 0.1 * 2))


def test_a_closure_is_asked_for_the_loss_with_gradients():
    weight = torch.ones(2, 2, requires_grad=True)
    optimizer = LARS([weight], lr=1.0)  # type: ignore[arg-type]  # a bare list of tensors, as torch allows

    def closure() -> float:
        loss = weight.square().sum()
        loss.backward()
        return float(loss.detach())

    assert optimizer.step(closure) == 4
    assert torch.equal(weight, torch.full((2, 2), -1.0))


def operators_of_a_step(layers: int) -> Operators:
    model = network(layers)
    stepping = optimizer(model, LARS)
    train(model, stepping, 0, 2)
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    stepping.step()
    with Operators() as operators:
        stepping.step()
    return operators


def test_a_gpu_gets_as_many_calls_for_a_deep_network_as_for_a_shallow_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lars, "_on_cpu", lambda params: False)
    shallow, deep = operators_of_a_step(1), operators_of_a_step(20)
    assert shallow.calls == deep.calls
    assert shallow.calls["_foreach_norm"] == 2


def test_nothing_waits_for_a_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lars, "_on_cpu", lambda params: False)
    assert not WAITS & set(operators_of_a_step(3).calls)


def test_on_a_cpu_two_norms_and_one_kernel_pass_over_the_weights():
    calls = operators_of_a_step(20).calls
    weights = 22
    assert calls["_foreach_norm"] == 2
    # One for each weight tensor, and one for all biases.
    assert calls["_fused_sgd_"] == weights + 1
    passes = {name for name in calls if name.startswith(("_foreach", "mul", "add", "_fused"))}
    assert passes == {"_foreach_norm", "_fused_sgd_", "add", "mul"}


def test_a_step_makes_no_tensor_of_the_size_of_the_weights(kernels: str):
    assert operators_of_a_step(3).largest < 9 < network()[1][0].weight.numel()
