"""What goes wrong in devices and loader processes ends in one sentence."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
import torch

from sonolearn.console import Interrupted, UserError
from sonolearn.ssl.failures import naming_failures
from sonolearn.ssl.pretrain import pretrain
from sonolearn.store.store import FRAMES
from ssl_methods import small
from stores import write_store


def said(error: Exception) -> str:
    with pytest.raises(UserError) as caught, naming_failures("--batch_size"):
        raise error
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_gpu_without_memory() -> None:
    sentence = said(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nmore"))
    assert (
        sentence == "the GPU has too little memory (CUDA out of memory. Tried to allocate 9 GiB.); lower --batch_size"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback ...\nRuntimeError: unable to allocate "
        "shared memory(shm) for file </torch_1_2>: No space left on device (28)",
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
        "shared memory. Please try to raise your shared memory limit.",
    ],
)
def test_little_shared_memory(text: str) -> None:
    sentence = said(RuntimeError(text))
    assert sentence.startswith("/dev/shm, through which loader processes pass batches on, is too small (")
    assert "lower --batch_size or --workers, or give --workers 0" in sentence


def test_a_killed_loader_process() -> None:
    sentence = said(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "))
    assert sentence.endswith("is killed by signal: Killed.); lower --batch_size or --workers")


@pytest.mark.parametrize("error", [RuntimeError("a bug"), UserError("mine"), Interrupted("stopped")])
def test_everything_else_passes(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, naming_failures("--batch_size"):
        raise error
    assert caught.value is error


def test_damage_that_a_loader_process_finds_is_told_as_such(tmp_path: Path) -> None:
    folder = write_store(tmp_path / "store")
    with h5py.File(folder / FRAMES, "a") as h5:
        h5["checksum"][:] = 1
    config = small("simclr", workers=1, valid_patients=0.0, views={"crop_scale": (0.5, 1.0)})
    with pytest.raises(
        UserError, match=r"frames.h5: is damaged \(frame \d+ is not as it was written\); delete"
    ) as caught:
        pretrain([folder], tmp_path / "run", config)
    assert "\n" not in str(caught.value)
