"""`sonolearn study run`: everything of a plan that is not there yet, on processes of this machine or a Ray cluster.

Killed at any moment and started again, a study ends in the table that an undisturbed one has: each run is one file that
is whole or not there, and depends on nothing but what its name is the hash of.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from sonolearn.config.study import StudyRunConfig
from sonolearn.console import Interrupted, ProgressBar, UserError, progress, say, warn
from sonolearn.runs import alone_in, naming_disk_errors, plain, write_json, writing
from sonolearn.study.engines.engine import Ended, Engine, stop_on_sigterm
from sonolearn.study.engines.local import LocalEngine, slots_here
from sonolearn.study.folder import StudyFolder
from sonolearn.study.grid import COLUMNS, Downstream, chosen
from sonolearn.study.opening import check_patients, check_weights, fingerprints_of, open_grid
from sonolearn.study.plan import read_plan
from sonolearn.study.results import WARNINGS, write_data, write_results
from sonolearn.study.schedule import Schedule, missing_tasks
from sonolearn.study.tasks import Task
from sonolearn.study.timings import Timings


def run_study(plan: Path, out: Path, config: StudyRunConfig) -> pd.DataFrame:
    """Run what is missing of a plan, and write the tables; the same call goes on where it stopped.

    Args:
        plan: a YAML file, or the name of a shipped plan.
        out: the study's folder.
        config: where data lie, how much at a time, which runs.

    Returns:
        results.parquet: a row a finished downstream run.

    Raises:
        UserError: a mistake in the plan, a store that changed, a full disk. What failed in training is recorded
            instead, and the others go on.
        Interrupted: Ctrl-C or SIGTERM; what was finished is in the tables, and pre-trainings have a checkpoint.
    """
    asked, folder = read_plan(plan, config), StudyFolder(Path(out))
    with alone_in(folder.out), naming_disk_errors(folder.out), interrupted_by_sigterm():
        check_weights(asked)
        grid = open_grid(asked, folder)
        folder.claim(plain(asked.given), fingerprints_of(grid))
        write_json(folder.out / WARNINGS, check_patients(grid))
        write_data(folder, grid.labelled)
        write_planned(folder, grid.downstream)
        wanted = chosen(grid.downstream, config.only)
        tasks = missing_tasks(grid, folder, wanted)
        failed = _failed_before(folder, tasks, config.retry_failed)
        schedule = Schedule(tasks, failed)
        if tasks:
            there = len(wanted) - sum(len(task.runs) for task in tasks)
            try:
                Runner(folder, schedule, make_engine(folder, config)).run(there, len(wanted))
            except Interrupted:
                write_results(folder)
                raise
        table = write_results(folder)
    _say_end(folder, wanted)
    return table


class Runner:
    """Keeps an engine busy until nothing is left."""

    def __init__(self, folder: StudyFolder, schedule: Schedule, engine: Engine) -> None:
        """Begin a session."""
        self.folder, self.schedule, self.engine = folder, schedule, engine
        self.timings = Timings(folder, engine.free, time.time())
        self.running: dict[str, tuple[Task, float]] = {}

    def run(self, there: int, wanted: int) -> None:
        """Work off the schedule; the bar counts downstream runs, from those that need no task to all `wanted`."""
        try:
            with progress("study", wanted) as bar:
                bar.resume(there)
                while self._fill(bar) or self.running:
                    for ended in self.engine.wait():
                        self._take(ended, bar)
        except KeyboardInterrupt as error:
            self._stop()
            raise Interrupted(f"{self.folder.out}: stopped; run the same command again to continue") from error
        except BaseException:
            self._stop()
            raise
        self.engine.stop()

    def _fill(self, bar: ProgressBar) -> bool:
        """Give every free worker a task; whether there was any."""
        given = False
        while self.engine.free and (task := self.schedule.next()):
            self.engine.start(task)
            self.running[task.name] = task, time.time()
            given = True
        bar.describe("; ".join(task.label for task, _ in list(self.running.values())[:3]) or "study")
        return given

    def _take(self, ended: Ended, bar: ProgressBar) -> None:
        """Note how a task ended, and record what went wrong."""
        task, begun = self.running.pop(ended.task.name)
        self.timings.add(ended, begun)
        final = self.schedule.ended(ended)
        if ended.outcome == "done":
            bar.advance(len(task.runs))
        elif ended.outcome == "disk full":
            raise UserError(ended.error)
        elif ended.outcome == "stopped":
            raise KeyboardInterrupt
        elif final:
            record_failure(self.folder, ended)
            warn(f"{task.label} failed: {ended.error}")
        else:
            warn(f"{task.label}: {ended.error} It is begun again")

    def _stop(self) -> None:
        try:
            say(f"{self.folder.out}: stopping; pre-trainings write their checkpoint")
        finally:
            # Even if Ctrl-C is pressed again meanwhile: Python would wait for ever for workers that nobody ends.
            self.engine.stop()


def make_engine(folder: StudyFolder, config: StudyRunConfig) -> Engine:
    """The engine that the options name."""
    if config.engine == "ray":
        from sonolearn.study.engines.ray import RayEngine

        return RayEngine(folder, config.address, config.workers, config.threads)
    return LocalEngine(folder, slots_here(config.workers, config.threads))


def record_failure(folder: StudyFolder, ended: Ended) -> None:
    """Write what is known of a task that failed."""
    runs = [run.run for run in ended.task.runs]
    entry = {"task": ended.task.label, "error": ended.error, "trace": ended.trace, "runs": runs}
    write_json(folder.failure(ended.task.name), entry)


def write_planned(folder: StudyFolder, runs: list[Downstream]) -> None:
    """planned.csv: what the plan comes to, for status and report."""
    rows = [{"run": run.run, **run.columns} for run in runs]
    with writing(folder.out / "planned.csv") as temporary:
        pd.DataFrame(rows, columns=["run", *COLUMNS]).to_csv(temporary, index=False)


def _failed_before(folder: StudyFolder, tasks: list[Task], retry: bool) -> set[str]:
    """Names of missing tasks that have failed; to try them again their records are taken away."""
    failed = set(folder.failures()) & {task.name for task in tasks}
    if retry:
        for name in failed:
            folder.failure(name).unlink()
        return set()
    return failed


def _say_end(folder: StudyFolder, wanted: list[Downstream]) -> None:
    there, failures = folder.finished_runs(), folder.failures()
    missing = sum(run.run not in there for run in wanted)
    tables = f"tables: {folder.out / 'results.csv'}; page: sonolearn study report {folder.out}"
    if missing:
        trainings = f"{len(failures)} training{'' if len(failures) == 1 else 's'} failed"
        lost = f"{missing} of {len(wanted)} runs are not there, {trainings}"
        say(f"{folder.out}: {lost}; see failed/, and --retry-failed to try them again")
    say(f"{folder.out}: {len(wanted) - missing} of {len(wanted)} runs finished; {tables}")


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """While open, SIGTERM (SLURM's warning) is taken for Ctrl-C."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        stop_on_sigterm()
    except ValueError:
        # Outside the main thread (a notebook's kernel) signals are left alone.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
