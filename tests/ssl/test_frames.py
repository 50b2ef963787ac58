"""Which frames SSL may use: no patient of a validation or test part, ever."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sonolearn.console import UserError
from sonolearn.ssl.frames import hold_out_patients, training_frames
from sonolearn.store.store import Store
from stores import write_store

PLANES = ("3VV/3VT", "4CH")


def test_of_a_labelled_store_only_the_training_part_is_used(tmp_path: Path) -> None:
    store = Store(write_store(tmp_path / "labelled", planes=PLANES))
    pool = training_frames([store])
    labels = store.labels
    assert labels is not None
    assert set(pool.patients) == set(labels.loc[labels["split"] == "train", "patient"])
    assert sorted(pool.row_of_frame) == sorted(labels.loc[labels["split"] == "train", "row"])


def test_patients_of_a_test_part_are_left_out_of_unlabelled_stores_too(tmp_path: Path, capsys) -> None:
    labelled = Store(write_store(tmp_path / "labelled", planes=PLANES))
    same_patients = Store(write_store(tmp_path / "scans", frames=5))
    pool = training_frames([same_patients, labelled])
    held_out = set(labelled.labels.loc[labelled.labels["split"] != "train", "patient"])  # type: ignore[union-attr]
    assert held_out
    assert not held_out & set(pool.patients)
    message = capsys.readouterr().err
    assert "15 frames of 3 patients are left out" in message
    assert sorted(held_out)[0] in message


def test_reading_goes_to_the_right_store_and_row(tmp_path: Path) -> None:
    stores = [Store(write_store(tmp_path / str(seed), patients=2, frames=3, seed=seed)) for seed in (1, 2)]
    pool = training_frames(stores)
    assert len(pool) == 12
    assert np.array_equal(pool.read(7), stores[1].read(np.array([1]))[0])


@pytest.mark.parametrize("share", [0.1, 0.34, 0.9])
def test_held_out_patients_are_in_no_training_frame(tmp_path: Path, share: float) -> None:
    pool = training_frames([Store(write_store(tmp_path / "store", patients=10))])
    train, valid = hold_out_patients(pool, share, seed=0)
    assert not set(train.patients) & set(valid.patients)
    assert len(train) + len(valid) == len(pool)
    assert len(valid.patients) == round(share * 10)


def test_who_is_held_out_follows_from_the_seed(tmp_path: Path) -> None:
    pool = training_frames([Store(write_store(tmp_path / "store", patients=20))])
    chosen = [tuple(hold_out_patients(pool, 0.2, seed)[1].patients) for seed in (0, 0, 1, 2)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) == 3


def test_one_patient_cannot_be_held_out(tmp_path: Path) -> None:
    pool = training_frames([Store(write_store(tmp_path / "store", patients=1))])
    with pytest.raises(UserError, match="--valid_patients 0"):
        hold_out_patients(pool, 0.1, seed=0)
    assert len(hold_out_patients(pool, 0, seed=0)[0]) == 8


def test_mean_and_deviation_are_those_of_the_pixels(tmp_path: Path) -> None:
    store = Store(write_store(tmp_path / "store"))
    pixels = store.read(np.arange(len(store))) / 255
    mean, deviation = training_frames([store]).mean_and_deviation(seed=0)
    assert mean == pytest.approx(pixels.mean())
    assert deviation == pytest.approx(pixels.std())
