"""Which initialisation to use: one name only where it is shown, and how often each comes first."""

from __future__ import annotations

import numpy as np
import pytest

from simulated_study import by_chance, row, study
from sonolearn.statistics.comparisons import all_pairs
from sonolearn.statistics.ranks import Recommendation, recommendations, share_first
from sonolearn.statistics.trainings import gather

NAMES = ("Barlow Twins", "ImageNet", "SimCLR")
GRID = [row(name, s, fraction=f) for name in NAMES for f in (0.01, 1.0) for s in range(5)]


def of(rows: list[dict[str, object]], gains: dict[str, float]) -> list[Recommendation]:
    chance = by_chance(np.random.default_rng(0), lambda r: gains.get(str(r["initialisation"]), 0), spread=0.2)
    trainings = gather(*study(rows, chance), draws=500)
    return recommendations(trainings, all_pairs(trainings))


def test_one_is_named_where_it_is_shown_to_beat_each_other_one() -> None:
    whole, smallest = of(GRID, {"SimCLR": 4, "ImageNet": 1})
    for answer in (whole, smallest):
        assert answer.candidates == ("SimCLR",)
        assert answer.names == ("SimCLR", "ImageNet", "Barlow Twins")
        assert answer.decisive is not None
        assert {answer.decisive.initialisation, answer.decisive.other} == {"SimCLR", "ImageNet"}
        assert answer.first == (1, 0, 0)
    assert (whole.fraction, whole.fractions, whole.units) == (None, 2, 5)
    assert (smallest.fraction, smallest.fractions, smallest.units) == (0.01, 1, 5)


def test_those_that_cannot_be_told_from_the_first_stay() -> None:
    whole, _ = of(GRID, {"SimCLR": 3, "Barlow Twins": 3})
    assert set(whole.candidates) == {"SimCLR", "Barlow Twins"}
    assert whole.decisive is None
    assert whole.names[-1] == "ImageNet"


def test_one_seed_tells_nothing_apart() -> None:
    (answer,) = of([row(name, 0) for name in NAMES], {"SimCLR": 5})
    assert answer.names[0] == "SimCLR"
    assert set(answer.candidates) == set(NAMES)
    assert (answer.units, answer.decisive) == (1, None)


def test_shares_add_up_to_1_and_ties_are_shared_out() -> None:
    rng = np.random.default_rng(0)
    assert share_first(rng.normal(size=(4, 3, 500))).sum() == pytest.approx(1)
    assert share_first(np.ones((4, 2, 100))) == pytest.approx([0.5, 0.5])


def test_shares_take_units_and_patients_into_account() -> None:
    """Unit differences d of +3, -1 and -1 have a mean above 0 in 1 - P(sum <= 0) of 27 equally likely redraws."""
    units = np.array([3.0, -1, -1])
    redraws = np.stack(np.meshgrid(units, units, units)).reshape(3, -1).mean(0)
    drawn = np.stack([units, np.zeros(3)], axis=1)[:, :, None] * np.ones(40_000)
    assert share_first(drawn)[0] == pytest.approx((redraws > 0).mean(), abs=0.01)
    patients = np.array([1.0, 1.0, 1.0, -1.0])  # one unit: what is redrawn are patients alone
    assert share_first(np.stack([patients, 0 * patients])[None])[0] == 0.75


def test_what_was_pretrained_once_is_named() -> None:
    rows = [row("ImageNet", s) for s in range(4)]
    rows += [row("SimCLR", s, pretrain_seed=0, pool="all") for s in range(4)]
    (answer,) = of(rows, {})
    assert answer.one_pretraining == ("SimCLR",)


def test_a_single_initialisation_needs_no_recommendation() -> None:
    assert of([row("ImageNet", s) for s in range(4)], {}) == []
