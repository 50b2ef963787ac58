"""Runs a function on several processes of one gloo group, as DDP would."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

# Children are forked from a process that has imported these: each would take seconds to do so.
multiprocessing.set_forkserver_preload(["sonolearn.ssl.pretrain", "lightly.loss"])


def on_processes(count: int, function: Callable[..., None], *arguments: object) -> None:
    """Call `function(rank, count, *arguments)` in each of `count` processes; an error in any of them is raised here."""
    with tempfile.TemporaryDirectory() as folder:
        rendezvous = Path(folder) / "rendezvous"
        work = (count, str(rendezvous), function, arguments)
        mp.start_processes(_enter, work, nprocs=count, start_method="forkserver")


def _enter(
    rank: int, count: int, rendezvous: str, function: Callable[..., None], arguments: tuple[object, ...]
) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=count)
    try:
        function(rank, count, *arguments)
    finally:
        dist.destroy_process_group()
