"""Pre-training on part of the frames, with the patients of each batch fixed."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from sonolearn.config import PoolConfig
from sonolearn.console import UserError
from sonolearn.ssl import pretrain as loop
from sonolearn.ssl.encoders import read_card
from sonolearn.ssl.frames import draw_pool, hold_out_patients, training_frames
from sonolearn.ssl.pretrain import pretrain
from sonolearn.store.store import Store
from ssl_methods import small
from stores import write_store

POOL = PoolConfig(patients=6, frames=30, seed=1)
CONFIG = dataclasses.replace(
    small("barlow_twins", epochs=3, valid_patients=0.2, optimizer={"warmup_epochs": 1}, checkpoint_minutes=1e-6),
    batch_size=8, patients_per_batch=4, pool=POOL,
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("data") / "store", patients=10)


@pytest.fixture(scope="module")
def finished(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain([store], tmp_path_factory.mktemp("runs") / "run", CONFIG)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "encoder.safetensors")


def test_the_summary_and_the_patients_are_those_of_the_part(finished: Path, store: Path) -> None:
    rest, valid = hold_out_patients(training_frames([Store(store)]), 0.2, CONFIG.seed)
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["frames"], summary["patients"], summary["scans"]) == (30, 6, 6)
    assert summary["pool"] == {"patients": 6, "frames": 30, "seed": 1}
    assert summary["patients_per_batch"] == 4
    assert (summary["steps"], summary["epochs"]) == (9, 2.4)
    seen = pd.read_csv(finished / "patients.csv")
    assert set(seen.loc[seen["part"] == "train", "patient"]) == set(draw_pool(rest, POOL).patients)
    assert sorted(seen.loc[seen["part"] == "valid", "patient"]) == sorted(valid.patients)


def test_the_normalisation_is_that_of_the_part(finished: Path, store: Path) -> None:
    opened = Store(store)
    drawn = draw_pool(hold_out_patients(training_frames([opened]), 0.2, CONFIG.seed)[0], POOL)
    pixels = opened.read(drawn.row_of_frame) / 255
    card = read_card(finished / "encoder.safetensors")
    assert card is not None
    assert (card.mean, card.std) == pytest.approx((pixels.mean(), pixels.std()))
    assert card.mean != pytest.approx((opened.read(np.arange(len(opened))) / 255).mean())


def test_parts_of_any_size_have_the_same_validation_patients(finished: Path, store: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, pool=PoolConfig(patients=4, frame_skip=3), max_steps=1)
    other = pretrain([store], tmp_path / "run", config)
    held_out = [
        set(table.loc[table["part"] == "valid", "patient"])
        for table in (pd.read_csv(run / "patients.csv") for run in (finished, other))
    ]
    assert held_out[0] == held_out[1]


def test_interrupted_twice_it_ends_with_the_same_bits(
    finished: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step_of, stops = loop.Training.train_step, [2, 7]

    def stopped(self: loop.Training, views: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.step in stops:
            stops.remove(self.step)
            raise KeyboardInterrupt
        return step_of(self, views)

    monkeypatch.setattr(loop.Training, "train_step", stopped)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            pretrain([store], tmp_path / "run", CONFIG)
    run = pretrain([store], tmp_path / "run", CONFIG)
    assert stops == []
    assert all(torch.equal(weights(run)[name], weight) for name, weight in weights(finished).items())
    rows = [pd.read_csv(r / "metrics.csv").drop(columns=["data_seconds", "compute_seconds"]) for r in (finished, run)]
    pd.testing.assert_frame_equal(*rows)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"pool": dataclasses.replace(POOL, seed=2)}, r"\(pool.seed differs\)"),
        ({"patients_per_batch": 2}, r"\(patients_per_batch differs\)"),
    ],
)
def test_another_part_or_batch_is_another_run(change, named, finished: Path, store: Path) -> None:
    with pytest.raises(UserError, match=named):
        pretrain([store], finished, dataclasses.replace(CONFIG, **change))


def test_what_is_not_there_leaves_no_run_behind(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--pool\.patients 9: 8 are there to learn from"):
        pretrain([store], tmp_path / "run", dataclasses.replace(CONFIG, pool=PoolConfig(patients=9)))
    with pytest.raises(UserError, match="--patients_per_batch 4: 3 patients are there to learn from"):
        pretrain([store], tmp_path / "run", dataclasses.replace(CONFIG, pool=PoolConfig(patients=3)))
    assert not (tmp_path / "run").exists()


def test_from_the_command_line_on_two_processes(store: Path, tmp_path: Path) -> None:
    options = "--pool.patients 6 --pool.frames 30 --pool.seed 1 --patients_per_batch 4 --batch_size 8 --accumulate 2"
    method = "--recipe null --method barlow_twins --barlow_twins.projector 32 32"
    small_run = f"{method} --encoder test_resnet --image_size 32 --max_steps 4 --log_every 1"
    devices = "--workers 0 --devices 2 --accelerator cpu --valid_patients 0.2"
    words = f"pretrain {store} {options} {small_run} {devices} --out {tmp_path / 'run'}"
    result = subprocess.run(
        [sys.executable, "-m", "sonolearn", *words.split()], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert list(metrics.query("part == 'train'")["step"]) == [1, 2, 3, 4]
    assert metrics.loc[metrics["part"] != "monitor", "loss"].notna().all()
    assert metrics.loc[metrics["part"] == "monitor", "feature_std"].notna().all()
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["frames"] == 30
