"""`classify --unlabelled`: frames of other stores teach a head without a label, and none of a tested patient does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from planes.labelled_store import tiny
from sonolearn import cli
from sonolearn.console import UserError
from sonolearn.planes import images as room
from sonolearn.planes.classify import classify
from sonolearn.planes.images import unlabelled_frames
from sonolearn.store.store import Store
from stores import write_store

PLANES = ("3VV", "4CH", "RVOT")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", patients=8, planes=PLANES)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Scans of the same eight patients, of whom four are to be tested or validated on, in another order of pixels."""
    return write_store(tmp_path / "scans", patients=8)


def test_frames_are_those_of_patients_that_nothing_is_tested_on(store: Path, scans: Path) -> None:
    found = unlabelled_frames([Store(scans)], Store(store), 40)
    assert (found == Store(scans).read(np.arange(4 * 8))).all()


def test_of_too_many_frames_some_are_taken_evenly(store: Path, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "UNLABELLED", 8)
    assert (unlabelled_frames([Store(scans)], Store(store), 40) == Store(scans).read(np.arange(0, 32, 4))).all()


@pytest.mark.parametrize("mode", ["linear", "finetune"])
def test_they_turn_the_classifier_even_with_all_labels(
    mode: str, encoder: Path, store: Path, scans: Path, tmp_path: Path
) -> None:
    options = {"fractions": (1.0,), "seeds": 1, "init": str(encoder), "encoder": None, "mixture": 0.0}
    options["spread_labels"] = "always"
    plain, more = tmp_path / "plain", tmp_path / "more"
    classify(store, plain, tiny(mode, **options))
    classify(store, more, tiny(mode, **options, unlabelled=(scans,)))
    columns = [f"p_{plane}" for plane in PLANES]
    one, other = (pd.read_csv(run / "predictions.csv").filter(columns).to_numpy() for run in (plain, more))
    assert np.abs(one - other).max() > 1e-4
    hashes = [json.loads((run / "run.json").read_text())["data"] for run in (plain, more)]
    assert hashes[1]["unlabelled 0"] == Store(scans).fingerprint
    assert "unlabelled 0" not in hashes[0]


@pytest.mark.parametrize(
    "options", [{"mode": "knn"}, {"mode": "linear", "solver": "adamw"}, {"spread_labels": "never"}, {"valid": "whole"}]
)
def test_where_nothing_would_learn_from_them_it_is_said(options: dict[str, object], scans: Path) -> None:
    with pytest.raises(UserError, match="--unlabelled: only heads of logistic regression learn from unlabelled"):
        tiny(**{"mode": "linear", **options}, unlabelled=(scans,))


def test_a_missing_store_is_named_before_anything_is_written(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing"):
        classify(store, tmp_path / "run", tiny("linear", unlabelled=(tmp_path / "nothing",)))
    assert not (tmp_path / "run").exists()


def test_a_store_that_no_head_learns_from_is_named(
    encoder: Path, store: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"fractions": (1.0,), "seeds": 1, "init": str(encoder), "encoder": None}
    classify(store, tmp_path / "run", tiny("linear", **options, unlabelled=(scans,)))
    assert "no head has at most 5 images a class; give --spread_labels always" in capsys.readouterr().err


def test_several_stores_may_be_named_on_the_command_line() -> None:
    words = "stores/labelled --mode linear --unlabelled stores/one stores/two --fractions 1 --out run"
    assert cli.parse("classify", words.split())["config"].unlabelled == (Path("stores/one"), Path("stores/two"))
