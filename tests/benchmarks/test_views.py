"""The benchmark of views: every side makes two views of each frame, of the same size, with the same changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks import view_peers
from benchmarks import views as script
from benchmarks.store import write_store
from sonolearn.recipes import recipe
from sonolearn.ssl.frames import FramePool, training_frames

SAMPLES = [0, 3, 5]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("views")


@pytest.fixture(scope="module")
def pool(folder: Path) -> FramePool:
    return training_frames([write_store(folder, 2, 4, script.STORED)])


@pytest.fixture(scope="module")
def sides(pool: FramePool, folder: Path) -> Mapping[str, view_peers.Maker]:
    return script.sides(pool, folder)


def test_rows_name_each_peer_once_and_only_the_study_and_lightly_have_targets() -> None:
    rows, threads = list(script.rows(quick=True)), cv2.getNumThreads()
    assert threads <= 1
    assert all(row.ratio and math.isfinite(row.ratio) for row in rows)
    assert [row.target for row in rows if row.target] == [12, 10]
    assert len(rows) == 5 + 1 + len(script.KINDS) - 1
    assert len({(row.figure, row.against.split(":")[0]) for row in rows}) == len(rows)


def test_every_side_makes_two_different_views_of_the_same_size_of_each_frame(sides) -> None:
    torch.manual_seed(0)
    for name, make in sides.items():
        made = make(SAMPLES)
        assert len(made) == len(SAMPLES), name
        for views in made:
            first, second = (np.squeeze(np.asarray(view)) for view in views)
            assert first.shape == second.shape, name
            # Three channels first, or none at all.
            assert first.shape[-2:] == (script.SIZE, script.SIZE), name
            assert not np.array_equal(first, second), name


def test_types_are_those_that_the_benchmark_names(sides) -> None:
    found = {name: np.asarray(make([1])[0][0]) for name, make in sides.items()}
    floats = {name for name, view in found.items() if view.dtype == np.float32}
    assert floats == {script.NORMALISED, script.STUDY, script.LIGHTLY, "kornia, batches"}
    assert {name for name, view in found.items() if view.shape[0] == 3} == {script.STUDY, script.LIGHTLY}
    assert found[script.OURS].dtype == np.uint8


def test_the_study_reads_the_frames_that_the_store_holds(sides, pool: FramePool, monkeypatch) -> None:
    taken = []
    original = view_peers.Image.fromarray
    monkeypatch.setattr(view_peers.Image, "fromarray", lambda array: taken.append(np.array(array)) or original(array))
    sides[script.STUDY](SAMPLES)
    assert np.array_equal(taken, [pool.read(sample) for sample in SAMPLES])


def test_peers_take_the_ranges_and_chances_of_the_recipe() -> None:
    views = recipe("simclr", None).views
    assert (views.crop_scale, views.blur_sigma) == (view_peers.SCALE, view_peers.SIGMA)
    assert (views.flip, views.jitter, views.brightness, views.contrast) == (0.5, 0.8, 0.8, 0.8)
    assert views.blur == (0.5, 0.5)
    assert views.solarize == (0.0, 0.0)
    assert view_peers.blur_kernel(224) == 23
