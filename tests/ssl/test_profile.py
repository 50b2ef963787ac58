"""`pretrain --profile`: it measures what training does, says so, and leaves no trace in the run."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric

from sonolearn.commands import pretrain
from sonolearn.ssl import pretrain as loop
from sonolearn.ssl import profile as profiles
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.frames import FramePool, hold_out_patients, training_frames
from sonolearn.ssl.loader import ViewPairs
from sonolearn.ssl.pretrain import Clock
from sonolearn.ssl.profile import HAND_OVER, LOADING, PARTS, WAIT, TimedViews
from sonolearn.store.store import Store
from ssl_methods import NAMES, small
from stores import write_store

PROFILED = small("barlow_twins", epochs=2, valid_patients=0.2, optimizer={"warmup_epochs": 1}, workers=1, profile=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("data") / "store")


@pytest.fixture(scope="module")
def profiled(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain([store], tmp_path_factory.mktemp("runs") / "run", PROFILED)


def test_each_part_of_a_step_has_a_row_with_its_seconds(profiled: Path) -> None:
    found = pd.read_csv(profiled / "profile" / "profile.csv").set_index("part")["seconds"]
    named = {*LOADING, HAND_OVER, WAIT, *PARTS, "whole step"}
    assert set(found.index) == named
    assert (found.drop(["wait for data"]) > 0).all()
    # Parts do not overlap on a CPU, so they add up to about the step; a busy machine makes one or the other longer.
    assert found[["to device", "forward", "backward", "optimiser"]].sum() < 5 * found["whole step"]


def test_the_trace_shows_the_parts_of_training_and_loader_on_one_axis(profiled: Path) -> None:
    events = json.loads((profiled / "profile" / "trace.json").read_text())["traceEvents"]
    names = {event["args"]["name"]: event["pid"] for event in events if event["ph"] == "M"}
    assert set(names) == {"training", "loader 1"}
    spans = [event for event in events if event["ph"] == "X"]
    of = {name: {event["name"] for event in spans if event["pid"] == pid} for name, pid in names.items()}
    assert of["loader 1"] == {"read", "augment", "pack"}
    assert of["training"] == {"to device", "forward", "backward", "optimiser", "log"}
    assert min(event["ts"] for event in spans) == 0
    # Parts of a process do not overlap: each ends before the next begins.
    mine = sorted((event["ts"], event["ts"] + event["dur"]) for event in spans if event["pid"] == names["training"])
    assert all(end <= start + 1 for (_, end), (start, _) in itertools.pairwise(mine))


def test_torchs_operators_are_there_under_the_same_names(profiled: Path) -> None:
    events = json.loads((profiled / "profile" / "operators.json").read_text())["traceEvents"]
    names = {event.get("name") for event in events}
    assert {"forward", "backward", "optimiser", "aten::convolution"} <= names


def test_the_run_itself_is_as_if_there_had_been_no_profile(profiled: Path, store: Path, tmp_path: Path) -> None:
    assert {path.name for path in profiled.iterdir()} == {".checksums", "run.json", "profile"}
    trained = dataclasses.replace(PROFILED, profile=False)
    pretrain([store], profiled, trained)
    pretrain([store], tmp_path / "plain", trained)
    one, other = (path / "encoder.safetensors" for path in (profiled, tmp_path / "plain"))
    assert one.read_bytes() == other.read_bytes()


def test_table_and_advice_are_printed(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretrain([store], tmp_path / "run", dataclasses.replace(PROFILED, workers=0))
    said = capsys.readouterr().out
    assert "a step of 13 frames" in said  # batches of 16, 16 and 8
    assert "training process, loading" in said
    assert "frames/s." in said


@pytest.mark.parametrize("method", NAMES)
def test_timed_batches_are_those_of_training(method: str, store: Path, tmp_path: Path) -> None:
    config = small(method, valid_patients=0.2)  # type: ignore[arg-type]
    training = loop.Training(*_parts_of(store), tmp_path, config)
    keys = training.plan.batch(0)
    views, spans = TimedViews(training.pairs).__getitems__(keys)
    assert torch.equal(views, ViewPairs(training.pairs).__getitems__(keys))
    assert [span.name for span in spans] == ["read", "augment", "pack"]


def test_all_steps_of_a_profile_are_training_steps(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    step = loop.Training.train_step
    monkeypatch.setattr(loop.Training, "train_step", lambda self, views: taken.append(1) or step(self, views))
    monkeypatch.setattr(profiles, "STEPS", 3)
    pretrain([store], tmp_path / "run", dataclasses.replace(PROFILED, workers=0))
    assert len(taken) == 2 + 3 + 3 + profiles.OPERATOR_STEPS


def test_a_clock_that_nobody_reads_records_no_parts() -> None:
    clock = Clock()
    with clock.part("forward"):
        pass
    assert clock.spans == []


def test_hand_over_takes_time_only_from_another_process() -> None:
    assert profiles.hand_over((4, 2, 32, 32), workers=0) == 0
    assert profiles.hand_over((4, 2, 32, 32), workers=1) > 0


def _parts_of(store: Path) -> tuple[Fabric, FramePool, FramePool]:
    """Device, training and held-out frames."""
    pools = hold_out_patients(training_frames([Store(store)]), 0.2, 0)
    return make_fabric("cpu", "32-true"), *pools
