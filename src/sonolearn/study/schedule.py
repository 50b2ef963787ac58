"""Which tasks of a grid are missing, and in which order they can be done."""

from __future__ import annotations

import csv
import io
import os
import signal
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal, Protocol

import pandas as pd

from sonolearn.console import Interrupted, UserError
from sonolearn.runs import DiskFull, naming_disk_errors, write_text
from sonolearn.study.folder import StudyFolder
from sonolearn.study.grid import Downstream, Grid
from sonolearn.study.tasks import FinetuneTask, FrozenTask, PretrainTask, Task

Outcome = Literal["done", "failed", "lost", "stopped", "disk full"]


@dataclass(frozen=True)
class Ended:
    """How a task ended.

    Attributes:
        task: which.
        outcome: done; failed: it raised an error; lost: its process died; stopped: on request; disk full.
        error: one sentence.
        trace: the traceback, where the error was nobody's mistake.
        seconds: from its start to its end in the worker.
    """

    task: Task
    outcome: Outcome
    error: str = ""
    trace: str = ""
    seconds: float = 0.0


class Engine(Protocol):
    """Runs tasks at the same time; a lost worker costs the task at hand only."""

    @property
    def free(self) -> int:
        """How many more tasks can start now."""

    def start(self, task: Task) -> None:
        """Start a task; `free` must be above 0."""

    def wait(self) -> list[Ended]:
        """Wait until something ends."""

    def stop(self) -> list[Ended]:
        """Ask what runs to stop, and wait for it; pre-trainings write their checkpoint."""


def perform(folder: StudyFolder, task: Task, loaders: int) -> Ended:
    """Do a task in this process, printing into its log."""
    begun = time.perf_counter()
    outcome: Outcome = "failed"
    error, trace = "", ""
    try:
        with naming_disk_errors(folder.log(task.name)), printing_into(folder.log(task.name)):
            task.perform(folder, loaders)
        outcome = "done"
    except (Interrupted, KeyboardInterrupt):
        outcome = "stopped"
    except DiskFull as full:
        outcome, error = "disk full", str(full)
    except UserError as mistake:
        error = str(mistake)
    except Exception as unknown:
        error, trace = f"{type(unknown).__name__}: {unknown}", traceback.format_exc()
    return Ended(task, outcome, error, trace, time.perf_counter() - begun)


@contextmanager
def printing_into(path: Path) -> Iterator[None]:
    """Send what this process prints, and what the libraries below it print, to the end of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    with path.open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            # What a full disk has no room for is no fault of the task.
            with suppress(OSError):
                stream.flush()
        for number, old in zip((1, 2), before, strict=True):
            os.dup2(old, number)
            os.close(old)


def stop_on_sigterm() -> None:
    """Let SIGTERM interrupt what runs, as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


COLUMNS = ("session", "workers", "task", "outcome", "start", "seconds")


class Timings:
    """The rows of one session, which begins now."""

    def __init__(self, folder: StudyFolder, workers: int, now: float) -> None:
        """Begin a session.

        Args:
            folder: of the study.
            workers: tasks at a time.
            now: seconds of any clock; the session counts from here.
        """
        self.path, self.workers, self.began = folder.timings, workers, now
        before = read_timings(folder)
        self.session = 1 if before.empty else int(before["session"].max()) + 1
        # A row that a kill or a full disk cut short would spoil the next one.
        write_text(self.path, before.to_csv(index=False, lineterminator="\n"))

    def add(self, ended: Ended, begun: float) -> None:
        """Append the row of a task that was handed out at `begun` on the session's clock."""
        row = (self.session, self.workers, ended.task.name, ended.outcome, begun - self.began, ended.seconds)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow([f"{v:.3f}" if isinstance(v, float) else v for v in row])
        with self.path.open("a", newline="", encoding="utf-8") as file:
            file.write(text.getvalue())


def read_timings(folder: StudyFolder) -> pd.DataFrame:
    """Columns session, workers, task, outcome, start (seconds since the session began) and seconds; whole rows only."""
    text = folder.timings.read_text(encoding="utf-8", errors="replace") if folder.timings.exists() else ""
    lines = csv.reader(text[: text.rfind("\n") + 1].splitlines()[1:])
    table = pd.DataFrame([line for line in lines if len(line) == len(COLUMNS)], columns=list(COLUMNS))
    numbers = table.columns.difference(["task", "outcome"])
    table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce")
    return table.dropna()


def read_times(folder: StudyFolder) -> tuple[float, float]:
    """Seconds in tasks, and seconds from the first task to the last of each session."""
    table = read_timings(folder)
    wall = (table["start"] + table["seconds"]).groupby(table["session"]).max().sum()
    return float(table["seconds"].sum()), float(wall)


ATTEMPTS = 3
"""How often a task is begun whose worker dies under it."""


def missing_tasks(grid: Grid, folder: StudyFolder, runs: Sequence[Downstream]) -> list[Task]:
    """The tasks whose results are not there: pre-trainings and what is fitted on frozen features, then fine-tunings.

    Both come seed by seed, so that a study that is stopped early compares all starts on the seeds that are done.

    Args:
        grid: the whole study.
        folder: what is there.
        runs: the downstream runs that are wanted.
    """
    there = folder.finished_runs()
    missing = [run for run in runs if run.run not in there]
    pretrainings = _pretrain_tasks(grid, folder, runs, missing)
    tasks = [*pretrainings, *_frozen_tasks(grid, runs, missing), *_finetune_tasks(grid, missing)]
    return sorted(tasks, key=lambda task: (isinstance(task, FinetuneTask), task.seed))


def _pretrain_tasks(
    grid: Grid, folder: StudyFolder, runs: Sequence[Downstream], missing: Sequence[Downstream]
) -> list[Task]:
    """Of all wanted runs, not only the missing ones: the page shows the pre-trainings, too.

    One whose encoder was deleted is made again only if a missing run starts from it.
    """
    wanted = {run.start.pretraining.run: run.start.pretraining for run in runs if run.start.pretraining}
    stores = tuple(store.path for store in grid.unlabelled)
    tasks = [PretrainTask(pretraining, stores) for pretraining in wanted.values()]
    used = {run.start.pretraining.run for run in missing if run.start.pretraining}
    return [task for task in tasks if not task.is_done(folder, task.pretraining.run in used)]


def _frozen_tasks(grid: Grid, runs: Sequence[Downstream], missing: Sequence[Downstream]) -> list[Task]:
    """One for each encoder that lacks a run; it fits all of its runs, as heads are solved together."""
    modes = {mode: config for mode, config in grid.plan.modes.items() if mode != "finetune"}
    lacking = {run.start.key for run in missing if run.mode in modes}
    groups = defaultdict(list)
    for run in runs:
        if run.mode in modes and run.start.key in lacking:
            groups[run.start.key].append(run)
    return [FrozenTask(group[0].start, tuple(group), modes, grid.labelled.path) for group in groups.values()]


def _finetune_tasks(grid: Grid, missing: Sequence[Downstream]) -> list[Task]:
    largest = max(grid.plan.given.fractions)
    store: Path = grid.labelled.path
    return [
        FinetuneTask(run, grid.plan.modes["finetune"], store, _is_explained(run, largest))
        for run in missing
        if run.mode == "finetune"
    ]


def _is_explained(run: Downstream, largest: float) -> bool:
    """One classifier of each initialisation of the main comparison shows where it looks."""
    return run.seed == 0 and run.fraction == largest and not run.start.pool


class Schedule:
    """Hands out tasks in order as soon as what they need is there."""

    def __init__(self, tasks: Sequence[Task], failed: Collection[str]) -> None:
        """Plan the tasks.

        Args:
            tasks: those that are missing.
            failed: names of tasks that failed before and are not tried again.
        """
        self._waiting = [task for task in tasks if task.name not in failed]
        self._open = {task.pretraining.run for task in tasks if isinstance(task, PretrainTask)}
        self._broken = {
            task.pretraining.run for task in tasks if isinstance(task, PretrainTask) and task.name in failed
        }
        self._attempts: dict[str, int] = defaultdict(int)
        self.skipped = self._drop_broken()

    def next(self) -> Task | None:
        """A task that can be done now; None while all that are left wait for others."""
        for number, task in enumerate(self._waiting):
            if _needed(task) not in self._open:
                self._attempts[task.name] += 1
                return self._waiting.pop(number)
        return None

    @property
    def left(self) -> int:
        """How many have not been handed out."""
        return len(self._waiting)

    def ended(self, ended: Ended) -> bool:
        """Take note of how a task ended; whether that is final: a task whose worker died is begun again."""
        task = ended.task
        if ended.outcome == "lost" and self._attempts[task.name] < ATTEMPTS:
            self._waiting.insert(0, task)
            return False
        if isinstance(task, PretrainTask):
            if ended.outcome == "done":
                self._open.discard(task.pretraining.run)
            else:
                self._broken.add(task.pretraining.run)
                self.skipped += self._drop_broken()
        return True

    def _drop_broken(self) -> list[Task]:
        """Take out what waits for a pre-training that failed."""
        dropped = [task for task in self._waiting if _needed(task) in self._broken]
        self._waiting = [task for task in self._waiting if _needed(task) not in self._broken]
        return dropped


def _needed(task: Task) -> str | None:
    """Hash of the pre-training that a task needs first."""
    if isinstance(task, PretrainTask):
        return None
    return task.start.pretraining.run if task.start.pretraining else None
