"""The benchmark of linear evaluation: its rows, and that what it holds against each other is the same work."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import numpy as np
import pytest

from benchmarks.linear import CLASSES, draw, evaluation, extraction, peer, rows, subsets_of, write_store
from sonolearn.config import ClassifyConfig
from sonolearn.planes.classify import classify
from sonolearn.planes.head import HeldOut
from sonolearn.planes.logistic import fit_heads
from sonolearn.recipes import classify_recipe
from sonolearn.ssl.encoders import Card, build, save_encoder


def test_both_solvers_are_held_to_the_target_and_heads_to_their_peers() -> None:
    found = list(rows(quick=True))
    assert [row.target for row in found] == [1.2, 1.2, None, None]
    assert ["adamw" in row.figure for row in found[:2]] == [True, False]
    assert all(row.ratio and isfinite(row.ratio) for row in found)
    assert all(row.ratio > 1 for row in found[:2] if row.ratio)  # a command costs more than a part of it


def test_features_handed_over_give_what_the_command_gives_alone(tmp_path: Path) -> None:
    store, file = write_store(tmp_path / "store", 100, 32), tmp_path / "encoder.safetensors"
    save_encoder(file, build(Card("test_resnet"), 0), Card("test_resnet", image_size=32))
    features, seconds = extraction(store, file, 32)
    assert sorted(len(found) for found in features.values()) == [20, 20, 60]
    assert seconds > 0
    config = classify_recipe(
        "study", mode="linear", init=str(file), fractions=(0.5, 1.0), seeds=2, epochs=2, accelerator="cpu",
        precision="32-true",
    )  # fmt: skip
    evaluation(store, tmp_path / "handed", config, features)
    classify(store, tmp_path / "alone", config)
    one, two = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("handed", "alone"))
    assert one == two


def test_a_command_that_asks_for_features_twice_or_never_is_no_measurement(tmp_path: Path) -> None:
    store, file = write_store(tmp_path / "store", 100, 32), tmp_path / "encoder.safetensors"
    save_encoder(file, build(Card("test_resnet"), 0), Card("test_resnet", image_size=32))
    features, _ = extraction(store, file, 32)
    config = classify_recipe(
        "study", mode="linear", init=str(file), seeds=1, epochs=1, accelerator="cpu", precision="32-true"
    )
    evaluation(store, tmp_path / "run", config, features)
    with pytest.raises(RuntimeError, match="has not extracted"):
        evaluation(store, tmp_path / "run", config, features)  # the run is finished and asks for nothing


def test_scikit_learn_fits_the_same_heads() -> None:
    config = classify_recipe("study", regularisations=(0.1,))
    train, valid = draw("train", 60, 16), draw("valid", 20, 16)
    patients = np.arange(60).astype(object)
    for subset, _ in subsets_of(train[1], 1, config)[3:]:
        theirs = peer(train, subset, valid, (0.1,), 1e-10)[0]
        ours = fit_heads(*train, patients, [subset], HeldOut(*valid), CLASSES, config)[0].predict(valid[0])
        assert theirs == pytest.approx(ours, abs=1e-3)


def test_every_class_is_in_every_subset() -> None:
    targets = draw("train", 200, 16)[1]
    for subset, _ in subsets_of(targets, 2, ClassifyConfig()):
        assert set(targets[subset]) == set(range(CLASSES))
        assert len(np.unique(subset)) == len(subset)
