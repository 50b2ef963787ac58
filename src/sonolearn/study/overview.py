"""`sonolearn study plan` and `study status`: what a study comes to, and how far it is."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from sonolearn.config import ClassifyConfig
from sonolearn.config.study import StudyPlanConfig
from sonolearn.console import UserError, duration, say, warn
from sonolearn.planes.finetune import MIXTURES, fit_finetune, length
from sonolearn.planes.head import HeldOut
from sonolearn.planes.images import LabelledImages, parts_used
from sonolearn.runs import naming_disk_errors
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.features import extract
from sonolearn.ssl.pretrain import pretrain
from sonolearn.study.folder import StudyFolder
from sonolearn.study.grid import Grid, Start
from sonolearn.study.local import slots_here
from sonolearn.study.plan import read_plan
from sonolearn.study.results import read_planned
from sonolearn.study.run import check_patients, open_grid
from sonolearn.study.schedule import missing_tasks, read_times
from sonolearn.study.tasks import FinetuneTask, FrozenTask, PretrainTask, Task, labelled_images, starting_from

STEPS = 5
"""Optimiser steps that are timed, after one that warms up."""
RECORD_BYTES = 4000
"""A downstream run's record without its predictions, about."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of each kind of task.

    Attributes:
        seconds: by name of the task; NaN where it could not be timed.
        reasons: why not, each once.
        bytes: that the results will take, the phantom and its stores not counted.
    """

    seconds: dict[str, float]
    reasons: list[str]
    bytes: int

    def wall(self, workers: int) -> float:
        """Seconds with this number at a time, if none has to wait long for another; NaN are left out."""
        return sum(value for value in self.seconds.values() if not math.isnan(value)) / workers


def estimate(grid: Grid, tasks: list[Task], threads: int) -> Estimate:
    """Time one task of each kind, and reckon the others from it.

    Args:
        grid: the study.
        tasks: those that are missing.
        threads: of torch in a worker.
    """
    timer = Timer(grid)
    seconds: dict[str, float] = {}
    reasons: dict[str, None] = {}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for task in tasks:
            try:
                seconds[task.name] = timer.seconds(task)
            except UserError as error:
                seconds[task.name] = math.nan
                reasons[str(error)] = None
    finally:
        torch.set_num_threads(before)
    return Estimate(seconds, list(reasons), _bytes(grid, tasks))


class Timer:
    """Seconds of tasks; what was timed once is reckoned for its like."""

    def __init__(self, grid: Grid) -> None:
        """Nothing is timed yet."""
        self.grid = grid
        self._pretrain: dict[tuple[str, str], tuple[float, float]] = {}
        self._finetune: dict[str, tuple[float, float]] = {}
        self._features: dict[str, float] = {}
        self._refused: dict[object, UserError] = {}

    def seconds(self, task: Task) -> float:
        """What a task will take.

        Raises:
            UserError: what it starts from cannot be had.
        """
        kind = (type(task).__name__, task.label if isinstance(task, PretrainTask) else task.start.key)
        if kind in self._refused:
            raise self._refused[kind]
        try:
            if isinstance(task, PretrainTask):
                return self._of_pretraining(task)
            return self._of_frozen(task) if isinstance(task, FrozenTask) else self._of_finetuning(task)
        except UserError as error:
            self._refused[kind] = error
            raise

    def _of_pretraining(self, task: PretrainTask) -> float:
        made = task.pretraining
        key = made.name, made.encoder
        if key not in self._pretrain:
            config = dataclasses.replace(made.config, max_steps=1 + STEPS, log_every=1, workers=0)
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                out = pretrain(task.stores, Path(folder) / "run", config)
                rows = pd.read_csv(out / "metrics.csv")
            steps = rows.loc[rows["part"] == "train", ["data_seconds", "compute_seconds"]].sum(axis=1)
            each = float(steps.iloc[1:].mean())
            self._pretrain[key] = each, time.perf_counter() - begun - float(steps.sum())
        each, fixed = self._pretrain[key]
        frames = sum(len(store) for store in self.grid.unlabelled)
        config = made.config
        steps_planned = min(config.max_steps or 2**62, config.epochs * max(1, frames // config.batch_size))
        return fixed + steps_planned * each

    def _of_finetuning(self, task: FinetuneTask) -> float:
        """Steps, and a look at the validation part every epoch."""
        key, config = task.start.encoder, task.config
        images = self._images(config)
        if key not in self._finetune:
            self._finetune[key] = time_finetuning(task, images, self._stand_in(task.start))
        each, look = self._finetune[key]
        steps, of_round = length(max(2, round(task.run.fraction * len(images.parts["train"]))), config)
        looks = math.ceil(steps / of_round) if config.head == "random" else len(MIXTURES)
        return steps * each + looks * look

    def _of_frozen(self, task: FrozenTask) -> float:
        """The features of all labelled images."""
        key, config = task.start.encoder, next(iter(task.modes.values()))
        images = self._images(config)
        if key not in self._features:
            encoder, card = starting_from(StudyFolder(Path()), self._stand_in(task.start), config).load(0)
            sample = images.frames("train")[:128]
            begun = time.perf_counter()
            extract(encoder, card, sample, make_fabric(config.accelerator, config.precision))
            self._features[key] = (time.perf_counter() - begun) / len(sample)
        return self._features[key] * sum(len(images.parts[part]) for part in parts_used(*task.modes.values()))

    def _stand_in(self, start: Start) -> Start:
        """Random weights take as long as pre-trained ones, which are not there yet."""
        return dataclasses.replace(start, init="random", pretraining=None) if start.pretraining else start

    def _images(self, config: ClassifyConfig) -> LabelledImages:
        return labelled_images(self.grid.labelled.path, config.image_size or self.grid.plan.given.image_size)


def time_finetuning(task: FinetuneTask, images: LabelledImages, start: Start) -> tuple[float, float]:
    """Seconds of an optimiser step, and of a look at the validation part (0 where it is not looked at)."""
    train, valid = images.parts["train"], images.parts["valid"]
    count = min(task.config.batch_size, len(train))
    subset = train.at(train.rows[:count])
    # A random head, so that nothing but steps and looks is timed.
    config = dataclasses.replace(task.config, epochs=3, min_steps=0, max_steps=None, workers=0, head="random")

    def seconds(looked_at: int) -> float:
        encoder, card = starting_from(StudyFolder(Path()), start, config).load(0)
        held_out = HeldOut(torch.from_numpy(images.frames("valid")[:looked_at]), valid.targets[:looked_at])
        stamps = [time.perf_counter()]
        fit_finetune(
            encoder, card, (images.frames("train")[:count], subset), held_out if looked_at else None,
            len(images.planes), config, 0, make_fabric(config.accelerator, config.precision),
            lambda: stamps.append(time.perf_counter()),
        )  # fmt: skip
        return (stamps[-1] - stamps[1]) / (len(stamps) - 2)

    step = seconds(0)
    return step, max(0.0, seconds(len(valid)) - step) if config.valid == "whole" else 0.0


def _bytes(grid: Grid, tasks: list[Task]) -> int:
    """Encoders, records and predictions."""
    weights: dict[str, int] = defaultdict(int)
    for task in tasks:
        if isinstance(task, PretrainTask) and task.pretraining.encoder not in weights:
            backbone = grid.plan.encoders[task.pretraining.encoder]
            config = ClassifyConfig(**{**dataclasses.asdict(backbone), "init": "random"})
            encoder, _ = starting_from(StudyFolder(Path()), _random(task.pretraining.encoder, config), config).load(0)
            weights[task.pretraining.encoder] = sum(4 * p.numel() for p in encoder.parameters())
    encoders = sum(weights[task.pretraining.encoder] for task in tasks if isinstance(task, PretrainTask))
    labels = grid.labelled.labels
    test = 0 if labels is None else int((labels["split"] == "test").sum())
    # A record in base64, and a row of each prediction in the tables.
    record = RECORD_BYTES + 2 * test * (1 + 2 * len(grid.labelled.planes))
    return encoders + record * sum(len(task.runs) for task in tasks)


def _random(encoder: str, config: ClassifyConfig) -> Start:
    return Start("", "random", encoder, config, "random", 0)


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
