"""The loader: what a batch holds depends on seed and keys, and on nothing else."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from sonolearn.config import Method as MethodName
from sonolearn.ssl.batches import FramePlan, StepSampler
from sonolearn.ssl.frames import FramePool, training_frames
from sonolearn.ssl.loader import PairMaker, ViewPairs, make_loader, validation_batches
from sonolearn.ssl.methods import METHODS
from sonolearn.store.store import Store
from ssl_methods import small
from stores import write_store


@pytest.fixture
def pool(tmp_path: Path) -> FramePool:
    return training_frames([Store(write_store(tmp_path / "store", patients=3, frames=7))])


def pairs(pool: FramePool, seed: int, method: MethodName = "barlow_twins") -> ViewPairs:
    return ViewPairs(PairMaker(pool, small(method, image_size=24, seed=seed), METHODS[method].pairing))  # type: ignore[attr-defined]


def batches(pool: FramePool, seed: int, workers: int, first: int = 0, last: int = 9) -> list[torch.Tensor]:
    plan = FramePlan(len(pool), 6, 1, seed)
    return list(make_loader(pairs(pool, seed), StepSampler(plan, first, last), workers, pin=False))


def test_batches_are_uint8_pairs(pool: FramePool) -> None:
    assert [tuple(b.shape) for b in batches(pool, 0, 0, last=4)] == [(6, 2, 24, 24)] * 3 + [(3, 2, 24, 24)]
    assert batches(pool, 0, 0, last=1)[0].dtype == torch.uint8


def test_equal_seeds_agree_with_0_and_2_workers_and_different_seeds_differ(pool: FramePool) -> None:
    alone, two, other = batches(pool, 0, 0), batches(pool, 0, 2), batches(pool, 1, 0)
    assert all(torch.equal(a, b) for a, b in zip(alone, two, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(alone, other, strict=True))


def test_going_on_at_a_step_gives_the_batches_that_would_have_come(pool: FramePool) -> None:
    whole, rest = batches(pool, 0, 0), batches(pool, 0, 0, first=5)
    assert all(torch.equal(a, b) for a, b in zip(whole[5:], rest, strict=True))


def test_views_of_a_frame_differ_between_epochs_and_within_a_pair(pool: FramePool) -> None:
    early, late = pairs(pool, 0)[(0, 3)], pairs(pool, 0)[(1, 3)]
    assert not torch.equal(early, late)
    assert not torch.equal(early[0], early[1])


def test_validation_gives_every_process_equally_many_batches_of_two_or_more() -> None:
    for samples in range(2, 30):
        shares = [validation_batches(samples, 4, rank, 2) for rank in (0, 1)]
        assert [len(b) for b in shares[0]] == [len(b) for b in shares[1]]
        assert all(len(batch) >= 2 for batch in shares[0])
        assert all(epoch == -1 for share in shares for batch in share for epoch, _ in batch)


@pytest.mark.parametrize(("positives", "times"), [("same_frame", 1), ("nearby_frames", 2)])
def test_a_sample_takes_one_read_and_one_generator_and_one_more_of_each_for_another_frame(
    pool: FramePool, positives: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, generators = [], []
    preadv, default_rng = os.preadv, np.random.default_rng
    monkeypatch.setattr(os, "preadv", lambda *given: reads.append(given) or preadv(*given))
    monkeypatch.setattr(np.random, "default_rng", lambda *given: generators.append(given) or default_rng(*given))
    config = small("simclr", image_size=24, positives={"name": positives})
    ViewPairs(PairMaker(pool, config, "two_views")).__getitems__([(0, sample) for sample in range(12)])
    assert (len(reads), len(generators)) == (12 * times, 12 * times)


class ReadyPairs:
    """In the place of `PairMaker`: two views that are there already."""

    views, config = 2, small("simclr", image_size=64)

    def __init__(self) -> None:
        self.pair = list(np.random.default_rng(0).integers(0, 256, (2, 64, 64), np.uint8))

    def make(self, use: int, sample: int) -> list[np.ndarray]:
        return self.pair


def test_a_batch_is_one_array_of_bytes_into_which_each_view_is_copied_once() -> None:
    ready, keys = ViewPairs(ReadyPairs()), [(0, sample) for sample in range(5)]  # type: ignore[arg-type]
    ready.__getitems__(keys)
    tracemalloc.start()
    batch = ready.__getitems__(keys)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert batch.dtype == torch.uint8
    assert batch.numel() == 5 * 2 * 64 * 64
    assert peak < batch.numel() + 64 * 64, "no view is held twice, and none as floats"


def test_what_a_loader_process_hands_over_is_shared_memory_of_the_same_bytes() -> None:
    ready, keys = ViewPairs(ReadyPairs()), [(0, sample) for sample in range(5)]  # type: ignore[arg-type]
    (batch,) = make_loader(ready, [keys], workers=1, pin=False)
    assert batch.is_shared()
    assert batch.untyped_storage().nbytes() == 5 * 2 * 64 * 64
    assert torch.equal(batch, ready.__getitems__(keys))


def test_a_loader_process_ends_at_the_word_of_its_training_process_alone() -> None:
    """SLURM's SIGTERM reaches all processes of a job, and the step at hand needs its batches."""
    ready = ViewPairs(ReadyPairs())  # type: ignore[arg-type]
    batches = iter(make_loader(ready, [[(0, 0)]] * 20, workers=1, pin=False))
    next(batches)
    (process,) = multiprocessing.active_children()
    subprocess.run(["kill", "-TERM", str(process.pid)], check=True)
    subprocess.run(["kill", "-INT", str(process.pid)], check=True)
    assert sum(1 for _ in batches) == 19
    batches = iter(make_loader(ready, [[(0, 0)]] * 20, workers=1, pin=False))
    (process,) = multiprocessing.active_children()
    process.terminate()
    process.join(20)
    assert process.exitcode == 0


def test_an_error_that_keeps_loader_processes_in_use_ends_the_program() -> None:
    script = """
import torch
from sonolearn.ssl.loader import make_loader
held = make_loader({(0, 0): torch.zeros(4)}, [[(0, 0)]] * 99, workers=2, pin=False)
for _ in held:
    raise RuntimeError("stop")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("RuntimeError: stop")
