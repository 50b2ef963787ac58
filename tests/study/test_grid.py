"""The runs of a plan: their names are hashes of all that determines them and of nothing else."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

import stores
from planes.labelled_store import write_store
from sonolearn.config import ViewsConfig
from sonolearn.config.study import StudyDataConfig
from sonolearn.console import UserError
from sonolearn.runs import NOT_HASHED
from sonolearn.study.folder import StudyFolder
from sonolearn.study.grid import Grid
from sonolearn.study.plan import read_plan
from sonolearn.study.run import open_grid
from sonolearn.study.schedule import missing_tasks
from study.small_study import PLAN, merged, write_plan

BARLOW = PLAN["methods"]["barlow_twins"]


def grid_of(file: Path, here: StudyDataConfig | None = None) -> Grid:
    return open_grid(read_plan(file, here), StudyFolder(file.parent / "out"))


def grid(folder: Path, data: Path, **changes: Any) -> Grid:
    return grid_of(write_plan(folder / "plan.yaml", data, **changes))


def by_columns(grid: Grid) -> dict[tuple[Any, ...], str]:
    return {tuple(run.columns.values()): run.run for run in grid.downstream}


def test_a_hash_is_the_same_in_every_process(small_data: Path, tmp_path: Path) -> None:
    file = write_plan(tmp_path / "plan.yaml", small_data)
    script = (
        "import sys, json; from pathlib import Path; from sonolearn.study.plan import read_plan\n"
        "from sonolearn.study.run import open_grid; from sonolearn.study.folder import StudyFolder\n"
        f"grid = open_grid(read_plan(Path({str(file)!r})), StudyFolder(Path('nowhere')))\n"
        "print(json.dumps([run.run for run in grid.downstream]))"
    )
    # Python's own hashes and the order of sets differ from process to process.
    env = {"PYTHONHASHSEED": "3", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=True)
    assert json.loads(done.stdout) == [run.run for run in grid_of(file).downstream]


def test_all_hashes_of_a_plan_differ(small_data: Path, tmp_path: Path) -> None:
    found = grid(tmp_path, small_data)
    assert len({run.run for run in found.downstream}) == len(found.downstream) == len(by_columns(found))


# What changes a hash


PRETRAIN = PLAN["pretrain"]


@pytest.mark.parametrize(
    ("changes", "which"),
    [
        ({"pretrain": merged(PRETRAIN, batch_size=16)}, "pretrained"),
        ({"pretrain": merged(PRETRAIN, max_steps=4)}, "pretrained"),
        ({"pretrain": merged(PRETRAIN, valid_patients=0.3)}, "pretrained"),
        ({"methods": {"barlow_twins": merged(BARLOW, views={"flip": 0.0})}}, "pretrained"),
        ({"methods": {"barlow_twins": merged(BARLOW, optimizer={"lr": 0.1})}}, "pretrained"),
        ({"methods": {"barlow_twins": merged(BARLOW, barlow_twins={"projector": [8]})}}, "pretrained"),
        ({"methods": {"barlow_twins": {"method": "vicreg", "optimizer": {"warmup_steps": 1}}}}, "pretrained"),
        ({"pools": {"few patients": {"patients": 2, "frames": 16}}}, "pool"),
        ({"pools": {"few patients": {"patients": 3, "frames": 17}}}, "pool"),
        ({"pools": {"few patients": {"patients": 3, "frames": 16, "patients_per_batch": 4}}}, "pool"),
        ({"encoders": {"small": {"encoder": "test_resnet", "small_stem": True}}}, "all"),
        ({"encoders": {"small": {"encoder": "test_vit"}}}, "all"),
        ({"image_size": 40}, "all"),
        ({"classify": merged(PLAN["classify"], batch_size=8)}, "all"),
        ({"classify": merged(PLAN["classify"], precision="bf16-mixed")}, "all"),
        ({"modes": merged(PLAN["modes"], finetune={"lr": 0.01})}, "finetune"),
        ({"modes": merged(PLAN["modes"], knn={"neighbours": 5})}, "knn"),
        ({"modes": merged(PLAN["modes"], linear={"solver": "adamw"})}, "linear"),
    ],
)  # fmt: skip
def test_an_option_changes_the_hashes_of_the_runs_that_depend_on_it_and_no_others(
    changes: dict[str, Any], which: str, small_data: Path, tmp_path: Path
) -> None:
    before, after = by_columns(grid(tmp_path, small_data)), by_columns(grid(tmp_path, small_data, **changes))
    for columns, run in before.items():
        name, _, pool, mode, _, _ = columns
        depends = {"pretrained": name == "Barlow Twins", "pool": pool != "", "all": True}.get(which, mode == which)
        assert (after[columns] != run) == depends, columns


@pytest.mark.parametrize(
    "changes",
    [
        {"pretrain": merged(PRETRAIN, log_every=5)},
        {"pretrain": merged(PRETRAIN, checkpoint_minutes=1.0, workers=1, accelerator="auto")},
        {"classify": merged(PLAN["classify"], workers=2, accelerator="auto")},
        {"title": "Another title"},
        {"overlap": "refuse"},
        {"modes": dict(reversed(PLAN["modes"].items()))},
        # Options of a method that is not in use.
        {"methods": {"barlow_twins": merged(BARLOW, moco={"queue": 512})}},
    ],
)
def test_what_changes_no_result_changes_no_hash(changes: dict[str, Any], small_data: Path, tmp_path: Path) -> None:
    assert by_columns(grid(tmp_path, small_data, **changes)) == by_columns(grid(tmp_path, small_data))


def test_every_option_of_a_mode_but_those_that_change_no_result_is_in_the_hash(
    small_data: Path, tmp_path: Path
) -> None:
    found = grid(tmp_path, small_data)
    config = found.plan.modes["linear"]
    others: dict[str, Any] = {
        "recipe": "adapt", "encoder": "test_vit", "encoder_args": {"a": 1}, "small_stem": True, "mode": "knn",
        "image_size": 64, "valid": "within", "head": "logistic", "min_steps": 9, "schedule": "cosine", "warmup": 0.5,
        "layer_decay": 0.5, "average": 0.5, "mixture": 0.25, "views": ViewsConfig(flip=0.25),
        "epochs": 9, "max_steps": 9, "batch_size": 9, "lr": 0.5, "weight_decay": 0.5, "dropout": 0.25,
        "standardise": "none", "solver": "adamw", "regularisations": (1.0,), "neighbours": 9, "temperature": 0.5,
        "precision": "bf16-mixed", "draw": "suggested", "spread_labels": "always",
    }  # fmt: skip
    # The grid sets these; each is in the hash of its own right.
    grids_own = {"init", "fractions", "seeds"}
    assert {field.name for field in dataclasses.fields(config)} - NOT_HASHED - grids_own == set(others)
    for name, value in others.items():
        modes = {**found.plan.modes, "linear": dataclasses.replace(config, **{name: value})}
        changed = Grid(dataclasses.replace(found.plan, modes=modes), found.labelled, found.unlabelled)
        pairs = zip(found.downstream, changed.downstream, strict=True)
        assert all((one.run != other.run) == (one.mode == "linear") for one, other in pairs), name


def test_another_labelled_store_changes_every_classifier_and_no_pretraining(small_data: Path, tmp_path: Path) -> None:
    write_store(tmp_path / "other", stills=3)
    file = write_plan(tmp_path / "plan.yaml", small_data)
    one, other = grid_of(file), grid_of(file, StudyDataConfig(labelled=tmp_path / "other"))
    assert not {run.run for run in one.downstream} & {run.run for run in other.downstream}
    assert [made.run for made in one.pretrainings] == [made.run for made in other.pretrainings]


def test_other_scans_change_the_pretrained_alone(small_data: Path, tmp_path: Path) -> None:
    scans = stores.write_store(tmp_path / "new" / "scans", patients=6, frames=8, size=40, seed=7)
    file = write_plan(tmp_path / "plan.yaml", small_data)
    one, other = by_columns(grid_of(file)), by_columns(grid_of(file, StudyDataConfig(unlabelled=(str(scans),))))
    assert all((one[columns] == other[columns]) == (columns[0] == "random") for columns in one)


def test_weights_are_named_by_their_bytes_wherever_they_lie(small_data: Path, tmp_path: Path) -> None:
    import numpy as np

    def hashes(path: Path, value: float) -> dict[tuple[Any, ...], str]:
        path.parent.mkdir(exist_ok=True)
        save_file({"weight": np.full(3, value, np.float32)}, path)
        file = write_plan(tmp_path / "plan.yaml", small_data, initialisations={"ours": {}}, methods={}, pools={})
        return by_columns(grid_of(file, StudyDataConfig(weights=(f"ours={path}",))))

    first = hashes(tmp_path / "a" / "one.safetensors", 1.0)
    assert hashes(tmp_path / "b" / "two.safetensors", 1.0) == first
    changed = hashes(tmp_path / "a" / "one.safetensors", 2.0)
    assert not set(changed.values()) & set(first.values())


# What a plan may grow by


@pytest.mark.parametrize(
    "changes", [{"seeds": 3}, {"fractions": [0.25, 0.5, 1.0]}, {"seeds": 4, "fractions": [1, 0.5, 0.1]}]
)
def test_a_plan_that_grows_keeps_all_hashes(changes: dict[str, Any], small_data: Path, tmp_path: Path) -> None:
    before, after = by_columns(grid(tmp_path, small_data)), by_columns(grid(tmp_path, small_data, **changes))
    assert before.items() < after.items()


def test_methods_pools_modes_and_initialisations_may_be_added(small_data: Path, tmp_path: Path) -> None:
    less = by_columns(grid(tmp_path, small_data, pools={}, modes={"knn": PLAN["modes"]["knn"]}, initialisations={}))
    more = {"methods": {**PLAN["methods"], "vicreg": {"optimizer": {"warmup_steps": 1}}}}
    assert less.items() < by_columns(grid(tmp_path, small_data, **more)).items()


# What is shared


def test_a_pretraining_serves_all_modes_and_fractions_of_its_seed(small_data: Path, tmp_path: Path) -> None:
    found = grid(tmp_path, small_data)
    uses = Counter(run.start.pretraining.run for run in found.downstream if run.start.pretraining)
    assert set(uses.values()) == {3 * 2}
    assert set(uses) == {made.run for made in found.pretrainings}
    assert all(run.start.seed == run.seed for run in found.downstream)


@pytest.mark.parametrize("pretrain_seeds", [1, 2, 3, 7])
def test_seeds_share_fewer_pretrainings_in_turn(pretrain_seeds: int, small_data: Path, tmp_path: Path) -> None:
    found = grid(tmp_path, small_data, seeds=5, pretrain_seeds=pretrain_seeds)
    made = min(pretrain_seeds, 5)
    assert len(found.pretrainings) == 2 * made
    for run in found.downstream:
        assert run.start.seed == (run.seed % made if run.start.pretraining else run.seed)
    assert len(found.downstream) == (1 + 2) * 3 * 2 * 5


def test_each_pretraining_seed_draws_another_pool(small_data: Path, tmp_path: Path) -> None:
    found = [made for made in grid(tmp_path, small_data).pretrainings if made.pool]
    assert [made.config.pool.seed for made in found] == [made.config.seed for made in found] == [0, 1]
    assert {made.config.pool.patients for made in found} == {3}


def test_two_entries_that_mean_the_same_are_refused(small_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        grid(tmp_path, small_data, initialisations={"random": {}, "scratch": {"init": "random"}})
    assert str(error.value) == "plan.yaml: random (small) and scratch (small) are the same training; take one out"
    with pytest.raises(UserError, match=r"few patients.* and .*three.* are the same training; take one out"):
        grid(tmp_path, small_data, pools={"few patients": {"patients": 3}, "three": {"patients": 3}})
    methods = {"barlow_twins": BARLOW, "Barlow Twins": merged(BARLOW, method="barlow_twins", batch_size=4)}
    with pytest.raises(UserError, match="two different trainings are called Barlow Twins"):
        grid(tmp_path, small_data, methods=methods)


# Size


def test_ten_thousand_runs_are_listed_and_found_again_with_one_look_at_the_folder(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = time.perf_counter()
    fractions = [round(0.05 * number, 2) for number in range(1, 21)]
    found = grid(tmp_path, small_data, seeds=56, fractions=fractions)
    runs = found.downstream
    assert len(runs) == 3 * 3 * 20 * 56 == 10_080
    folder = StudyFolder(tmp_path / "out")
    (tmp_path / "out" / "runs").mkdir(parents=True)
    for run in runs[1:]:
        folder.run(run.run).touch()
    looks: list[str] = []
    look = StudyFolder.finished_runs
    monkeypatch.setattr(StudyFolder, "finished_runs", lambda self: looks.append("look") or look(self))
    tasks = missing_tasks(found, folder, runs)
    assert looks == ["look"]
    wanted = {run.run for task in tasks for run in task.runs}
    assert wanted == {runs[0].run}
    # Under 5 s on a quiet machine, see benchmarks/study_runner.py; others may use this one.
    assert time.perf_counter() - begun < 30
