"""Variance against size: the pools that are compared, and verdicts that say no more than is shown."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from simulated_study import by_chance, row, study
from sonolearn.reports.findings import verdict
from sonolearn.statistics.trainings import Trainings, gather
from sonolearn.statistics.variance import PoolEffect, steps, variance_and_size

POOLS = {"base": (10, 4000), "wide": (40, 4100), "long": (10, 16000)}


def trainings_of(
    gains: dict[str, float],
    pools: dict[str, tuple[int, int]] = POOLS,
    draws_of_pools: int = 4,
    methods: tuple[str, ...] = ("SimCLR",),
    missing: tuple[str, int] | None = None,
) -> Trainings:
    rows = [
        row(m, s, fraction=f, pretrain_seed=s % draws_of_pools, pool=pool, pool_patients=patients, pool_frames=frames)
        for m in methods
        for pool, (patients, frames) in pools.items()
        for f in (0.1, 1.0)
        for s in range(4)
        if (pool, s) != missing or f < 1
    ]
    rows += [row("ImageNet", s, pool_patients=0, pool_frames=0) for s in range(4)]
    chance = by_chance(np.random.default_rng(0), lambda r: gains.get(str(r["pool"]), 0), spread=0.1, patients=30)
    return gather(*study(rows, chance, images=8), draws=200)


def by_question(effects: list[PoolEffect]) -> dict[str, PoolEffect]:
    return {effect.question: effect for effect in effects}


def test_pools_are_compared_that_differ_in_one_respect() -> None:
    table = trainings_of({}).table
    table = table[table["pool"] != ""]
    (variety,) = steps(table, "variety")
    assert (variety.many, variety.few, variety.from_, variety.to) == ("wide", "base", 10, 40)
    assert (variety.fixed_least, variety.fixed_most) == (4000, 4100)
    (size,) = steps(table, "size")
    assert (size.many, size.few, size.from_, size.to) == ("long", "base", 4000, 16000)


def test_the_widest_step_is_taken_at_each_level() -> None:
    pools = {f"{p}/{f}": (p, f) for p in (10, 20, 40) for f in (1000, 2000)}
    table = trainings_of({}, pools).table
    found = [(step.few, step.many) for step in steps(table[table["pool"] != ""], "variety")]
    assert found == [("10/1000", "40/1000"), ("10/2000", "40/2000")]


@pytest.mark.parametrize(("frames", "compared"), [(4200, True), (4201, False)])
def test_fixed_means_within_5_percent(frames: int, compared: bool) -> None:
    table = trainings_of({}, {"base": (10, 4000), "wide": (40, frames)}).table
    assert bool(steps(table[table["pool"] != ""], "variety")) is compared


def test_a_gain_by_patients_alone_is_shown_and_one_by_frames_is_not_made_up() -> None:
    found = by_question(variance_and_size(trainings_of({"wide": 2})))
    assert found["variety"].shown
    assert not found["size"].shown
    assert found["variety - size"].shown
    assert "shown to give more." in verdict(found["variety"])
    assert verdict(found["size"]).endswith("; not shown.")
    assert "more patients is shown to be the larger" in verdict(found["variety - size"])
    assert "patients 10 to 40 at 4 000 to 4 100 frames" in verdict(found["variety"])


def test_the_other_way_round_is_found_just_as_well() -> None:
    found = by_question(variance_and_size(trainings_of({"long": 2, "wide": -2})))
    assert "shown to give less." in verdict(found["variety"])
    assert "shown to give more." in verdict(found["size"])
    assert "more frames is shown to be the larger" in verdict(found["variety - size"])


def test_units_are_pool_draws_and_the_differences_those_of_their_means() -> None:
    trainings = trainings_of({"wide": 1}, draws_of_pools=2)
    found = by_question(variance_and_size(trainings))
    means = trainings.table.pivot_table("macro_f1", "pretrain_seed", "pool", "mean")
    assert {effect.units for effect in found.values()} == {2}
    assert found["variety"].mean == pytest.approx((means["wide"] - means["base"]).mean())
    assert found["size"].mean == pytest.approx((means["long"] - means["base"]).mean())
    assert found["variety - size"].mean == pytest.approx((means["wide"] - means["long"]).mean())


def test_p_values_are_corrected_for_the_three_questions() -> None:
    found = variance_and_size(trainings_of({"wide": 0.5}))
    assert [e.corrected for e in found] == pytest.approx(multipletests([e.p for e in found], method="holm")[1])
    assert {e.tests for e in found} == {3}


def test_one_draw_of_the_pools_shows_nothing_whatever_its_seeds_say() -> None:
    found = variance_and_size(trainings_of({"wide": 5}, draws_of_pools=1))
    assert found[0].mean > 0.2
    assert all(e.units == 1 and math.isnan(e.p) and math.isnan(e.low) and not e.shown for e in found)
    assert "one draw says nothing of others" in verdict(found[0])


def test_several_methods_are_averaged_and_then_taken_one_by_one() -> None:
    found = variance_and_size(trainings_of({"wide": 2}, methods=("BYOL", "SimCLR")))
    assert [e.initialisations for e in found] == [("BYOL", "SimCLR")] * 3 + [("BYOL",)] * 3 + [("SimCLR",)] * 3
    assert [e.tests for e in found] == [3] * 3 + [6] * 6
    assert found[0].mean == pytest.approx((found[3].mean + found[6].mean) / 2)


def test_steps_of_unlike_size_are_named_as_such() -> None:
    found = by_question(variance_and_size(trainings_of({}, {**POOLS, "long": (10, 8000)})))
    assert "steps differ in size" in verdict(found["variety - size"])
    assert "steps differ" not in verdict(by_question(variance_and_size(trainings_of({})))["variety - size"])


def test_pools_that_differ_in_everything_or_are_not_described_answer_nothing() -> None:
    assert variance_and_size(trainings_of({}, {"base": (10, 4000), "both": (40, 16000)})) == []
    trainings = trainings_of({})
    undescribed = trainings.table.drop(columns=["pool_patients", "pool_frames"])
    bare = Trainings(undescribed, trainings.macro_f1, trainings.drawn, trainings.patients, 0)
    assert variance_and_size(bare) == []


def test_a_missing_run_takes_its_pool_draw_away() -> None:
    found = variance_and_size(trainings_of({}, missing=("wide", 2)))
    assert [(e.question, e.units) for e in found] == [("variety", 3), ("size", 4), ("variety - size", 3)]
