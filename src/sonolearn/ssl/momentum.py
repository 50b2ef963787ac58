"""Momentum encoders: a copy of a network that follows it slowly (MoCo, BYOL)."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def frozen_copy(module: nn.Module) -> nn.Module:
    """An equal module that no optimiser moves; as a part of the method it is in every checkpoint."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """Move the weights of `target` to momentum x target + (1 - momentum) x online, all tensors at once.

    Running statistics of batch norm stay: a target in training mode forms its own from the batches that it sees.
    """
    average = get_ema_multi_avg_fn(momentum)  # type: ignore[no-untyped-call]
    average(tuple(target.parameters()), tuple(online.parameters()), torch.zeros(()))


def momentum_at(start: float, end: float, step: int, steps: int) -> float:
    """Momentum at `step` (from 0): a cosine from `start` to `end`, which the last step has (BYOL, section 3.3)."""
    progress = step / (steps - 1) if steps > 1 else 1.0
    return end - (end - start) * 0.5 * (1 + math.cos(math.pi * progress))
