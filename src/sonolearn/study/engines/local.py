"""Tasks in processes of this machine: one a GPU, else one a core.

Workers live as long as the study, so that torch is imported once. They share nothing: a worker that dies (memory, a
driver) takes its task with it, and another one comes in its place.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from sonolearn.study.engines.engine import Ended, perform, printing_into, stop_on_sigterm
from sonolearn.study.folder import StudyFolder
from sonolearn.study.tasks import Task


@dataclass(frozen=True)
class Slot:
    """What a worker may use.

    Attributes:
        threads: of torch.
        loaders: loader processes of a training.
        device: number of its GPU, None for the CPU.
    """

    threads: int
    loaders: int
    device: int | None = None


class LocalEngine:
    """A worker process a slot."""

    def __init__(self, folder: StudyFolder, slots: list[Slot]) -> None:
        """Start the workers; they import torch while the first tasks are handed out."""
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
        ready = wait([handle for worker in busy for handle in (worker.pipe, worker.process.sentinel)])
        return [worker.end() for worker in busy if worker.pipe in ready or worker.process.sentinel in ready]

    def stop(self) -> list[Ended]:
        """Ask all workers to stop what they do, wait for it, and end them."""
        ended = []
        for worker in self.workers:
            if worker.task is not None and worker.process.pid:
                os.kill(worker.process.pid, signal.SIGTERM)
        for worker in self.workers:
            if worker.task is not None:
                wait([worker.pipe, worker.process.sentinel])
                ended.append(worker.end(again=False))
            worker.close()
        return ended


class Worker:
    """A process that does one task after another; begun anew when it has died."""

    def __init__(self, folder: StudyFolder, slot: Slot) -> None:
        """Start the process."""
        self.folder, self.slot = folder, slot
        self.task: Task | None = None
        self.since = 0.0
        self.process, self.pipe = self._begin()

    def start(self, task: Task) -> None:
        """Hand it a task."""
        self.task, self.since = task, time.monotonic()
        self.pipe.send(task)

    def end(self, again: bool = True) -> Ended:
        """How its task ended; where the process has died, another is begun."""
        assert self.task is not None
        task, self.task = self.task, None
        try:
            outcome, error, trace, seconds = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code, seconds = self.process.exitcode, time.monotonic() - self.since
            if again:
                self.process, self.pipe = self._begin()
            sentence = f"its process died (exit code {code}); was the memory enough?"
            return Ended(task, "lost", sentence, seconds=seconds)
        return Ended(task, outcome, error, trace, seconds)

    def close(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _begin(self) -> tuple[SpawnProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        # Not a daemon: loader processes are children of its own.
        process = context.Process(target=work, args=(theirs, self.folder, self.slot))
        process.start()
        theirs.close()
        return process, ours


def work(pipe: Connection, folder: StudyFolder, slot: Slot) -> None:
    """What a worker process does: tasks from the pipe until it is closed, or until the runner has died."""
    # Ctrl-C reaches the whole group: the runner hears it and says what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop_on_sigterm()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if slot.device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(slot.device)
    import torch

    torch.set_num_threads(slot.threads)
    while True:
        try:
            task: Task = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        begun = time.perf_counter()
        with printing_into(folder.log(task.name)):
            outcome, error, trace = perform(folder, task, slot.loaders)
        pipe.send((outcome, error, trace, time.perf_counter() - begun))


def _end_with_parent() -> None:
    """End this process at once when the runner has died: nobody would hear of its results, and another may start."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def slots_here(workers: int | None, threads: int | None) -> list[Slot]:
    """What this machine offers: a slot a GPU with the cores shared out, else one a core with one thread."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    count = workers or devices or cores
    share = max(1, cores // count)
    loaders = max(0, min(8, share - 1)) if devices else 0
    return [Slot(threads or share, loaders, i % devices if devices else None) for i in range(count)]
