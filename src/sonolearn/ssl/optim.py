"""Optimisers and learning-rate schedules that SSL methods choose from; schedules count optimiser *steps*."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import Optimizer

from sonolearn.config import OptimizerConfig
from sonolearn.ssl.lars import LARS


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
