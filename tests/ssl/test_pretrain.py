"""The training loop: exact resume, repeatability, what it writes, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from sonolearn.config import Method as MethodName
from sonolearn.config import ViewsConfig
from sonolearn.console import UserError
from sonolearn.ssl import pretrain as loop
from sonolearn.ssl.encoders import read_card
from sonolearn.ssl.pretrain import pretrain
from sonolearn.store.store import Store
from ssl_methods import NAMES, small
from stores import write_store

SMALL = small("barlow_twins", epochs=2, valid_patients=0.2, optimizer={"warmup_epochs": 1})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("data") / "store")


@pytest.fixture(scope="module")
def finished(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain([store], tmp_path_factory.mktemp("runs") / "run", SMALL)


def command_line(executable: Path, store: Path, options: str) -> list[str]:
    """`sonolearn pretrain` of the settings in SMALL, for a process of its own; `--out` is to be added."""
    small = "--encoder test_resnet --image_size 32 --batch_size 16 --log_every 1 --valid_patients 0.2"
    method = "--recipe null --method barlow_twins --barlow_twins.projector 32 32"
    words = f"pretrain {store} {small} {method} {options}"
    return [str(executable), *words.split()]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "encoder.safetensors")


def same(a: Path, b: Path) -> bool:
    one, other = weights(a), weights(b)
    return all(torch.equal(one[k], other[k]) for k in one)


def test_a_run_leaves_the_encoder_its_figures_and_who_stands_behind_it(finished: Path, store: Path) -> None:
    card = read_card(finished / "encoder.safetensors")
    assert card is not None
    assert (card.encoder, card.image_size, card.method) == ("test_resnet", 32, "barlow_twins")
    assert all(torch.isfinite(w).all() for w in weights(finished).values())

    metrics = pd.read_csv(finished / "metrics.csv")
    train = metrics[metrics["part"] == "train"]
    assert list(train["step"]) == [1, 2, 3, 4, 5, 6]
    assert list(metrics.loc[metrics["part"] == "valid", "step"]) == [3, 6]
    assert {"loss", "on_diagonal", "off_diagonal", "lr", "data_seconds", "compute_seconds"} <= set(metrics)
    assert (train[["data_seconds", "compute_seconds"]] > 0).all(axis=None)

    patients = pd.read_csv(finished / "patients.csv")
    assert sorted(patients["patient"]) == sorted(Store(store).scans["patient"])
    assert patients["part"].value_counts().to_dict() == {"train": 5, "valid": 1}
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["frames"], summary["patients"], summary["steps"]) == (40, 5, 6)
    assert (finished / "views.png").stat().st_size > 1000
    assert list((finished / "tensorboard").iterdir())
    assert not (finished / "checkpoint.pt").exists()


def test_equal_seeds_give_equal_weights_with_0_and_2_workers(finished: Path, store: Path, tmp_path: Path) -> None:
    again = pretrain([store], tmp_path / "again", dataclasses.replace(SMALL, workers=2))
    assert same(finished, again)


def test_another_seed_gives_other_weights_order_and_views(finished: Path, store: Path, tmp_path: Path) -> None:
    other = pretrain([store], tmp_path / "other", dataclasses.replace(SMALL, seed=1))
    assert not same(finished, other)
    assert (finished / "views.png").read_bytes() != (other / "views.png").read_bytes()


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    bars = write_store(tmp_path / "store", patients=16, planes=("a", "b", "c", "d", "e"))
    gentle = ViewsConfig(crop_scale=(0.9, 1), blur=(0, 0), solarize=(0, 0))
    quick = dataclasses.replace(SMALL.optimizer, lr=10, lr_biases=0.5)
    config = dataclasses.replace(SMALL, epochs=20, valid_patients=0, views=gentle, optimizer=quick)
    losses = pd.read_csv(pretrain([bars], tmp_path / "run", config) / "metrics.csv")["loss"].dropna()
    assert losses.tail(8).mean() < 0.7 * losses.head(8).mean()


def test_a_finished_run_is_not_run_again(finished: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "encoder.safetensors").stat().st_mtime_ns
    pretrain([store], finished, SMALL)
    assert (finished / "encoder.safetensors").stat().st_mtime_ns == before
    assert "is finished already" in capsys.readouterr().err


def test_killed_at_random_moments_it_ends_with_the_same_weights(executable: Path, store: Path, tmp_path: Path) -> None:
    """SIGKILL, several times, at moments drawn anew each time; the metrics end the same, too."""
    options = "--epochs 12 --workers 1 --valid_every 4 --checkpoint_minutes 1e-6"
    command = [*command_line(executable, store, options), "--out"]
    subprocess.run([*command, str(tmp_path / "undisturbed")], check=True, capture_output=True)
    kills, chance = 0, random.Random(time.time_ns())
    while not (tmp_path / "killed" / "summary.json").exists():
        process = subprocess.Popen([*command, str(tmp_path / "killed")], stderr=subprocess.DEVNULL, process_group=0)
        if kills < 3:
            _wait_for_a_step(tmp_path / "killed", process)
            time.sleep(chance.uniform(0, 0.7))
            kills += process.poll() is None
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert kills >= 1, "the run was over before it could be killed"
    assert same(tmp_path / "undisturbed", tmp_path / "killed")
    columns = ["step", "epoch", "part", "loss", "on_diagonal", "off_diagonal", "lr"]
    rows = [pd.read_csv(tmp_path / name / "metrics.csv")[columns] for name in ("undisturbed", "killed")]
    pd.testing.assert_frame_equal(*rows)


def _wait_for_a_step(run: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until the run has done a step more than it had."""
    metrics = run / "metrics.csv"
    before = metrics.stat().st_size if metrics.exists() else 0
    started = time.monotonic()
    while process.poll() is None and time.monotonic() - started < 60:
        if metrics.exists() and metrics.stat().st_size > before and ",train," in metrics.read_text():
            return
        time.sleep(0.01)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_goes_on_exactly_where_it_was(
    name: MethodName, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Momentum encoders, queues and figures included; stopped twice, at other places of the epoch."""
    config = small(name, epochs=3, valid_patients=0.2, checkpoint_minutes=1e-6)
    whole = pretrain([store], tmp_path / "whole", config)
    step_of, stops = loop.Training.train_step, [2, 5]

    def stopped(self: loop.Training, views: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.step in stops:
            stops.remove(self.step)
            raise KeyboardInterrupt
        return step_of(self, views)

    monkeypatch.setattr(loop.Training, "train_step", stopped)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            pretrain([store], tmp_path / "run", config)
    run = pretrain([store], tmp_path / "run", config)
    assert same(whole, run)
    rows = [pd.read_csv(r / "metrics.csv").drop(columns=["data_seconds", "compute_seconds"]) for r in (whole, run)]
    pd.testing.assert_frame_equal(*rows)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "slurm"])
def test_asked_to_stop_it_keeps_what_was_done_and_says_how_to_go_on(
    number: signal.Signals, executable: Path, store: Path, tmp_path: Path
) -> None:
    """The signal reaches the whole process group, loader processes included, as from a terminal or from SLURM."""
    command = [*command_line(executable, store, "--epochs 400 --workers 2"), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, process_group=0)
    _wait_for_a_step(tmp_path / "run", process)  # type: ignore[arg-type]
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "run the same command to continue" in errors
    assert "Traceback" not in errors
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert state["step"] == pd.read_csv(tmp_path / "run" / "metrics.csv")["step"].max()


def test_a_run_folder_of_other_settings_or_data_is_refused(finished: Path, store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds another run \(image_size differs\)"):
        pretrain([store], finished, dataclasses.replace(SMALL, image_size=24))
    other = write_store(tmp_path / "store", seed=5)
    with pytest.raises(UserError, match=r"holds another run \(data\.store 0 store differs\)"):
        pretrain([other], finished, SMALL)


def test_a_mistyped_encoder_leaves_no_run_behind(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="timm knows no such model"):
        pretrain([store], tmp_path / "run", dataclasses.replace(SMALL, encoder="resnet1"))
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_run_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("precious")
    with pytest.raises(UserError, match="is not a run of this command"):
        pretrain([store], tmp_path, SMALL)


def test_a_loss_that_is_not_finite_stops_names_the_step_and_keeps_the_checkpoint(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step_of = loop.Training.train_step

    def poisoned(self: loop.Training, views: torch.Tensor) -> dict[str, torch.Tensor]:
        figures = step_of(self, views)
        return {**figures, "loss": figures["loss"] * float("nan")} if self.step == 4 else figures

    monkeypatch.setattr(loop.Training, "train_step", poisoned)
    config = dataclasses.replace(SMALL, checkpoint_minutes=1e-6, log_every=2)
    with pytest.raises(UserError, match="the loss of step 5 is nan; the last checkpoint is kept"):
        pretrain([store], tmp_path / "run", config)
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == 4


@pytest.mark.parametrize("name", NAMES)
def test_validation_changes_nothing(
    name: MethodName, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = write_store(tmp_path / "labelled", planes=("3VV/3VT", "4CH"), seed=3)
    check, seen = loop.Training.check, []

    def watched(self: loop.Training, log: object) -> None:
        before = {k: v.clone() for k, v in self.model.state_dict().items()}
        check(self, log)  # type: ignore[arg-type]
        seen.append(all(torch.equal(v, before[k]) for k, v in self.model.state_dict().items()))

    monkeypatch.setattr(loop.Training, "check", watched)
    pretrain([store], tmp_path / "run", small(name, epochs=2, valid_patients=0.2, knn_store=labelled))
    assert seen == [True, True, True]


def test_the_schedule_counts_steps_and_ends_at_its_end(finished: Path) -> None:
    train = pd.read_csv(finished / "metrics.csv").query("part == 'train'")
    base = 0.2 * 16 / 256
    assert list(train["lr"])[:3] == pytest.approx([base / 4, base / 2, base * 3 / 4], rel=1e-4)
    assert train["lr"].iloc[-1] == pytest.approx(base * 0.001, rel=1e-4)


def test_a_warm_up_longer_than_the_run_is_said(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretrain([store], tmp_path / "run", small("barlow_twins", max_steps=1))
    assert "warms up for longer than the 1 steps; lower --optimizer.warmup_epochs" in capsys.readouterr().err
    pretrain([store], tmp_path / "other", small("simclr", max_steps=1))
    assert "warms up" not in capsys.readouterr().err


def test_an_epoch_shorter_than_log_every_has_its_row_before_the_validation(store: Path, tmp_path: Path) -> None:
    metrics = pd.read_csv(pretrain([store], tmp_path / "run", dataclasses.replace(SMALL, log_every=10)) / "metrics.csv")
    assert list(zip(metrics["step"], metrics["part"], strict=True)) == [
        (0, "monitor"), (3, "train"), (3, "valid"), (3, "monitor"), (6, "train"), (6, "valid"), (6, "monitor")
    ]  # fmt: skip


def test_a_run_may_move_with_the_encoder_that_it_started_from(finished: Path, store: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, encoder=None, init=str(finished), max_steps=1)
    run = pretrain([store], tmp_path / "run", config)
    moved = tmp_path / "elsewhere" / finished.name
    shutil.copytree(finished, moved)
    assert pretrain([store], run, dataclasses.replace(config, init=str(moved))) == run
    assert str(tmp_path) not in (run / "run.json").read_text() + (run / "summary.json").read_text()


def test_max_steps_ends_the_run_and_its_schedule(store: Path, tmp_path: Path) -> None:
    run = pretrain([store], tmp_path / "run", dataclasses.replace(SMALL, max_steps=4))
    train = pd.read_csv(run / "metrics.csv").query("part == 'train'")
    assert len(train) == 4
    assert train["lr"].iloc[-1] == pytest.approx(0.2 * 16 / 256 * 0.001, rel=1e-4)


def test_a_run_can_start_from_the_encoder_of_another(finished: Path, store: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, encoder=None, init=str(finished), max_steps=1)
    run = pretrain([store], tmp_path / "run", config)
    drift = [
        float((weights(run)[k] - w).abs().max()) for k, w in weights(finished).items() if k.endswith("conv1.weight")
    ]
    assert all(d < 0.1 for d in drift)
    assert json.loads((run / "run.json").read_text())["data"]["init"]


def test_accumulated_parts_give_a_step_of_the_whole_batch(store: Path, tmp_path: Path) -> None:
    run = pretrain([store], tmp_path / "run", dataclasses.replace(SMALL, accumulate=2))
    assert pd.read_csv(run / "metrics.csv").query("part == 'train'")["step"].max() == 6


def test_two_processes_train_and_write_one_run(store: Path, tmp_path: Path) -> None:
    options = "--epochs 2 --workers 0 --devices 2 --accelerator cpu"
    # Not the forked executable of the other tests: the second process is started by the words of the first.
    installed = Path(sys.executable).parent / "sonolearn"
    command = [*command_line(installed, store, options), "--out", str(tmp_path / "run")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert list(metrics.query("part == 'train'")["step"]) == [1, 2, 3, 4, 5, 6]
    assert metrics.loc[metrics["part"] != "monitor", "loss"].notna().all()
    assert metrics.loc[metrics["part"] == "monitor", "feature_std"].notna().all()
