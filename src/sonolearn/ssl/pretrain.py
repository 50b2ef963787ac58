"""`sonolearn pretrain`: one loop for every SSL method.

A run killed at any moment and started again with the same command ends with the same weights as one never stopped:
order and views come from (seed, step), everything else that changes is in the checkpoint.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor
from torch.optim import Optimizer
from torch.profiler import record_function
from torch.utils.data import DataLoader, Dataset

from sonolearn.config import PretrainConfig
from sonolearn.console import Interrupted, UserError, progress, say, warn
from sonolearn.runs import alone_in, claim, hash_file, seed_for
from sonolearn.ssl.batches import StepSampler, make_plan
from sonolearn.ssl.devices import loader_processes, make_fabric
from sonolearn.ssl.encoders import Card, check_init, encoder_file, load_encoder
from sonolearn.ssl.failures import naming_failures
from sonolearn.ssl.frames import FramePool, draw_pool, hold_out_patients, training_frames
from sonolearn.ssl.loader import PairMaker, ViewPairs, as_pair, make_loader
from sonolearn.ssl.methods import METHODS, Method
from sonolearn.ssl.monitors import MONITORS, collapse_in_words, has_collapsed
from sonolearn.ssl.optim import set_learning_rate, warmup_steps
from sonolearn.ssl.run_folder import (
    MetricsLog,
    StopRequest,
    has_encoder,
    load_checkpoint,
    save_checkpoint,
    write_results,
)
from sonolearn.ssl.validation import Validation, write_sheet
from sonolearn.store.store import Store


@dataclass(frozen=True)
class Span:
    """A stretch of time: its name, its begin (`time.perf_counter`), its seconds, and the process."""

    name: str
    start: float
    seconds: float
    process: int


class Clock:
    """Seconds of a training process."""

    def __init__(self) -> None:
        """Start waiting."""
        self.data = self.compute = 0.0
        self.mark = time.perf_counter()
        self.checkpoint = time.monotonic()
        self.spans: list[Span] = []
        self.settle: Callable[[], None] | None = None
        """Waits for the device; where it is set, the parts of a step are recorded. That takes away all overlap of host
        and device, so it is for profiles only."""

    def timing(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Hand on `batches`, adding up the seconds until each arrives and until the next is asked for."""
        for batch in batches:
            self.data += self._lap()
            yield batch
            self.compute += self._lap()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Record the block as a part of a step, if a profile is made."""
        if self.settle is None:
            yield
            return
        start = time.perf_counter()
        with record_function(name):
            yield
            self.settle()
        self.spans.append(Span(name, start, time.perf_counter() - start, os.getpid()))

    @property
    def since_checkpoint(self) -> float:
        """Seconds since the last checkpoint, or the start."""
        return time.monotonic() - self.checkpoint

    def row(self, steps: int) -> dict[str, float]:
        """Seconds a step since the last row; starts anew."""
        compute = (self.compute + self._lap()) / steps
        data = self.data / steps
        self.data = self.compute = 0.0
        return {"data_seconds": data, "compute_seconds": compute}

    def _lap(self) -> float:
        now = time.perf_counter()
        passed, self.mark = now - self.mark, now
        return passed


Figures = dict[str, Tensor]

COLUMNS = ("step", "epoch", "part", "loss")
TIMES = ("lr", "data_seconds", "compute_seconds")


def pretrain(stores: Sequence[Path], out: Path, config: PretrainConfig) -> Path:
    """Pre-train an encoder on the frames of `stores`.

    The same call again continues an interrupted run, and trains an encoder again that was deleted.

    Args:
        stores: folders made by `prepare`. Of a labelled store only the training part is used.
        out: the run folder: encoder.safetensors, metrics.csv, views.png, patients.csv, summary.json.
        config: everything else.

    Returns:
        The run folder.

    Raises:
        UserError: bad input; a loss that is not finite (the last good checkpoint stays).
        Interrupted: Ctrl-C or SIGTERM; the checkpoint is written.
    """
    with naming_failures("--batch_size"), open_training(stores, out, config) as training:
        if has_encoder(out):
            say(f"{out}: is finished already")
        else:
            training.run()
    return out


@contextmanager
def open_training(stores: Sequence[Path], out: Path, config: PretrainConfig) -> Iterator[Training]:
    """A training that can begin, in a run folder that is its own; arguments and errors as of `pretrain`."""
    check_init(config, config.image_size)
    opened = [Store(path) for path in stores]
    rest, valid = hold_out_patients(training_frames(opened), config.valid_patients, config.seed)
    train = draw_pool(rest, config.pool)
    fabric = make_fabric(config.accelerator, config.precision, config.devices, config.num_nodes)
    fabric.launch()
    with alone_in(out) if fabric.is_global_zero else nullcontext():
        # Built before the folder is claimed: a mistyped encoder leaves nothing behind.
        training = Training(fabric, train, valid, out, config)
        if fabric.is_global_zero:
            # The hash of an encoder file names it better than its path, and a run may move with what it started from.
            named = replace(config, init=Path(config.init).name)
            claim(out, "pretrain", named, fingerprints(opened, config.init), config.other_methods)
        fabric.barrier()
        yield training


def fingerprints(stores: Sequence[Store], init: str) -> dict[str, str]:
    """What a run learns from: each store, and the file that it starts from."""
    data = {f"store {number} {store.path.name}": store.fingerprint for number, store in enumerate(stores)}
    if init not in ("random", "imagenet"):
        data["init"] = hash_file(encoder_file(init))
    return data


class Training:
    """One pre-training run: model and loaders, the loop, and what it writes."""

    def __init__(self, fabric: Fabric, train: FramePool, valid: FramePool, out: Path, config: PretrainConfig) -> None:
        """Build model, optimiser and plan."""
        self.fabric, self.out, self.config = fabric, out, config
        self.train, self.valid = train, valid
        self.plan = make_plan(train, config, fabric.world_size)
        self.steps = min(config.epochs * self.plan.steps_per_epoch, config.max_steps or 2**62)
        if warmup_steps(config.optimizer, self.plan.steps_per_epoch) >= self.steps:
            warn(f"the learning rate warms up for longer than the {self.steps} steps; lower --optimizer.warmup_epochs")
        self.card, self.method, self.model, self.optimizer = build_model(fabric, train, config)
        self.pairs = PairMaker(train, config, self.method.pairing)
        check_neighbours(self.pairs)
        self.validation = Validation(fabric, train, valid, config, self.method, self.card)
        self.step, self.clock, self.losses = 0, Clock(), list[Figures]()
        self.monitors: dict[str, float] = {}

    def run(self) -> None:
        """Train to the end, from the checkpoint if there is one; write the encoder and what stands behind it."""
        started, config, fabric = time.monotonic(), self.config, self.fabric
        self.step = load_checkpoint(self.out, fabric, self.model, self.optimizer)
        log = MetricsLog(self.out, self.columns, self.step) if fabric.is_global_zero else None
        showing = progress(f"pretrain {config.method}", self.steps)
        with closing(log) if log else nullcontext(), StopRequest() as stop, showing as bar:
            bar.resume(self.step)
            if self.step == 0:
                self.check(log)
            for views in self.clock.timing(self._batches()):
                self.losses.append(self.train_step(views))
                self.step += 1
                bar.advance()
                epoch_ends = self.step % (self.plan.steps_per_epoch * config.valid_every) == 0
                at_row = self.step % config.log_every == 0 or epoch_ends or self.step == self.steps
                stopping = stop.agreed(fabric) if at_row or fabric.world_size == 1 else False
                if at_row or stopping:
                    row = self.training_row()
                    bar.describe(f"pretrain {config.method}, loss {row['loss']:.4g}")
                    if log:
                        log.add(row)
                if epoch_ends or self.step == self.steps:
                    self.check(log)
                if stopping or (at_row and self.clock.since_checkpoint > 60 * config.checkpoint_minutes):
                    save_checkpoint(self.out, fabric, self.model, self.optimizer, self.step)
                    self.clock.checkpoint = time.monotonic()
                if stopping and self.step < self.steps:
                    raise Interrupted(f"{self.out}: stopped at step {self.step}; run the same command to continue")
        # A run that was killed after its last step has none yet.
        self.monitors = self.monitors or self.validation.monitors()
        if fabric.is_global_zero:
            seconds, device = time.monotonic() - started, str(fabric.device)
            self.validation.draw_rebuilt(self.out)
            pools = self.train, self.valid
            encoder, monitors = self.method.encoder, self.monitors
            write_results(self.out, encoder, self.card, config, pools, self.step, seconds, device, monitors)
        fabric.barrier()

    @property
    def columns(self) -> list[str]:
        """Those of metrics.csv."""
        return [*COLUMNS, *self.method.figures, *TIMES, *MONITORS]

    def train_step(self, views: Tensor) -> Figures:
        """One optimiser step on (n, V, size, size) uint8, this process's share; returns what to log, on the device."""
        fabric, config, timed = self.fabric, self.config, self.clock.part
        # Whatever an encoder draws itself (drop path, dropout) follows from the step, too.
        torch.manual_seed(seed_for(config.seed, "step", self.step, fabric.global_rank))
        factor = self.method.learning_rate(self.step, self.steps, self.plan.steps_per_epoch)
        set_learning_rate(self.optimizer, factor)
        self.model.train()
        total: Figures = {}
        parts = views.chunk(config.accumulate)
        for number, part in enumerate(parts):
            with timed("to device"):
                first, second = as_pair(part, self.card, fabric.device)
            with fabric.no_backward_sync(self.model, enabled=number < len(parts) - 1):
                with timed("forward"):
                    loss, figures = self.model(first, second)
                with timed("backward"):
                    # DDP takes the mean over processes, the gathered losses want the sum: see ssl/distributed.py.
                    fabric.backward(loss * (fabric.world_size / len(parts)))
            for name, value in {"loss": loss.detach(), **figures}.items():
                total[name] = total.get(name, 0) + value / len(parts)
        with timed("optimiser"):
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.method.after_step(self.step, self.steps)
        return total

    def training_row(self) -> dict[str, float | int | str]:
        """Means over the steps since the last row.

        Raises:
            UserError: a loss was not finite; the checkpoint from before it is kept.
        """
        losses, self.losses = self.losses, []
        means = {name: torch.stack([step[name] for step in losses]).tolist() for name in losses[0]}
        for offset, value in enumerate(means["loss"]):
            if not math.isfinite(value):
                step = self.step - len(losses) + offset + 1
                raise UserError(
                    f"{self.out}: the loss of step {step} is {value}; the last checkpoint is kept. Lower the learning "
                    "rate or use --precision 32-true, with another --out"
                )
        figures = {name: sum(values) / len(values) for name, values in means.items()}
        factor = float(self.optimizer.param_groups[0]["lr"])
        return {**self._at(), "part": "train", **figures, "lr": factor, **self.clock.row(len(losses))}

    def check(self, log: MetricsLog | None) -> None:
        """Log the loss on held-out patients and the monitors; a collapse is said at once."""
        rows = {"valid": self.validation.loss(self.model) if self.step else {}, "monitor": self.validation.monitors()}
        for part, figures in rows.items():
            if log and figures:
                log.add({**self._at(), "part": part, **figures})
        self.monitors = rows["monitor"]
        if self.step and has_collapsed(self.monitors) and self.fabric.is_global_zero:
            warn(f"{self.out}: step {self.step}: {collapse_in_words(self.monitors)}")

    def loader(self, views: Dataset[Tensor], last: int) -> DataLoader[Tensor]:
        """A loader of the batches of this process from the present step to before step `last`."""
        fabric = self.fabric
        sampler = StepSampler(self.plan, self.step, last, fabric.global_rank, fabric.world_size)
        return make_loader(views, sampler, loader_processes(self.config.workers), fabric.device.type == "cuda")

    def _batches(self) -> Iterator[Tensor]:
        """Batches of this process from the present step to the last; the first of a run is drawn into views.png."""
        for views in self.loader(ViewPairs(self.pairs), self.steps):
            if self.step == 0 and self.fabric.is_global_zero:
                shown = zip(self.plan.batch(0)[:: self.fabric.world_size][:8], views, strict=False)
                write_sheet(self.out / "views.png", [[*self.pairs.sources(*key), *v] for key, v in shown])
            yield views

    def _at(self) -> dict[str, int]:
        return {"step": self.step, "epoch": max(0, self.step - 1) // self.plan.steps_per_epoch}


def check_neighbours(pairs: PairMaker) -> None:
    """Refuse `nearby_frames` where no frame has a neighbour; say how many have none."""
    alone, frames = pairs.neighbours.alone if pairs.neighbours else 0, len(pairs.pool)
    seconds = pairs.config.positives.seconds
    if alone == frames:
        raise UserError(
            f"{pairs.pool.stores[0].path}: no frame has another of its scan within {seconds:g} s; give a larger "
            "--positives.seconds, a smaller --frame_skip to prepare, more --pool.frames, or --positives same_frame"
        )
    if alone:
        warn(f"{alone} of {frames} frames have no other within {seconds:g} s: both views are of the same frame there")


def build_model(
    fabric: Fabric, train: FramePool, config: PretrainConfig
) -> tuple[Card, Method, _FabricModule, Optimizer]:
    """Card of the encoder to be, the method, the same wrapped by Fabric on the device, and its optimiser.

    A random encoder gets the normalisation of the training frames; any other keeps the one that it knows.
    """
    encoder, card = load_encoder(config, config.seed, config.image_size)
    if config.init == "random":
        mean, std = train.mean_and_deviation(config.seed)
        card = replace(card, mean=mean, std=std)
    torch.manual_seed(seed_for(config.seed, "heads"))
    method = METHODS[config.method](encoder, config)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        method = convert_sync_batchnorm(method)  # type: ignore[no-untyped-call]
    if config.compile:
        # In place: the names of its weights stay, and so checkpoints of compiled and other runs are the same.
        method.compile()
    model, optimizer = fabric.setup(method, method.optimizer())
    return replace(card, method=config.method, image_size=config.image_size), method, model, optimizer
