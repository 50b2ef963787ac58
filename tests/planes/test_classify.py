"""`classify` end to end: what it writes, its one look at the test part, how it goes on after a stop, its errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from planes.labelled_store import PLANES, tiny, write_store
from sonolearn.console import Interrupted, UserError
from sonolearn.planes import classify as room
from sonolearn.planes import run as run_room
from sonolearn.planes.classify import classify
from sonolearn.planes.results import read_predictions
from sonolearn.planes.run import Trainer
from sonolearn.ssl.encoders import Card, build, save_encoder
from sonolearn.store.store import Store

TABLES = ("results.csv", "per_class.csv", "predictions.csv", "confusion.csv", "summary.csv", "history.csv")


def tables_of(run: Path) -> dict[str, str]:
    """Text of all tables, without the seconds, and of subsets.json."""
    found = {name: pd.read_csv(run / name).drop(columns="seconds", errors="ignore").to_csv() for name in TABLES}
    found["summary.csv"] = pd.read_csv(run / "summary.csv").to_csv()
    return found | {"subsets.json": (run / "subsets.json").read_text()}


@pytest.mark.parametrize("mode", ["finetune", "linear", "knn"])
def test_a_run_holds_a_row_for_every_fraction_and_seed(mode: str, store_path: Path, tmp_path: Path) -> None:
    results = classify(store_path, tmp_path / "run", tiny(mode, epochs=2))
    assert list(zip(results["fraction"], results["seed"], strict=True)) == [(0.25, 0), (0.25, 1), (1.0, 0), (1.0, 1)]
    assert pd.read_csv(tmp_path / "run" / "results.csv").equals(results)
    assert list(results["train_images"]) == [12, 12, 48, 48]
    assert set(results["test_images"]) == {24}
    assert set(results["test_patients"]) == {4}
    # No label beyond the fraction is used; `results.csv` says so.
    assert set(results["valid_images"]) == set(results["valid_patients"]) == {0}
    assert len(pd.read_csv(tmp_path / "run" / "per_class.csv")) == 4 * 3
    assert len(pd.read_csv(tmp_path / "run" / "confusion.csv")) == 4 * 9


@pytest.mark.parametrize("mode", ["finetune", "linear", "knn"])
def test_a_validation_part_that_chooses_counts_among_the_images_used(
    mode: str, store_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = classify(store_path, tmp_path / "run", tiny(mode, valid="whole", epochs=2, seeds=1))
    assert set(results["valid_images"]) == {18}
    assert set(results["valid_patients"]) == {3}
    assert results["valid_balanced_accuracy"].between(0, 1).all()
    assert set(pd.read_csv(tmp_path / "run" / "summary.csv")["valid_images"]) == {18}
    printed = capsys.readouterr().out
    assert "images used" in printed
    assert "12 + 18" in printed
    assert "48 + 18" in printed


def strip_validation(store: Path) -> None:
    labels = pd.read_csv(store / "labels.csv")
    labels[labels["split"] != "valid"].to_csv(store / "labels.csv", index=False)


def shuffle_validation(store: Path) -> None:
    labels = pd.read_csv(store / "labels.csv")
    there = labels["split"] == "valid"
    labels.loc[there, "plane"] = np.random.default_rng(1).permutation(labels.loc[there, "plane"])
    labels.to_csv(store / "labels.csv", index=False)


@pytest.mark.parametrize("harm", [strip_validation, shuffle_validation])
@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("finetune", {}),
        ("finetune", {"start": "file"}),
        ("finetune", {"head": "random"}),
        ("linear", {}),
        ("linear", {"solver": "adamw"}),
        ("knn", {}),
    ],
)
def test_no_label_beyond_the_fraction_is_used(
    mode: str, options: dict[str, str], harm: Callable[[Path], None], store_path: Path, tmp_path: Path
) -> None:
    settings: dict[str, object] = {"epochs": 2, "seeds": 1, **options}
    if settings.pop("start", None):
        save_encoder(tmp_path / "e.safetensors", build(Card("test_resnet"), 1), Card("test_resnet", image_size=32))
        settings |= {"init": str(tmp_path / "e.safetensors"), "encoder": None}
    shutil.copytree(store_path, tmp_path / "store")
    harm(tmp_path / "store")
    for store, run in ((store_path, "as_it_is"), (tmp_path / "store", "harmed")):
        classify(store, tmp_path / run, tiny(mode, **settings))
    assert tables_of(tmp_path / "as_it_is") == tables_of(tmp_path / "harmed")


def test_results_follow_from_the_predictions(store_path: Path, tmp_path: Path) -> None:
    results = classify(store_path, tmp_path / "run", tiny("linear"))
    predictions = read_predictions(tmp_path / "run" / "predictions.csv")
    labels = Store(store_path).labels
    assert labels is not None
    truth = labels.set_index("row").loc[predictions["row"]]
    assert (truth["plane"].to_numpy() == predictions["plane"].to_numpy()).all()
    assert (truth["patient"].to_numpy() == predictions["patient"].to_numpy()).all()
    assert set(truth["split"]) == {"test"}
    columns = [f"p_{plane}" for plane in PLANES]
    assert np.allclose(predictions[columns].sum(axis=1), 1, atol=1e-4)
    assert (predictions[columns].to_numpy().argmax(1) == predictions["predicted"].map(PLANES.index)).all()
    for _, row in results.iterrows():
        unit = predictions[(predictions["fraction"] == row["fraction"]) & (predictions["seed"] == row["seed"])]
        expected = f1_score(unit["plane"], unit["predicted"], average="macro", labels=sorted(set(unit["plane"])))
        assert row["macro_f1"] == pytest.approx(expected)
    summary = pd.read_csv(tmp_path / "run" / "summary.csv").set_index("fraction")
    at = results.loc[results["fraction"] == 0.25, "macro_f1"]
    assert summary.loc[0.25, "macro_f1_mean"] == pytest.approx(at.mean())
    assert summary.loc[0.25, "macro_f1_sd"] == pytest.approx(np.std(at, ddof=1))
    assert summary.loc[0.25, "macro_f1_low"] <= at.mean() <= summary.loc[0.25, "macro_f1_high"]


def test_subsets_are_of_the_training_part_and_patients_are_counted(store_path: Path, tmp_path: Path) -> None:
    results = classify(store_path, tmp_path / "run", tiny("knn", fractions=(0.1, 0.5)))
    labels = Store(store_path).labels
    assert labels is not None
    subsets = json.loads((tmp_path / "run" / "subsets.json").read_text())
    for (_, row), subset in zip(results.iterrows(), subsets, strict=True):
        used = labels.set_index("row").loc[subset["rows"]]
        assert set(used["split"]) == {"train"}
        assert used["patient"].nunique() == row["train_patients"]
        assert set(used["plane"]) == set(PLANES)


def test_planes_that_can_be_told_apart_are(store_path: Path, tmp_path: Path) -> None:
    results = classify(store_path, tmp_path / "run", tiny("knn", fractions=(1.0,), neighbours=5))
    assert (results["macro_f1"] == 1).all()


def test_shuffled_labels_give_chance(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", shuffled=True, patients=(16, 4, 16))
    results = classify(store, tmp_path / "run", tiny("knn", fractions=(1.0,)))
    assert abs(results["accuracy"].mean() - 1 / 3) < 0.15


def test_the_test_part_is_looked_at_once_a_training(
    store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    original = Trainer.inputs
    monkeypatch.setattr(Trainer, "inputs", lambda self, part: asked.append(part) or original(self, part))
    predicted: list[int] = []
    fit = Trainer.fit

    def counting(*arguments: object) -> object:
        fitted = fit(*arguments)  # type: ignore[arg-type]
        counted = lambda x: predicted.append(len(x)) or fitted.predict(x)  # noqa: E731
        return room_fitted(fitted, counted)

    monkeypatch.setattr(Trainer, "fit", counting)
    classify(store_path, tmp_path / "run", tiny("linear"))
    assert asked == ["train", "test", "test"] * 2  # the heads of a seed, whose weights are its own, learn in one call
    assert predicted == [24] * 4


def room_fitted(fitted: object, predict: object) -> object:
    import dataclasses

    return dataclasses.replace(fitted, predict=predict)  # type: ignore[type-var]


@pytest.mark.parametrize("mode", ["finetune", "linear"])
def test_a_stopped_run_goes_on_and_ends_as_one_never_stopped(
    mode: str, store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(mode, epochs=2)
    classify(store_path, tmp_path / "whole", config)
    written: list[object] = []
    original = room.write_unit

    def stop_at_third(*arguments: object) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(arguments)
        original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(room, "write_unit", stop_at_third)
    with pytest.raises(Interrupted, match="2 of 4 trainings finished; run the same command again"):
        classify(store_path, tmp_path / "stopped", config)
    assert not (tmp_path / "stopped" / "summary.csv").exists()
    fitted: list[int] = []
    monkeypatch.setattr(room, "write_unit", lambda *a: fitted.append(1) or original(*a))
    classify(store_path, tmp_path / "stopped", config)
    assert len(fitted) == 2
    assert tables_of(tmp_path / "whole") == tables_of(tmp_path / "stopped")
    # A finished run is not trained again.
    classify(store_path, tmp_path / "stopped", config)
    assert len(fitted) == 2


def test_a_run_is_not_resumed_with_other_settings_data_or_encoder(store_path: Path, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder.safetensors"
    save_encoder(encoder, build(Card("test_resnet"), 1), Card("test_resnet", image_size=32))
    config = tiny("knn", init=str(encoder), encoder=None)
    classify(store_path, tmp_path / "run", config)
    with pytest.raises(UserError, match=r"neighbours.* differs"):
        classify(store_path, tmp_path / "run", tiny("knn", init=str(encoder), encoder=None, neighbours=3))
    with pytest.raises(UserError, match="store differs"):
        classify(write_store(tmp_path / "other", stills=3), tmp_path / "run", config)
    save_encoder(encoder, build(Card("test_resnet"), 2), Card("test_resnet", image_size=32))
    with pytest.raises(UserError, match=r"init differs"):
        classify(store_path, tmp_path / "run", config)


def test_features_are_computed_once_for_an_encoder_and_once_a_seed_for_random_ones(
    store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extracted: list[int] = []
    original = run_room.extract
    monkeypatch.setattr(run_room, "extract", lambda *a: extracted.append(len(a[2])) or original(*a))
    classify(store_path, tmp_path / "random", tiny("knn"))
    assert extracted == [48, 24] * 2
    extracted.clear()
    encoder = tmp_path / "encoder.safetensors"
    save_encoder(encoder, build(Card("test_resnet"), 1), Card("test_resnet", image_size=32))
    classify(store_path, tmp_path / "file", tiny("knn", init=str(encoder), encoder=None))
    assert extracted == [48, 24]
    extracted.clear()
    classify(store_path, tmp_path / "whole", tiny("knn", valid="whole", init=str(encoder), encoder=None))
    assert extracted == [48, 18, 24]


def test_a_split_that_lacks_a_class_keeps_the_order_of_classes(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    labels = pd.read_csv(store / "labels.csv")
    labels[~((labels["split"] == "test") & (labels["plane"] == "3VV"))].to_csv(store / "labels.csv", index=False)
    classify(store, tmp_path / "run", tiny("knn", fractions=(1.0,), seeds=1))
    per_class = pd.read_csv(tmp_path / "run" / "per_class.csv")
    assert list(per_class["plane"]) == list(PLANES)
    assert list(per_class["support"]) == [0, 8, 8]
    assert pd.read_csv(tmp_path / "run" / "results.csv")["macro_f1"][0] == 1


def test_run_folder_holds_no_path(store_path: Path, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder.safetensors"
    save_encoder(encoder, build(Card("test_resnet"), 1), Card("test_resnet", image_size=32))
    classify(store_path, tmp_path / "run", tiny("knn", init=str(encoder), encoder=None))
    for file in (tmp_path / "run").rglob("*.*"):
        assert str(tmp_path) not in file.read_text(), file


def without_labels(store: Path) -> None:
    (store / "labels.csv").unlink()


def one_plane(store: Path) -> None:
    labels = pd.read_csv(store / "labels.csv")
    labels.assign(plane="4CH").to_csv(store / "labels.csv", index=False)


def shared_patient(store: Path) -> None:
    labels = pd.read_csv(store / "labels.csv")
    labels.loc[labels["patient"] == "P14", "patient"] = "P00"
    labels.to_csv(store / "labels.csv", index=False)


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (without_labels, "store: has no labels; make it again with `sonolearn prepare"),
        (one_plane, r"store: has one plane only \(4CH\)"),
        (strip_validation, "store: has no labelled image in its valid part"),
        (shared_patient, r"P00 \(test and train\)"),
    ],
)
def test_a_store_that_cannot_be_learnt_from_is_refused(harm: object, sentence: str, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    harm(store)  # type: ignore[operator]
    with pytest.raises(UserError, match=sentence):
        classify(store, tmp_path / "run", tiny("knn", valid="whole"))
    assert not (tmp_path / "run").exists()


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="version 99"):
        classify(write_store(tmp_path / "store", version=99), tmp_path / "run", tiny("knn"))


def test_a_diverging_training_names_run_fraction_seed_and_step(store_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run: fraction 0.25, seed 0: .* not finite at step \d+; lower --lr"):
        classify(store_path, tmp_path / "run", tiny("finetune", lr=1e30, epochs=5))


def test_a_missing_encoder_is_refused_before_anything_is_written(store_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing: no such file"):
        classify(store_path, tmp_path / "run", tiny("knn", init=str(tmp_path / "nothing")))
    assert not (tmp_path / "run").exists()


def test_an_out_folder_that_holds_something_else_is_refused(store_path: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match="exists and is not a run of this command; give another --out"):
        classify(store_path, tmp_path, tiny("knn"))


def test_the_summary_is_printed_on_standard_output(
    store_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classify(store_path, tmp_path / "run", tiny("knn", fractions=(0.25,)))
    row = pd.read_csv(tmp_path / "run" / "summary.csv").iloc[0]
    printed = capsys.readouterr().out
    assert f"{row['macro_f1_mean']:.3f} ± {row['macro_f1_sd']:.3f}" in printed
    assert "25 %" in printed
