"""The summary of a cell: pre-trainings are the units, and one of them has no spread."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulated_study import by_chance, row, study
from sonolearn.planes.metrics import bootstrap_macro_f1, interval
from sonolearn.statistics.estimates import cells
from sonolearn.statistics.trainings import gather


def test_seeds_of_a_fixed_encoder_are_units() -> None:
    runs, confusions = study([row("ImageNet", s) for s in range(4)], by_chance(np.random.default_rng(0), lambda _: 1))
    (cell,) = cells(gather(runs, confusions))
    f1 = runs["macro_f1"]
    assert (cell.runs, cell.units, cell.one_pretraining) == (4, 4, False)
    assert (cell.mean, cell.sd, cell.least, cell.most) == pytest.approx((f1.mean(), f1.std(), f1.min(), f1.max()))
    drawn = bootstrap_macro_f1(np.stack(list(confusions.values())), seed=0)
    assert (cell.low, cell.high) == pytest.approx(interval(drawn))
    assert (cell.train_images, cell.test_images, cell.test_patients) == (1000, 240, 20)


def test_seeds_of_a_pretraining_are_averaged_first() -> None:
    pretrainings = {0: 0, 1: 0, 2: 0, 3: 1, 4: 1}  # seed: pre-training
    rows = [row("SimCLR", s, pretrain_seed=p, pool="all") for s, p in pretrainings.items()]
    runs, confusions = study(rows, by_chance(np.random.default_rng(0), lambda _: 1))
    (cell,) = cells(gather(runs, confusions))
    means = runs.groupby("pretrain_seed")["macro_f1"].mean()
    assert (cell.runs, cell.units) == (5, 2)
    assert (cell.mean, cell.sd) == pytest.approx((means.mean(), means.std()))


def test_the_spread_of_one_pretraining_is_unknown_and_flagged() -> None:
    rows = [row("SimCLR", s, pretrain_seed=0, pool="all") for s in range(5)]
    (cell,) = cells(gather(*study(rows, by_chance(np.random.default_rng(0), lambda _: 1))))
    assert (cell.runs, cell.units, cell.one_pretraining) == (5, 1, True)
    assert math.isnan(cell.sd)


def test_missing_runs_are_seen_in_the_counts() -> None:
    rows = [row("random", s, fraction=f) for f in (0.1, 1.0) for s in range(3) if (f, s) != (0.1, 1)]
    assert [(c.fraction, c.runs) for c in cells(gather(*study(rows, lambda _: np.array([3, 2]))))] == [(0.1, 2), (1, 3)]
