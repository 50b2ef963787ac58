"""Tasks on a Ray cluster, whose machines share the study's folder (NFS, Lustre ...): Moritz et al., OSDI 2018.

A lost worker or machine costs the task at hand only: Ray says so, and the runner begins it again elsewhere.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sonolearn.console import UserError
from sonolearn.study.folder import StudyFolder
from sonolearn.study.schedule import Ended, perform
from sonolearn.study.tasks import Task

PATIENCE = 30.0
"""Seconds that a cluster has to answer, and a task that is stopped to end."""


class RayEngine:
    """As many tasks at a time as the cluster has GPUs, else cores; each gets its own process."""

    def __init__(self, folder: StudyFolder, address: str | None, workers: int | None, threads: int | None) -> None:
        """Join the cluster at `address`, or start Ray on this machine.

        Raises:
            UserError: Ray is not installed, or there is no cluster.
        """
        try:
            import ray
        except ImportError as error:
            raise UserError("--engine ray: Ray is not installed; pip install 'sonolearn[ray]'") from error
        check_answers(address)
        self.ray, self.folder = ray, StudyFolder(folder.out.resolve())
        on_sigterm = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False, ignore_reinit_error=True)
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"--address {address}: no Ray cluster answers there ({reason}); start it first") from error
        if threading.current_thread() is threading.main_thread():
            # Ray puts its own in place, which would leave without a word.
            signal.signal(signal.SIGTERM, on_sigterm)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cores, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        self.workers = workers or gpus or cores
        self.threads = threads or max(1, cores // self.workers)
        # The runner begins a lost task again itself, so that it is said and counted.
        needs: dict[str, Any] = {"num_cpus": self.threads, "num_gpus": 1 if gpus else 0, "max_retries": 0}
        self._work = ray.remote(**needs, max_calls=0)(work)
        self._running: dict[Any, tuple[Task, float]] = {}

    @property
    def free(self) -> int:
        """How many more tasks can be handed out."""
        return self.workers - len(self._running)

    def start(self, task: Task) -> None:
        """Hand a task to the cluster."""
        loaders = 0 if self.threads == 1 else min(8, self.threads - 1)
        handle = self._work.remote(self.folder, task, self.threads, loaders, Path.cwd())
        self._running[handle] = task, time.monotonic()

    def wait(self) -> list[Ended]:
        """Wait until a task ends or its worker is lost."""
        ready, _ = self.ray.wait(list(self._running), num_returns=1)
        return [self._ended(handle) for handle in ready]

    def stop(self) -> list[Ended]:
        """Cancel what runs, wait for it, and leave the cluster."""
        for handle in self._running:
            # As Ctrl-C in the worker: a pre-training writes its checkpoint.
            self.ray.cancel(handle, force=False)
        running = list(self._running)
        _, deaf = self.ray.wait(running, num_returns=len(running), timeout=PATIENCE) if running else ([], [])
        for handle in deaf:
            # A worker within one long call does not hear it.
            self.ray.cancel(handle, force=True)
        ended = [self._ended(handle) for handle in running]
        self.ray.shutdown()
        return [replace(end, outcome="stopped", error="") if end.outcome == "lost" else end for end in ended]

    def _ended(self, handle: Any) -> Ended:
        task, begun = self._running.pop(handle)
        try:
            ended: Ended = self.ray.get(handle)
        except self.ray.exceptions.TaskCancelledError:
            return Ended(task, "stopped", seconds=time.monotonic() - begun)
        except self.ray.exceptions.RayTaskError as raised:
            # Before the task could begin: another sonolearn there, or none.
            sentence = f"{type(raised.cause).__name__}: {raised.cause}"
            return Ended(task, "failed", sentence, str(raised), time.monotonic() - begun)
        except self.ray.exceptions.RayError as lost:
            sentence = f"its worker was lost ({type(lost).__name__}); was the memory enough?"
            return Ended(task, "lost", sentence, seconds=time.monotonic() - begun)
        return ended


def check_answers(address: str | None) -> None:
    """Refuse an address at which nothing listens; Ray itself would try for eight minutes.

    Args:
        address: HOST:PORT or ray://HOST:PORT; other words, such as auto, are Ray's own.

    Raises:
        UserError: no connection within `PATIENCE` seconds.
    """
    place = re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address or "")
    if place is None:
        return
    try:
        socket.create_connection((place[1], int(place[2])), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--address {address}: no Ray cluster answers there ({reason}); start it first") from error


def work(folder: StudyFolder, task: Task, threads: int, loaders: int, here: Path) -> Ended:
    """What a Ray worker does; `here` is where the runner was started, which paths of the plan may begin at."""
    import torch

    with suppress(OSError):
        os.chdir(here)
    torch.set_num_threads(threads)
    return perform(folder, task, loaders)
