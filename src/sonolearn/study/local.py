"""Tasks in processes of this machine: one a GPU, else one a core.

Workers live as long as the study, so that torch is imported once. They share nothing: a worker that dies (memory, a
driver) takes its task with it, and another one comes in its place.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from sonolearn.study.folder import StudyFolder
from sonolearn.study.schedule import Ended, perform, stop_on_sigterm
from sonolearn.study.tasks import Task
from sonolearn.workers import end_with_parent, without_script

PATIENCE = 60.0
"""Seconds until a worker that was asked to stop is asked again."""


@dataclass(frozen=True)
class Slot:
    """What a worker may use.

    Attributes:
        threads: of torch.
        loaders: loader processes of a training.
        device: name of its GPU as CUDA_VISIBLE_DEVICES has it, None for the CPU.
    """

    threads: int
    loaders: int
    device: str | None = None


class LocalEngine:
    """A worker process a slot."""

    def __init__(self, folder: StudyFolder, slots: list[Slot]) -> None:
        """Nothing is started before there is a task for it."""
        self.folder = folder
        self.workers = [Worker(folder, slot) for slot in slots]

    @property
    def free(self) -> int:
        """How many workers have nothing to do."""
        return sum(worker.task is None for worker in self.workers)

    def start(self, task: Task) -> None:
        """Hand a task to an idle worker."""
        next(worker for worker in self.workers if worker.task is None).start(task)

    def wait(self) -> list[Ended]:
        """Wait until a task ends or its worker dies."""
        busy = [worker for worker in self.workers if worker.task is not None]
        ready = wait([handle for worker in busy for handle in worker.handles])
        return [worker.end() for worker in busy if any(handle in ready for handle in worker.handles)]

    def stop(self) -> list[Ended]:
        """Interrupt the busy workers, wait for them, and end all; a second Ctrl-C ends them at once."""
        busy = [worker for worker in self.workers if worker.task is not None]
        try:
            for worker in busy:
                worker.interrupt()
            ended = []
            for worker in busy:
                while not wait(worker.handles, PATIENCE):
                    worker.interrupt()
                ended.append(worker.end())
            return ended
        except BaseException:
            for worker in self.workers:
                worker.kill()
            raise
        finally:
            for worker in self.workers:
                worker.close()


class Worker:
    """A process that does one task after another; it is begun with its first task, and anew when it has died."""

    def __init__(self, folder: StudyFolder, slot: Slot) -> None:
        """Begin nothing yet."""
        self.folder, self.slot = folder, slot
        self.task: Task | None = None
        self.since = 0.0
        self._begun: tuple[SpawnProcess, Connection] | None = None

    def start(self, task: Task) -> None:
        """Hand it a task."""
        self.task, self.since = task, time.monotonic()
        if self._begun is None or not self._begun[0].is_alive():
            self._begin()
        # A worker that dies just now is found out by whoever waits for it.
        with suppress(OSError):
            self._both[1].send(task)

    @property
    def handles(self) -> list[Connection | int]:
        """What becomes ready when its task ends or its process dies."""
        process, pipe = self._both
        return [pipe, process.sentinel]

    def end(self) -> Ended:
        """How its task ended."""
        assert self.task is not None  # who waits has looked
        process, pipe = self._both
        task, self.task = self.task, None
        try:
            outcome, error, trace, seconds = pipe.recv()
        except (EOFError, OSError):
            process.join()
            sentence = f"its process died (exit code {process.exitcode}); was the memory enough?"
            return Ended(task, "lost", sentence, seconds=time.monotonic() - self.since)
        return Ended(task, outcome, error, trace, seconds)

    def interrupt(self) -> None:
        """Ask it to stop, as Ctrl-C would."""
        if self._begun:
            self._begun[0].terminate()

    def kill(self) -> None:
        """End it at once."""
        if self._begun:
            self._begun[0].kill()

    def close(self) -> None:
        """End the process, which has nothing to do."""
        if self._begun:
            process, pipe = self._begun
            pipe.close()
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()

    @property
    def _both(self) -> tuple[SpawnProcess, Connection]:
        assert self._begun  # its task has begun it
        return self._begun

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        # Not a daemon: loader processes are children of its own.
        process = context.Process(target=work, args=(theirs, self.folder, self.slot))
        # Ctrl-C reaches the whole group: the runner hears it and says what to do. Blocked signals are inherited, and
        # none comes between the start and the note of it; the resource tracker, begun first, would unblock them.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with without_script():
                process.start()
            self._begun = process, ours
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work(pipe: Connection, folder: StudyFolder, slot: Slot) -> None:
    """What a worker process does: tasks from the pipe until it is closed, or until the runner has died."""
    stop_on_sigterm()
    end_with_parent()  # nobody would hear of its results, and another runner may start
    if slot.device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.device
    import torch

    torch.set_num_threads(slot.threads)
    # The runner closes the pipe when all is done, and interrupts what it stops.
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            task: Task = pipe.recv()
            begun = time.perf_counter()
            outcome, error, trace = perform(folder, task, slot.loaders)
            pipe.send((outcome, error, trace, time.perf_counter() - begun))


def slots_here(workers: int | None, threads: int | None) -> list[Slot]:
    """What this machine offers: a slot a GPU with the cores shared out, else one a core with one thread."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices = visible_devices(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    count = workers or len(devices) or cores
    share = max(1, cores // count)
    loaders = max(0, min(8, share - 1)) if devices else 0
    return [Slot(threads or share, loaders, devices[i % len(devices)] if devices else None) for i in range(count)]


def visible_devices(count: int) -> list[str]:
    """Names of `count` GPUs: those that CUDA_VISIBLE_DEVICES leaves to this process (SLURM sets it), else 0, 1, ..."""
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]
