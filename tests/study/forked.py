"""Runners of studies as processes of their own, forked from one that has imported all: a start takes no seconds.

Such a runner is `sonolearn study run` in every other way: a process with workers, which can be killed and interrupted.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import benchmarks.killing.forked
from benchmarks.killing.forked import group, loaded, started

TESTS = Path(__file__).parents[1]


class Forks:
    """The process that others are forked from."""

    def __init__(self) -> None:
        """Start it; it imports torch in the meantime."""
        # Sums over another number of threads round differently.
        paths = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "study.forked"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def start(self, *words: object, log: Path, fault: str = "", at: int = 0) -> Forked:
        """`sonolearn study run WORDS`; a fault is a function below, called with `at` in the new process."""
        pid = int(self._ask({"words": list(map(str, words)), "log": str(log), "fault": fault, "at": at}))
        return Forked(pid, log, self)

    def run(self, *words: object, log: Path, fault: str = "", at: int = 0) -> int:
        """The same to its end; the exit code."""
        return self.start(*words, log=log, fault=fault, at=at).wait()

    def _ask(self, request: dict[str, Any]) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def close(self) -> None:
        """End it."""
        self.process.communicate()


@dataclass
class Forked:
    """A runner; its process leads a group that its workers are in."""

    pid: int
    log: Path
    forks: Forks | None

    def wait(self) -> int:
        """Its exit code; minus the signal that ended it."""
        assert self.forks
        return int(self.forks._ask({"wait": self.pid}))

    def until(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something is so, or the runner has ended."""
        end = time.monotonic() + seconds
        while not ready() and self.pid in group(self.pid) and time.monotonic() < end:
            time.sleep(0.002)

    def kill(self) -> None:
        """SIGKILL it alone, and wait until its workers have seen it."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()
        self.leave_nothing()

    def leave_nothing(self) -> None:
        """Wait until the workers of a runner that has ended have seen it."""
        end = time.monotonic() + 20
        while group(self.pid):
            assert time.monotonic() < end, "workers outlive their runner"
            time.sleep(0.01)

    @property
    def said(self) -> str:
        """What it printed."""
        return self.log.read_text()


# In the process that others are forked from


def serve() -> None:
    """Fork a runner for every line asked for, or wait for one."""
    loaded()
    runners: dict[int, benchmarks.killing.forked.Forked] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = runners[request["wait"]].wait()
        else:
            runner = started(["study", "run", *request["words"]], Path(request["log"]), partial(disturb, request))
            answer, runners[runner.pid] = runner.pid, runner
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def disturb(request: dict[str, Any]) -> None:
    """In a runner: fork its workers, too, and call the fault."""
    forked = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda kind: forked  # type: ignore[assignment]
    if request["fault"]:
        globals()[request["fault"]](request["at"])


# Faults


def small_disk(size: int) -> None:
    """No file may grow beyond `size` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def runner_dies_at_write(number: int) -> None:
    """SIGKILL at the n-th file of the runner itself, when it is written but has no name yet."""
    _die_at_write(lambda: os.getpid() == runner, lambda: number)
    runner = os.getpid()


def every_task_dies_once(number: int) -> None:
    """Each task's worker is killed at its n-th write, the first time that the task is begun."""
    from sonolearn.study import local

    perform_task = local.perform

    def perform(folder: Any, task: Any, loaders: int) -> Any:
        mark = folder.out.parent / f"died-{folder.out.name}-{task.name}"
        writes.clear()
        alive[0] = mark.exists()
        mark.touch()
        return perform_task(folder, task, loaders)

    writes, alive = list[int](), [True]
    _die_at_write(lambda: not alive[0], lambda: number, writes)
    local.perform = perform


def first_task_dies() -> None:
    """The Ray worker that begins a study's first task is killed at its first write; called in each worker."""
    from sonolearn.study import on_ray as ray

    perform_task, doomed = ray.perform, [False]

    def perform(folder: Any, task: Any, loaders: int) -> Any:
        with suppress(FileExistsError):
            (folder.out.parent / "died").touch(exist_ok=False)
            doomed[0] = True
        return perform_task(folder, task, loaders)

    _die_at_write(lambda: doomed[0], lambda: 1)
    ray.perform = perform


def fine_tuning_always_dies(number: int) -> None:
    """The worker is killed whenever it fine-tunes with this seed."""
    from sonolearn.planes import run

    fit = run.fit_finetune

    def dying(*arguments: Any, **options: Any) -> Any:
        if arguments[6] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return fit(*arguments, **options)

    run.fit_finetune = dying


def _die_at_write(here: Callable[[], bool], number: Callable[[], int], writes: list[int] | None = None) -> None:
    replace, seen = Path.replace, [] if writes is None else writes

    def dying(self: Path, target: Any) -> Any:
        if here() and self.name.endswith(".tmp"):
            seen.append(1)
            if len(seen) == number():
                os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = dying  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    serve()
