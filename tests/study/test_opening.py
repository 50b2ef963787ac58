"""From a plan to its stores: each is told apart, and a phantom belongs to one plan."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sonolearn.config.study import StudyRunConfig
from sonolearn.console import UserError
from sonolearn.study import run as opening
from sonolearn.study.folder import StudyFolder
from sonolearn.study.plan import read_plan
from sonolearn.study.run import fingerprints_of, open_grid, run_study
from study.small_study import PLAN, merged, write_plan, write_stores


def test_stores_of_one_name_are_told_apart(tmp_path: Path) -> None:
    write_stores(tmp_path)
    shutil.copytree(tmp_path / "scans", tmp_path / "clinic" / "scans")
    data = merged(PLAN["data"], unlabelled=["scans", "clinic/scans"])
    grid = open_grid(read_plan(write_plan(tmp_path / "plan.yaml", data=data)), StudyFolder(tmp_path / "out"))
    assert list(fingerprints_of(grid)) == [
        "labelled store labelled",
        "unlabelled store 1 scans",
        "unlabelled store 2 scans",
    ]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of patients of the phantoms that were made, which are the small stores in truth."""
    write_stores(tmp_path / "ready")
    patients: list[int] = []
    monkeypatch.setattr(opening, "generate", lambda folder, config: patients.append(config.patients))

    def prepare(paths: list[Path], out: Path, *_: Any) -> None:
        shutil.copytree(tmp_path / "ready" / out.name, out)

    monkeypatch.setattr(opening, "prepare", prepare)
    return patients


def phantom_plan(folder: Path, **options: Any) -> Path:
    return write_plan(folder / "plan.yaml", data={"phantom": {"patients": 20, **options}})


def test_a_phantom_is_made_once_whatever_does_not_change_it(made: list[int], tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out")
    open_grid(read_plan(phantom_plan(tmp_path)), folder)
    open_grid(read_plan(phantom_plan(tmp_path, workers=3)), folder)
    assert made == [20]


def test_the_phantom_of_another_plan_is_refused(made: list[int], tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "out")
    open_grid(read_plan(phantom_plan(tmp_path)), folder)
    with pytest.raises(UserError) as error:
        open_grid(read_plan(phantom_plan(tmp_path, patients=30)), folder)
    assert str(error.value) == (
        f"{folder.data}: holds the phantom of another plan; give another --out, or take data.phantom back"
    )
    assert made == [20]


def test_weights_that_cannot_be_had_are_named_before_a_phantom_is_made(made: list[int], tmp_path: Path) -> None:
    data = {"phantom": {"patients": 20}}
    plan = write_plan(tmp_path / "plan.yaml", data=data, initialisations={"lost": {"init": str(tmp_path / "lost.pth")}})
    with pytest.raises(UserError, match=r"lost\.pth"):
        run_study(plan, tmp_path / "out", StudyRunConfig())
    assert not made
