"""Ranks against scipy and scikit-posthocs; a block of the test is an independent unit."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from simulated_study import by_chance, row, study
from sonolearn.statistics.ranks import Ranks, cliques, critical_difference, friedman_test, mean_ranks, nemenyi, ranks
from sonolearn.statistics.trainings import gather

NAMES = ("A", "B", "C", "D")
TIED_SCORES = arrays(float, (6, 4), elements=st.integers(0, 4).map(float))


def of(rows: list[dict[str, object]], seed: int = 0) -> tuple[Ranks, pd.DataFrame]:
    runs, confusions = study(rows, by_chance(np.random.default_rng(seed), lambda _: 0.5))
    (found,) = ranks(gather(runs, confusions, draws=20))
    return found, runs


def pretrained(name: str, seed: int, fraction: float, pretraining: int) -> dict[str, object]:
    return row(name, seed, fraction=fraction, pretrain_seed=pretraining, pool="all")


@settings(max_examples=30)
@given(TIED_SCORES)
def test_nemenyis_p_values_are_those_of_scikit_posthocs(scores: np.ndarray) -> None:
    expected = scikit_posthocs.posthoc_nemenyi_friedman(scores).to_numpy()
    assert nemenyi(mean_ranks(scores), len(scores)) == pytest.approx(expected, abs=1e-6)


def test_critical_difference_is_that_of_demsars_table() -> None:
    for names, q in {2: 1.960, 3: 2.343, 5: 2.728, 9: 3.102, 10: 3.164}.items():  # JMLR 2006, table 5 (a)
        assert critical_difference(names, 14) == pytest.approx(q * math.sqrt(names * (names + 1) / (6 * 14)), rel=5e-4)


def test_ranks_further_apart_than_the_critical_difference_are_those_with_p_below_5_percent() -> None:
    means = np.array([1.2, 2.0, 2.4, 4.4])
    apart = np.abs(means[:, None] - means) > critical_difference(4, 10)
    assert (apart == (nemenyi(means, 10) < 0.05)).all()
    assert apart.any()


def test_friedman_is_corrected_for_ties() -> None:
    scores = np.array([[3, 2, 2], [3, 1, 2], [1, 1, 0], [2, 2, 1], [3, 2, 1]], float)
    statistic, p = friedman_test(scores)
    table = np.apply_along_axis(stats.rankdata, 1, scores)
    deviation = ((table.sum(0) - table.sum() / 3) ** 2).sum()
    expected = 2 * deviation / ((table**2).sum() - 5 * 3 * 4**2 / 4)  # Conover's form
    assert statistic == pytest.approx(expected)
    assert p == pytest.approx(stats.chi2.sf(expected, 2))


def test_there_is_no_test_of_two_initialisations_one_block_or_nothing_but_ties() -> None:
    for scores in (np.arange(8.0).reshape(4, 2), np.arange(3.0)[None], np.ones((4, 3))):
        assert all(math.isnan(value) for value in friedman_test(scores))
    assert math.isnan(critical_difference(3, 1))


def test_cliques_are_the_largest_groups_within_the_distance() -> None:
    means = np.array([1.0, 1.9, 2.8, 4.3])
    assert cliques(NAMES, means, 2.0) == (("A", "B", "C"), ("C", "D"))
    assert cliques(NAMES, means, 0.5) == ()
    assert cliques(NAMES, means, 9.0) == (NAMES,)
    assert cliques(NAMES, means, math.nan) == ()


def test_the_description_ranks_each_fraction_and_the_test_the_mean_over_fractions() -> None:
    keys = [(s, f, s) for s in range(5) for f in (0.1, 1.0)]
    found, runs = of([pretrained(name, *key) for name in NAMES for key in keys])
    blocks = runs.pivot_table("macro_f1", ["seed", "fraction"], "initialisation")
    described = blocks.rank(axis=1, ascending=False).mean()
    tested = blocks.groupby("seed").mean()
    assert (found.described_blocks, found.blocks, found.fractions) == (10, 5, 2)
    assert dict(zip(found.names, found.described, strict=True)) == pytest.approx(dict(described))
    assert dict(zip(found.names, found.tested, strict=True)) == pytest.approx(
        dict(tested.rank(axis=1, ascending=False).mean())
    )
    assert (found.friedman, found.p) == pytest.approx(tuple(stats.friedmanchisquare(*tested.to_numpy().T)))
    assert list(found.tested) == sorted(found.tested)
    assert "not to other patients" in found.read_as
    assert "pre-training" not in found.read_as


def test_seeds_of_one_pretraining_are_one_block() -> None:
    rows = [pretrained(name, s, 1.0, s // 2) for name in "AB" for s in range(6)] + [row("C", s) for s in range(6)]
    found, runs = of(rows)
    scores = runs.assign(block=runs["seed"] // 2).pivot_table("macro_f1", "block", "initialisation")
    assert found.blocks == found.described_blocks == 3
    assert found.p == pytest.approx(stats.friedmanchisquare(*scores.to_numpy().T).pvalue)
    assert "share labelled images" not in found.read_as


def test_shared_seeds_and_single_pretrainings_limit_what_ranks_may_be_read_as() -> None:
    crossed = [pretrained(name, s, 1.0, p) for name in "AB" for s in range(3) for p in range(3)]
    found, _ = of(crossed + [row("C", s) for s in range(3)])
    assert found.blocks == 3
    assert "share labelled images" in found.read_as
    once, _ = of([pretrained(name, s, 1.0, 0) for name in "ABC" for s in range(4)])
    assert once.blocks == 4
    assert "not to other pre-trainings" in once.read_as


def test_missing_runs_take_their_blocks_away() -> None:
    rows = [row(name, s, fraction=f) for name in NAMES for s in range(4) for f in (0.1, 1.0)]
    del rows[0]
    found, _ = of(rows)
    assert (found.described_blocks, found.blocks, found.left_out) == (7, 3, ())


def test_an_initialisation_with_less_than_half_of_the_runs_is_left_out_not_all_others() -> None:
    rows = [row(name, s) for name in "ABC" for s in range(5)] + [row("D", s) for s in range(2)]
    found, _ = of(rows)
    assert (set(found.names), found.blocks, found.left_out) == ({"A", "B", "C"}, 5, ("D",))


def test_one_seed_is_a_description_only() -> None:
    found, _ = of([row(name, 0) for name in "ABC"])
    assert (found.blocks, found.cliques) == (1, ())
    assert sorted(found.described) == [1, 2, 3]
    assert found.read_as.startswith("a description")
    assert math.isnan(found.p)
