"""What the runner asks of an engine, and how a task ends on any of them."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal, Protocol

from sonolearn.console import Interrupted, UserError
from sonolearn.runs import DiskFull, naming_disk_errors
from sonolearn.study.folder import StudyFolder
from sonolearn.study.tasks import Task

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


def perform(folder: StudyFolder, task: Task, loaders: int) -> tuple[Outcome, str, str]:
    """Do a task in this process, printing into its log: how it ended, the error in a sentence, and its traceback."""
    try:
        with naming_disk_errors(folder.log(task.name)), printing_into(folder.log(task.name)):
            task.perform(folder, loaders)
    except (Interrupted, KeyboardInterrupt):
        return "stopped", "", ""
    except DiskFull as error:
        return "disk full", str(error), ""
    except UserError as error:
        return "failed", str(error), ""
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}", traceback.format_exc()
    return "done", "", ""


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
