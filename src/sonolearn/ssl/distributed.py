"""What SSL losses need when several processes share a batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather(local: Tensor) -> Tensor:
    """The rows of all processes, so that a loss is computed over the *global* batch, as one process would.

    The backward pass hands each process its own rows of the gradient. As every process computes the same loss, these
    rows are exactly what one process on the joined batch would get. The gradient of the weights is then the *sum*
    over the processes of what each adds; DDP takes the mean, which is why the training loop multiplies the loss by the
    number of processes.

    Args:
        local: (n, D) rows of this process; n is the same in all.

    Returns:
        (n x processes, D); `local` itself where there is one process.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return local
    gathered: Tensor = _Gather.apply(local)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        ctx.rows = local.shape[0]
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        start = dist.get_rank() * ctx.rows
        return gradient[start : start + ctx.rows]
