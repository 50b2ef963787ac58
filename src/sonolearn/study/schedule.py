"""Which tasks of a grid are missing, and in which order they can be done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from sonolearn.study.engines.engine import Ended
from sonolearn.study.folder import StudyFolder
from sonolearn.study.grid import Downstream, Grid
from sonolearn.study.tasks import FinetuneTask, FrozenTask, PretrainTask, Task

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
