"""Everything of a pre-training run that changes, in one file, so that a resumed run equals one never stopped."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from sonolearn.checksums import intact
from sonolearn.console import UserError, say
from sonolearn.runs import writing

CHECKPOINT = "checkpoint.pt"


def save_checkpoint(folder: Path, fabric: Fabric, model: nn.Module, optimizer: Optimizer, step: int) -> None:
    """Write weights, buffers, optimiser, gradient scaler and step; the first process writes, all hold the same.

    No random state is needed: every draw is seeded by what it is for.
    """
    if not fabric.is_global_zero:
        return
    state = {
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "precision": fabric.strategy.precision.state_dict(),
    }
    # Into an opened file: torch's own writer does not say that a disk is full.
    with writing(folder / CHECKPOINT) as temporary, temporary.open("wb") as file:
        torch.save(state, file)


def load_checkpoint(folder: Path, fabric: Fabric, model: nn.Module, optimizer: Optimizer) -> int:
    """Take up the checkpoint of a run folder; the number of steps done, 0 where there is none."""
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    try:
        state: dict[str, Any] = torch.load(intact(path), map_location=fabric.device, weights_only=True)
    except UserError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: is damaged ({error}); delete it to start the run anew") from error
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    fabric.strategy.precision.load_state_dict(state["precision"])
    step = int(state["step"])
    if fabric.is_global_zero:
        say(f"{folder}: goes on after step {step}")
    return step


class StopRequest:
    """While open, Ctrl-C and SIGTERM (SLURM's warning) only ask to stop, so that the step at hand is finished.

    A second Ctrl-C stops at once. A second SIGTERM changes nothing: SLURM sends one to every process of a job, and the
    runner of a study another one to its workers.
    """

    def __init__(self) -> None:
        """Nothing asked for yet."""
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        """Take over the signals; outside the main thread (a notebook's kernel, a server) they are left alone."""
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:
                break
        return self

    def __exit__(self, *error: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def agreed(self, fabric: Fabric) -> bool:
        """Whether any process was asked to stop; with several processes all must call this at the same step."""
        if fabric.world_size == 1:
            return self.asked
        votes = fabric.all_reduce(torch.tensor(float(self.asked), device=fabric.device), reduce_op="sum")
        return bool(torch.as_tensor(votes) > 0)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
