"""`sonolearn study run`: everything of a plan that is not there yet, on processes of this machine or a Ray cluster.

Killed at any moment and started again, a study ends in the table that an undisturbed one has: each run is one file that
is whole or not there, and depends on nothing but what its name is the hash of.
"""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from sonolearn.config import ClassifyConfig, EncoderConfig
from sonolearn.config.study import StudyRunConfig
from sonolearn.console import Interrupted, ProgressBar, UserError, progress, say, warn
from sonolearn.planes.images import check_labels, parts_used
from sonolearn.planes.initialisation import Initialisation, find_overlap
from sonolearn.runs import alone_in, hash_of, hashed_settings, naming_disk_errors, plain, read_json, write_json, writing
from sonolearn.ssl.encoders import check_init
from sonolearn.store.prepare import prepare
from sonolearn.store.store import Store
from sonolearn.study.folder import StudyFolder
from sonolearn.study.grid import COLUMNS, Downstream, Grid, chosen
from sonolearn.study.local import LocalEngine, slots_here
from sonolearn.study.plan import Plan, read_plan
from sonolearn.study.results import WARNINGS, write_data, write_results
from sonolearn.study.schedule import Ended, Engine, Schedule, Timings, missing_tasks, stop_on_sigterm
from sonolearn.study.tasks import Task
from sonolearn_phantom import generate

ENCODER_OPTIONS = [option.name for option in dataclasses.fields(EncoderConfig)]


def open_grid(plan: Plan, folder: StudyFolder) -> Grid:
    """Open the stores of a plan; a phantom is made if there is none yet.

    Raises:
        UserError: a store is missing or damaged, has no labels or lacks a part.
    """
    labelled_path, unlabelled_paths = plan.data.labelled, plan.data.unlabelled
    if labelled_path is None:
        labelled_path, unlabelled_paths = _phantom(plan, folder)
    labelled = Store(labelled_path)
    check_labels(labelled, parts_used(*plan.modes.values()))
    unlabelled = [Store(path) for path in unlabelled_paths] if plan.methods else []
    if plan.methods and plan.data.labelled_frames:
        unlabelled.append(labelled)
    grid = Grid(plan, labelled, unlabelled)
    check_distinct(grid)
    return grid


def check_weights(plan: Plan) -> None:
    """Load every initialisation of a plan once, before any data are read.

    Raises:
        UserError: weights are missing, damaged, or of another architecture.
    """
    pretrainings = [config for method in plan.methods.values() for config in method.configs.values()]
    seen = {hash_of([dataclasses.asdict(config)[key] for key in ENCODER_OPTIONS]): config for config in pretrainings}
    for config in seen.values():
        check_init(config, config.image_size)
    for start in plan.starts.values():
        for encoder in start.encoders:
            check_init(dataclasses.replace(plan.encoders[encoder], init=start.init))


def check_distinct(grid: Grid) -> None:
    """Refuse a plan that names one training twice, or two trainings alike.

    Raises:
        UserError: names both.
    """
    keys: dict[str, str] = {}
    names: dict[str, str] = {}
    for start in grid.starts:
        pool = f", {start.pool}" if start.pool else ""
        seed = f", seed {start.seed}" if start.seed else ""
        name = f"{start.name} ({start.encoder}{pool}{seed})"
        file = f"{grid.plan.name}.yaml"
        if keys.setdefault(start.key, name) != name:
            raise UserError(f"{file}: {keys[start.key]} and {name} are the same training; take one out")
        if names.setdefault(name, start.key) != start.key:
            raise UserError(f"{file}: two different trainings are called {name}; rename one")


def fingerprints_of(grid: Grid) -> dict[str, str]:
    """What the study stands on: each store and a name of its content."""
    numbered = enumerate(grid.unlabelled, 1)
    stores = {f"unlabelled store {n} {store.path.resolve().name}": store.fingerprint for n, store in numbered}
    return {f"labelled store {grid.labelled.path.resolve().name}": grid.labelled.fingerprint, **stores}


def check_patients(grid: Grid) -> list[str]:
    """Sentences on patients who are in SSL data and in the validation or test part; each is said once.

    Raises:
        UserError: there are any, and the plan refuses them.
    """
    labels = grid.labelled.labels
    assert labels is not None  # `open_grid` has checked it
    sentences = [_shared(grid.labelled, labels, store) for store in grid.unlabelled if store is not grid.labelled]
    for name, start in grid.plan.starts.items():
        if start.init not in ("random", "imagenet"):
            backbone = dataclasses.asdict(grid.plan.encoders[start.encoders[0]])
            found = Initialisation(ClassifyConfig(**{**backbone, "init": start.init, "name": name}))
            # Weights from elsewhere name no patients: nothing to compare, and nothing to warn of for each of them.
            overlap = find_overlap(grid.labelled, labels, found)
            sentences.append(overlap["sentence"] if overlap["state"] == "overlap" else "")
    sentences = [sentence for sentence in sentences if sentence]
    if sentences and grid.plan.given.overlap == "refuse":
        raise UserError(f"{sentences[0]}; take their scans out of the store, or give overlap: warn in the plan")
    for sentence in sentences:
        warn(sentence)
    return sentences


def _shared(labelled: Store, labels: pd.DataFrame, store: Store) -> str:
    held_out = set(labels.loc[labels["split"] != "train", "patient"])
    names = sorted(held_out & set(store.patient_of_frame)) if store.key_id == labelled.key_id else []
    if not names:
        return ""
    one = len(names) == 1
    return (
        f"{store.path.resolve().name}: {len(names)} patient{'' if one else 's'} of the validation and test parts of "
        f"{labelled.path.resolve().name} {'has' if one else 'have'} scans that SSL learns from ({', '.join(names)}); "
        "such a test flatters SSL"
    )


def _phantom(plan: Plan, folder: StudyFolder) -> tuple[Path, tuple[Path, ...]]:
    """Make the plan's phantom and its stores, or go on making them."""
    assert plan.phantom is not None  # `read_plan` has checked it
    labelled, scans = folder.data / "labelled", folder.data / "scans"
    with alone_in(folder.data):
        made, wanted = folder.data / "complete.json", hash_of([hashed_settings(options) for options in plan.phantom])
        if made.exists() and read_json(made) != wanted:
            raise UserError(
                f"{folder.data}: holds the phantom of another plan; give another --out, or take data.phantom back"
            )
        if not made.exists():
            phantom, options = plan.phantom
            say(f"{folder.out}: making the phantom, {phantom.patients} made-up patients")
            generate(folder.data / "phantom", phantom)
            prepare([folder.data / "phantom" / "scans"], scans, None, options)
            prepare([], labelled, folder.data / "phantom" / "labels.csv", options)
            write_json(made, wanted)
    return labelled, (scans,)


def run_study(plan: Path, out: Path, config: StudyRunConfig) -> pd.DataFrame:
    """Run what is missing of a plan, and write the tables; the same call continues where it stopped.

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
        from sonolearn.study.on_ray import RayEngine

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
