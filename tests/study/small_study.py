"""Studies that take seconds: tiny stores, the smallest encoder, a few steps; and an engine without processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import planes.labelled_store
import stores
from sonolearn.runs import write_text
from sonolearn.study.folder import StudyFolder
from sonolearn.study.schedule import Ended, perform
from sonolearn.study.tasks import Task

HERE = {"workers": 0, "accelerator": "cpu", "precision": "32-true"}

PLAN: dict[str, Any] = {
    "title": "Small",
    "data": {"labelled": "labelled", "unlabelled": ["scans"]},
    "encoders": {"small": {"encoder": "test_resnet"}},
    "image_size": 32,
    "pretrain": {
        "recipe": None,
        "batch_size": 8,
        "epochs": 1000,
        "max_steps": 3,
        "log_every": 1,
        "valid_every": 2,
        **HERE,
    },
    "methods": {"barlow_twins": {"barlow_twins": {"projector": [16]}, "optimizer": {"warmup_steps": 1}}},
    "pools": {"few patients": {"patients": 3, "frames": 16, "methods": ["barlow_twins"]}},
    "initialisations": {"random": {}},
    "classify": {"recipe": "study", "batch_size": 16, "epochs": 2, "views": {"randaugment": [1, 5]}, **HERE},
    "modes": {"finetune": {}, "linear": {"solver": "logistic"}, "knn": {"neighbours": 3}},
    "fractions": [0.5, 1.0],
    "seeds": 2,
}
"""36 runs: random weights and two pools, three modes, two fractions, two seeds; 4 pre-trainings, 6 + 12 tasks."""


def write_stores(folder: Path) -> Path:
    """A labelled store of 15 patients and one of 6 scans beside it."""
    planes.labelled_store.write_store(folder / "labelled")
    stores.write_store(folder / "scans", patients=6, frames=8, size=40)
    return folder


def write_plan(path: Path, stores_in: Path | None = None, **changes: Any) -> Path:
    """The small plan, or a part of it changed; `stores_in` is where `write_stores` wrote."""
    where = {"labelled": f"{stores_in}/labelled", "unlabelled": [f"{stores_in}/scans"]} if stores_in else {}
    write_text(path, yaml.safe_dump({**PLAN, "data": {**PLAN["data"], **where}, **changes}, sort_keys=False))
    return path


def merged(one: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A part of the plan with other options."""
    return {**one, **changes}


class HereEngine:
    """Does one task after another in this process, and keeps their names."""

    def __init__(self, folder: StudyFolder) -> None:
        """Nothing to do yet."""
        self.folder = folder
        self.begun: list[str] = []
        self._task: Task | None = None

    @property
    def free(self) -> int:
        """One at a time."""
        return int(self._task is None)

    def start(self, task: Task) -> None:
        """Take a task."""
        self.begun.append(task.name)
        self._task = task

    def wait(self) -> list[Ended]:
        """Do it."""
        assert self._task is not None
        task, self._task = self._task, None
        return [perform(self.folder, task, 0)]

    def stop(self) -> list[Ended]:
        """Nothing runs while others do."""
        return []


def without_times(table: pd.DataFrame) -> pd.DataFrame:
    """results.parquet without the column that differs from run to run."""
    return table.drop(columns="seconds")


def table_of(out: Path) -> pd.DataFrame:
    """results.csv as text, without seconds: equal if and only if its bytes are."""
    return without_times(pd.read_csv(out / "results.csv", dtype=str, keep_default_na=False))
