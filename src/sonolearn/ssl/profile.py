"""`sonolearn pretrain --profile`: some steps of a training are measured and thrown away, and it says what is slow.

    warm up      until the batches that loaders make beforehand are used up
    whole steps  as in training
    parts        again, with a wait for the device after each part
    operators    two steps under torch's profiler

OUT/profile gets profile.csv, trace.json (the parts in all processes on one axis of time) and operators.json (torch's
operators and GPU kernels); both traces open in Perfetto or chrome://tracing.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity
from torch.utils.data import Dataset

from sonolearn.config import PretrainConfig
from sonolearn.console import progress
from sonolearn.runs import write_json, writing
from sonolearn.ssl.batches import Key
from sonolearn.ssl.devices import available_cores, loader_processes
from sonolearn.ssl.failures import naming_failures
from sonolearn.ssl.loader import PREFETCHED, ViewPairs, make_loader, new_batch
from sonolearn.ssl.pretrain import Span, Training, open_training
from sonolearn.ssl.run_folder import MetricsLog

LOADING = ("read", "augment", "pack")
"""What a loader process does for a batch: read frames, make views, lay them into one array."""

HAND_OVER = "hand over"
"""A batch's way from a loader process to the training process."""

WAIT = "wait for data"

PARTS = ("to device", "forward", "backward", "optimiser", "log")
"""What the training process does in a step."""

# Shares of a step that are worth a word.
WAITING, LOGGING, UPDATING, IDLE = 0.1, 0.05, 0.25, 0.2


@dataclass(frozen=True)
class StepTimes:
    """Mean seconds of a step of one training process.

    Attributes:
        frames: of a step in this process, on average: the last batch of an epoch may be smaller.
        step: a whole step, as in training.
        wait: of it, waiting for data.
        parts: seconds of each of `PARTS`, measured with a wait for the device after each: their sum is more than a step
            where host and device otherwise work at the same time.
        loading: seconds that one loader process takes for each of `LOADING`, and for `HAND_OVER`.
        loaders: loader processes beside this training process; 0: it loads itself.
        cores: processor cores for this training process and its loaders.
        busy: share of the step in which a GPU computes; None on other devices.
    """

    frames: float
    step: float
    wait: float
    parts: dict[str, float]
    loading: dict[str, float]
    loaders: int
    cores: int
    busy: float | None = None

    @property
    def loader_seconds(self) -> float:
        """Seconds of one loader process for a batch."""
        return sum(self.loading[name] for name in LOADING)

    @property
    def delivery(self) -> float:
        """Seconds between two batches, as fast as the loaders can."""
        return self.loader_seconds / max(1, self.loaders)

    @property
    def computing(self) -> float:
        """Seconds of a step that are no waiting for data."""
        return max(self.step - self.wait, 1e-9)

    @property
    def is_starved(self) -> bool:
        """Whether the training waits for its loaders, now or as soon as the batches made beforehand are used up."""
        return self.wait > WAITING * self.step or (self.loaders > 0 and self.delivery > (1 + WAITING) * self.computing)


def advice(times: StepTimes) -> str:
    """One sentence: what would make this training faster."""
    share = {name: seconds / times.computing for name, seconds in times.parts.items()}
    if times.is_starved:
        return _about_loaders(times)
    if share["log"] > LOGGING:
        return f"Logging takes {share['log']:.0%} of the computing: give a larger --log_every."
    if times.busy is not None and times.busy < 1 - IDLE:
        return (
            f"The GPU computes {times.busy:.0%} of the time and waits for the host in between: a larger --batch_size "
            "gives it more to do at once."
        )
    if share["optimiser"] > UPDATING:
        return f"The optimiser takes {share['optimiser']:.0%} of the computing: a larger --batch_size has fewer steps."
    return (
        "The device is the limit, data are ready in time: only a faster device, more of them (--devices), a smaller "
        "--image_size or a smaller --encoder makes this faster."
    )


def _about_loaders(times: StepTimes) -> str:
    waits = max(times.wait / times.step, 1 - times.computing / max(times.delivery, times.computing))
    needed = max(1, math.ceil(times.loader_seconds / times.computing))
    start = f"The training waits for data {waits:.0%} of the time"
    if needed <= times.loaders:
        # Enough by their work alone: what is missing is cores, or the hand-over.
        return f"{start} although {times.loaders} loader processes are enough: they share the cores with other work."
    if needed < times.cores:
        return f"{start}: give --workers {needed} (it has {times.loaders})."
    slowest = max(LOADING, key=lambda name: times.loading[name])
    remedy = {
        "read": "put the store on a faster disk, or prepare a smaller --size",
        "augment": "take cheaper views (--views.blur 0 0, smaller --views.randaugment), or prepare a smaller --size",
        "pack": "take a smaller --image_size",
    }[slowest]
    return f"{start}, {needed} loader processes would be needed and there are {times.cores} cores: {remedy}."


def table(times: StepTimes) -> Iterator[tuple[str, str, float, float]]:
    """Rows of where, what, seconds of a step, and their share of it.

    A loader process takes its seconds for a whole batch while the others make the next ones: they may be more than
    those of the step.
    """
    where = f"a loader process (of {times.loaders})" if times.loaders else "training process, loading"
    for name in (*LOADING, HAND_OVER):
        yield where, name, times.loading[name], times.loading[name] / times.step
    for name, seconds in {WAIT: times.wait, **times.parts}.items():
        yield "training process", name, seconds, seconds / times.step
    yield "training process", "whole step", times.step, 1.0


FOLDER = "profile"
STEPS, SECONDS = 20, 20.0
"""A phase ends after this number of steps, or seconds, but not before its second step."""
OPERATOR_STEPS = 2
ENDLESS = 2**62


def profile(stores: Sequence[Path], out: Path, config: PretrainConfig) -> Path:
    """Measure the training that `pretrain` would be with these arguments, write OUT/profile, print table and advice.

    The steps are thrown away: the run itself is as if there had been no profile. Errors are those of `pretrain`.

    Returns:
        The run folder.
    """
    with naming_failures("--batch_size"), open_training(stores, out, config) as training:
        times, spans, operators = measured(training)
        if training.fabric.is_global_zero:
            _write(out / FOLDER, times, spans, operators)
            _show(times, out / FOLDER)
    return out


def measured(training: Training) -> tuple[StepTimes, list[Span], torch.profiler.profile]:
    """Mean times of a step of this process, the spans behind them, and torch's profile."""
    fabric, clock, workers = training.fabric, training.clock, loader_processes(training.config.workers)
    heard: list[Span] = []
    with progress("profile", None) as bar, TemporaryDirectory() as scrap:
        batches = _listen(training.loader(TimedViews(training.pairs), ENDLESS), heard)
        with closing(MetricsLog(Path(scrap), training.columns, 0)) as log:
            steps = Steps(training, log, batches, bar.advance)
            steps.take(PREFETCHED * workers + 2)
            whole = steps.take(STEPS)
            heard.clear()
            clock.settle = steps.settle
            split = steps.take(STEPS)
            spans = [*clock.spans, *heard]
            operators = _operators(steps)
    loading = _sums(heard, LOADING, sum(span.name == LOADING[-1] for span in heard))
    config = training.config
    batch = config.batch_size // fabric.world_size, training.pairs.views, config.image_size, config.image_size
    loading[HAND_OVER] = hand_over(batch, workers)
    parts = _sums(spans, PARTS, split.count)
    busy = device_seconds(operators) / OPERATOR_STEPS / whole.seconds if fabric.device.type == "cuda" else None
    times = StepTimes(whole.frames, whole.seconds, whole.waited, parts, loading, workers, available_cores(), busy)
    return times, spans, operators


@dataclass(frozen=True)
class Phase:
    """Means over the steps of a phase: seconds, of them waiting for data, frames; and the number of steps."""

    seconds: float
    waited: float
    frames: float
    count: int


class Steps:
    """Takes steps as the training loop does: batch, step, every so often a row of the log."""

    def __init__(
        self, training: Training, log: MetricsLog, batches: Iterator[Tensor], on_step: Callable[[], None]
    ) -> None:
        """Steps of `training` on `batches`; nothing of its run folder changes."""
        self.training, self.log, self.batches, self.on_step = training, log, batches, on_step

    def take(self, most: int, seconds: float = SECONDS) -> Phase:
        """Take at most this number of steps, at least two; all processes stop after the same one."""
        self.settle()
        waited, frames, count, begun = 0.0, 0, 0, time.perf_counter()
        while count < 2 or (count < most and self._goes_on(begun, seconds)):
            asked = time.perf_counter()
            views = next(self.batches)
            waited += time.perf_counter() - asked
            self._step(views)
            frames, count = frames + len(views), count + 1
        self.settle()
        return Phase((time.perf_counter() - begun) / count, waited / count, frames / count, count)

    def settle(self) -> None:
        """Wait until the device has done what it was given."""
        if self.training.fabric.device.type == "cuda":
            torch.cuda.synchronize()

    def _step(self, views: Tensor) -> None:
        training = self.training
        training.losses.append(training.train_step(views))
        training.step += 1
        with training.clock.part("log"):
            if training.step % training.config.log_every == 0:
                self.log.add(training.training_row())
        self.on_step()

    def _goes_on(self, begun: float, seconds: float) -> bool:
        return bool(self.training.fabric.broadcast(time.perf_counter() - begun < seconds))


class TimedViews(ViewPairs):
    """Batches of views with the times that they took: (N, V, size, size) uint8, and spans."""

    def __getitems__(self, keys: Sequence[Key]) -> tuple[Tensor, list[Span]]:  # type: ignore[override]
        """As `ViewPairs` makes a batch, step by step."""
        begun, seconds = time.perf_counter(), dict.fromkeys(LOADING, 0.0)
        size = self.pairs.config.image_size
        batch = new_batch((len(keys), self.pairs.views, size, size))
        for places, key in zip(batch.numpy(), keys, strict=True):
            moments = [time.perf_counter()]
            frames = self.pairs.sources(*key)
            moments.append(time.perf_counter())
            made = self.pairs.augment(frames, *key)
            moments.append(time.perf_counter())
            for place, view in zip(places, made, strict=True):
                place[:] = view
            moments.append(time.perf_counter())
            for name, first, last in zip(LOADING, moments[:-1], moments[1:], strict=True):
                seconds[name] += last - first
        # Frames take turns; in the trace each kind stands in one stretch, one after the other.
        starts = np.cumsum([begun, *seconds.values()])
        return batch, [
            Span(name, float(start), seconds[name], os.getpid()) for name, start in zip(LOADING, starts, strict=False)
        ]


class ReadyBatch(Dataset[Tensor]):
    """The same batch again and again, in fresh memory as loaders have it."""

    def __init__(self, shape: Sequence[int]) -> None:
        """Batches of zeros."""
        self.batch = torch.zeros(*shape, dtype=torch.uint8)

    def __getitems__(self, keys: Sequence[Key]) -> Tensor:
        """The batch, whatever the keys."""
        return new_batch(self.batch.shape).copy_(self.batch)


def hand_over(shape: Sequence[int], workers: int, repeats: int = 10) -> float:
    """Seconds that a uint8 batch takes from a loader process to this one; 0 where this process loads."""
    if not workers:
        return 0.0
    batches = iter(make_loader(ReadyBatch(shape), [[(0, 0)]] * (PREFETCHED + 2 + repeats), 1, pin=False))
    for _ in range(PREFETCHED + 2):  # made beforehand, while the process started
        next(batches)
    begun = time.perf_counter()
    for _ in batches:
        pass
    return (time.perf_counter() - begun) / repeats


def _listen(batches: Iterable[Any], heard: list[Span]) -> Iterator[Tensor]:
    """Hand on the views of timed batches, and keep the spans."""
    for views, spans in batches:
        heard += spans
        yield views


def _operators(steps: Steps) -> torch.profiler.profile:
    """Torch's profile of two steps."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it logs to the terminal that it found no GPU
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with torch.profiler.profile(activities=kinds) as operators:
        steps.take(OPERATOR_STEPS)
    return operators  # type: ignore[no-any-return]


def device_seconds(operators: torch.profiler.profile) -> float:
    """Seconds in which a GPU computed."""
    return sum(float(event.self_device_time_total) for event in operators.key_averages()) / 1e6


def _sums(spans: Iterable[Span], names: Sequence[str], count: int) -> dict[str, float]:
    """Seconds of each name, divided by `count`."""
    return {name: sum(span.seconds for span in spans if span.name == name) / count for name in names}


def _write(folder: Path, times: StepTimes, spans: Sequence[Span], operators: torch.profiler.profile) -> None:
    """profile.csv and the two traces."""
    with writing(folder / "profile.csv") as temporary:
        pd.DataFrame(table(times), columns=["where", "part", "seconds", "share"]).to_csv(temporary, index=False)
    write_json(folder / "trace.json", {"traceEvents": list(_events(spans))})
    with writing(folder / "operators.json") as temporary:
        operators.export_chrome_trace(str(temporary))


def _events(spans: Sequence[Span]) -> Iterator[dict[str, Any]]:
    """Spans in the format of trace viewers, in microseconds from the first on; a line for each process."""
    begun, here = min(span.start for span in spans), os.getpid()
    for number, process in enumerate(dict.fromkeys([here, *(span.process for span in spans)])):
        name = "training" if process == here else f"loader {number}"
        yield {"name": "process_name", "ph": "M", "pid": process, "tid": 0, "args": {"name": name}}
    for span in spans:
        start = round(1e6 * (span.start - begun), 1)
        event = {"name": span.name, "ph": "X", "ts": start, "dur": round(1e6 * span.seconds, 1)}
        yield {**event, "pid": span.process, "tid": 0}


def _show(times: StepTimes, folder: Path) -> None:
    """Print the table and the advice."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=f"a step of {times.frames:.0f} frames", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for head in ("where", "what", "ms", "share of the step"):
        shown.add_column(head, justify="left" if head in ("where", "what") else "right")
    last = ""
    for where, part, seconds, share in table(times):
        shown.add_row(where if where != last else "", part, f"{1000 * seconds:.1f}", f"{share:.1%}")
        last = where
    screen = Console()
    screen.print(shown)
    screen.print(f"{times.frames / times.step:,.0f} frames/s. {advice(times)}", highlight=False, soft_wrap=True)
    screen.print(f"Traces for Perfetto or chrome://tracing, and the table: {folder}", highlight=False, soft_wrap=True)
