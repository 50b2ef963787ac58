"""Suggestions from features alone: closed forms, an independent reference, patients, seeds and the order of images."""

from __future__ import annotations

from collections import Counter
from math import ceil

import numpy as np
import pytest

from sonolearn.config import SuggestMethod
from sonolearn.console import UserError
from sonolearn.planes.typical import coordinates, suggested, typicality

METHODS: tuple[SuggestMethod, ...] = ("typiclust", "k_medoids")


def groups(count: int, each: int, seed: int = 0, spread: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Tight groups of images in directions at right angles to each other, and the group of each image."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(count), each)
    features = np.eye(count, count + 4)[group] + rng.normal(0, spread, (len(group), count + 4))
    return features.astype(np.float32), group


def own_patients(count: int) -> np.ndarray:
    return np.array([f"P{number}" for number in range(count)], object)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_of_tight_groups_each_gives_one_image(method: SuggestMethod, seed: int) -> None:
    features, group = groups(5, 12, seed)
    chosen = suggested(features, own_patients(len(group)), 5, method, seed)
    assert sorted(group[chosen]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("method", METHODS)
def test_the_image_in_the_middle_of_its_group_is_chosen(method: SuggestMethod) -> None:
    angles = np.radians([0, 1, 2, 3, 4, 90, 91, 92, 93, 94])
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    assert sorted(suggested(features, own_patients(10), 2, method)) == [2, 7]


def test_typicality_is_one_over_the_mean_distance_to_the_nearest_neighbours() -> None:
    features = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    for neighbours in (1, 5, 20, 100):
        distances = np.array([[np.linalg.norm(a - b) for b in features.astype(np.float64)] for a in features])
        distances.sort(axis=1)
        expected = 1 / distances[:, 1 : neighbours + 1].mean(1)
        np.testing.assert_allclose(typicality(features, neighbours), expected, rtol=1e-5)


def test_the_most_typical_image_of_every_cluster_comes_first_largest_cluster_first() -> None:
    """Against a reference by brute force, on groups that any clustering finds."""
    rng = np.random.default_rng(1)
    sizes = (9, 14, 6)
    group = rng.permutation(np.repeat(np.arange(3), sizes))
    features = (np.eye(3, 7)[group] + rng.normal(0, 0.03, (len(group), 7))).astype(np.float32)
    points = coordinates(features)
    expected = []
    for number in np.argsort(sizes)[::-1]:
        members = np.flatnonzero(group == number)
        means = [np.sort(np.linalg.norm(points[members] - points[m], axis=1))[1:21].mean() for m in members]
        expected.append(members[int(np.argmin(means))])
    assert suggested(features, own_patients(len(group)), 3).tolist() == expected


def test_the_medoid_of_every_group_comes_first() -> None:
    features, group = groups(4, 9, seed=2)
    points = coordinates(features)
    expected = set()
    for number in range(4):
        members = np.flatnonzero(group == number)
        sums = [np.linalg.norm(points[members] - points[m], axis=1).sum() for m in members]
        expected.add(int(members[int(np.argmin(sums))]))
    assert set(suggested(features, own_patients(len(group)), 4, "k_medoids").tolist()) == expected


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 3, 7, 12, 30, 60])
def test_no_patient_gives_more_than_his_share(method: SuggestMethod, count: int) -> None:
    features = np.random.default_rng(3).normal(size=(60, 8)).astype(np.float32)
    patients = np.repeat(own_patients(6), 10)
    chosen = suggested(features, patients, count, method)
    assert len(set(chosen.tolist())) == count
    assert max(Counter(patients[chosen]).values()) <= ceil(count / 6)


@pytest.mark.parametrize("method", METHODS)
def test_patients_with_few_images_leave_their_share_to_the_others(method: SuggestMethod) -> None:
    features = np.random.default_rng(4).normal(size=(20, 8)).astype(np.float32)
    patients = np.array(["a"] * 18 + ["b", "c"], object)
    chosen = suggested(features, patients, 12, method)
    assert Counter(patients[chosen]) == {"a": 10, "b": 1, "c": 1}


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_gives_the_same_images_each_time_and_another_one_others(method: SuggestMethod) -> None:
    features = np.random.default_rng(5).normal(size=(80, 8)).astype(np.float32)
    draws = {seed: suggested(features, own_patients(80), 10, method, seed).tolist() for seed in range(4)}
    assert all(suggested(features, own_patients(80), 10, method, seed).tolist() == draws[seed] for seed in range(4))
    assert len({tuple(sorted(chosen)) for chosen in draws.values()}) > 1


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_clear_groups_and_the_length_of_features_change_nothing(method: SuggestMethod) -> None:
    features, group = groups(4, 10, seed=6)
    patients = own_patients(len(group))
    chosen = {patients[i] for i in suggested(features, patients, 4, method)}
    order = np.random.default_rng(7).permutation(len(group))
    assert {patients[order][i] for i in suggested(features[order], patients[order], 4, method)} == chosen
    lengths = np.random.default_rng(8).uniform(0.1, 10, (len(group), 1)).astype(np.float32)
    assert {patients[i] for i in suggested(features * lengths, patients, 4, method)} == chosen


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_images_that_are_all_equal_can_be_chosen_from(method: SuggestMethod, count: int) -> None:
    chosen = suggested(np.ones((6, 4), np.float32), own_patients(6), count, method)
    assert len(set(chosen.tolist())) == count


@pytest.mark.parametrize("method", METHODS)
def test_all_images_are_chosen_where_all_are_asked_for(method: SuggestMethod) -> None:
    features = np.random.default_rng(9).normal(size=(9, 3)).astype(np.float32)
    assert sorted(suggested(features, own_patients(9), 9, method).tolist()) == list(range(9))


@pytest.mark.parametrize("count", [0, 4])
def test_more_images_than_there_are_and_none_are_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"{count} images cannot be chosen from 3; give 1 to 3"):
        suggested(np.eye(3, dtype=np.float32), own_patients(3), count)


def test_features_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UserError, match="not finite"):
        suggested(np.array([[1.0, np.nan], [0.0, 1.0]], np.float32), own_patients(2), 1)
