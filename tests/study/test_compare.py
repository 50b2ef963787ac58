"""Paired differences: same fraction and seed, an interval for seeds and for patients, no claim without one."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from sonolearn.study.read import ClassifyRun, baseline_of, differing_settings, paired_differences, read_run


def classify_run(path: Path) -> ClassifyRun:
    run = read_run(path)
    assert isinstance(run, ClassifyRun)
    return run


def with_predictions(run: ClassifyRun, right: dict[int, float]) -> ClassifyRun:
    """The run with predictions at fraction 1 of which a share is right, by seed."""
    table = run.predictions[run.predictions["fraction"] == 1].copy()
    rng = np.random.default_rng(0)
    planes = np.array(run.planes)
    for seed, share in right.items():
        at = table["seed"] == seed
        wrong = rng.random(at.sum()) >= share
        truth = table.loc[at, "plane"].to_numpy(str)
        table.loc[at, "predicted"] = np.where(wrong, planes[(np.searchsorted(planes, truth) + 1) % len(planes)], truth)
    return dataclasses.replace(run, predictions=table[table["seed"].isin(list(right))])


def test_mean_difference_is_that_of_the_results_paired_by_seed(runs: dict[str, Path]) -> None:
    run, baseline = classify_run(runs["pretrained"]), classify_run(runs["random"])
    pairs = run.results.merge(baseline.results, on=["fraction", "seed"])
    expected = (pairs["macro_f1_x"] - pairs["macro_f1_y"]).groupby(pairs["fraction"]).mean()
    found = paired_differences(run, baseline)
    assert [difference.fraction for difference in found] == [0.25, 1.0]
    assert [difference.mean for difference in found] == pytest.approx(list(expected))
    assert [difference.seeds for difference in found] == [3, 3]


def test_only_seeds_of_both_runs_are_paired(runs: dict[str, Path]) -> None:
    run = classify_run(runs["random"])
    fewer = dataclasses.replace(run, predictions=run.predictions[run.predictions["seed"] != 1])
    assert [difference.seeds for difference in paired_differences(run, fewer)] == [2, 2]


def test_a_run_does_not_differ_from_itself(runs: dict[str, Path]) -> None:
    run = classify_run(runs["random"])
    assert all(d.mean == 0 and not d.shown for d in paired_differences(run, run))


def test_a_large_and_steady_gain_is_shown_and_one_seed_shows_nothing(runs: dict[str, Path]) -> None:
    run = classify_run(runs["random"])
    good, bad = (with_predictions(run, dict.fromkeys(range(3), share)) for share in (1.0, 0.1))
    (difference,) = paired_differences(good, bad)
    assert difference.shown
    assert 0 < difference.low < difference.mean < difference.high
    (reverse,) = paired_differences(bad, good)
    assert reverse.mean == pytest.approx(-difference.mean)
    (single,) = paired_differences(with_predictions(run, {0: 1.0}), with_predictions(run, {0: 0.1}))
    assert math.isnan(single.low)
    assert not single.shown


def test_gains_that_change_sign_between_seeds_are_not_shown(runs: dict[str, Path]) -> None:
    run = classify_run(runs["random"])
    (difference,) = paired_differences(
        with_predictions(run, {0: 1.0, 1: 0.2, 2: 1.0}), with_predictions(run, {0: 0.3, 1: 0.9, 2: 0.5})
    )
    assert not difference.shown


def test_runs_of_other_stores_are_not_compared(runs: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="different stores"):
        paired_differences(classify_run(runs["random"]), classify_run(runs["other"]))


def test_the_baseline_is_the_random_one_and_other_differences_are_named(runs: dict[str, Path]) -> None:
    run, baseline = classify_run(runs["pretrained"]), classify_run(runs["random"])
    assert baseline_of([run, baseline]) is baseline
    assert baseline_of([run]) is None
    assert differing_settings(run, baseline) == []
    longer = dataclasses.replace(run, record={**run.record, "config": {**run.record["config"], "epochs": 99}})
    assert differing_settings(longer, baseline) == ["epochs"]
