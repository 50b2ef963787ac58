"""The benchmark of handing over: both sides hand over as many views of the same size, in the types that it says."""

from __future__ import annotations

import math

import torch

from benchmarks import loader as script

BATCH, BATCHES = 4, 3


def test_there_is_one_row_with_its_target() -> None:
    (row,) = script.rows(quick=True)
    assert row.ratio
    assert math.isfinite(row.ratio)
    assert row.target == 8


def test_both_sides_hand_over_the_same_number_of_batches_pairs_and_pixels() -> None:
    ours, usual = list(script.ours(BATCH, BATCHES)), list(script.usual(BATCH, BATCHES))
    assert len(ours) == len(usual) == script.FIRST + BATCHES
    for pairs, floats in zip(ours, usual, strict=True):
        assert pairs.shape == (BATCH, 2, script.SIZE, script.SIZE)
        assert pairs.dtype == torch.uint8
        assert [view.shape for view in floats] == [(BATCH, 3, script.SIZE, script.SIZE)] * 2
        assert all(view.dtype == torch.float32 for view in floats)
    assert torch.equal(ours[0], ours[-1])
    assert ours[0].float().std() > 50, "random pixels, which nothing can shrink"
