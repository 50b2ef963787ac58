"""The loop of `pretrain` against the bare step of its model on one batch that lies ready.

The loop is the product's own, with its loader, the copy to the device, seeding, logging, progress and the question
whether to stop; one step of it lasts from the start of one to the start of the next. The bare step is forward,
backward, optimiser and zero_grad of the same method, optimiser and precision in plain torch, on two views that are
normalised already. What comes once an epoch (validation, monitors) and once a run is left out.

Both take turns in one process, and the loader's processes are stopped while it is the bare step's turn, so that all
their work falls into the loop's. They compute on the same cores as the model: what the loop loses on a CPU is mostly
the time of the views. Time on the clock; median over the turns. Frames are drawn sectors of 256 px.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.figure import Row, run_script, speed, synchronise
from benchmarks.store import write_store
from sonolearn.config import PretrainConfig
from sonolearn.recipes import recipe
from sonolearn.runs import seed_for
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.encoders import load_encoder
from sonolearn.ssl.frames import FramePool, hold_out_patients, training_frames
from sonolearn.ssl.loader import PairMaker, ViewPairs, as_pair
from sonolearn.ssl.methods import METHODS
from sonolearn.ssl.pretrain import Training
from sonolearn.ssl.run_folder import MetricsLog

STORED = 256


def rows(quick: bool) -> Iterator[Row]:
    """Images of a study's size, and small ones, for which there is no target."""
    settings = [(32, 8, None)] if quick else [(224, 32, 0.95), (64, 64, None)]
    encoder, width, turns = ("test_resnet", 64, 3) if quick else ("resnet18", 2048, 4)
    with tempfile.TemporaryDirectory() as folder:
        pool = training_frames([write_store(Path(folder), scans=2, frames=8 if quick else 64, size=STORED)])
        for size, batch, target in settings:
            options = {"encoder": encoder, "image_size": size, "batch_size": batch, "accelerator": "cpu"}
            config = recipe("barlow_twins", None, workers=1, barlow_twins={"projector": (width,) * 3}, **options)
            times = alternate(pool, config, bare_step(pool, config), Turns(turns))
            figure = f"`pretrain`, Barlow Twins, {encoder}, {size} px, batch {batch}"
            yield against_the_step(figure, times, target)


def against_the_step(figure: str, times: Times, target: float | None) -> Row:
    """The row of the loop and the bare step."""
    return speed(f"a step of {figure}", times.ours, "bare", times.other, target)


def bare_step(pool: FramePool, config: PretrainConfig, compiled: str | None = None) -> Callable[[], object]:
    """A training step in plain torch on a batch that lies ready; `compiled` by a backend of torch.compile."""
    fabric = make_fabric(config.accelerator, config.precision)
    encoder, card = load_encoder(config, config.seed)
    torch.manual_seed(seed_for(config.seed, "heads"))
    method = METHODS[config.method](encoder, config).to(fabric.device).train()
    optimizer = method.optimizer()
    pairs = ViewPairs(PairMaker(pool, config, method.pairing))
    first, second = as_pair(pairs.__getitems__([(0, i) for i in range(config.batch_size)]), card, fabric.device)
    forward = torch.compile(method, backend=compiled) if compiled else method

    def step() -> Tensor:
        with fabric.autocast():
            loss: Tensor = forward(first, second)[0]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        method.after_step(0, 10**6)
        return loss.detach()

    return step


@dataclass(frozen=True)
class Turns:
    """How two loops take turns.

    Attributes:
        count: turns that count.
        steps: of each loop in a turn; many on a GPU, which runs behind the program.
        warm_up: turns before.
    """

    count: int
    steps: int = 1
    warm_up: int = 1


@dataclass
class Times:
    """Seconds a step in each turn that counts, of the loop of `pretrain` and of the other."""

    of_ours: list[float] = field(default_factory=list)
    of_other: list[float] = field(default_factory=list)

    @property
    def ours(self) -> float:
        """Median seconds of a step of `pretrain`."""
        return statistics.median(self.of_ours)

    @property
    def other(self) -> float:
        """Median seconds of a step of the other loop."""
        return statistics.median(self.of_other)


def alternate(pool: FramePool, config: PretrainConfig, other: Callable[[], object], turns: Turns) -> Times:
    """Run the loop of `pretrain`, and between its steps those of another loop; loader processes that are there already
    are the other's.
    """
    if len(pool) % config.batch_size:
        raise ValueError(f"{len(pool)} frames: the last batch of an epoch would be smaller than {config.batch_size}")
    endless = replace(config, epochs=10**6, valid_every=10**6, valid_patients=0.0)
    with tempfile.TemporaryDirectory() as out:
        training = InTurns(pool, Path(out), endless, other, turns)
        try:
            training.run()
        except Enough:
            # The first of ours is the start of the run.
            return Times(training.times.of_ours[turns.warm_up + 1 :], training.times.of_other[turns.warm_up :])
        finally:
            training.pass_on(signal.SIGCONT, signal.SIGCONT)
    raise AssertionError("the run ended before the turns were over")


class Enough(Exception):  # noqa: N818 - no error
    """The last turn is over."""


class InTurns(Training):
    """The product's loop, which now and then gives another loop its turn."""

    def __init__(
        self, pool: FramePool, out: Path, config: PretrainConfig, other: Callable[[], object], turns: Turns
    ) -> None:
        fabric = make_fabric(config.accelerator, config.precision)
        super().__init__(fabric, *hold_out_patients(pool, 0.0, 0), out, config)
        self.other, self.turns, self.times = other, turns, Times()
        self.others_loaders, self.began = children(), time.perf_counter()

    def check(self, log: MetricsLog | None) -> None:
        """No validation: it comes once an epoch, and the first step here would begin with it."""

    def train_step(self, views: Tensor) -> dict[str, Tensor]:
        """As in the product, after the other's turn."""
        if self.step % self.turns.steps == 0:
            self._note(self.times.of_ours)
            if len(self.times.of_ours) > self.turns.warm_up + self.turns.count:
                raise Enough
            self.pass_on(signal.SIGSTOP, signal.SIGCONT)
            for _ in range(self.turns.steps):
                self.other()
            self._note(self.times.of_other)
            self.pass_on(signal.SIGCONT, signal.SIGSTOP)
        return super().train_step(views)

    def pass_on(self, ours: signal.Signals, others: signal.Signals) -> None:
        """Stop or continue the loader processes of both loops."""
        for process in children():
            os.kill(process, others if process in self.others_loaders else ours)

    def _note(self, seconds: list[float]) -> None:
        synchronise()
        seconds.append((time.perf_counter() - self.began) / self.turns.steps)
        self.began = time.perf_counter()


def children() -> set[int]:
    """Ids of the loader processes of all loops."""
    return {process.pid for process in multiprocessing.active_children() if process.pid}


if __name__ == "__main__":
    run_script(rows, __doc__)
