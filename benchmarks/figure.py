"""What a benchmark gives: rows of one table; and how times are taken so that a busy machine misleads little."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from sonolearn.runs import machine


@dataclass(frozen=True)
class Row:
    """One figure: what sonolearn reaches, what it is held against, and the ratio of the two from one run.

    Attributes:
        figure: what was measured, with its sizes.
        ours: sonolearn's figure with its unit, such as "2,310 views/s"; empty while waiting for a GPU.
        against: the peer or ceiling and its figure, such as "lightly: 180 views/s".
        ratio: of the two; None where there is none.
        bound: whether the ratio is to be at least or at most the target.
        target: the target; None where there is none.
        date: day of the measurement.
        machine: processor, cores and device.
    """

    figure: str
    ours: str
    against: str
    ratio: float | None
    bound: Literal["at least", "at most"] = "at least"
    target: float | None = None
    date: str = ""
    machine: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached, None where that cannot be said."""
        if self.ratio is None or self.target is None:
            return None
        return self.ratio >= self.target if self.bound == "at least" else self.ratio <= self.target


Script = Callable[[bool], Iterator[Row]]
"""A benchmark: rows; given True it takes tiny sizes, which shows that it works and says nothing about speed."""


def rate(figure: str, unit: str, ours: float, peer: str, theirs: float, target: float | None) -> Row:
    """A row of two rates (more is better); the ratio is ours / theirs, to be at least the target."""
    return Row(figure, f"{ours:,.0f} {unit}", f"{peer}: {theirs:,.0f} {unit}", ours / theirs, "at least", target)


def speed(figure: str, ours: float, peer: str, theirs: float, target: float | None) -> Row:
    """A row of two times in seconds (less is better); the ratio is theirs / ours, to be at least the target."""
    return Row(figure, _seconds(ours), f"{peer}: {_seconds(theirs)}", theirs / ours, "at least", target)


def cost(figure: str, ours: float, ceiling: str, least: float, target: float | None) -> Row:
    """A row of two times in seconds; the ratio is ours / least, to be at most the target."""
    return Row(figure, _seconds(ours), f"{ceiling}: {_seconds(least)}", ours / least, "at most", target)


def waiting(figure: str, against: str, target: float) -> Row:
    """A row that needs a GPU where there is none."""
    return Row(figure, "", against, None, "at least", target)


def in_turns(
    functions: Mapping[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
    warm_up: int = 1,
) -> dict[str, float]:
    """Median seconds of each function; they take turns, so that other work on the machine disturbs all alike.

    Args:
        functions: what to time, by name.
        repeats: rounds that count.
        clock: `time.process_time` counts what this process computes, `time.perf_counter` what a user waits.
        warm_up: rounds before, which fill caches.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(warm_up + repeats):
        for name, function in functions.items():
            started = clock()
            function()
            synchronise()
            if number >= warm_up:
                times[name].append(clock() - started)
    return {name: statistics.median(found) for name, found in times.items()}


def device() -> str:
    """Where models compute: cuda if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def synchronise() -> None:
    """Wait until a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def machine_line() -> str:
    """Processor, cores and device, for people."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return f"{machine()['processor']}, {machine()['cores']} cores{gpu}"


def run_script(script: Script, description: str | None) -> None:
    """Command line of one benchmark: `python -m benchmarks.NAME [--quick] [--rows FILE]`.

    `--rows` adds each row to a file as a line of JSON, which is how `python -m benchmarks` collects them.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, not how fast it is")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    print(f"{machine_line()}; load {load:.1f}; torch {torch.__version__}\n\n{HEADER}", flush=True)
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    for row in script(options.quick):
        print(line(row), flush=True)
        if options.rows:
            with options.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**asdict(row), "date": day, "machine": machine_line()}) + "\n")
    sys.stdout.flush()


HEADER = "| figure | sonolearn | peer or ceiling | ratio | target | reached |\n|---|---|---|---|---|---|"


def line(row: Row) -> str:
    """A row of the Markdown table."""
    sign = {"at least": "≥", "at most": "≤"}[row.bound]
    target = "" if row.target is None else f"{sign} {row.target:g}"
    ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
    reached = {True: "yes", False: "**no**", None: ""}[row.reached]
    if not row.ours:
        reached = "waiting for a GPU"
    return f"| {row.figure} | {row.ours} | {row.against} | {ratio} | {target} | {reached} |"


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"
