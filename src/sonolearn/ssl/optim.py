"""Optimisers and learning-rate schedules that SSL methods choose from; schedules count optimiser *steps*."""

from __future__ import annotations

import math

from timm.optim.lars import Lars
from torch import nn
from torch.optim import Optimizer


def lars(model: nn.Module, lr_weights: float, lr_biases: float, weight_decay: float) -> Optimizer:
    """LARS (You et al., 2017), momentum 0.9, trust coefficient 0.001, as Barlow Twins uses it.

    Biases and norm parameters (all tensors of one dimension) get a learning rate of their own, no weight decay and no
    adaptation. Each group keeps its learning rate in `base_lr`, for the schedule.
    """
    weights = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    biases = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {
            "params": weights,
            "lr": lr_weights,
            "base_lr": lr_weights,
            "weight_decay": weight_decay,
            "always_adapt": True,
        },
        {"params": biases, "lr": lr_biases, "base_lr": lr_biases, "weight_decay": 0.0},
    ]
    return Lars([g for g in groups if g["params"]], momentum=0.9, trust_coeff=0.001)


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
