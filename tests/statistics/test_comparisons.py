"""Comparisons of initialisations: their families, their signs, and how often they mislead."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from simulated_study import by_chance, row, study
from sonolearn.statistics.comparisons import Comparison, against, all_pairs
from sonolearn.statistics.trainings import Trainings, gather

NAMES = ("Barlow Twins", "ImageNet", "SimCLR")


def grid(gain: float = 0.0, seed: int = 0, seeds: int = 4, fractions: tuple[float, ...] = (0.1, 1.0)) -> Trainings:
    """Three initialisations of which one is better by `gain` on the scale of logits."""
    rows = [
        row(
            name, s, fraction=f, pretrain_seed=None if name == "ImageNet" else s, pool="" if name == "ImageNet" else "a"
        )
        for name in NAMES
        for f in fractions
        for s in range(seeds)
    ]
    chance = by_chance(np.random.default_rng(seed), lambda r: gain * (r["initialisation"] == "Barlow Twins"))
    return gather(*study(rows, chance), draws=200)


def test_a_clear_difference_is_shown_at_each_fraction_and_together() -> None:
    found = [c for c in all_pairs(grid(4)) if "Barlow Twins" in (c.initialisation, c.other)]
    assert len(found) == 6
    assert all(c.shown and c.mean > 0 and c.initialisation == "Barlow Twins" for c in found)
    assert {(c.fraction, c.fractions, c.pairs, c.seeds, c.units) for c in found} == {
        (None, 2, 8, 4, 4),
        (0.1, 1, 4, 4, 4),
        (1.0, 1, 4, 4, 4),
    }


def test_the_difference_is_that_of_the_means_where_nothing_is_missing() -> None:
    trainings = grid(1)
    means = trainings.table.groupby(["name", "fraction"])["macro_f1"].mean()
    for c in all_pairs(trainings):
        ours, theirs = (
            means[n].mean() if c.fraction is None else means[n, c.fraction] for n in (c.initialisation, c.other)
        )
        assert c.mean == pytest.approx(ours - theirs)


def test_families_are_all_pairs_together_and_all_pairs_at_all_fractions() -> None:
    found = all_pairs(grid(0.5))
    families = {family: [c for c in found if c.family == family] for family in {c.family for c in found}}
    assert {family: len(members) for family, members in families.items()} == {
        "all pairs, fractions together": 3,
        "all pairs, at each fraction": 6,
    }
    for members in families.values():
        assert [c.corrected for c in members] == pytest.approx(multipletests([c.p for c in members], method="holm")[1])
        assert all(c.tests == len(members) for c in members)
        assert all(c.shown == (c.corrected < 0.05) for c in members)


def test_modes_and_encoders_are_families_of_their_own() -> None:
    rows = [row(n, s, mode=m, encoder=e) for n in "AB" for s in range(3) for m in ("linear", "knn") for e in "xy"]
    found = all_pairs(gather(*study(rows, by_chance(np.random.default_rng(0), lambda _: 1)), draws=50))
    assert len(found) == 8
    assert {c.tests for c in found} == {1}
    assert all(c.corrected == c.p for c in found)


def test_those_without_a_pool_are_compared_once_and_those_of_two_pools_not_at_all() -> None:
    rows = [row(n, s) for n in ("random", "ImageNet") for s in range(3)]
    rows += [row("SimCLR", s, pretrain_seed=s, pool=pool) for pool in "ab" for s in range(3)]
    trainings = gather(*study(rows, by_chance(np.random.default_rng(0), lambda _: 1)), draws=50)
    together = [c for c in all_pairs(trainings) if c.fraction is None]
    assert sorted((c.pool, *sorted((c.initialisation, c.other))) for c in together) == [
        ("", "ImageNet", "random"),
        ("a", "ImageNet", "SimCLR (a)"),
        ("a", "SimCLR (a)", "random"),
        ("b", "ImageNet", "SimCLR (b)"),
        ("b", "SimCLR (b)", "random"),
    ]
    assert {c.tests for c in together} == {5}


def test_against_a_reference_each_other_one_is_compared_with_it() -> None:
    trainings = grid(1)
    found = [c for c in against(trainings, "ImageNet") if c.fraction is None]
    assert [(c.initialisation, c.other, c.tests) for c in found] == [
        ("Barlow Twins", "ImageNet", 2),
        ("SimCLR", "ImageNet", 2),
    ]
    assert against(trainings, "random") == []


def test_one_seed_shows_nothing() -> None:
    found = all_pairs(grid(4, seeds=1))
    assert all(math.isnan(c.low) and math.isnan(c.corrected) and not c.shown and c.tests == 0 for c in found)
    assert all(math.isfinite(c.mean) and c.units == 1 for c in found)


def test_one_patient_shows_nothing() -> None:
    rows = [row(n, s) for n in "AB" for s in range(5)]
    found = all_pairs(gather(*study(rows, lambda r: np.array([4 if r["initialisation"] == "A" else 1]))))
    assert all(c.mean > 0 and math.isnan(c.p) and not c.shown for c in found)


def test_one_pretraining_is_flagged_however_many_seeds_there_are() -> None:
    rows = [row("ImageNet", s) for s in range(5)]
    rows += [row("SimCLR", s, pretrain_seed=0, pool="a") for s in range(5)]
    found = all_pairs(gather(*study(rows, by_chance(np.random.default_rng(0), lambda _: 1))))
    assert all(c.one_pretraining for c in found)
    assert not any(c.one_pretraining for c in all_pairs(grid()))


def test_an_initialisation_that_does_not_differ_at_all_is_not_shown_to() -> None:
    rows = [row(n, s) for n in "AB" for s in range(4)]
    found = all_pairs(gather(*study(rows, lambda r: np.array([3, 1, 2]) + int(str(r["seed"])) % 2)))
    assert all(c.mean == 0 and c.corrected == 1 and not c.shown for c in found)


def test_missing_runs_leave_the_pairs_that_are_there() -> None:
    rows = [row(n, s, fraction=f) for n in "AB" for f in (0.1, 1.0) for s in range(4)]
    del rows[0]  # A, 0.1, seed 0
    found = all_pairs(gather(*study(rows, by_chance(np.random.default_rng(0), lambda _: 1)), draws=50))
    assert {c.fraction: (c.pairs, c.units) for c in found} == {None: (7, 3), 0.1: (3, 3), 1.0: (4, 4)}


@pytest.fixture(scope="module")
def null_studies() -> list[list[Comparison]]:
    """Comparisons of 300 studies without any difference, each of 3 initialisations, 5 pre-trainings and 20 patients.

    Each has an encoder of its own, hence its own chance and its own family.
    """
    rows = [
        row(name, seed, encoder=f"{study:03}", pretrain_seed=seed, pool="a")
        for study in range(300)
        for name in NAMES
        for seed in range(5)
    ]
    trainings = gather(*study(rows, by_chance(np.random.default_rng(0), lambda _: 0.0)), draws=200)
    found = [c for c in all_pairs(trainings) if c.fraction is None]
    return [[c for c in found if c.encoder == encoder] for encoder in sorted({c.encoder for c in found})]


@pytest.mark.slow
def test_without_a_difference_few_studies_show_any(null_studies: list[list[Comparison]]) -> None:
    """Near 5 % of studies show a false one: a correction that is never wrong would find nothing either."""
    assert len(null_studies) == 300
    assert 0.01 < np.mean([any(c.shown for c in found) for found in null_studies]) < 0.08


@pytest.mark.slow
def test_without_correction_one_comparison_in_twenty_misleads(null_studies: list[list[Comparison]]) -> None:
    assert 0.03 < np.mean([c.p < 0.05 for found in null_studies for c in found]) < 0.07


@pytest.mark.slow
def test_interval_holds_the_true_difference_about_as_often_as_it_says(null_studies: list[list[Comparison]]) -> None:
    """All have the same expected macro F1, so the true difference is 0."""
    assert 0.93 < np.mean([c.low <= 0 <= c.high for found in null_studies for c in found]) < 0.97
