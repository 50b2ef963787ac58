"""Work in processes that may die, hang or take too much memory, without harm to whoever asked for it.

Each process is forked from this one, takes one piece of work at a time through a pipe, and is watched meanwhile: one
that takes too long or too much memory is killed, and another takes its place. Too long is meant in processor time, or
in time without any, so that a busy machine is not taken for a hang. It reads /proc, so it needs Linux.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

_LOOK_SECONDS = 0.05
_RENEWED_AFTER = 1000  # pieces of work, so that what a library keeps does not add up


@dataclass(frozen=True)
class Limits:
    """What a piece of work may take.

    Attributes:
        seconds: of processor time, or of waiting without using any, until it is killed as hanging.
        bytes: resident memory of its process, beyond which it is killed at once.
    """

    seconds: float = 60.0
    bytes: int = 2_000_000_000


@dataclass(frozen=True)
class Done:
    """What came of a piece of work.

    Attributes:
        work: as it was given.
        answer: what the function returned; None where its process did not end it.
        ended: "well", or what became of its process: "died", "hung" or "fat".
        peak: the most resident memory of its process meanwhile, in bytes.
        seconds: how long it took.
    """

    work: Any
    answer: Any
    ended: str
    peak: int
    seconds: float


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    work: Any = None
    since: float = 0.0
    done: int = 0
    peak: int = 0
    used_before: float = 0.0
    used: float = 0.0
    awake: float = 0.0

    def give(self, work: Any) -> None:
        self.work, self.done, self.peak = work, self.done + 1, 0
        self.since = self.awake = time.monotonic()
        self.used = self.used_before = _processor_seconds(self.process.pid)
        self.pipe.send(work)

    def hangs(self, seconds: float) -> bool:
        """Whether it has computed for so long, or waited for so long without computing."""
        used, now = _processor_seconds(self.process.pid), time.monotonic()
        if used > self.used:
            self.used, self.awake = used, now
        return used - self.used_before > seconds or now - self.awake > seconds

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def contained(
    function: Callable[[Any], Any], works: Iterable[Any], limits: Limits, processes: int = 2, log: Path | None = None
) -> Iterator[Done]:
    """Call `function`, a function of a module, with each of `works`; give what came of each as it ends.

    Args:
        function: what to call; it must not raise.
        works: its arguments, which can be pickled.
        limits: of each call.
        processes: calls at a time.
        log: where the noise of decoders goes.
    """
    waiting, workers = iter(works), list[_Worker]()
    try:
        while True:
            while len(workers) < processes and (work := next(waiting, None)) is not None:
                worker = _started(function, log)
                workers.append(worker)
                worker.give(work)
            if not workers:
                return
            wait([w.pipe for w in workers] + [w.process.sentinel for w in workers], _LOOK_SECONDS)
            for worker in list(workers):
                done = _looked_at(worker, limits)
                if done is None:
                    continue
                yield done
                work = next(waiting, None) if done.ended == "well" and worker.done < _RENEWED_AFTER else None
                if work is None:
                    worker.end()
                    workers.remove(worker)
                else:
                    worker.give(work)
    finally:
        for worker in workers:
            worker.end()


def _started(function: Callable[[Any], Any], log: Path | None) -> _Worker:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(function, theirs, log, os.getpid()))
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _looked_at(worker: _Worker, limits: Limits) -> Done | None:
    """What came of the work of a process, None while it goes on."""
    seconds = time.monotonic() - worker.since

    def done(ended: str, answer: Any = None, peak: int = 0) -> Done:
        return Done(worker.work, answer, ended, max(peak, worker.peak), seconds)

    try:
        if worker.pipe.poll():
            answer, peak = worker.pipe.recv()
            return done("well", answer, peak)
    except (EOFError, OSError):
        return done("died")
    if not worker.process.is_alive():
        return done("died")
    worker.peak = max(worker.peak, _memory(worker.process.pid, "VmRSS"))
    if worker.peak > limits.bytes:
        return done("fat")
    return done("hung") if worker.hangs(limits.seconds) else None


def _serve(function: Callable[[Any], Any], pipe: Connection, log: Path | None, parent: int) -> None:
    """Work until the pipe closes; what decoders print goes to `log`."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    noise = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(noise, 1)
    os.dup2(noise, 2)
    while True:
        try:
            work = pipe.recv()
        except EOFError:
            return
        _forget_peak()
        answer = function(work)
        pipe.send((answer, _memory(os.getpid(), "VmHWM")))


def _end_with(parent: int) -> None:
    """End this process when its parent has died."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _forget_peak() -> None:
    """Let the system count the most memory of this process anew (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _processor_seconds(pid: int) -> float:
    """Processor time of a process so far, 0 where it is gone (proc(5), stat)."""
    try:
        values = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int, what: str) -> int:
    """A figure of a process in bytes, 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{what}:")), 0)
