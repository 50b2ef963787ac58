"""The commands of the page: short, and fed back through the real parser they give the configuration of the run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, get_args

import pytest

from planes.labelled_store import write_store
from sonolearn import cli
from sonolearn.config import ClassifyConfig, Method, PretrainConfig
from sonolearn.planes.classify import classify
from sonolearn.recipes import classify_recipe, recipe
from sonolearn.runs import NOT_HASHED, plain
from sonolearn.study.read import command_of, read_run
from study.fake_runs import write_old_run, write_pretrain_run

CONFIGS = {
    "paper_simclr": recipe("simclr", "paper", optimizer={"lr": 0.1, "lr_batch": None}, batch_size=32),
    "study_moco": recipe("moco", "study", moco={"queue": 512, "projector_norm": True}, views={"rotation": 5}),
    "ultrasound_byol": recipe("byol", None, views={"name": "ultrasound", "gain_db": (-2.0, 4.0)}, max_steps=7),
    "study_views_in_a_papers_recipe": recipe("moco", "paper", views={"name": "study"}, seed=3),
    "paper_views": recipe("vicreg", None, views={"name": "paper"}, vicreg={"projector": (64,)}, small_stem=True),
    "null_where_the_recipe_has_a_number": recipe("barlow_twins", None, optimizer={"lr_biases": None, "final_lr": 0.0}),
    "neighbours": recipe("simclr", None, positives={"name": "nearby_frames", "seconds": 0.2}, valid_patients=0.0),
    "narrow": recipe("inpainting", "study", encoder="resnet18", encoder_args={"channels": [4, 8]}, init="imagenet"),
    "own_optimiser": recipe("autoencoder", None, optimizer={"name": "sgd", "lr": 1e-05, "schedule": "cosine"}),
    "adapted_from_random_weights": recipe("vicreg", init="random", views={"name": "gentle"}),
    **{f"adapted_{method}": recipe(method) for method in get_args(Method)},
    **{f"plain_{method}": recipe(method, None) for method in get_args(Method)},
    **{f"study_{method}": recipe(method, "study") for method in get_args(Method)},
}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `pretrain` was called with by the command line, instead of training."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "sonolearn.ssl.pretrain.pretrain",
        lambda stores, out, config: calls.append({"stores": stores, "out": out, "config": config}),
    )
    return calls


def command(folder: Path, config: PretrainConfig) -> str:
    return command_of(read_run(write_pretrain_run(folder, config)))


def that_counts(config: PretrainConfig) -> dict[str, Any]:
    return {name: value for name, value in plain(config).items() if name not in NOT_HASHED}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_command_fed_back_gives_the_configuration_of_the_run(
    name: str, parsed: list[dict[str, Any]], tmp_path: Path
) -> None:
    words = shlex.split(command(tmp_path / "run", CONFIGS[name]))
    assert words[0] == "sonolearn"
    cli.main(words[1:])
    assert parsed[0]["stores"] == [Path("scans")]
    assert parsed[0]["out"] == Path("run")
    assert that_counts(parsed[0]["config"]) == that_counts(CONFIGS[name])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain_byol", "--method byol --recipe null"),
        ("adapted_byol", "--method byol"),
        ("adapted_from_random_weights", "--method vicreg --views gentle --init random"),
        ("study_vicreg", "--method vicreg --recipe study"),
        ("paper_simclr", "--method simclr --recipe paper --batch_size 32 --optimizer.lr 0.1 --optimizer.lr_batch null"),
        ("ultrasound_byol", "--method byol --recipe null --views ultrasound --max_steps 7 --views.gain_db -2.0 4.0"),
        ("study_views_in_a_papers_recipe", "--method moco --recipe paper --views study --seed 3"),
        (
            "neighbours",
            "--method simclr --recipe null --positives nearby_frames --positives.seconds 0.2 --valid_patients 0.0",
        ),
        (
            "null_where_the_recipe_has_a_number",
            "--method barlow_twins --recipe null --optimizer.lr_biases null --optimizer.final_lr 0.0",
        ),
    ],
)
def test_a_command_holds_only_what_differs_from_the_recipe(name: str, options: str, tmp_path: Path) -> None:
    assert command(tmp_path / "run", CONFIGS[name]) == f"sonolearn pretrain scans {options} --out run"


def test_a_run_without_recipe_and_presets_still_has_a_command(tmp_path: Path) -> None:
    found = command_of(read_run(write_old_run(tmp_path / "old")))
    # An option of then is shown as it was, though it has another name today: leaving it out would hide a setting.
    options = "--method barlow_twins --recipe null --encoder test_resnet --epochs 20 --image_size 32"
    options += " --barlow_twins.lr_weights 0.2"
    assert found == f"sonolearn pretrain scans {options} --out old"


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, ""),
        ({"recipe": "study"}, "--recipe study "),
        ({"recipe": "study", "views": {"name": "gentle", "rotation": 3.0}}, "--recipe study --views gentle "),
        ({"views": {"name": "ultrasound"}, "valid": "whole"}, "--views ultrasound "),
    ],
)
def test_the_command_of_a_classification_gives_its_configuration(
    options: dict[str, Any], shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"encoder": "test_resnet", "mode": "knn", "seeds": 1, "image_size": 32, "accelerator": "cpu", "workers": 0}
    config = classify_recipe(
        options.get("recipe", "adapt"), **small, **{k: v for k, v in options.items() if k != "recipe"}
    )
    classify(write_store(tmp_path / "hearts"), tmp_path / "run", config)
    line = command_of(read_run(tmp_path / "run"))
    assert line.startswith(f"sonolearn classify hearts {shown}--encoder test_resnet ")
    calls: list[ClassifyConfig] = []
    monkeypatch.setattr("sonolearn.planes.classify.classify", lambda store, out, config: calls.append(config))
    cli.main(shlex.split(line)[1:])
    found, expected = (
        {name: value for name, value in plain(c).items() if name not in NOT_HASHED} for c in (calls[0], config)
    )
    assert found == expected


def test_a_classification_of_before_there_were_recipes_followed_the_studys(tmp_path: Path) -> None:
    config = classify_recipe("study", encoder="test_resnet", mode="knn", seeds=1, image_size=32, workers=0)
    classify(write_store(tmp_path / "hearts"), tmp_path / "run", config)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    old = {k: v for k, v in record["config"].items() if k not in ("recipe", "views", "valid", "head", "min_steps")}
    (tmp_path / "run" / "run.json").write_text(json.dumps({**record, "config": {**old, "standardise": True}}))
    (tmp_path / "run" / ".checksums").unlink()  # versions of then wrote none
    line = command_of(read_run(tmp_path / "run"))
    options = "--encoder test_resnet --mode knn --seeds 1 --image_size 32 --standardise true"
    assert line == f"sonolearn classify hearts --recipe study {options} --out run"
