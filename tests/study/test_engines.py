"""Engines: processes of this machine and Ray give the same table, whatever happens to a worker."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from sonolearn.config.study import StudyRunConfig
from sonolearn.console import UserError
from sonolearn.study import run as study_run
from sonolearn.study.folder import StudyFolder
from sonolearn.study.local import LocalEngine, Slot, slots_here
from sonolearn.study.on_ray import RayEngine
from sonolearn.study.run import run_study
from sonolearn.study.schedule import perform, read_timings
from study.small_study import HereEngine, table_of, write_plan

LITTLE: dict[str, Any] = {"pools": {}, "seeds": 1, "fractions": [1.0]}
"""5 tasks, 6 runs."""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    return write_plan(tmp_path_factory.mktemp("plan") / "plan.yaml", small_data, **LITTLE)


@dataclass(frozen=True)
class Errand:
    """A task for tests: writes its process id; sleeps, fails or dies as its name says."""

    name: str
    seconds: float = 0.0
    label: str = "errand"
    runs: tuple[Any, ...] = ()

    def perform(self, folder: StudyFolder, loaders: int) -> None:
        folder.out.mkdir(exist_ok=True, parents=True)
        (folder.out / f"{self.name}.pid").write_text(str(os.getpid()))
        print("begun", self.name)  # noqa: T201
        if "fails" in self.name:
            raise ValueError("as asked")
        if "disk" in self.name:
            raise OSError(28, "No space left on device")
        if "dies" in self.name:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)


# One task in this process


@pytest.mark.parametrize(
    ("name", "outcome", "error"),
    [("works", "done", ""), ("fails", "failed", "ValueError: as asked"), ("disk", "disk full", "the disk is full; ")],
)
def test_how_a_task_ends_is_told_and_what_it_prints_is_in_its_log(
    name: str, outcome: str, error: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # While pytest captures, Python's standard output is none of the process's.
    with capfd.disabled():
        ended = perform(StudyFolder(tmp_path / "out"), Errand(name), 0)  # type: ignore[arg-type]
    assert ended.outcome == outcome
    assert error in ended.error
    assert ("perform" in ended.trace) == (outcome == "failed")
    assert (tmp_path / "out" / "logs" / f"{name}.txt").read_text() == f"begun {name}\n"


# Processes of this machine


def test_cores_are_shared_out_among_workers() -> None:
    cores = len(os.sched_getaffinity(0))
    assert [slot.threads for slot in slots_here(1, None)] == [cores]
    assert [slot.threads for slot in slots_here(3 * cores, None)] == [1] * 3 * cores
    assert {slot.threads for slot in slots_here(None, 5)} == {5}


@pytest.mark.slow
def test_workers_do_tasks_survive_failures_and_are_replaced_when_they_die(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out")
    engine = LocalEngine(folder, [Slot(1, 0), Slot(1, 0)])
    assert engine.free == 2

    def do(*names: str) -> dict[str, str]:
        for name in names:
            engine.start(Errand(name))  # type: ignore[arg-type]
        ended = {}
        while len(ended) < len(names):
            ended |= {end.task.name: end.outcome for end in engine.wait()}
        return ended

    def process(name: str) -> int:
        return int((folder.out / f"{name}.pid").read_text())

    assert do("first", "dies") == {"first": "done", "dies": "lost"}
    # Idle workers may die as well: nobody's task is lost.
    (idle,) = [child for child in multiprocessing.active_children() if child.pid == process("first")]
    idle.kill()
    idle.join()
    assert do("second fails", "third") == {"second fails": "failed", "third": "done"}
    assert do("fourth") == {"fourth": "done"}
    living = {process("second fails"), process("third")}
    assert process("fourth") in living
    assert not living & {process("first"), process("dies")}
    engine.start(Errand("long", 300))  # type: ignore[arg-type]
    end = time.monotonic() + 60
    while not (folder.out / "long.pid").exists() and time.monotonic() < end:
        time.sleep(0.01)
    begun = time.monotonic()
    assert [ended.outcome for ended in engine.stop()] == ["stopped"]
    assert time.monotonic() - begun < 60
    for pid in living:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_engine_that_never_had_a_task_has_no_processes(tmp_path: Path) -> None:
    engine = LocalEngine(StudyFolder(tmp_path), [Slot(1, 0)] * 3)
    assert engine.stop() == []


# Ray


def test_ray_that_is_not_installed_is_answered_with_how_to_install_it(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError) as error:
        run_study(plan, tmp_path / "out", StudyRunConfig(engine="ray"))
    assert str(error.value) == "--engine ray: Ray is not installed; pip install 'sonolearn[ray]'"


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError) as error:
        RayEngine(StudyFolder(tmp_path), "127.0.0.1:1", None, None)
    assert str(error.value).startswith("--address 127.0.0.1:1: no Ray cluster answers there")
    assert "\n" not in str(error.value)


@pytest.fixture
def ray_on_two_cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray on two cores of this machine, which engines join; a parameter names what its workers call at their start."""
    ray = pytest.importorskip("ray")
    # Ray's workers give way to all others otherwise, and starve beside a test that computes.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    env = {
        "env_vars": {
            "PYTHONPATH": os.pathsep.join(str(Path(__file__).parents[up]) for up in (1, 2)),
            "OMP_NUM_THREADS": "1",
        }
    }
    if at_start := getattr(request, "param", None):
        env["worker_process_setup_hook"] = at_start
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000,
        runtime_env=env,
    )  # fmt: skip
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_on_two_cores")
@pytest.mark.parametrize("ray_on_two_cores", ["study.forked.first_task_dies"], indirect=True)
def test_ray_gives_the_table_that_other_engines_give_even_when_a_worker_is_lost(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_study(plan, tmp_path / "ray", StudyRunConfig(engine="ray", threads=1))
    rows = read_timings(StudyFolder(tmp_path / "ray"))
    assert rows["outcome"].value_counts().to_dict() == {"done": 5, "lost": 1}
    assert rows["workers"].unique().tolist() == [2]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(study_run, "make_engine", lambda folder, config: HereEngine(folder))
    run_study(plan, tmp_path / "here", StudyRunConfig())
    torch.set_num_threads(threads)
    pd.testing.assert_frame_equal(table_of(tmp_path / "ray"), table_of(tmp_path / "here"))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_on_two_cores")
def test_what_runs_on_ray_is_stopped_on_request(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out")
    engine = RayEngine(folder, None, None, None)
    assert engine.free == 2
    engine.start(Errand("fails"))  # type: ignore[arg-type]
    assert [ended.outcome for ended in engine.wait()] == ["failed"]
    engine.start(Errand("long", 300))  # type: ignore[arg-type]
    end = time.monotonic() + 60
    while not (folder.out / "long.pid").exists() and time.monotonic() < end:
        time.sleep(0.05)
    begun = time.monotonic()
    assert [ended.outcome for ended in engine.stop()] == ["stopped"]
    assert time.monotonic() - begun < 60
