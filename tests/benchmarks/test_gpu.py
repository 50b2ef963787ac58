"""The benchmark on a GPU: it waits where there is none, and goes its whole way at a tiny size."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.gpu import LOOP, STEP, rows


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_both_rows_wait():
    found = list(rows(quick=False))
    assert [row.figure for row in found] == [LOOP, STEP]
    assert all((row.ours, row.ratio, row.target, row.reached) == ("", None, 0.9, None) for row in found)


def test_the_quick_run_measures_the_loop_and_the_compiled_step():
    found = list(rows(quick=True))
    assert [row.figure for row in found] == ["a step of `pretrain`, tiny", "its bare step, tiny"]
    assert all(row.ratio is not None and math.isfinite(row.ratio) for row in found)
