"""Momentum encoders: a copy of a network that follows it slowly (MoCo, BYOL)."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def frozen_copy(module: nn.Module) -> nn.Module:
    """An equal module that no optimiser moves; as a part of the method it is in every checkpoint."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """Move the weights of `target` to momentum x target + (1 - momentum) x online, all tensors at once.

    Running statistics of batch norm stay: a target in training mode forms its own from the batches that it sees.
    """
    _average(list(target.parameters()), list(online.parameters()), momentum)


@torch.no_grad()
def follow_statistics(target: nn.Module, online: nn.Module, momentum: float, step: int) -> None:
    """Move the running statistics of `target`, which is in evaluation mode, as `follow` moves its weights.

    This is EMAN (Cai et al., CVPR 2021). Statistics start at 0 and 1, far from any real ones, and must not stay there
    for 1 / (1 - momentum) steps: early on the average spans a tenth of the steps (from 0) that were done.
    """
    buffers = [[b for b in m.buffers() if b.is_floating_point()] for m in (target, online)]
    if buffers[0]:
        _average(*buffers, min(momentum, step / (step + 10)))


def _average(targets: list[Tensor], online: list[Tensor], momentum: float) -> None:
    average = get_ema_multi_avg_fn(momentum)  # type: ignore[no-untyped-call]
    average(targets, online, torch.zeros(()))


def momentum_at(start: float, end: float, step: int, steps: int) -> float:
    """Momentum at `step` (from 0): a cosine from `start` to `end`, which the last step has (BYOL, section 3.3)."""
    progress = step / (steps - 1) if steps > 1 else 1.0
    return end - (end - start) * 0.5 * (1 + math.cos(math.pi * progress))
