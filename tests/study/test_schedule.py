"""The order of tasks: seed by seed, pre-trainings before what needs them, lost tasks again, nothing without its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonolearn.runs import read_json
from sonolearn.study.folder import StudyFolder
from sonolearn.study.grid import chosen
from sonolearn.study.plan import read_plan
from sonolearn.study.run import open_grid
from sonolearn.study.schedule import ATTEMPTS, Ended, Outcome, Schedule, missing_tasks
from sonolearn.study.tasks import FinetuneTask, FrozenTask, PretrainTask, Task
from study.small_study import write_plan


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> list[Task]:
    """All tasks of the small study, none done."""
    folder = tmp_path_factory.mktemp("schedule")
    grid = open_grid(read_plan(write_plan(folder / "plan.yaml", small_data)), StudyFolder(folder / "out"))
    return missing_tasks(grid, StudyFolder(folder / "out"), grid.downstream)


def needed(task: Task) -> str | None:
    made = None if isinstance(task, PretrainTask) else task.start.pretraining
    return made.run if made else None


def handed_out(schedule: Schedule) -> list[Task]:
    """All that can be done now."""
    found = []
    while task := schedule.next():
        found.append(task)
    return found


def test_every_run_is_in_one_task(tasks: list[Task]) -> None:
    runs = [run.run for task in tasks for run in task.runs]
    assert len(runs) == len(set(runs)) == 36
    assert len({task.name for task in tasks}) == len(tasks) == 4 + 6 + 12


def test_tasks_come_seed_by_seed_so_that_what_is_done_compares_all_starts(tasks: list[Task]) -> None:
    kinds = {PretrainTask: "P", FrozenTask: "F", FinetuneTask: "T"}
    order = "".join(f"{kinds[type(task)]}{task.seed} " for task in tasks)
    assert order == "P0 P0 F0 F0 F0 P1 P1 F1 F1 F1 " + "T0 " * 6 + "T1 " * 6
    for seed in (0, 1):
        names = {run.start.name for task in tasks if task.seed == seed for run in task.runs}
        assert names == {"random", "Barlow Twins"}


def test_one_fine_tuning_of_each_initialisation_of_the_main_comparison_is_explained(tasks: list[Task]) -> None:
    explained = [task for task in tasks if isinstance(task, FinetuneTask) and task.explain]
    assert [(t.start.name, t.start.pool, t.run.seed, t.run.fraction) for t in explained] == [
        ("random", "", 0, 1.0), ("Barlow Twins", "", 0, 1.0),
    ]  # fmt: skip


def test_what_needs_a_pretraining_waits_for_it_and_for_nothing_else(tasks: list[Task]) -> None:
    schedule = Schedule(tasks, ())
    first = handed_out(schedule)
    assert {task.name for task in first} == {task.name for task in tasks if needed(task) is None}
    made = next(task for task in first if isinstance(task, PretrainTask))
    assert schedule.ended(Ended(made, "done"))
    then = handed_out(schedule)
    assert {task.name for task in then} == {t.name for t in tasks if needed(t) == made.pretraining.run}
    assert schedule.left == len(tasks) - len(first) - len(then)


def test_a_lost_task_comes_again_first_but_not_for_ever(tasks: list[Task]) -> None:
    schedule = Schedule(tasks, ())
    task = schedule.next()
    assert task
    for _ in range(ATTEMPTS - 1):
        assert not schedule.ended(Ended(task, "lost"))
        assert schedule.next() is task
    assert schedule.ended(Ended(task, "lost"))
    assert task not in handed_out(schedule)


@pytest.mark.parametrize("outcome", ["failed", "lost"])
def test_what_waits_for_a_failed_pretraining_is_skipped(outcome: Outcome, tasks: list[Task]) -> None:
    schedule = Schedule(tasks, ())
    broken = schedule.next()
    assert isinstance(broken, PretrainTask)
    for _ in range(ATTEMPTS):
        if schedule.ended(Ended(broken, outcome)):
            break
        assert schedule.next() is broken
    waiting = {task.name for task in tasks if needed(task) == broken.pretraining.run}
    assert len(waiting) == 3
    rest = finish(schedule)
    assert rest == {task.name for task in tasks} - waiting - {broken.name}


def finish(schedule: Schedule) -> set[str]:
    """Do all that is left; the names."""
    done = set()
    while task := schedule.next():
        done.add(task.name)
        schedule.ended(Ended(task, "done"))
    assert schedule.left == 0
    return done


def test_what_failed_before_is_left_out_with_all_that_needs_it(tasks: list[Task]) -> None:
    made = tasks[0]
    assert isinstance(made, PretrainTask)
    fine = next(task for task in tasks if isinstance(task, FinetuneTask) and needed(task) is None)
    out = {made.name, fine.name} | {task.name for task in tasks if needed(task) == made.pretraining.run}
    assert finish(Schedule(tasks, {made.name, fine.name})) == {task.name for task in tasks} - out


@settings(max_examples=60)
@given(data=st.data())
def test_whatever_happens_every_task_ends_once_and_after_what_it_needs(data: st.DataObject, tasks: list[Task]) -> None:
    schedule, running = Schedule(tasks, ()), list[Task]()
    done, broken = set[str](), set[str]()
    begun: dict[str, int] = {}
    while True:
        while len(running) < 3 and (task := schedule.next()):
            assert needed(task) is None or needed(task) in done
            begun[task.name] = begun.get(task.name, 0) + 1
            running.append(task)
        if not running:
            break
        task = running.pop(data.draw(st.integers(0, len(running) - 1)))
        outcome: Outcome = data.draw(st.sampled_from(["done", "done", "failed", "lost"]))
        if schedule.ended(Ended(task, outcome)) and isinstance(task, PretrainTask):
            (done if outcome == "done" else broken).add(task.pretraining.run)
    assert schedule.left == 0
    assert max(begun.values()) <= ATTEMPTS
    assert set(begun) == {task.name for task in tasks if needed(task) not in broken}


# What is missing


def test_only_the_pretrainings_of_wanted_runs_are_made(small_data: Path, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out")
    grid = open_grid(read_plan(write_plan(tmp_path / "plan.yaml", small_data)), folder)
    wanted = chosen(grid.downstream, ["pool=few patients", "seed=1", "mode=knn"])
    found = missing_tasks(grid, folder, wanted)
    assert [type(task) for task in found] == [PretrainTask, FrozenTask]
    assert {run.run for task in found for run in task.runs} == {run.run for run in wanted}


def test_a_finished_study_lacks_nothing_and_a_deleted_part_only_itself(small_study: Path, tmp_path: Path) -> None:
    out = shutil.copytree(small_study, tmp_path / "out")
    folder = StudyFolder(out)
    grid = open_grid(read_plan(small_study.parent / "plan.yaml"), folder)
    assert missing_tasks(grid, folder, grid.downstream) == []
    made = grid.pretrainings[0]
    shutil.rmtree(folder.pretraining(made.run))
    run = next(run for run in grid.downstream if run.mode == "finetune")
    folder.run(run.run).unlink()
    found = missing_tasks(grid, folder, grid.downstream)
    assert [task.name for task in found] == [f"pretrain-{made.run}", f"finetune-{run.run}"]


def test_a_deleted_encoder_is_made_again_only_for_runs_that_are_missing(small_study: Path, tmp_path: Path) -> None:
    out = shutil.copytree(small_study, tmp_path / "out")
    folder = StudyFolder(out)
    grid = open_grid(read_plan(small_study.parent / "plan.yaml"), folder)
    encoders = {path.parent.name: path.read_bytes() for path in out.glob("pretrain/*/encoder.safetensors")}
    for path in out.glob("pretrain/*/encoder.safetensors"):
        path.unlink()
    assert missing_tasks(grid, folder, grid.downstream) == []
    run = next(run for run in grid.downstream if run.mode == "finetune" and run.start.pretraining)
    assert run.start.pretraining is not None
    made = run.start.pretraining.run
    before = read_json(folder.run(run.run))
    folder.run(run.run).unlink()
    found = missing_tasks(grid, folder, grid.downstream)
    assert [task.name for task in found] == [f"pretrain-{made}", f"finetune-{run.run}"]
    for task in found:
        task.perform(folder, 0)
    assert (folder.pretraining(made) / "encoder.safetensors").read_bytes() == encoders[made]
    assert {**read_json(folder.run(run.run)), "seconds": 0} == {**before, "seconds": 0}
