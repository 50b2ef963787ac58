"""Runs of `classify` as a study of one start: its rows are theirs, and what may not be compared is said."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pandas as pd

from planes.labelled_store import tiny
from sonolearn.planes.classify import classify
from sonolearn.study.from_runs import differing_settings, read_runs
from sonolearn.study.read import ClassifyRun, read_run
from sonolearn.study.results import RESULTS


def test_a_row_a_training_and_a_prediction_a_test_image(runs: dict[str, Path]) -> None:
    found = read_runs([runs["random"], runs["pretrained"]])
    assert tuple(found.runs) == RESULTS
    tables = [pd.read_csv(runs[name] / "results.csv") for name in ("random", "pretrained")]
    assert list(found.runs["macro_f1"]) == [score for table in tables for score in table["macro_f1"]]
    assert list(found.runs["initialisation"]) == ["random"] * 6 + ["Barlow Twins"] * 6
    assert found.runs["run"].is_unique
    assert set(found.predictions["run"]) == set(found.runs["run"])
    assert set(found.predictions.groupby("run").size()) == {len(found.images)} == {24}


def test_a_run_given_twice_counts_once(runs: dict[str, Path]) -> None:
    assert len(read_runs([runs["random"], runs["random"].parent / "." / "random"]).runs) == 6


def test_gains_are_told_over_the_first_run_from_random_weights(runs: dict[str, Path], tmp_path: Path) -> None:
    assert read_runs([runs["pretrained"], runs["random"]]).baselines == ("random",)
    assert read_runs([runs["pretrained"]]).baselines == ()
    shutil.copytree(runs["random"], tmp_path / "again")
    assert read_runs([runs["random"], tmp_path / "again"]).baselines == ("random (random)",)


def test_weights_that_a_run_calls_imagenet_are_a_baseline(runs: dict[str, Path], tmp_path: Path) -> None:
    classify(
        runs["random"].parent / "hearts",
        tmp_path / "file",
        tiny("knn", init=str(runs["bt"]), encoder=None, name="ImageNet"),
    )
    assert read_runs([tmp_path / "file"]).baselines == ("ImageNet",)


def test_pretrainings_alone_have_no_rows(runs: dict[str, Path]) -> None:
    found = read_runs([runs["bt"]])
    assert found.runs.empty
    assert found.title == "Pre-training with Barlow Twins"


def test_settings_that_differ_are_named_but_not_the_encoder(runs: dict[str, Path]) -> None:
    run, other = (read_run(runs[name]) for name in ("pretrained", "random"))
    assert isinstance(run, ClassifyRun)
    assert isinstance(other, ClassifyRun)
    assert differing_settings(run, other) == []
    longer = {**run.record, "config": {**run.record["config"], "epochs": 99}}
    assert differing_settings(dataclasses.replace(run, record=longer), other) == ["epochs"]
