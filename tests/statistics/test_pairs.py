"""Which trainings are paired, what their units are, and the mean difference over them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from simulated_study import by_chance, row, study
from sonolearn.statistics.comparisons import contrast, pair
from sonolearn.statistics.trainings import Trainings, gather


def trainings_of(rows: list[dict[str, object]], seed: int = 0) -> Trainings:
    return gather(*study(rows, by_chance(np.random.default_rng(seed), lambda _: 0.5)), draws=200)


def of(trainings: Trainings, name: str) -> pd.DataFrame:
    return trainings.table[trainings.table["name"] == name]


def ssl(name: str, seed: int, pretrain_seed: int, fraction: float = 1.0) -> dict[str, object]:
    return row(name, seed, fraction=fraction, pretrain_seed=pretrain_seed, pool="all")


def test_pairs_share_fraction_seed_and_the_seed_of_the_pretraining() -> None:
    rows = [ssl(name, s, p, f) for name in ("A", "B") for s in range(2) for p in range(3) for f in (0.1, 1.0)]
    trainings = trainings_of(rows[1:])
    pairs = pair(of(trainings, "A"), of(trainings, "B"))
    assert len(pairs) == 11
    ours, theirs = (trainings.table.loc[side].reset_index() for side in (pairs.ours, pairs.theirs))
    for column in ("fraction", "seed", "pretrain_seed"):
        assert (ours[column] == theirs[column]).all()


def test_units_are_seeds_without_and_pretrainings_with_several_pretrainings() -> None:
    fixed = [row("ImageNet", s) for s in range(4)]
    once = trainings_of(fixed + [ssl("A", s, 7) for s in range(4)])
    pairs = pair(of(once, "A"), of(once, "ImageNet"))
    assert list(pairs.unit) == [0, 1, 2, 3]
    assert pairs.one_pretraining
    twice = trainings_of(fixed + [ssl("A", s, s // 2) for s in range(4)])
    pairs = pair(of(twice, "A"), of(twice, "ImageNet"))
    assert list(pairs.unit) == [0, 0, 1, 1]
    assert not pairs.one_pretraining


def test_several_pretrainings_against_one_are_units_and_flagged() -> None:
    trainings = trainings_of([ssl("A", s, s) for s in range(3)] + [ssl("B", s, 0) for s in range(3)])
    pairs = pair(of(trainings, "A"), of(trainings, "B"))
    assert list(pairs.unit) == [0, 1, 2]
    assert pairs.one_pretraining


def test_the_mean_is_over_seeds_then_fractions_then_pretrainings() -> None:
    keys = [(s, s // 2, f) for s in range(5) for f in (0.1, 1.0)]  # the last pre-training has one seed
    trainings = trainings_of([ssl(name, *key) for name in ("A", "B") for key in keys])
    found = contrast(pair(of(trainings, "A"), of(trainings, "B")), len(trainings.table))
    table = trainings.table.pivot_table("macro_f1", ["pretrain_seed", "fraction", "seed"], "name")
    units = (table["A"] - table["B"]).groupby(["pretrain_seed", "fraction"]).mean().groupby("pretrain_seed").mean()
    assert found.units.matrix @ trainings.macro_f1 == pytest.approx(units.to_numpy())
    assert found.estimate(trainings).mean == pytest.approx(units.mean())
    assert found.seeds is None


def test_a_unit_that_lacks_a_fraction_is_left_out_of_the_mean_over_fractions() -> None:
    keys = [(s, s, f) for s in range(3) for f in (0.1, 1.0) if (s, f) != (1, 0.1)]
    trainings = trainings_of([ssl(name, *key) for name in ("A", "B") for key in keys])
    pairs = pair(of(trainings, "A"), of(trainings, "B"))
    assert list(contrast(pairs, len(trainings.table)).units.labels) == [0, 2]
    assert list(contrast(pairs.at(1.0), len(trainings.table)).units.labels) == [0, 1, 2]


def test_where_all_patients_are_alike_it_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    rows = [row(name, s) for name in ("A", "B") for s in range(6)]
    runs, confusions = study(rows, lambda _: np.full(9, rng.integers(1, 4)), images=5)
    trainings = gather(runs, confusions, draws=50)
    found = contrast(pair(of(trainings, "A"), of(trainings, "B")), len(rows)).estimate(trainings)
    expected = stats.ttest_rel(of(trainings, "A")["macro_f1"], of(trainings, "B")["macro_f1"])
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_seeds_that_all_pretrainings_share_widen_the_interval() -> None:
    """The effect of a seed is common to all pre-trainings: their number alone must not make it small."""
    effect = {0: 1, 1: 3, 2: 2}

    def right(entry: dict[str, object]) -> np.ndarray:
        return np.full(9, 2 + (entry["initialisation"] == "A") * effect[int(str(entry["seed"]))])

    fixed = [row("ImageNet", s) for s in range(3)]
    crossed = gather(*study(fixed + [ssl("A", s, p) for s in range(3) for p in range(4)], right, images=5), draws=50)
    found = contrast(pair(of(crossed, "A"), of(crossed, "ImageNet")), 15)
    values = crossed.macro_f1[of(crossed, "A").index].reshape(4, 3) - crossed.macro_f1[of(crossed, "ImageNet").index]
    assert values.std(0) == pytest.approx(0)  # pre-trainings do not differ at all
    expected = stats.ttest_1samp(values[0], 0)
    assert found.estimate(crossed).p == pytest.approx(expected.pvalue)


def test_several_pretrainings_on_one_seed_give_no_interval() -> None:
    trainings = trainings_of([row("ImageNet", 0)] + [ssl("A", 0, p) for p in range(4)])
    found = contrast(pair(of(trainings, "A"), of(trainings, "ImageNet")), 5).estimate(trainings)
    assert math.isfinite(found.mean)
    assert math.isnan(found.p)


def test_trainings_without_a_common_seed_give_no_pair_and_no_figure() -> None:
    trainings = trainings_of([row("A", 0), row("B", 1)])
    pairs = pair(of(trainings, "A"), of(trainings, "B"))
    assert len(pairs) == 0
    assert math.isnan(contrast(pairs, 2).estimate(trainings).mean)
