"""Worker processes: the one pool of `prepare`, the phantom and studies (beside it only Ray, on many machines).

- **Results** come as they are ready, each with the number of its item; whoever wants them in order sorts by it. An
  error is raised in the parent, with the worker's traceback as a note.
- **A worker that dies** (killed, out of memory, a segmentation fault in a decoder) costs its item, whose result says
  so. Another worker begins in its place, and all other items go on. `each` works on the item once more when nothing
  else runs: what lacked memory has it then.
- **Ctrl-C** reaches the parent alone, which stops its workers: each gets SIGTERM, which ends it at once, or interrupts
  its item where the worker's `begin` says so, and is waited for. A second Ctrl-C kills them.
- **The end of the parent**, however it comes, ends the workers.
- **Spawned, not forked**: the same on every system, and no locks of threads are copied. A worker begins with its first
  item and does one after another, so that modules are imported once. The user's script is not run again, and need not
  have an `if __name__ == "__main__"`.
- **Threads and devices**: workers share the cores. OpenCV gets one thread; what else a worker may use (threads of
  torch, a GPU) is for its `begin` to say. Workers may have processes of their own, such as loaders.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import ModuleType
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE = 60.0
"""Seconds until a worker that was asked to stop is asked again."""


@dataclass(frozen=True)
class Died:
    """What became of an item whose process died: `how`, a sentence, and after how many seconds."""

    item: Any
    how: str
    seconds: float


def each(work: Callable[[Item], Result], items: Sequence[Item], processes: int) -> Iterator[tuple[int, Result | Died]]:
    """Work on all items, the first ones first; what runs when the caller leaves is ended.

    Args:
        work: a function of a module.
        items: what it is called with.
        processes: at most; 1 works in this process.

    Yields:
        The position of each item and its result, as they are ready.

    Raises:
        Exception: as of `work`.
    """
    if processes <= 1:
        yield from ((number, work(item)) for number, item in enumerate(items))
        return
    died = []
    for end in _spread(work, list(enumerate(items)), processes):
        if isinstance(end, Died):
            died.append(end.item)
        else:
            yield end
    for end in _spread(work, died, 1):
        yield (end.item[0], end) if isinstance(end, Died) else end


def _spread(
    work: Callable[[Item], Result], items: Sequence[tuple[int, Item]], processes: int
) -> Iterator[tuple[int, Result] | Died]:
    begins = [None] * min(processes, len(items))
    workers = Workers[tuple[int, Item], tuple[int, Result] | Died](partial(_numbered, work), begins, Died)
    waiting, left = iter(items), len(items)
    try:
        while left:
            for item in islice(waiting, workers.free):
                workers.start(item)
            for end in workers.wait():
                left -= 1
                yield end
    finally:
        workers.stop()


def _numbered(work: Callable[[Item], Result], item: tuple[int, Item]) -> tuple[int, Result]:
    return item[0], work(item[1])


class Workers(Generic[Item, Result]):
    """Processes that work on items at the same time."""

    def __init__(
        self,
        work: Callable[[Item], Result],
        begins: Sequence[Callable[[], None] | None],
        died: Callable[[Item, str, float], Result],
    ) -> None:
        """Start nothing before there is an item for it.

        Args:
            work: a function of a module.
            begins: of each worker what it calls first, in its process.
            died: makes the result of an item whose process died, as `Died` does.
        """
        self.work, self.died = work, died
        self._workers = [_Worker(self, begin) for begin in begins]

    @property
    def free(self) -> int:
        """How many workers have nothing to do."""
        return sum(not worker.busy for worker in self._workers)

    def start(self, item: Item) -> None:
        """Hand an item to an idle worker; `free` must be above 0."""
        next(worker for worker in self._workers if not worker.busy).start(item)

    def wait(self) -> list[Result]:
        """Wait until the work on an item ends or a busy worker dies."""
        busy = [worker for worker in self._workers if worker.busy]
        ready = wait([handle for worker in busy for handle in worker.handles])
        return [worker.end() for worker in busy if any(handle in ready for handle in worker.handles)]

    def stop(self) -> list[Result]:
        """Interrupt the busy workers, wait for them, and end all; a second Ctrl-C ends them at once."""
        begun = [worker for worker in self._workers if worker.begun]
        busy = [worker for worker in begun if worker.busy]
        try:
            for worker in busy:
                worker.process.terminate()
            for worker in busy:
                while not wait(worker.handles, PATIENCE):
                    worker.process.terminate()
            return [worker.end() for worker in busy]
        except BaseException:
            for worker in begun:
                worker.process.kill()
            raise
        finally:
            for worker in begun:
                worker.pipe.close()
            for worker in begun:
                worker.process.join(5)
                worker.process.kill()
                worker.process.join()


class _Worker(Generic[Item, Result]):
    """A process that works on one item after another; begun with its first one, and anew when it has died."""

    process: SpawnProcess
    pipe: Connection

    def __init__(self, pool: Workers[Item, Result], begin: Callable[[], None] | None) -> None:
        self.pool, self.begin = pool, begin
        self.begun = self.busy = False

    def start(self, item: Item) -> None:
        """Hand it an item."""
        self.item, self.since, self.busy = item, time.monotonic(), True
        if not self.begun or not self.process.is_alive():
            self._begin()
        # A worker that dies just now is found out by whoever waits for it.
        with suppress(OSError):
            self.pipe.send(item)

    @property
    def handles(self) -> list[Connection | int]:
        """What becomes ready when the work on its item ends or its process dies."""
        return [self.pipe, self.process.sentinel]

    def end(self) -> Result:
        """The result of its item."""
        self.busy = False
        try:
            result: Result | Exception = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            how = f"its process died (exit code {self.process.exitcode}); was the memory enough?"
            return self.pool.died(self.item, how, time.monotonic() - self.since)
        if isinstance(result, Exception):
            raise result
        return result

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        # Not a daemon, which could have no processes of its own.
        process = context.Process(target=_serve, args=(theirs, self.pool.work, self.begin))
        # Ctrl-C reaches the whole group. Blocked signals are inherited, and none comes between the start and the note
        # of it; the resource tracker, begun first, would unblock them.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        script, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            process.start()
            self.process, self.pipe, self.begun = process, ours, True
        finally:
            sys.modules["__main__"] = script
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, work: Callable[[Any], Any], begin: Callable[[], None] | None) -> None:
    """What a worker does: items from the pipe until it is closed, or until the parent has died."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The parent closes the pipe when all is done, and interrupts what it stops.
    with suppress(EOFError, OSError, KeyboardInterrupt):
        if begin:
            begin()
        import cv2

        cv2.setNumThreads(1)
        while True:
            item = pipe.recv()
            try:
                result = work(item)
            except Exception as error:
                error.add_note(traceback.format_exc())
                result = error
            pipe.send(result)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
