"""`sonolearn pretrain --profile`: some steps of a training are measured and thrown away, and it says what is slow.

    warm up      until the batches that loaders make beforehand are used up
    whole steps  as in training
    parts        again, with a wait for the device after each part
    operators    two steps under torch's profiler

OUT/profile gets profile.csv, trace.json (the parts in all processes on one axis of time) and operators.json (torch's
operators and GPU kernels); both traces open in Perfetto or chrome://tracing.
"""

from __future__ import annotations

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
from sonolearn.ssl.clock import Span
from sonolearn.ssl.devices import available_cores, loader_processes
from sonolearn.ssl.failures import naming_failures
from sonolearn.ssl.loader import PREFETCHED, ViewPairs, make_loader, new_batch
from sonolearn.ssl.metrics_log import MetricsLog
from sonolearn.ssl.pretrain import Training, open_training
from sonolearn.ssl.step_times import HAND_OVER, LOADING, PARTS, StepTimes, advice, table

FOLDER = "profile"
STEPS, SECONDS = 20, 20.0
"""A phase ends after so many steps, or seconds, but not before its second step."""
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
        """Take at most so many steps, at least two; all processes stop after the same one."""
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
