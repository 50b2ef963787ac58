"""The benchmark against lightly's recipe: its rows, and that both sides learn from as many views of the same size."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks.recipe import GPU, PEER, TINY, lightlys_loop, rows, write_images
from benchmarks.store import write_store
from sonolearn.ssl.frames import training_frames


def test_a_row_is_measured_and_one_waits_for_a_gpu():
    found = list(rows(quick=True))
    assert found[0].ratio is not None
    assert math.isfinite(found[0].ratio)
    assert found[0].against.startswith(PEER)
    if not torch.cuda.is_available():
        assert found[1].figure.startswith(GPU.figure)
        assert (found[1].ours, found[1].ratio, found[1].target) == ("", None, 3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a test of the CPU's path")
def test_lightlys_step_takes_two_views_of_each_frame_in_colour_and_moves_the_weights(tmp_path: Path):
    pool = training_frames([write_store(store_folder(tmp_path), scans=1, frames=12, size=64)])
    step = lightlys_loop(write_images(pool, tmp_path / "images"), TINY)
    views = step()
    assert [view.shape for view in views] == [(TINY.batch, 3, TINY.size, TINY.size)] * 2
    assert all(view.dtype == torch.float32 for view in views)


def test_the_images_are_the_frames_of_the_store(tmp_path: Path):
    pool = training_frames([write_store(store_folder(tmp_path), scans=2, frames=5, size=64)])
    files = sorted(write_images(pool, tmp_path / "images").iterdir())
    assert len(files) == len(pool) == 10
    for index, file in enumerate(files):
        assert np.array_equal(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), pool.read(index))


def store_folder(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store"
