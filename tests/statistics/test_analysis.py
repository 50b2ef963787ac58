"""All statistics of a whole study: fast enough to be made while somebody waits, and tables of them."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pandas as pd
import pytest

from simulated_study import by_chance, row, study
from sonolearn.statistics.analysis import analyse


@pytest.mark.slow
def test_a_thousand_trainings_on_60_patients_take_less_than_ten_seconds() -> None:
    fixed = ("random", "ImageNet")
    names = (*fixed, "SimCLR", "MoCo", "BYOL", "Barlow Twins", "VICReg", "autoencoder", "inpainting")
    rows = [
        row(n, s, fraction=f, mode=m, encoder=e, **({} if n in fixed else {"pretrain_seed": s, "pool": "all"}))
        for e, m, n, f, s in product("ab", ("finetune", "linear"), names, (0.01, 0.05, 0.1, 0.25, 0.5, 1), range(5))
    ]
    runs, confusions = study(rows, by_chance(np.random.default_rng(0), lambda _: 1, patients=60, classes=5), classes=5)
    before = time.process_time()
    found = analyse(runs, confusions)
    assert time.process_time() - before < 10
    assert (len(runs), len(found.cells), len(found.pairs)) == (1080, 216, 4 * 36 * 7)


def test_results_are_tables_and_the_same_each_time() -> None:
    rows = [row(n, s, fraction=f) for n in "ABC" for s in range(3) for f in (0.1, 1.0)]
    runs, confusions = study(rows, by_chance(np.random.default_rng(0), lambda _: 1))
    one, other = (analyse(order, confusions, draws=50) for order in (runs, runs[::-1]))
    for name in ("cells", "pairs", "recommendations"):
        table = pd.DataFrame(getattr(one, name))
        assert len(table) > 0
        pd.testing.assert_frame_equal(table, pd.DataFrame(getattr(other, name)))
