"""The advice of a profile: the sentence fits the figures."""

from __future__ import annotations

import dataclasses

import pytest

from sonolearn.ssl.profile import StepTimes, advice, table

PARTS = {"to device": 0.01, "forward": 0.3, "backward": 0.6, "optimiser": 0.08, "log": 0.01}
LOADING = {"read": 0.1, "augment": 0.7, "pack": 0.1, "hand over": 0.01}
BALANCED = StepTimes(256, 1.0, 0.0, PARTS, LOADING, loaders=2, cores=8)


def with_(**changes: object) -> StepTimes:
    return dataclasses.replace(BALANCED, **changes)  # type: ignore[arg-type]


def test_where_data_are_in_time_the_device_is_the_limit() -> None:
    assert advice(BALANCED).startswith("The device is the limit")


def test_so_many_loader_processes_are_advised_as_make_a_batch_in_a_steps_computing() -> None:
    # 3.6 s of loading against 1 s of computing: four processes deliver in 0.9 s.
    slow = {**LOADING, "augment": 3.4}
    starved = with_(loading=slow, step=1.8, wait=0.8)
    assert "44% of the time: give --workers 4 (it has 2)" in advice(starved)


def test_loaders_that_only_lag_behind_what_they_made_beforehand_are_noticed() -> None:
    # The training does not wait yet, but 2 processes deliver a batch every 1.8 s and a step takes 1 s.
    assert "44% of the time: give --workers 4" in advice(with_(loading={**LOADING, "augment": 3.4}))


def test_without_loader_processes_the_training_waits_for_itself() -> None:
    alone = with_(loaders=0, step=1.9, wait=0.9, loading={**LOADING, "hand over": 0.0})
    assert "give --workers 1 (it has 0)" in advice(alone)


@pytest.mark.parametrize(
    ("slowest", "remedy"),
    [("augment", "cheaper views"), ("read", "faster disk"), ("pack", "smaller --image_size")],
)
def test_where_cores_are_too_few_what_is_slowest_is_named(slowest: str, remedy: str) -> None:
    starved = with_(loading={**LOADING, slowest: 20.0}, step=10.0, wait=9.0)
    assert "21 loader processes would be needed and there are 8 cores" in advice(starved) or slowest == "augment"
    assert remedy in advice(starved)


def test_enough_loader_processes_without_cores_are_told_apart() -> None:
    assert "share the cores with other work" in advice(with_(step=1.5, wait=0.5))


def test_slow_logs_idle_gpus_and_costly_updates_have_a_word_each() -> None:
    assert "larger --log_every" in advice(with_(parts={**PARTS, "log": 0.1}))
    assert "The GPU computes 50% of the time" in advice(with_(busy=0.5))
    assert "larger --batch_size has fewer steps" in advice(with_(parts={**PARTS, "optimiser": 0.4}))
    assert advice(with_(busy=0.95)).startswith("The device is the limit")


def test_the_table_has_every_part_and_its_share_of_the_step() -> None:
    rows = {(where, part): (seconds, share) for where, part, seconds, share in table(with_(step=2.0))}
    assert rows["a loader process (of 2)", "augment"] == (0.7, 0.35)
    assert rows["training process", "forward"] == (0.3, 0.15)
    assert rows["training process", "whole step"] == (2.0, 1.0)
    assert len(rows) == 11
