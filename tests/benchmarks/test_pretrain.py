"""The benchmark of the loop: turns, what falls into whose turn, and that both take the same step."""

from __future__ import annotations

import math
import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.pretrain import Turns, alternate, bare_step, rows
from benchmarks.store import write_store
from sonolearn.recipes import recipe
from sonolearn.ssl.frames import FramePool, training_frames
from sonolearn.ssl.pretrain import Training

TINY = recipe(
    "barlow_twins", None, encoder="test_resnet", image_size=32, batch_size=8, accelerator="cpu",
    barlow_twins={"projector": (64, 64)},
)  # fmt: skip


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> FramePool:
    folder: Path = tmp_path_factory.mktemp("store")
    return training_frames([write_store(folder, scans=1, frames=16, size=64)])


def test_there_is_a_row_of_the_loop_against_its_step():
    (row,) = rows(quick=True)
    assert row.figure.startswith("a step of `pretrain`, Barlow Twins")
    assert row.ratio is not None
    assert math.isfinite(row.ratio)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("turns", [Turns(3), Turns(2, steps=3, warm_up=0)])
def test_both_take_as_many_turns_and_nothing_of_the_others_turn_counts(pool, workers: int, turns: Turns):
    calls = 0

    def other() -> None:
        nonlocal calls
        calls += 1
        time.sleep(0.2)

    times = alternate(pool, replace(TINY, workers=workers), other, turns)
    assert len(times.of_ours) == len(times.of_other) == turns.count
    assert calls == (turns.warm_up + turns.count) * turns.steps
    assert times.other == pytest.approx(0.2, rel=0.5)
    assert multiprocessing.active_children() == []


def test_the_loop_takes_the_steps_of_the_product(pool, monkeypatch: pytest.MonkeyPatch):
    taken, product = [], Training.train_step
    monkeypatch.setattr(Training, "train_step", lambda self, views: taken.append(views.shape) or product(self, views))
    alternate(pool, replace(TINY, workers=0), lambda: None, Turns(2, steps=2))
    assert taken == [torch.Size([8, 2, 32, 32])] * 6


def test_a_pool_that_would_give_a_smaller_batch_is_refused(pool):
    with pytest.raises(ValueError, match="16 frames"):
        alternate(pool, replace(TINY, batch_size=10), lambda: None, Turns(1))


def test_the_bare_step_learns(pool):
    step = bare_step(pool, recipe("simclr", None, encoder="test_resnet", image_size=32, batch_size=8, accelerator="cpu",
                                  optimizer={"name": "adamw", "lr": 1e-3, "lr_batch": None}))  # fmt: skip
    losses = [float(step()) for _ in range(12)]
    assert losses[-1] < losses[0]


def test_a_compiled_step_gives_the_same_losses(pool):
    plain, compiled = bare_step(pool, TINY), bare_step(pool, TINY, compiled="eager")
    torch.testing.assert_close(compiled(), plain(), rtol=1e-4, atol=1e-4)
