"""Where to compute: device, precision and processes, through Lightning Fabric."""

from __future__ import annotations

import ctypes
import os
import warnings
from contextlib import suppress
from typing import Any, Literal

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor

from sonolearn.config import Precision
from sonolearn.console import UserError


def make_fabric(
    accelerator: Literal["auto", "cpu", "cuda", "mps"], precision: Precision, devices: int = 1, num_nodes: int = 1
) -> Fabric:
    """A Fabric of `devices` processes on each of `num_nodes` nodes (SLURM is recognised by Fabric).

    `auto` precision is bf16 where the GPU computes it natively (on CPUs it was measured 6 to 14 times slower than
    float32), float32 elsewhere.

    Raises:
        UserError: the accelerator, or this number of devices, is not there.
    """
    if precision == "auto":
        cuda = accelerator in ("auto", "cuda") and torch.cuda.is_available()
        precision = "bf16-mixed" if cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator == "cpu" or not torch.cuda.is_available():
        keep_freed_memory()
    # Every parameter of encoder and heads takes part in every step, and buffers follow from synchronised statistics.
    strategy = DDPStrategy(gradient_as_bucket_view=True, broadcast_buffers=False) if devices * num_nodes > 1 else "auto"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            return Fabric(
                accelerator=accelerator, precision=precision, devices=devices, num_nodes=num_nodes, strategy=strategy
            )
    except (RuntimeError, ValueError) as error:
        raise UserError(f"--accelerator {accelerator} --devices {devices} --num_nodes {num_nodes}: {error}") from error


def keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next one; elsewhere nothing changes.

    It maps each large tensor anew otherwise, and Linux clears every page of it when it is first touched: 170,000 pages
    in a training step of a ResNet-18 (16 pairs of 224 px). Without that, steps took 5 to 10 % less processor time. The
    process keeps the memory of its largest step until it ends.
    """
    trim_threshold, mmap_threshold = -1, -3  # numbers of mallopt(3)
    with suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, 2**30)
        library.mallopt(trim_threshold, 2**31 - 1)


def loader_processes(workers: int | None) -> int:
    """Loader processes of a training process: as asked, else one for each core but one, at most 8."""
    if workers is not None:
        return workers
    return max(0, min(8, available_cores() - 1))


def available_cores() -> int:
    """Cores for this training process and its loaders: its share of those that the machine or SLURM gives."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


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
