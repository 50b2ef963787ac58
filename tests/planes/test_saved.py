"""Saved classifiers: the network in the file gives the probabilities of the run, frame by frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from planes.labelled_store import PLANES, SIZE, tiny
from sonolearn.config import ClassifyConfig, Standardise
from sonolearn.console import Interrupted, UserError
from sonolearn.deploy.classifier import load_classifier
from sonolearn.planes import classify as room
from sonolearn.planes.classify import classify
from sonolearn.planes.head import HeldOut
from sonolearn.planes.linear import fit_linear
from sonolearn.planes.logistic import fit_logistic
from sonolearn.ssl.features import read_images
from sonolearn.store.store import Store


def config(mode: str, encoder: Path, start: str = "", **options: Any) -> ClassifyConfig:
    from_file = (start or mode) in ("file", "linear")
    options |= {"init": str(encoder), "encoder": None} if from_file else {}
    return tiny(mode, save_classifiers=True, seeds=1, **options)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("finetune", {}),
        ("finetune", {"start": "file"}),
        ("finetune", {"start": "file", "standardise": "each", "layer_decay": 1.0}),
        ("finetune", {"recipe": "study"}),
        ("linear", {}),
        ("linear", {"standardise": "each"}),
        ("linear", {"recipe": "study"}),
        ("linear", {"recipe": "study", "standardise": "none"}),
    ],
)
def test_a_saved_classifier_gives_the_probabilities_of_its_run(
    mode: str, options: dict[str, Any], store_path: Path, encoder: Path, tmp_path: Path
) -> None:
    classify(store_path, tmp_path / "run", config(mode, encoder, **options))
    expected = pd.read_csv(tmp_path / "run" / "predictions.csv")
    for fraction in (0.25, 1.0):
        saved = load_classifier(tmp_path / "run" / "classifiers" / f"{fraction!r}_0.safetensors")
        rows = expected[expected["fraction"] == fraction]
        frames = read_images(Store(store_path), rows["row"].to_numpy(), saved.image_size)
        found = saved.network(torch.from_numpy(frames)).numpy()
        assert found == pytest.approx(rows[[f"p_{plane}" for plane in PLANES]].to_numpy(), abs=1e-4)
        assert np.ptp(found, axis=0).max() > 1e-3


def test_the_card_says_what_stands_behind_a_classifier(store_path: Path, encoder: Path, tmp_path: Path) -> None:
    results = classify(store_path, tmp_path / "run", config("linear", encoder))
    file = tmp_path / "run" / "classifiers" / "0.25_0.safetensors"
    with safe_open(file, framework="pt") as stored:
        card = json.loads(stored.metadata()["sonolearn"])
    row = results[results["fraction"] == 0.25].iloc[0]
    assert card["planes"] == list(PLANES)
    assert (card["train_images"], card["train_patients"]) == (row["train_images"], row["train_patients"])
    assert (card["mode"], card["fraction"], card["seed"], card["frame_size"]) == ("linear", 0.25, 0, SIZE)
    assert (card["encoder"]["encoder"], card["encoder"]["mean"], card["encoder"]["std"]) == ("test_resnet", 0.2, 0.25)


def test_a_run_finished_without_classifiers_gets_them_and_keeps_its_results(
    store_path: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, options = tmp_path / "run", config("linear", encoder)
    before = classify(store_path, run, tiny("linear", seeds=1, init=str(encoder), encoder=None))
    predictions = (run / "predictions.csv").read_text()
    assert not (run / "classifiers").exists()
    fitted: list[object] = []
    original = room.write_unit
    monkeypatch.setattr(room, "write_unit", lambda *a: fitted.append(a[1]) or original(*a))
    after = classify(store_path, run, options)
    assert len(fitted) == 2
    assert (run / "predictions.csv").read_text() == predictions
    pd.testing.assert_frame_equal(after.drop(columns="seconds"), before.drop(columns="seconds"))
    assert sorted(path.name for path in (run / "classifiers").glob("[!.]*")) == [
        "0.25_0.safetensors",
        "1.0_0.safetensors",
    ]
    classify(store_path, run, options)
    classify(store_path, run, tiny("linear", seeds=1, init=str(encoder), encoder=None))
    assert len(fitted) == 2


def test_a_stop_between_classifier_and_record_trains_that_unit_again(
    store_path: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(room, "write_unit", stop)
        with pytest.raises(Interrupted):
            classify(store_path, tmp_path / "run", config("linear", encoder))
    assert len(classify(store_path, tmp_path / "run", config("linear", encoder))) == 2


def test_nearest_neighbours_are_refused() -> None:
    with pytest.raises(UserError, match="--save_classifiers: knn has no network to save; give --mode"):
        tiny("knn", save_classifiers=True)


@pytest.mark.parametrize(
    ("standardise", "offset"), [("shared", 0.0), ("shared", 100.0), ("each", 0.0), ("each", 100.0), ("none", 0.0)]
)
@pytest.mark.parametrize("solver", ["adamw", "logistic"])
def test_a_linear_head_gives_the_probabilities_of_its_classifier(
    solver: str, standardise: Standardise, offset: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(80, 30, generator=generator) + offset
    features[:, 7] = offset  # a constant feature
    targets = (features[:, :3] - offset).argmax(1).numpy()
    train, valid = (features[:60], targets[:60]), HeldOut(features[60:], targets[60:])
    config = tiny("linear", "study", solver=solver, standardise=standardise, epochs=5)
    # Class 3 of 4 occurs nowhere.
    (fitted,) = (
        fit_logistic(*train, np.arange(60).astype(object), [np.arange(60)], valid, 4, config)
        if solver == "logistic"
        else [fit_linear(*train, valid, 4, config, 0)]
    )
    head = fitted.linear
    assert head is not None
    found = ((features - head.centre) @ head.weight.T + head.bias).softmax(1).numpy()
    assert found == pytest.approx(fitted.predict(features), abs=1e-4)
    assert np.ptp(found, axis=0).max() > 1e-3
