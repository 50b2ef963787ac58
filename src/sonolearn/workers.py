"""Processes that work for this one: spawned, deaf to Ctrl-C, and gone when this one is."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

Result = TypeVar("Result")


class Workers(ProcessPoolExecutor):
    """A pool of processes, spawned and not forked: the same on every system, and no locks of threads are copied."""

    def __init__(self, count: int) -> None:
        """A pool of `count` processes, each started when there is work for it."""
        super().__init__(count, multiprocessing.get_context("spawn"), _start)

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Let a process call `fn`, a function of a module."""
        with without_script():
            return super().submit(fn, *args, **kwargs)


@contextmanager
def without_script() -> Iterator[None]:
    """Start processes that do not run the user's script again, which need not have an `if __name__ == "__main__"`."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def end_with_parent() -> None:
    """End this process when its parent has died, which cannot tell it: it would wait for work for ever."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _start() -> None:
    import cv2  # processes share the cores among themselves

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    end_with_parent()
