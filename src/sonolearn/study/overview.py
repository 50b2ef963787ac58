"""`sonolearn study plan` and `study status`: what a study comes to, and how far it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from sonolearn.config.study import StudyPlanConfig
from sonolearn.console import say, warn
from sonolearn.runs import naming_disk_errors
from sonolearn.study.engines.local import slots_here
from sonolearn.study.estimate import Estimate, estimate
from sonolearn.study.folder import StudyFolder
from sonolearn.study.opening import check_patients, open_grid
from sonolearn.study.plan import read_plan
from sonolearn.study.results import read_planned
from sonolearn.study.schedule import missing_tasks
from sonolearn.study.tasks import FrozenTask, PretrainTask, Task
from sonolearn.study.timings import read_times
from sonolearn.study.words import duration


def show_plan(plan: Path, out: Path, config: StudyPlanConfig) -> pd.DataFrame:
    """Print the runs of a plan, what is missing of them, and what they will take.

    Args:
        plan: a YAML file, or the name of a shipped plan.
        out: the study's folder; a plan's phantom is made there.
        config: where data lie; whether to time.

    Returns:
        A row a kind of training: what, runs, missing, seconds.
    """
    asked, folder = read_plan(plan, config), StudyFolder(Path(out))
    with naming_disk_errors(folder.out):
        grid = open_grid(asked, folder)
    check_patients(grid)
    tasks = missing_tasks(grid, folder, grid.downstream)
    slots = slots_here(config.workers, None)
    found = estimate(grid, tasks, slots[0].threads) if config.time and tasks else None
    kinds = list(_kinds(tasks, found))
    rows = [(kind, str(count), "" if math.isnan(seconds) else duration(seconds)) for kind, count, seconds in kinds]
    _print(f"{asked.given.title}: what is missing", ("training", "missing", "about"), rows)
    pretrainings, runs = len(grid.pretrainings), len(grid.downstream)
    say(f"{runs} downstream runs from {len(grid.starts)} sets of weights, {pretrainings} of them pre-trained")
    if found:
        for reason in found.reasons:
            warn(f"could not be timed: {reason}")
        at_a_time = f"{len(slots)} training{'' if len(slots) == 1 else 's'} at a time"
        say(f"about {duration(found.wall(len(slots)))} with {at_a_time}, {found.bytes / 1e6:.0f} MB of results")
    return pd.DataFrame(kinds, columns=["training", "missing", "seconds"])


def show_status(out: Path) -> pd.DataFrame:
    """Print how many runs of a study are finished, have failed and are missing.

    Args:
        out: the study's folder.

    Returns:
        A row an initialisation, encoder, pool and mode: planned, finished, failed.
    """
    folder = StudyFolder(Path(out))
    folder.read()
    planned, there, failures = read_planned(folder), folder.finished_runs(), folder.failures()
    failed = {run for failure in failures.values() for run in failure["runs"]} - there
    planned["finished"], planned["failed"] = planned["run"].isin(there), planned["run"].isin(failed)
    keys = ["initialisation", "encoder", "pool", "mode"]
    table = planned.groupby(keys, sort=False).agg(
        planned=("run", "size"), finished=("finished", "sum"), failed=("failed", "sum")
    )
    rows = [tuple(map(str, (*key, *counts))) for key, counts in zip(table.index, table.to_numpy(), strict=True)]
    _print(str(out), (*keys, *table.columns), rows)
    busy, wall = read_times(folder)
    say(f"{int(planned['finished'].sum())} of {len(planned)} runs finished; {duration(wall)}, {duration(busy)} of work")
    for failure in failures.values():
        warn(f"{failure['task']} failed: {failure['error']}")
    return table.reset_index()


def _kinds(tasks: list[Task], found: Estimate | None) -> Iterator[tuple[str, int, float]]:
    """Kinds of tasks with their number and seconds."""
    kinds: dict[str, list[Task]] = {}
    for task in tasks:
        kinds.setdefault(_kind(task), []).append(task)
    for kind, same in kinds.items():
        count = sum(len(task.runs) for task in same) or len(same)
        yield kind, count, sum(found.seconds[task.name] for task in same) if found else math.nan


def _kind(task: Task) -> str:
    if isinstance(task, PretrainTask):
        return f"pre-training {task.pretraining.name} ({task.pretraining.encoder})"
    if isinstance(task, FrozenTask):
        return f"{' and '.join(task.modes)} on frozen features ({task.start.encoder})"
    return f"fine-tuning ({task.start.encoder})"


def _print(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number < len(heads) - 2 else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
