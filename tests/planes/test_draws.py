"""Label fractions by chance and by suggestion: equally large, and blind to what they must not see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from planes.labelled_store import tiny, write_store
from sonolearn import cli
from sonolearn.config import Draw
from sonolearn.planes.classify import classify
from sonolearn.planes.results import read_predictions
from sonolearn.planes.run import drawn
from sonolearn.store.splits import label_fraction
from sonolearn.store.store import Store

DRAWS: tuple[Draw, ...] = ("random", "unstratified", "suggested")


def features_of(labels: pd.DataFrame) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(int((labels["split"] == "train").sum()), 8)).astype(np.float32)


def draw_from(labels: pd.DataFrame, draw: Draw, fraction: float = 0.25, seed: int = 0) -> list[int]:
    planes = sorted(set(labels["plane"]))
    return drawn(labels, planes, fraction, seed, draw, lambda: features_of(labels)).tolist()


@pytest.fixture
def labels(store_path: Path) -> pd.DataFrame:
    table = Store(store_path).labels
    assert table is not None
    return table


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 1.0])
def test_a_fraction_is_as_large_however_it_is_drawn(draw: Draw, fraction: float, labels: pd.DataFrame) -> None:
    rows = draw_from(labels, draw, fraction)
    planes = sorted(set(labels["plane"]))
    assert len(rows) == label_fraction(labels, planes, fraction, 0).images
    assert rows == sorted(set(rows))
    assert set(labels.set_index("row").loc[rows, "split"]) == {"train"}


def test_the_random_draw_is_what_it_was(labels: pd.DataFrame) -> None:
    expected = label_fraction(labels, sorted(set(labels["plane"])), 0.25, 3).rows.tolist()
    assert draw_from(labels, "random", seed=3) == expected


@pytest.mark.parametrize("draw", ["unstratified", "suggested"])
def test_which_image_has_which_plane_decides_nothing(draw: Draw, labels: pd.DataFrame) -> None:
    other = labels.assign(plane=labels["plane"].sample(frac=1, random_state=0).to_numpy())
    # The size of a fraction comes from the planes' counts; these are those of the training part.
    train = labels["split"] == "train"
    other.loc[train, "plane"] = labels.loc[train, "plane"].sample(frac=1, random_state=1).to_numpy()
    assert draw_from(labels, draw) == draw_from(other, draw)


@pytest.mark.parametrize("draw", DRAWS)
def test_seeds_draw_other_images_and_the_same_one_the_same(draw: Draw, labels: pd.DataFrame) -> None:
    draws = [draw_from(labels, draw, seed=seed) for seed in range(4)]
    assert draws == [draw_from(labels, draw, seed=seed) for seed in range(4)]
    assert len(set(map(tuple, draws))) > 1


def test_a_suggested_fraction_is_spread_over_patients(labels: pd.DataFrame) -> None:
    rows = draw_from(labels, "suggested")  # 12 of 8 patients
    assert labels.set_index("row").loc[rows, "patient"].value_counts().max() <= 2


@pytest.mark.parametrize("mode", ["finetune", "linear", "knn"])
@pytest.mark.parametrize("draw", ["unstratified", "suggested"])
def test_classify_draws_as_asked_whatever_the_mode_and_says_so(
    mode: str, draw: str, encoder: Path, store_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"init": str(encoder), "encoder": None, "epochs": 1, "fractions": (0.05, 0.25), "draw": draw}
    results = classify(store_path, tmp_path / "run", tiny(mode, **options))
    assert list(results["train_images"]) == [3, 3, 12, 12]
    assert "planes unseen" in capsys.readouterr().out
    again = classify(store_path, tmp_path / "again", tiny("linear", **options))
    assert again["train_patients"].tolist() == results["train_patients"].tolist()
    subsets = [(tmp_path / run / "subsets.json").read_text() for run in ("run", "again")]
    assert subsets[0] == subsets[1]


def test_an_unknown_draw_is_refused_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["classify", "store", "--draw", "best", "--out", "run"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "sonolearn: --draw best: give random, unstratified or suggested\n"


@pytest.mark.parametrize("mode", ["finetune", "linear", "knn"])
def test_a_plane_that_no_image_shows_is_never_predicted(
    mode: str, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_store(tmp_path / "store")
    labels = pd.read_csv(store / "labels.csv")
    own = labels.loc[(labels["split"] == "train") & (labels["plane"] != "LVOT"), "row"].to_numpy()
    monkeypatch.setattr("sonolearn.planes.run.drawn", lambda *_: own[:6])
    options = {"init": str(encoder), "encoder": None, "epochs": 1, "fractions": (0.1,), "seeds": 1}
    results = classify(store, tmp_path / "run", tiny(mode, draw="suggested", **options))
    predictions = read_predictions(tmp_path / "run" / "predictions.csv")
    assert "LVOT" not in set(predictions["predicted"])
    assert predictions["p_LVOT"].max() < 1e-6
    assert np.isfinite(results["macro_f1"]).all()


@pytest.mark.parametrize("mode", ["finetune", "linear", "knn"])
def test_images_of_one_plane_only_make_a_classifier_that_knows_one(
    mode: str, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_store(tmp_path / "store")
    labels = pd.read_csv(store / "labels.csv")
    own = labels.loc[(labels["split"] == "train") & (labels["plane"] == "4CH"), "row"].to_numpy()
    monkeypatch.setattr("sonolearn.planes.run.drawn", lambda *_: own[:4])
    options = {"init": str(encoder), "encoder": None, "epochs": 1, "fractions": (0.1,), "seeds": 1}
    classify(store, tmp_path / "run", tiny(mode, draw="suggested", **options))
    assert set(read_predictions(tmp_path / "run" / "predictions.csv")["predicted"]) == {"4CH"}
