"""The benchmark of reading: both sides read the same frames, and every row has its target."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from benchmarks import store as script
from sonolearn.ssl.frames import training_frames


def test_rows_are_those_of_batches_and_of_pairs_each_with_the_same_target() -> None:
    rows = list(script.rows(quick=True))
    assert [row.figure.split(" of ")[0] for row in rows] == ["random frames", "pairs"]
    assert all(row.ratio and math.isfinite(row.ratio) and row.target == 0.8 for row in rows)


def test_the_bare_array_holds_the_frames_of_the_store(tmp_path: Path) -> None:
    pool = training_frames([script.write_store(tmp_path, 2, 5, script.SIZE)])
    bare = script.bare_array(pool, tmp_path / "frames.raw")
    assert len(bare) == len(pool) == 10
    assert all(np.array_equal(bare[index], pool.read(index)) for index in range(len(pool)))


def test_drawn_frames_are_sectors_that_differ(tmp_path: Path) -> None:
    store = script.write_store(tmp_path, 2, 4, 64)
    frames = store.read(np.arange(8))
    assert len(np.unique(frames.reshape(8, -1), axis=0)) == 8
    assert not frames[:, -1].any()
    assert not frames[:, :8, 0].any()
    assert (frames[:, 32, 32] > 0).all()
    assert store.scan_of_frame.tolist() == [0] * 4 + [1] * 4


def test_the_array_that_is_filled_begins_at_a_page() -> None:
    array = script.from_page((3, 8, 8))
    assert array.shape == (3, 8, 8)
    assert array.ctypes.data % 4096 == 0
