"""Records of downstream runs: what is written is read again, and whatever is damaged is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from sonolearn.checksums import CHECKSUMS
from sonolearn.console import UserError
from sonolearn.store.store import Store
from sonolearn.study.folder import StudyFolder, read_record


@pytest.fixture
def study(small_study: Path, tmp_path: Path) -> StudyFolder:
    """A copy of the small study that may be spoilt."""
    return StudyFolder(shutil.copytree(small_study, tmp_path / "out"))


def test_scores_of_a_record_are_those_of_its_predictions(small_study: Path, small_data: Path) -> None:
    labels = Store(small_data / "labelled").labels
    assert labels is not None
    planes = list(Store(small_data / "labelled").planes)
    truth = labels.loc[labels["split"] == "test", "plane"].map(planes.index).to_numpy()
    folder = StudyFolder(small_study)
    for run in folder.finished_runs():
        record = read_record(folder, run)
        predicted = record["predicted"]
        assert record["probabilities"].shape == (len(truth), len(planes))
        np.testing.assert_allclose(record["probabilities"].sum(1), 1, atol=2e-3)
        # Half precision may make two probabilities equal: the prediction itself is kept beside them.
        rows = np.arange(len(truth))
        assert (record["probabilities"][rows, predicted] == record["probabilities"].max(1)).all()
        assert record["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
        assert record["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, predicted))
        assert record["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))
        assert record["test_images"] == len(truth)


def test_labels_of_a_record_are_the_training_images_that_it_saw(small_study: Path, small_data: Path) -> None:
    labels = Store(small_data / "labelled").labels
    assert labels is not None
    train = labels[labels["split"] == "train"]
    folder = StudyFolder(small_study)
    for run in folder.finished_runs():
        record = read_record(folder, run)
        seen = train[train["row"].isin(record["labels"])]
        assert len(seen) == len(record["labels"]) == record["train_images"]
        assert seen["patient"].nunique() == record["train_patients"]
        assert len(seen) == pytest.approx(record["fraction"] * len(train), abs=2)


def test_a_record_is_standard_json(small_study: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    for path in (small_study / "runs").glob("[!.]*"):
        json.loads(path.read_text(), parse_constant=refuse)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda text: text[: len(text) // 2], "not readable as JSON"),
        (lambda text: "", "not readable as JSON"),
        (lambda text: "[]", "is not a record of this version of studies; delete it, and it will be run again"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "is not a record of this version of studies"),
        (lambda text: text.replace('"predicted"', '"predict"'), "is damaged ('predicted'); delete it, and it will be"),
        (lambda text: text.replace('"probabilities": "', '"probabilities": "AAA'), "is damaged ("),
        (lambda text: text.replace('"predicted": "', '"predicted": "AAAA'), "is damaged ("),
        (lambda text: text.replace('"predicted": "', '"predicted": 3, "x": "'), "is damaged ("),
    ],
)  # fmt: skip
def test_a_damaged_record_is_named_with_the_remedy(spoil: object, fault: str, study: StudyFolder) -> None:
    run = sorted(study.finished_runs())[0]
    path = study.run(run)
    path.write_text(spoil(path.read_text()))  # type: ignore[operator]
    (path.parent / CHECKSUMS).unlink()
    with pytest.raises(UserError) as error:
        read_record(study, run)
    assert str(error.value).startswith(f"{path}: ")
    assert fault in str(error.value)


def test_a_record_has_every_column_of_the_plan(small_study: Path) -> None:
    planned = pd.read_csv(small_study / "planned.csv", keep_default_na=False).set_index("run")
    folder = StudyFolder(small_study)
    assert folder.finished_runs() == set(planned.index)
    for run, row in planned.iterrows():
        record = read_record(folder, str(run))
        assert {name: record[name] for name in planned.columns} == row.to_dict()
