"""Optimisers and learning-rate schedules that SSL methods choose from; schedules count optimiser *steps*."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.sgd import sgd

from sonolearn.config import OptimizerConfig

EPSILON = 1e-8


class LARS(Optimizer):
    """SGD with momentum that scales the gradient of each tensor to the length of its weights.

    Its steps are those of timm's `Lars`, from whose checkpoints it goes on. On a CPU it passes over the memory about
    half as often, and nothing in a step waits for a GPU.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], lr: float = 1.0, momentum: float = 0.0, trust_coeff: float = 0.001
    ) -> None:
        """Take groups of parameters.

        Args:
            groups: each with `params`, and with whatever it has of its own: `lr`, `weight_decay` (else 0),
                `always_adapt`. Only a group that decays or adapts always is scaled; any other takes steps of SGD.
            lr: learning rate.
            momentum: share of the last step that the next one keeps.
            trust_coeff: length of a tensor's step, at a rate of 1, over the length of its weights.
        """
        options = {"momentum": momentum, "trust_coeff": trust_coeff, "weight_decay": 0.0, "always_adapt": False}
        super().__init__(groups, {"lr": lr, **options})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step. It uses the gradients up: other values stand in them afterwards."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            if params := [p for p in group["params"] if p.grad is not None]:
                self._step(params, [_laid_out_like(p) for p in params], group)
        return loss

    def _step(self, params: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        velocities = [self._velocity(p) if group["momentum"] else None for p in params]
        decay: float = group["weight_decay"]
        if not decay and not group["always_adapt"]:
            _descend(params, gradients, velocities, group)
            return
        ratios = trust_ratios(params, gradients, group["trust_coeff"], decay)
        if _on_cpu(params):
            # One kernel does the rest in one pass over the memory; the ratios can be read here at no cost.
            decays, divisors = (decay * ratios).tolist(), (1 / ratios).unbind()
            for p, g, v, own_decay, divisor in zip(params, gradients, velocities, decays, divisors, strict=True):
                _descend([p], [g], [v], group, own_decay, divisor)
        else:
            torch._foreach_add_(gradients, params, alpha=decay)
            torch._foreach_mul_(gradients, ratios.unbind())
            _descend(params, gradients, velocities, group)

    def _velocity(self, p: Tensor) -> Tensor:
        # From zeros the first step comes out as the gradient alone, as it should.
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        velocity: Tensor = state["momentum_buffer"]
        return velocity


def trust_ratios(params: list[Tensor], gradients: list[Tensor], trust_coeff: float, decay: float) -> Tensor:
    """What each tensor's gradient (with its decay) is multiplied by: equation 6 of the paper.

    Returns:
        (number of tensors,), on the device: trust_coeff |w| / (|g| + decay |w|); 1 where all weights or the whole
        gradient are zero, so that a layer of zeros can start.
    """
    weight = torch.stack(torch._foreach_norm(params))
    gradient = torch.stack(torch._foreach_norm(gradients))
    ratio = trust_coeff * weight / (gradient + decay * weight + EPSILON)
    return torch.where((weight > 0) & (gradient > 0), ratio, 1.0)


def _descend(
    params: list[Tensor],
    gradients: list[Tensor],
    velocities: list[Tensor | None],
    group: dict[str, Any],
    decay: float = 0.0,
    divisor: Tensor | None = None,
) -> None:
    """SGD on the gradients over `divisor`."""
    fused = _on_cpu(params)
    sgd(
        params, gradients, velocities, fused=fused, foreach=not fused, weight_decay=decay, lr=group["lr"],
        momentum=group["momentum"], dampening=0.0, nesterov=False, maximize=False, grad_scale=divisor,
        found_inf=None if divisor is None else torch.zeros(()),
    )  # fmt: skip


def _laid_out_like(p: Tensor) -> Tensor:
    """The gradient of `p`, in its memory order: the fused kernel goes through both as they lie there."""
    assert p.grad is not None
    return p.grad if p.grad.stride() == p.stride() else torch.empty_like(p).copy_(p.grad)


def _on_cpu(params: list[Tensor]) -> bool:
    return params[0].device.type == "cpu"


def make_optimizer(model: nn.Module, config: OptimizerConfig, batch_size: int) -> Optimizer:
    """The optimiser of everything in `model` that learns.

    Two groups, weights and biases (all tensors of at most one dimension, norm parameters included), each with its
    learning rate in `base_lr`, for the schedule. LARS neither adapts nor decays the second group. SGD and AdamW are
    torch's fused ones, whose step is one pass over the memory.

    Args:
        model: encoder and heads.
        config: which optimiser, rates and decay.
        batch_size: frames in an optimiser step; rates grow linearly with it (Goyal et al., 2017).
    """
    scale = batch_size / config.lr_batch if config.lr_batch else 1.0
    learning = [p for p in model.parameters() if p.requires_grad]
    rates = config.lr * scale, (config.lr if config.lr_biases is None else config.lr_biases) * scale
    lars = config.name == "lars"
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": config.weight_decay, "always_adapt": lars},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0 if lars else config.weight_decay},
    ]
    groups = [{**g, "lr": rate, "base_lr": rate} for g, rate in zip(groups, rates, strict=True) if g["params"]]
    match config.name:
        case "lars":
            return LARS(groups, momentum=config.momentum, trust_coeff=0.001)
        case "sgd":
            return torch.optim.SGD(groups, momentum=config.momentum, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, fused=True)


def learning_rate(config: OptimizerConfig, step: int, steps: int, steps_per_epoch: int) -> float:
    """Share of `base_lr` at optimiser step `step` (from 0) of `steps`."""
    if config.schedule == "cosine":
        return warmup_cosine(step, steps, warmup_steps(config, steps_per_epoch), config.final_lr)
    warmed = min(1.0, (step + 1) / (warmup_steps(config, steps_per_epoch) + 1))
    return warmed * config.decay ** math.floor(step / (config.decay_epochs * steps_per_epoch))


def warmup_steps(config: OptimizerConfig, steps_per_epoch: int) -> float:
    """Optimiser steps of warm-up, as asked for in steps or in epochs."""
    return config.warmup_epochs * steps_per_epoch if config.warmup_steps is None else config.warmup_steps


def warmup_cosine(step: int, steps: int, warmup: float, final: float) -> float:
    """Share of the learning rate at `step` (from 0): linear up over `warmup` steps, then a cosine down to `final`.

    The last step of the run, steps - 1, is at `final` exactly, unless the run ends within the warm-up.
    """
    if step < warmup:
        return (step + 1) / (math.ceil(warmup) + 1)
    progress = (step - warmup) / (steps - 1 - warmup) if steps - 1 > warmup else 1.0
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Give every group `factor` times its `base_lr`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
