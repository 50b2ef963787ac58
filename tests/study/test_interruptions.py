"""A study that is killed, interrupted or short of disk, at whatever moment, ends in the table of an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.killing.forked import group
from sonolearn.study.folder import StudyFolder
from sonolearn.study.schedule import read_timings
from study.forked import Forked, Forks
from study.small_study import PLAN, merged, table_of, write_plan

PRETRAIN = merged(PLAN["pretrain"], checkpoint_minutes=1e-6)
LITTLE = {"pools": {}, "seeds": 1, "fractions": [1.0], "pretrain": PRETRAIN}
"""A pre-training with a checkpoint after every step, two frozen encoders, two fine-tunings: 6 runs."""
WORKERS = ["--workers", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    started = Forks()
    yield started
    started.close()


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    return write_plan(tmp_path_factory.mktemp("plan") / "plan.yaml", small_data, **LITTLE)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, plan: Path, forks: Forks) -> pd.DataFrame:
    """The table that all studies of the plan should end in."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert forks.run(plan, "--out", folder / "out", *WORKERS, log=folder / "log") == 0, (folder / "log").read_text()
    assert len(table_of(folder / "out")) == 6
    return table_of(folder / "out")


def finished(study: Path, undisturbed: pd.DataFrame) -> bool:
    """Whether a study ended as it should: no failure, the same table."""
    pd.testing.assert_frame_equal(table_of(study), undisturbed)
    assert StudyFolder(study).failures() == {}
    return True


@pytest.mark.slow
def test_a_study_killed_at_twenty_moments_ends_in_the_same_table(
    plan: Path, forks: Forks, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    # A third of the kills falls into the first moments: reading the plan, claiming the folder, starting workers.
    delays = np.where(rng.random(20) < 1 / 3, rng.uniform(0, 0.3, 20), rng.uniform(0.3, 4, 20))
    kills, studies = 0, 0
    while kills < 20:
        out, studies, alive = tmp_path / str(studies), studies + 1, True
        while kills < 20 and alive:
            runner = forks.start(plan, "--out", out, *WORKERS, log=tmp_path / "log")
            end = time.monotonic() + delays[kills]
            while time.monotonic() < end and alive:
                alive = runner.pid in group(runner.pid)
                time.sleep(0.005)
            if alive:
                runner.kill()
                kills += 1
            else:
                assert runner.wait() == 0, runner.said
        assert forks.run(plan, "--out", out, *WORKERS, log=tmp_path / "log") == 0, (tmp_path / "log").read_text()
        assert finished(out, undisturbed)


def test_a_runner_killed_at_each_of_its_writes_ends_in_the_same_table(
    plan: Path, forks: Forks, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    """Killed when the n-th file is written but has no name yet, n = 1, 2, ...; it goes on every time."""
    out, number, code = tmp_path / "out", 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        number += 1
        runner = forks.start(
            plan, "--out", out, *WORKERS, log=tmp_path / "log", fault="runner_dies_at_write", at=number
        )
        code = runner.wait()
        runner.leave_nothing()
    assert code == 0, (tmp_path / "log").read_text()
    # study.json, warnings, data.json, images.csv, planned.csv, timings.csv, the three tables.
    assert number >= 9
    assert finished(out, undisturbed)


@pytest.mark.parametrize("write", [1, 2, 4])
def test_a_worker_killed_in_the_middle_of_a_write_is_replaced_and_its_task_begun_again(
    write: int, plan: Path, forks: Forks, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = [plan, "--out", out, *WORKERS]
    assert forks.run(*words, log=tmp_path / "log", fault="every_task_dies_once", at=write) == 0
    rows = read_timings(StudyFolder(out))
    lost = rows.loc[rows["outcome"] == "lost", "task"]
    # A fine-tuning writes a record and perhaps a sheet, a pre-training many files.
    assert {name.split("-")[0] for name in lost} == {1: {"pretrain", "frozen", "finetune"}}.get(
        write, {"pretrain", "frozen", "finetune"} if write == 2 else {"pretrain"}
    )
    assert not lost.duplicated().any()
    assert "its process died (exit code -9); was the memory enough? It is begun again" in (tmp_path / "log").read_text()
    assert finished(out, undisturbed)


def test_a_task_under_which_three_workers_die_has_failed(plan: Path, forks: Forks, tmp_path: Path) -> None:
    out, words = tmp_path / "out", ["--only", "initialisation=random", "mode=finetune,knn"]
    assert forks.run(plan, "--out", out, *WORKERS, *words, log=tmp_path / "log", fault="fine_tuning_always_dies") == 0
    rows = read_timings(StudyFolder(out))
    assert rows.loc[rows["task"].str.startswith("finetune"), "outcome"].tolist() == ["lost"] * 3
    (failed,) = StudyFolder(out).failures().values()
    assert failed["error"] == "its process died (exit code -9); was the memory enough?"
    assert table_of(out)["mode"].tolist() == ["knn"]
    assert forks.run(plan, "--out", out, *WORKERS, *words, "--retry_failed", "true", log=tmp_path / "log") == 0
    assert table_of(out)["mode"].tolist() == ["finetune", "knn"]
    assert StudyFolder(out).failures() == {}


@pytest.mark.slow
def test_a_command_killed_twice_ends_in_the_same_table(plan: Path, undisturbed: pd.DataFrame, tmp_path: Path) -> None:
    """The command itself, whose workers are spawned: killed in the pre-training, and at the first record."""
    out, log = tmp_path / "out", tmp_path / "log"
    command = [sys.executable, "-m", "sonolearn", "study", "run", str(plan), "--out", str(out), *WORKERS]

    def start() -> subprocess.Popen[bytes]:
        with log.open("wb") as file:
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            return subprocess.Popen(command, stdout=file, stderr=file, env=env, start_new_session=True)

    for trace in ("pretrain/*/metrics.csv", "runs/*.json"):
        process = start()
        end = time.monotonic() + 200
        while not any(out.glob(trace)) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        assert process.poll() is None, log.read_text()
        process.kill()
        process.wait()
        Forked(process.pid, log, None).leave_nothing()
    assert start().wait() == 0, log.read_text()
    assert finished(out, undisturbed)


# Ctrl-C


KNN = [*WORKERS, "--only", "mode=knn"]


@pytest.fixture(scope="module")
def long_plan(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """A pre-training that lasts until it is interrupted."""
    long = merged(PLAN["pretrain"], max_steps=40)
    folder = tmp_path_factory.mktemp("long")
    return write_plan(folder / "plan.yaml", small_data, **{**LITTLE, "pretrain": long}, initialisations={})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, long_plan: Path, forks: Forks) -> pd.DataFrame:
    """The table of that plan."""
    folder = tmp_path_factory.mktemp("whole")
    assert forks.run(long_plan, "--out", folder / "out", *KNN, log=folder / "log") == 0, (folder / "log").read_text()
    return table_of(folder / "out")


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "Ctrl-C twice"])
def test_a_study_that_is_interrupted_says_so_leaves_no_worker_and_goes_on(
    how: str, forks: Forks, long_plan: Path, whole: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = [long_plan, "--out", out, *KNN]
    runner = forks.start(*words, log=tmp_path / "log")
    runner.until(lambda: any(",train," in path.read_text() for path in out.glob("pretrain/*/metrics.csv")))
    interrupt(runner, how)
    assert runner.wait() == 130, runner.said
    runner.leave_nothing()
    said = [line for line in runner.said.splitlines() if line.startswith("sonolearn: ")]
    assert "Traceback" not in runner.said
    assert len(said) == 1
    if how != "Ctrl-C twice":
        assert said == [f"sonolearn: {out}: stopped; run the same command again to continue"]
        assert len(list(out.glob("pretrain/*/checkpoint.pt"))) == 1
        rows = read_timings(StudyFolder(out))
        assert rows.empty or (rows["outcome"] == "done").all()
        assert len(table_of(out)) == len(list(out.glob("runs/*.json")))
    assert forks.run(*words, log=tmp_path / "log") == 0
    pd.testing.assert_frame_equal(table_of(out), whole)


def interrupt(runner: Forked, how: str) -> None:
    """As a terminal does, which sends Ctrl-C to all, or SLURM, which may send SIGTERM to the runner alone."""
    if how == "SIGTERM":
        os.kill(runner.pid, signal.SIGTERM)
        return
    os.killpg(runner.pid, signal.SIGINT)
    if how == "Ctrl-C twice":
        time.sleep(0.05)
        # The first may have been enough.
        with suppress(ProcessLookupError):
            os.killpg(runner.pid, signal.SIGINT)


# Two at once


def test_a_second_runner_waits_for_the_first_and_both_end_well(
    plan: Path, forks: Forks, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    runners = [forks.start(plan, "--out", out, *WORKERS, log=tmp_path / f"log{n}") for n in range(2)]
    assert [runner.wait() for runner in runners] == [0, 0]
    waited = [f"{out}: another sonolearn works there; waiting until it ends" in r.said for r in runners]
    assert sorted(waited) == [False, True]
    assert finished(out, undisturbed)
    # Each task was done once: the second found nothing left.
    assert len(read_timings(StudyFolder(out))) == 5


# Disks


@pytest.mark.parametrize("size", [900, 5_000, 60_000])
def test_a_full_disk_stops_with_one_sentence_and_the_study_goes_on_when_there_is_space(
    size: int, plan: Path, forks: Forks, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    """900 bytes do not hold study.json, 5,000 no sheet and no encoder, 60,000 no checkpoint."""
    out, log = tmp_path / "out", tmp_path / "log"
    assert forks.run(plan, "--out", out, *WORKERS, log=log, fault="small_disk", at=size) == 2, log.read_text()
    said = log.read_text()
    (line,) = [line for line in said.splitlines() if line.startswith("sonolearn: ")]
    assert line.startswith(f"sonolearn: {out}")
    assert line.endswith("the disk is full; free some space and run the same command again to continue")
    assert "Traceback" not in said
    assert StudyFolder(out).failures() == {}
    assert forks.run(plan, "--out", out, *WORKERS, log=log) == 0, log.read_text()
    assert finished(out, undisturbed)
