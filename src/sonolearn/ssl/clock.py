"""Where the time of a training goes: waiting for data or computing; while a profile is made, each part of a step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor
from torch.profiler import record_function


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
