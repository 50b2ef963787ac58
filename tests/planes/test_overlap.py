"""Patients that the encoder has seen are named, and what cannot be checked is said to be unknown."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from planes.labelled_store import tiny
from sonolearn.planes.classify import classify
from sonolearn.ssl.encoders import Card, build, save_encoder


def overlap(store: Path, folder: Path, seen: list[tuple[str, str]] | None) -> dict[str, object]:
    """overlap.json of a run from an encoder that has seen these (key, patient)."""
    encoder = folder / "ssl" / "encoder.safetensors"
    save_encoder(encoder, build(Card("test_resnet"), 1), Card("test_resnet", image_size=32, method="barlow_twins"))
    if seen is not None:
        table = pd.DataFrame(seen, columns=["key_id", "patient"]).assign(part="train")
        table.to_csv(encoder.parent / "patients.csv", index=False)
    classify(store, folder / "run", tiny("knn", init=str(encoder.parent), encoder=None, fractions=(1.0,), seeds=1))
    found: dict[str, object] = json.loads((folder / "run" / "overlap.json").read_text())
    return found


def test_shared_test_and_validation_patients_are_named(
    store_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # P00 trains, P08 validates, P11 and P12 test.
    found = overlap(store_path, tmp_path, [("key-a", p) for p in ("P00", "P08", "P11", "P12", "X")])
    assert found["state"] == "overlap"
    assert found["patients"] == {"valid": ["P08"], "test": ["P11", "P12"]}
    warning = capsys.readouterr().err
    assert "3 patients" in warning
    assert "P08, P11, P12" in warning


def test_training_patients_may_be_shared(store_path: Path, tmp_path: Path) -> None:
    assert overlap(store_path, tmp_path, [("key-a", "P00")])["state"] == "none"


def test_pseudonyms_of_another_key_cannot_be_compared(store_path: Path, tmp_path: Path) -> None:
    found = overlap(store_path, tmp_path, [("key-b", "P11")])
    assert found["state"] == "unknown"
    assert "cannot be checked" in str(found["sentence"])
    assert "--key" in str(found["sentence"])


def test_an_encoder_without_a_list_of_patients_cannot_be_checked(store_path: Path, tmp_path: Path) -> None:
    assert overlap(store_path, tmp_path, None)["state"] == "unknown"


def test_random_weights_have_seen_nobody(store_path: Path, tmp_path: Path) -> None:
    classify(store_path, tmp_path / "run", tiny("knn", fractions=(1.0,), seeds=1))
    assert json.loads((tmp_path / "run" / "overlap.json").read_text())["state"] == "none"
