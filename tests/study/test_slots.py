"""What the local engine takes this machine to offer."""

from __future__ import annotations

import os

import pytest
import torch

from sonolearn.study.local import Slot, slots_here, visible_devices


def test_without_gpus_there_is_a_worker_a_core_with_one_thread_and_no_loaders() -> None:
    slots = slots_here(None, None)
    assert len(slots) == len(os.sched_getaffinity(0))
    assert {(slot.threads, slot.loaders, slot.device) for slot in slots} == {(1, 0, None)}


def test_fewer_workers_share_the_cores() -> None:
    (slot,) = slots_here(1, None)
    assert slot.threads == len(os.sched_getaffinity(0))
    assert slots_here(1, 3)[0].threads == 3


def test_workers_take_turns_on_the_gpus_that_this_process_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [slot.device for slot in slots_here(None, None)] == ["2", "5"]
    assert [slot.device for slot in slots_here(3, None)] == ["2", "5", "2"]


def test_several_workers_share_one_gpu_and_the_cores_of_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)))
    assert slots_here(None, None) == [Slot(threads=16, loaders=8, device="0")]
    assert slots_here(8, None) == [Slot(threads=2, loaders=1, device="0")] * 8


def test_all_gpus_are_numbered_where_nothing_restricts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_devices(3) == ["0", "1", "2"]
