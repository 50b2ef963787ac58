"""What the runner of studies costs: planning, time between tasks, and two workers against one.

    python benchmarks/study_runner.py OUT [--study FOLDER] [--steps 60]

Makes a small phantom in OUT and prints one Markdown table. Needs a quiet machine with two cores or more. With --study
the share of a real study's time outside of its tasks is read from its timings.csv.
"""

from __future__ import annotations

import argparse
import copy
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sonolearn.config import EncoderConfig
from sonolearn.runs import machine
from sonolearn.study.folder import StudyFolder
from sonolearn.study.grid import Downstream, Grid, Start
from sonolearn.study.local import LocalEngine, Slot
from sonolearn.study.plan import read_plan, shipped
from sonolearn.study.run import open_grid
from sonolearn.study.schedule import Engine, Schedule, missing_tasks, read_timings
from sonolearn.study.tasks import FrozenTask, Task

PHANTOM = {
    "phantom": {"patients": 24, "labelled": 0.5, "scans": 1, "frames": 24, "stills": 10, "size": 128, "callipers": 0.0},
    "prepare": {"size": 72, "frame_skip": 1, "patient_pattern": r"PH\d+"},
}
SHORT, MANY = 0.05, 200
"""Seconds of a synthetic task, and how many."""
NOWHERE = Start("", "", "", EncoderConfig(), "random", 0)


@dataclass(frozen=True)
class Sleep:
    """A task of known length."""

    name: str
    seconds: float
    label: str = "sleep"
    runs: tuple[Downstream, ...] = ()
    start: Start = NOWHERE

    def perform(self, folder: StudyFolder, loaders: int) -> None:
        """Take the time."""
        time.sleep(self.seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--study", type=Path)
    parser.add_argument("--steps", type=int, default=60, help="steps of the trainings that two workers share")
    options = parser.parse_args()
    print(f"{machine()}\n\n| what | measured |\n|---|---|")
    rows = [*planning(options.out), *between_tasks(options.out), *two_workers(options.out, options.steps)]
    rows += real_study(options.study) if options.study else []
    for what, measured in rows:
        print(f"| {what} | {measured} |", flush=True)


def planning(out: Path) -> Iterator[tuple[str, str]]:
    """The shipped plan with so many seeds that it has 10,000 runs: listed, hashed, and found finished again."""
    file = write_plan(out, "many", seeds=38, initialisations={"random": {}})
    folder = StudyFolder(out / "data")
    open_grid(read_plan(file), folder)  # makes the phantom
    begun = time.perf_counter()
    grid = open_grid(read_plan(file), folder)
    runs = grid.downstream
    listed = time.perf_counter() - begun
    shutil.rmtree(out / "many", ignore_errors=True)
    (out / "many" / "runs").mkdir(parents=True)
    for run in runs:
        StudyFolder(out / "many").run(run.run).touch()
    begun = time.perf_counter()
    missing = [task for task in missing_tasks(grid, StudyFolder(out / "many"), runs) if task.runs]
    found = time.perf_counter() - begun
    assert missing == []
    yield f"list and hash {len(runs)} runs, {len(grid.pretrainings)} pre-trainings", f"{listed:.2f} s"
    yield "find them finished again", f"{found:.2f} s"


def between_tasks(out: Path) -> Iterator[tuple[str, str]]:
    """Workers' time that is not a task's: of the first tasks (imports), and of each later one."""
    begun = time.perf_counter()
    engine = started(out, workers=2)
    yield "start of two workers (imports), once a session", f"{time.perf_counter() - begun:.1f} s"
    tasks = [Sleep(f"sleep-{number}", SHORT) for number in range(MANY)]
    wall, busy = drive(engine, tasks)  # type: ignore[arg-type]
    engine.stop()
    each = (2 * wall - busy) / MANY
    yield f"a worker's time between two of {MANY} synthetic tasks", f"{1000 * each:.1f} ms"
    yield "that of tasks of 5 s, as a share of the workers' time", f"{each / (5 + each):.2%}"


def two_workers(out: Path, steps: int) -> Iterator[tuple[str, str]]:
    """The same pre-trainings and fine-tunings on one worker and on two, one thread each; imports not counted."""
    short = {"max_steps": steps, "valid_every": 1000}
    plan: dict[str, Any] = {
        "pools": {}, "seeds": 4, "fractions": [1.0], "modes": {"finetune": {}}, "initialisations": {"random": {}},
        "classify": {"batch_size": 32, "epochs": 1000, "max_steps": steps}, "methods": {"simclr": {}},
        "pretrain": {"batch_size": 64, "epochs": 100000, **short, "optimizer": {"warmup_steps": 2}},
        "encoders": {"narrow_resnet18": yaml.safe_load(shipped()["cpu"].read_text())["encoders"]["narrow_resnet18"]},
    }  # fmt: skip
    grid = open_grid(read_plan(write_plan(out, "two", **plan)), StudyFolder(out / "data"))
    walls = {}
    for workers in (1, 2):
        shutil.rmtree(out / f"workers-{workers}", ignore_errors=True)
        engine = started(out / f"workers-{workers}", workers)
        walls[workers], _ = drive(engine, tasks_of(grid, engine.folder))
        engine.stop()
    count = len(tasks_of(grid, StudyFolder(out / "nowhere")))
    yield f"{count} trainings of {steps} steps, one worker", f"{walls[1]:.1f} s"
    yield "the same, two workers", f"{walls[2]:.1f} s"
    yield "ratio", f"{walls[1] / walls[2]:.2f}"


def real_study(study: Path) -> Iterator[tuple[str, str]]:
    """Workers' time outside of tasks in a study that has run: imports, between tasks, waiting at the end."""
    table = read_timings(StudyFolder(study))
    for session, rows in table.groupby("session"):
        wall, workers = float((rows["start"] + rows["seconds"]).max()), int(rows["workers"].iloc[0])
        # Until the first tasks begin, workers import; after the last task is handed out, some wait for the others.
        ends = (rows["start"] + rows["seconds"]).nlargest(workers)
        waiting = workers * wall - float(ends.sum())
        idle = workers * wall - float(rows["seconds"].sum())
        yield f"session {session}: {len(rows)} tasks on {workers} workers", f"{wall:.0f} s"
        yield "share of the workers' time outside of tasks", f"{idle / (workers * wall):.2%}"
        yield "of which waiting for the last task", f"{waiting / (workers * wall):.2%}"


def write_plan(out: Path, name: str, **changes: Any) -> Path:
    """The shipped plan for two cores on a smaller phantom, with changes."""
    plan = copy.deepcopy(yaml.safe_load(shipped()["cpu"].read_text()))
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{name}.yaml"
    file.write_text(yaml.safe_dump({**plan, "data": PHANTOM, **changes}, sort_keys=False), encoding="utf-8")
    return file


def started(out: Path, workers: int) -> LocalEngine:
    """An engine whose workers have imported all."""
    engine = LocalEngine(StudyFolder(out), [Slot(threads=1, loaders=0)] * workers)
    for number in range(workers):
        engine.start(Sleep(f"warm-up-{number}", 0.0))  # type: ignore[arg-type]
    while engine.free < workers:
        engine.wait()
    return engine


def tasks_of(grid: Grid, folder: StudyFolder) -> list[Task]:
    """Pre-trainings and fine-tunings, the frozen ones left out."""
    return [task for task in missing_tasks(grid, folder, grid.downstream) if not isinstance(task, FrozenTask)]


def drive(engine: Engine, tasks: Sequence[Task]) -> tuple[float, float]:
    """Do all tasks as the runner does: wall seconds, and seconds inside tasks."""
    schedule, begun, running, busy = Schedule(tasks, ()), time.perf_counter(), 0, 0.0
    while True:
        while engine.free and (task := schedule.next()):
            engine.start(task)
            running += 1
        if not running:
            return time.perf_counter() - begun, busy
        for ended in engine.wait():
            assert ended.outcome == "done", ended.error
            schedule.ended(ended)
            busy += ended.seconds
            running -= 1


if __name__ == "__main__":
    main()
