"""Tasks in processes of this machine: one a GPU, else one a core, as `sonolearn.workers` runs them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial

from sonolearn.study.folder import StudyFolder
from sonolearn.study.schedule import Ended, perform, stop_on_sigterm
from sonolearn.study.tasks import Task
from sonolearn.workers import Workers


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


class LocalEngine(Workers[Task, Ended]):
    """A worker process a slot; slots differ in their device alone."""

    def __init__(self, folder: StudyFolder, slots: list[Slot]) -> None:
        """Nothing is started before there is a task for it."""
        work = partial(perform, folder, loaders=slots[0].loaders)
        super().__init__(work, [partial(use, slot) for slot in slots], _lost)


def _lost(task: Task, how: str, seconds: float) -> Ended:
    return Ended(task, "lost", how, seconds=seconds)


def use(slot: Slot) -> None:
    """Make this worker use what its slot offers, and let SIGTERM interrupt its task, as Ctrl-C would."""
    stop_on_sigterm()
    if slot.device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.device
    import torch

    torch.set_num_threads(slot.threads)


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
