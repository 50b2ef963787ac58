"""Metrics agree with values worked out by hand, and intervals resample patients, not images."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from sonolearn.planes.metrics import (
    bootstrap_macro_f1,
    confusion,
    confusion_of_patients,
    interval,
    macro_f1_of,
    per_class,
    scores,
)

TRUTH = np.array([0, 0, 0, 0, 1, 1, 2, 2])
PREDICTED = np.array([0, 0, 0, 1, 1, 2, 2, 2])
# By hand: recalls 3/4, 1/2, 1; precisions 1, 1/2, 2/3; F1 6/7, 1/2, 4/5.


def test_scores_equal_hand_computed_values() -> None:
    found = scores(TRUTH, PREDICTED)
    assert found["accuracy"] == pytest.approx(6 / 8)
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert found["macro_f1"] == pytest.approx((6 / 7 + 1 / 2 + 4 / 5) / 3)


def test_macro_f1_averages_over_the_classes_of_the_truth() -> None:
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 3, 1, 1])
    # Class 3 is predicted but not in the truth: it costs class 0 its recall (F1 2/3) and is no class of its own.
    assert scores(truth, predicted)["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores(truth, predicted)["balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)


def test_a_class_that_a_part_lacks_renumbers_nothing() -> None:
    truth, predicted = np.array([0, 2, 2]), np.array([0, 2, 0])
    table = per_class(truth, predicted, ("a", "b", "c"))
    assert list(table["plane"]) == ["a", "b", "c"]
    assert list(table["support"]) == [1, 0, 2]
    assert np.isnan(table["f1"][1])
    assert table["f1"][2] == pytest.approx(2 / 3)
    assert confusion(truth, predicted, 3).tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 1]]


def test_macro_f1_of_a_matrix_equals_that_of_the_images() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 4, 200), rng.integers(0, 5, 200)
    expected = f1_score(truth, predicted, labels=np.unique(truth), average="macro")
    assert macro_f1_of(confusion(truth, predicted, 5).astype(float)) == pytest.approx(expected)


def test_patients_matrices_add_up_to_the_matrix_of_all() -> None:
    patient = np.array(["b", "a", "a", "b", "c", "c", "a", "b"], dtype=object)
    each = confusion_of_patients(TRUTH, PREDICTED, patient, 3)
    assert each.shape == (3, 3, 3)
    assert each.sum(0).tolist() == confusion(TRUTH, PREDICTED, 3).tolist()
    assert each[0].sum() == 3  # patient a


def test_bootstrap_equals_a_plain_loop_over_resampled_patients() -> None:
    rng = np.random.default_rng(1)
    truth, patient = rng.integers(0, 3, 60), np.repeat(np.arange(6), 10).astype(object)
    predictions = [np.where(rng.random(60) < 0.7, truth, rng.integers(0, 3, 60)) for _ in range(2)]
    stacked = np.stack([confusion_of_patients(truth, p, patient, 3) for p in predictions])
    found = bootstrap_macro_f1(stacked, seed=5, draws=20)
    times = np.random.default_rng(5).multinomial(6, np.full(6, 1 / 6), size=20)
    for value, count in zip(found, times, strict=True):
        rows = np.concatenate([np.tile(np.flatnonzero(patient == p), n) for p, n in enumerate(count)])
        each = [f1_score(truth[rows], p[rows], labels=np.unique(truth[rows]), average="macro") for p in predictions]
        assert value == pytest.approx(np.mean(each))


def test_interval_over_patients_is_wider_than_over_images_of_few_patients() -> None:
    truth = np.tile([0, 1], 100)
    good = np.repeat([True, False], 100)  # one patient all right, one all wrong
    predicted = np.where(good, truth, 1 - truth)
    by_patient = confusion_of_patients(truth, predicted, np.repeat(["a", "b"], 100).astype(object), 2)
    by_image = confusion_of_patients(truth, predicted, np.arange(200).astype(object), 2)
    wide, narrow = (interval(bootstrap_macro_f1(c[None], seed=0)) for c in (by_patient, by_image))
    assert wide == (0.0, 1.0)
    assert 0.4 < narrow[0] < narrow[1] < 0.6
