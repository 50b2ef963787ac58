"""The tables of a study and what its page reads; they come from the records alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from sonolearn.console import UserError
from sonolearn.runs import read_json
from sonolearn.store.store import Store
from sonolearn.study.folder import StudyFolder
from sonolearn.study.results import RESULTS, StudyResults, read_results, write_results
from sonolearn.study.schedule import Ended, Timings, read_times, read_timings
from study.small_study import table_of


@pytest.fixture(scope="module")
def results(small_study: Path) -> StudyResults:
    return read_results(StudyFolder(small_study))


@pytest.fixture
def copied(small_study: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_study, tmp_path / "out")


# The tables


def test_csv_and_parquet_hold_the_same_columns_and_figures(small_study: Path) -> None:
    one, other = pd.read_parquet(small_study / "results.parquet"), pd.read_csv(small_study / "results.csv")
    assert tuple(one.columns) == tuple(other.columns) == RESULTS
    numbers = one.select_dtypes("number").columns
    np.testing.assert_allclose(one[numbers].astype(float), other[numbers].astype(float))


def test_a_row_of_the_predictions_is_a_test_image_of_a_run(results: StudyResults, small_data: Path) -> None:
    labels = Store(small_data / "labelled").labels
    assert labels is not None
    test = labels[labels["split"] == "test"].set_index("row")
    assert len(results.predictions) == len(results.runs) * len(test)
    for run, rows in results.predictions.groupby("run", observed=True):
        found = rows.set_index("row")
        assert sorted(found.index) == sorted(test.index)
        assert (found["plane"].astype(str) == test.loc[found.index, "plane"]).all()
        assert (found["patient"].astype(str) == test.loc[found.index, "patient"]).all()
        score = f1_score(found["plane"].astype(str), found["predicted"].astype(str), average="macro", zero_division=0)
        assert results.runs.set_index("run").loc[str(run), "macro_f1"] == pytest.approx(score)


def test_pools_are_described_by_what_was_drawn(results: StudyResults) -> None:
    few = results.runs[results.runs["pool"] == "few patients"]
    assert (few["pool_patients"] == 3).all()
    assert (few["pool_frames"] == 16).all()
    random = results.runs[results.runs["initialisation"] == "random"]
    assert random["pool_frames"].isna().all()
    assert (random["pretrain"] == "").all()


def test_tables_are_made_of_the_records_that_are_there(copied: Path) -> None:
    before = table_of(copied)
    lost = before["run"].iloc[5]
    (copied / "runs" / f"{lost}.json").unlink()
    for name in ("results.csv", "results.parquet", "predictions.parquet"):
        (copied / name).unlink()
    write_results(StudyFolder(copied))
    pd.testing.assert_frame_equal(table_of(copied), before.drop(index=5).reset_index(drop=True))


def test_records_that_are_not_in_the_plan_are_left_out(copied: Path) -> None:
    planned = pd.read_csv(copied / "planned.csv", dtype=str, keep_default_na=False)
    planned.iloc[:4].to_csv(copied / "planned.csv", index=False)
    (copied / ".checksums").unlink()
    assert write_results(StudyFolder(copied))["run"].tolist() == planned["run"].iloc[:4].tolist()


# What the page reads


def test_a_page_gets_all_that_it_shows(results: StudyResults, small_study: Path) -> None:
    labels = ["random (small)", "Barlow Twins (small)"]
    assert sorted(results.embeddings) == sorted(results.cams) == sorted(labels)
    for label in labels:
        assert len(results.embeddings[label]) == len(results.images)
        assert results.cams[label].startswith(b"\x89PNG")
    assert set(results.pretrained) == set(results.runs["pretrain"]) - {""}
    assert (results.title, results.missing, results.warnings) == ("Small", 0, [])
    assert results.failures.empty
    assert list(results.failures.columns) == ["task", "error"]
    assert results.seconds <= results.wall_seconds
    assert results.plan == read_json(small_study / "study.json")["plan"]


def test_a_study_without_a_finished_run_is_refused(copied: Path) -> None:
    shutil.rmtree(copied / "runs")
    with pytest.raises(UserError, match=r"out: no run is finished yet; `sonolearn study run` goes on with it"):
        read_results(StudyFolder(copied))


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"is not a study \(it has no study.json\); start one with `sonolearn study run`"
    ):
        read_results(StudyFolder(tmp_path))


# timings.csv


class FakeTask:
    name = "finetune-abc, def"


def note(folder: StudyFolder, now: float, *times: tuple[float, float]) -> Timings:
    timings = Timings(folder, 2, now)
    for begun, seconds in times:
        timings.add(Ended(FakeTask(), "done", seconds=seconds), begun)  # type: ignore[arg-type]
    return timings


def test_sessions_count_from_one_and_their_walls_add_up(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    note(folder, 100.0, (101.0, 4.0), (101.5, 6.0))
    note(folder, 500.0, (500.0, 2.0))
    table = read_timings(folder)
    assert table["session"].tolist() == [1, 1, 2]
    assert table["start"].tolist() == [1.0, 1.5, 0.0]
    assert set(table["task"]) == {FakeTask.name}
    assert read_times(folder) == (12.0, 7.5 + 2.0)


@pytest.mark.parametrize("kept", range(0, 130, 7))
def test_a_row_cut_short_spoils_no_other(kept: int, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    note(folder, 0.0, (0.0, 1.0), (1.0, 2.0))
    text = folder.timings.read_text()
    folder.timings.write_text(text[:kept])
    whole = max(0, text[:kept].count("\n") - 1)
    assert len(read_timings(folder)) == whole
    note(folder, 9.0, (9.0, 5.0))
    table = read_timings(folder)
    assert table["seconds"].tolist() == [*[1.0, 2.0][:whole], 5.0]
    assert table["session"].iloc[-1] == (2 if whole else 1)


def test_a_study_that_never_ran_took_no_time(tmp_path: Path) -> None:
    assert read_times(StudyFolder(tmp_path)) == (0.0, 0.0)
