"""`study plan` and `study status`: how much there is to do, how much is done, and what failed."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch

from sonolearn import cli
from sonolearn.config.study import StudyPlanConfig
from sonolearn.console import UserError
from sonolearn.runs import write_json
from sonolearn.study.folder import StudyFolder
from sonolearn.study.overview import Estimate, Timer, show_plan, show_status
from sonolearn.study.tasks import FrozenTask
from study.small_study import write_plan


def test_a_plan_is_counted_before_anything_runs(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_plan(tmp_path / "plan.yaml", small_data)
    table = show_plan(file, tmp_path / "out", StudyPlanConfig(time=False))
    counted = dict(zip(table["training"], table["missing"], strict=True))
    assert counted == {
        "pre-training barlow_twins (small)": 4,
        "linear and knn on frozen features (small)": 24,
        "fine-tuning (small)": 12,
    }
    assert table["seconds"].isna().all()
    assert "36 downstream runs from 6 sets of weights, 4 of them pre-trained" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_estimate_times_every_kind_of_training(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_plan(tmp_path / "plan.yaml", small_data, fractions=[1.0], seeds=1)
    table = show_plan(file, tmp_path / "out", StudyPlanConfig(workers=2))
    assert (table["seconds"] > 0).all()
    said = capsys.readouterr().err
    assert "with 2 trainings at a time" in said
    assert "MB of results" in said
    assert list(tmp_path.glob("[!.]*")) == [file]


def test_seconds_that_are_not_known_are_left_out_of_the_sum() -> None:
    assert Estimate({"a": 3.0, "b": math.nan, "c": 1.0}, [], 0).wall(2) == 2.0


def test_what_cannot_be_timed_is_said_once_and_the_rest_is_timed(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(timer: Timer, task: FrozenTask) -> float:
        raise UserError("no weights to be had")

    monkeypatch.setattr(Timer, "_of_frozen", refuse)
    file = write_plan(tmp_path / "plan.yaml", small_data, fractions=[1.0], methods={}, pools={})
    threads = torch.get_num_threads()
    table = show_plan(file, tmp_path / "out", StudyPlanConfig(workers=1)).set_index("training")
    assert torch.get_num_threads() == threads  # how many there are changes last digits of what comes after
    assert capsys.readouterr().err.count("could not be timed: no weights to be had") == 1
    assert table.loc["fine-tuning (small)", "seconds"] > 0
    assert math.isnan(table.loc["linear and knn on frozen features (small)", "seconds"])


def test_a_finished_study_has_nothing_missing(small_study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = show_plan(small_study.parent / "plan.yaml", small_study, StudyPlanConfig())
    assert table.empty


def test_status_counts_what_is_planned_finished_and_failed(
    small_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copytree(small_study, tmp_path / "out"))
    planned = pd.read_csv(out / "planned.csv", keep_default_na=False)
    lost = planned[(planned["mode"] == "finetune") & (planned["initialisation"] == "random")].iloc[:2]
    for run in lost["run"]:
        (out / "runs" / f"{run}.json").unlink()
    entry = {"task": "fine-tuning", "error": "the loss is nan", "trace": "", "runs": [lost["run"].iloc[0]]}
    write_json(StudyFolder(out).failure("finetune-x"), entry)
    table = show_status(out).set_index(["initialisation", "pool", "mode"])
    assert table["planned"].sum() == 36
    assert table["finished"].sum() == 34
    assert tuple(table.loc[("random", "", "finetune"), ["planned", "finished", "failed"]]) == (4, 2, 1)
    assert Counter(table["failed"]) == {0: 8, 1: 1}
    printed = capsys.readouterr()
    assert "34 of 36 runs finished" in printed.err
    assert "warning: fine-tuning failed: the loss is nan" in printed.err
    assert "few patients" in printed.out


def test_status_of_a_folder_that_is_no_study_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="is not a study"):
        show_status(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["study", "status", str(tmp_path / "nowhere")])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
